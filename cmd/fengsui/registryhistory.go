package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/internal/config"
	"fengsui/registry"
	"fengsui/schemas"
)

// wrongUse marks what the person who typed the command can put right.
func wrongUse(err error) error {
	if errors.Is(err, registry.ErrInvalid) || errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrForbidden) {
		return usageError{err}
	}
	return err
}

func newRegistryAt(flags *globalFlags) *cobra.Command {
	var unit, kind string
	cmd := &cobra.Command{
		Use: "at DAY", Short: "查看过去某日的台账 / the registry as it was on a past day",
		Long: `按 YAML 输出某日终了或某时刻的台账，可再导入。
Write the registry as it was at the end of a day, or at a moment (RFC 3339), as
YAML that import reads. --unit confines it to a unit and those below it, as the
tree was then.`,
		Example: "  fengsui registry at 2026-11-01 --unit 10001 --kind whitelist", Args: exactArgs(1, "a day such as 2026-11-01"),
		RunE: func(cmd *cobra.Command, args []string) error {
			moment, err := registry.ParseMoment(args[0])
			if err != nil {
				return usageError{err}
			}
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				content, err := reg.Read(cmd.Context(), registry.Query{At: moment})
				if err != nil {
					return err
				}
				if unit != "" {
					content = content.Of(content.Below(unit))
				}
				if content, err = content.Only(kind); err != nil {
					return usageError{err}
				}
				var b bytes.Buffer
				if err := registry.WriteFile("registry.yaml", &b, content); err != nil {
					return err
				}
				return out(cmd, flags, content, strings.TrimSpace(b.String()))
			})
		},
	}
	cmd.Flags().StringVar(&unit, "unit", "", "only this unit and those below it")
	cmd.Flags().StringVar(&kind, "kind", "", "only this kind: "+strings.Join(registry.Kinds(), ", "))
	return cmd
}

func newRegistryHistory(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "history KEY", Short: "条目的变更历史 / who changed an entry, when and how; the newest first",
		Example: "  fengsui registry history whitelist/host/192.0.2.1/32", Args: exactArgs(1, "a key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				changes, err := reg.History(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if flags.json {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(changes)
				}
				return table(cmd.OutOrStdout(), []string{"时间 / when", "何人 / who", "变更 / what"}, changeRows(changes, func(c *registry.Change) []string {
					return []string{when(c.At), c.Who}
				}))
			})
		},
	}
}

// changeRows writes changes as rows that begin with first and end with the
// fields that changed.
func changeRows(changes []registry.Change, first func(*registry.Change) []string) [][]string {
	rows := make([][]string, len(changes))
	for i := range changes {
		c := &changes[i]
		rows[i] = append(first(c), describe(c))
	}
	return rows
}

func describe(c *registry.Change) string {
	if c.After == nil {
		return "删除 / deleted"
	}
	diff, err := c.Differences()
	if err != nil {
		return err.Error()
	}
	words := make([]string, len(diff))
	for i, d := range diff {
		if words[i] = d.Field + ": " + d.Before + " → " + d.After; c.Before == nil {
			words[i] = d.Field + ": " + d.After
		}
	}
	text := strings.Join(words, "; ")
	if c.Before == nil {
		text = "新增 / new: " + text
	}
	return text
}

func newRegistryExpiring(flags *globalFlags) *cobra.Command {
	var within string
	cmd := &cobra.Command{
		Use: "expiring", Short: "即将到期的白名单 / whitelist entries that end soon",
		Example: "  fengsui registry expiring --within 30d", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := config.ParseDuration(within)
			if err != nil || d <= 0 {
				return usageError{fmt.Errorf("--within %q is no time such as 30d", within)}
			}
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				snap, err := reg.Snapshot(cmd.Context())
				if err != nil {
					return err
				}
				entries := snap.Expiring(time.Now(), d)
				if flags.json {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(entries)
				}
				rows := make([][]string, len(entries))
				for i := range entries {
					w := &entries[i]
					rows[i] = []string{when(w.Until), w.Unit, w.System, w.Key(), w.Reason}
				}
				return table(cmd.OutOrStdout(), []string{"到期 / until", "单位 / unit", "系统 / system", "条目 / entry", "事由 / reason"}, rows)
			})
		},
	}
	cmd.Flags().StringVar(&within, "within", "30d", "how far ahead to look")
	return cmd
}

func newRegistryState(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "state SYSTEM STATE", Short: "变更信息系统状态 / take an information system to the next state of its life",
		Long: `状态：applied 申请、registered 登记、changed 变更、suspended 暂停、retired 注销；只许合法的流转。
States: applied, registered, changed, suspended, retired. Only a legal step is
taken; the error says which are.`,
		Example: "  fengsui registry state portal suspended", Args: exactArgs(2, "the code of a system and a state"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				s, err := reg.System(cmd.Context(), args[0])
				if err != nil {
					return wrongUse(err)
				}
				before := s.State
				s.State = schemas.SystemState(args[1])
				if _, err := reg.Put(cmd.Context(), me(), &registry.Content{Systems: []registry.System{*s}}); err != nil {
					if errors.Is(err, registry.ErrInvalid) {
						err = fmt.Errorf("%w; next may be %v", err, registry.NextStates(before))
					}
					return wrongUse(err)
				}
				return out(cmd, flags, map[string]any{"system": s.Code, "before": before, "state": s.State}, fmt.Sprintf("%s: %s → %s", s.Code, before, s.State))
			})
		},
	}
}

func newRegistryRequests(flags *globalFlags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "requests", Short: "待审批的白名单申请 / requests for the whitelist that wait for a decision",
		Example: "  fengsui registry requests", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state := registry.RequestPending
			if all {
				state = ""
			}
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				requests, err := reg.Requests(cmd.Context(), state)
				if err != nil {
					return err
				}
				if flags.json {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(requests)
				}
				rows := make([][]string, len(requests))
				for i := range requests {
					q := &requests[i]
					what := q.Entry.Key()
					if q.Remove {
						what = "撤销 / remove " + what
					}
					rows[i] = []string{q.ID, when(q.Asked), q.AskedBy, q.Entry.Unit, what, q.Entry.Reason, string(q.State), q.DecidedBy, q.Note}
				}
				return table(cmd.OutOrStdout(), []string{"编号 / id", "时间 / asked", "申请人 / by", "单位 / unit", "内容 / what", "事由 / reason", "状态 / state", "审批人 / decided by", "意见 / note"}, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that are decided")
	return cmd
}

func newRegistryDecide(flags *globalFlags) *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use: "decide ID approved|refused", Short: "审批白名单申请 / approve or refuse a request for the whitelist",
		Example: "  fengsui registry decide 7QKX… refused --note 端口不应对外", Args: exactArgs(2, "an id, and approved or refused"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRegistry(cmd, flags, func(reg *registry.Registry) error {
				by := registry.User{Name: me(), Role: registry.RoleAdmin} // who may read the database may decide
				q, err := reg.Decide(cmd.Context(), by, args[0], registry.RequestState(args[1]), note)
				if err != nil {
					return wrongUse(err)
				}
				return out(cmd, flags, q, fmt.Sprintf("%s: %s", q.Entry.Key(), q.State))
			})
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "why")
	return cmd
}
