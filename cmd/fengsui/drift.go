package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/console/search"
	"fengsui/internal/config"
	"fengsui/registry"
	"fengsui/schemas"
)

func newDrift(flags *globalFlags) *cobra.Command {
	cmd := newQuery(flags, "drift", "查询与台账的差异 / search what differs from the registry",
		"  fengsui drift 'status = open && severity = high'\n  fengsui drift 'overdue = true'",
		search.Drift, []string{"LAST", "STATUS", "SEVERITY", "DUE", "KIND", "UNIT", "ASSET", "DETAIL", "EXPECTED", "OBSERVED", "WORK", "REASON", "ID"}, func(d *schemas.Drift) []string {
			return []string{
				when(d.Last), string(d.Status), string(d.Severity), due(d), string(d.Kind), d.Unit, d.Asset, d.Detail, d.Expected, d.Observed,
				strings.TrimSpace(string(d.Work.Said()) + " " + d.Work.For()), d.Reason, d.ID,
			}
		})
	cmd.Annotations = map[string]string{besideCommands: "yes"}
	cmd.AddCommand(newDriftShow(flags),
		newDriftDecide(flags, "ack", schemas.WorkAcknowledged, "签收 / say that it is known, and who handles it",
			"签收一条差异，可指派经办人。\nSay that a drift is known; --assign names who handles it.", "  fengsui drift ack 3f6c… --assign zhang"),
		newDriftDecide(flags, "fixed", schemas.WorkFixed, "报告已整改，自动复扫 / say that it is fixed: it is scanned again",
			"报告已整改：立即复扫，只有复扫干净才会关闭；仍在则退回。\nSay that a drift is fixed. It is scanned again at once, and only a clean scan closes it.", "  fengsui drift fixed 3f6c… --note 端口已关闭"),
		newDriftDecide(flags, "accept", schemas.WorkAccepted, "接受 / accept it",
			`接受一条差异。白名单可放行的：提交白名单申请，批准后自动关闭；服务的变更：以现状为准，即行关闭；其余：须给出期限 --until，到期即逾期。
Accept a drift. What the whitelist can allow becomes a request for it, and closes
when that is approved; a change of a service is accepted for good; anything else
until a time, after which it is overdue.`, "  fengsui drift accept 3f6c… --until 30d --note 供应商下月升级"))
	return cmd
}

// due is by when a drift is to be handled, with a mark when it is late.
func due(d *schemas.Drift) string {
	text := when(d.Due)
	if !d.Overdue.IsZero() && d.Status != schemas.DriftClosed {
		text += " 逾期 / late"
	}
	return text
}

// loadDrift finds a drift by its id.
func loadDrift(ctx context.Context, flags *globalFlags, id string) (*Config, *schemas.Drift, error) {
	cfg, err := loadConfig(flags)
	if err != nil {
		return nil, nil, usageError{err}
	}
	db, err := openStore(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer db.Close()
	d, found, err := search.DriftByID(ctx, db, id)
	if err != nil {
		return nil, nil, err
	}
	if !found {
		return nil, nil, usageError{fmt.Errorf("没有差异 %[1]q，可用 fengsui drift 查询 / there is no drift %[1]q; fengsui drift lists them", id)}
	}
	return cfg, &d, nil
}

// driftItem is what show writes as JSON.
type driftItem struct {
	schemas.Drift
	Owner     *registry.Contact `json:"owner,omitempty"`
	Decisions []registry.Change `json:"decisions,omitempty"`
}

func newDriftShow(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "查看一条差异：责任人、期限、经过 / one drift: its owner, due time and history",
		Example: "  fengsui drift show 3f6c…", Args: exactArgs(1, "the id of a drift"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, d, err := loadDrift(cmd.Context(), flags, args[0])
			if err != nil {
				return err
			}
			reg, err := cfg.Registry.open(cmd.Context())
			if err != nil {
				return err
			}
			defer reg.Close()
			item := driftItem{Drift: *d}
			if owner, found, err := reg.Officer(cmd.Context(), d.Unit); err != nil {
				return err
			} else if found {
				item.Owner = &owner
			}
			if item.Decisions, err = reg.History(cmd.Context(), "decision/"+d.ID); err != nil {
				return err
			}
			return out(cmd, flags, item, item.text())
		},
	}
}

func (i *driftItem) text() string {
	var b strings.Builder
	line := func(label, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s：%s\n", label, printable(value))
		}
	}
	line("编号 / id", i.ID)
	line("类别 / kind", string(i.Kind))
	line("状态 / status", strings.TrimSpace(string(i.Status)+" "+i.Reason))
	line("严重程度 / severity", string(i.Severity))
	line("资产 / asset", strings.TrimSpace(i.Asset+" "+i.Detail))
	line("单位 / unit", i.Unit)
	line("信息系统 / system", i.System)
	line("台账 / expected", i.Expected)
	line("实际 / observed", i.Observed)
	line("期限 / due", due(&i.Drift))
	if i.Owner != nil {
		line("责任人 / owner", strings.TrimSpace(i.Owner.Name+" "+i.Owner.Phone+" "+i.Owner.Email+" ("+i.Owner.Key()+")"))
	}
	line("处置 / work", strings.TrimSpace(string(i.Work.Said())+" "+i.Work.For()))
	line("见证 / seen by", strings.Join(i.Vantages, ", "))
	b.WriteString("经过 / history：")
	for _, s := range i.History {
		fmt.Fprintf(&b, "\n  %s  %s  %s", when(s.At), printable(s.Who), printable(strings.TrimSpace(s.What+"  "+s.Why)))
	}
	return b.String()
}

func newDriftDecide(flags *globalFlags, use string, state schemas.DriftWorkState, short, long, example string) *cobra.Command {
	var (
		work  schemas.DriftWork
		until string
	)
	cmd := &cobra.Command{
		Use: use + " ID", Short: short, Long: long, Example: example, Args: exactArgs(1, "the id of a drift"),
		RunE: func(cmd *cobra.Command, args []string) error {
			work.State = state
			if until != "" {
				at, err := untilWhen(until, time.Now())
				if err != nil {
					return usageError{err}
				}
				work.Until = at
			}
			cfg, d, err := loadDrift(cmd.Context(), flags, args[0])
			if err != nil {
				return err
			}
			reg, err := cfg.Registry.open(cmd.Context())
			if err != nil {
				return err
			}
			defer reg.Close()
			by := registry.User{Name: me(), Role: registry.RoleAdmin} // who may read the database may decide
			decision, request, err := reg.HandleDrift(cmd.Context(), by, d, work)
			if err != nil {
				return wrongUse(err)
			}
			text := fmt.Sprintf("%s %s: %s", d.Kind, d.Asset, decision.State)
			if request != nil {
				text += "\n白名单申请 / request for the whitelist: " + request.ID
			}
			return out(cmd, flags, map[string]any{"decision": decision, "request": request}, text)
		},
	}
	cmd.Flags().StringVar(&work.Note, "note", "", "why")
	switch state {
	case schemas.WorkAcknowledged:
		cmd.Flags().StringVar(&work.Assignee, "assign", "", "who is to handle it")
	case schemas.WorkAccepted:
		cmd.Flags().StringVar(&until, "until", "", "until when: a time ahead such as 30d, or a day such as 2026-12-31")
	}
	return cmd
}

// untilWhen is a time ahead such as 30d, or a day, or a time.
func untilWhen(text string, now time.Time) (time.Time, error) {
	if ahead, err := config.ParseDuration(text); err == nil && ahead > 0 {
		return now.Add(ahead), nil
	}
	at, err := registry.ParseMoment(text)
	if err != nil {
		return at, fmt.Errorf("--until: %w", err)
	}
	return at, nil
}
