package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/internal/clickhouse"
	"fengsui/internal/graph"
	"fengsui/schemas"
)

// errNoAsset is what a look for one thing ends with.
var errNoAsset = errors.New("地图中没有此项，或当时没有 / there is, or was then, no such thing in the map")

func newAssetShow(flags *globalFlags) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "show KEY", Short: "查看一项资产，可看过去某时 / show one asset, as it is or was at a time",
		Example: "  fengsui assets show service/192.0.2.1/tcp/443\n  fengsui assets show domain/www.example.edu.cn --at 7d",
		Args:    exactArgs(1, "an asset's key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			when, err := pastMoment(at)
			if err != nil {
				return err
			}
			return withStore(cmd, flags, func(_ *Config, db *clickhouse.DB) error {
				found, err := db.AssetsAt(cmd.Context(), args, when)
				if err != nil {
					return err
				}
				a, ok := found[args[0]]
				if !ok {
					return errNoAsset
				}
				return out(cmd, flags, a, assetText(&a))
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "过去的时刻或多久以前 / a past time, such as 2026-09-01T08:00:00+08:00, or an age such as 7d")
	return cmd
}

func newAssetHistory(flags *globalFlags) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "history KEY", Short: "一项资产的历次变化 / what one asset was, the latest first",
		Example: "  fengsui assets history host/192.0.2.1",
		Args:    exactArgs(1, "an asset's key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 || limit > 10_000 {
				return usageError{fmt.Errorf("--limit 应为 1 至 10000 / --limit %d is not between 1 and 10000", limit)}
			}
			return withStore(cmd, flags, func(_ *Config, db *clickhouse.DB) error {
				versions, err := db.AssetHistory(cmd.Context(), args[0], limit)
				if err != nil {
					return err
				}
				if len(versions) == 0 {
					return errNoAsset
				}
				return show(cmd, flags, versions, []string{"SINCE", "UNTIL", "ALIVE", "UNIT", "LAST SEEN", "WHAT"}, func(v *schemas.AssetVersion) []string {
					return []string{when(v.Since), when(v.Until), strconv.FormatBool(v.Alive), v.Unit, when(v.Last), assetWhat(&v.Asset)}
				})
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "versions at most")
	return cmd
}

func newGraph(flags *globalFlags) *cobra.Command {
	var (
		at string
		q  graph.Query
	)
	cmd := &cobra.Command{
		Use: "graph KEY", Short: "资产关系图：某项周围有什么，谁看见的 / what is around a thing of the map, and who saw it",
		Long: `资产关系图。KEY 为资产的键，或 certificate/SHA256、technology/名称、unit/代码、system/代码、network/网段。
每条关系列出证据：来源、次数、首次与末次。--past 连已经结束的关系也列出。
The map as a graph. KEY is an asset's key, or certificate/SHA256, technology/NAME,
unit/CODE, system/CODE or network/PREFIX. Each edge has its evidence: the source,
how often, first and last. With --past also what has ended.`,
		Example: "  fengsui graph domain/www.example.edu.cn --depth 2\n  fengsui graph host/192.0.2.1 --at 30d --json",
		Args:    exactArgs(1, "a key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			when, err := pastMoment(at)
			if err != nil {
				return err
			}
			if q.Depth < 1 || q.Depth > graph.MaxDepth || q.MaxNodes < 1 || q.MaxNodes > graph.MaxNodes {
				return usageError{fmt.Errorf("--depth 应为 1 至 %[1]d，--limit 应为 1 至 %[2]d / --depth is 1 to %[1]d, --limit 1 to %[2]d", graph.MaxDepth, graph.MaxNodes)}
			}
			q.Key = args[0]
			return withStore(cmd, flags, func(cfg *Config, db *clickhouse.DB) error {
				snap, err := registryAt(cmd.Context(), cfg, when)
				if err != nil {
					return err
				}
				if q.At = when; when.IsZero() {
					q.At = time.Now()
				}
				g, err := graph.Around(cmd.Context(), db, snap, q)
				if errors.Is(err, graph.ErrNotFound) {
					return errNoAsset
				}
				if err != nil {
					return err
				}
				if flags.json {
					return out(cmd, flags, g, "")
				}
				printGraph(cmd.OutOrStdout(), g)
				return nil
			})
		},
	}
	cmd.Flags().IntVar(&q.Depth, "depth", 1, "how many steps it goes, 1 to 3")
	cmd.Flags().IntVar(&q.MaxNodes, "limit", graph.DefaultNodes, "things at most; the nearest are shown")
	cmd.Flags().BoolVar(&q.Past, "past", false, "also what had ended by then")
	cmd.Flags().StringVar(&at, "at", "", "过去的时刻或多久以前 / a past time, such as 2026-09-01T08:00:00+08:00, or an age such as 7d")
	return cmd
}

// pastMoment is the time that is asked for, zero for now.
func pastMoment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := moment(text, time.Now())
	if err != nil {
		return at, usageError{fmt.Errorf("--at: %w", err)}
	}
	if at.After(time.Now()) {
		return at, usageError{fmt.Errorf("--at: %s 尚未到来，只能查看过去的状态 / %[1]s is still to come: only the past can be shown", text)}
	}
	return at, nil
}

// assetText is an asset for a reader, a line a thing that is known of it.
func assetText(a *schemas.Asset) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, printable(value))
		}
	}
	b.WriteString(printable(a.Key) + "\n")
	line("unit", a.Unit)
	line("alive", strconv.FormatBool(a.Alive))
	line("since", when(a.Since))
	line("first", when(a.First))
	line("last", when(a.Last))
	line("sources", strings.Join(a.Sources, ", "))
	line("name", a.Name)
	line("mac", a.MAC)
	line("names", strings.Join(a.Names, ", "))
	for _, r := range a.Records {
		line(r.Type, strings.Join(r.Values, ", "))
	}
	if s := a.Service; s != nil {
		line("service", strings.TrimSpace(s.Name+" "+s.Product+" "+s.Version))
		line("os", s.OS)
		line("banner", s.Banner)
		for _, t := range s.Technologies {
			line("technology", strings.TrimSpace(t.Name+" "+t.Version))
		}
		for _, e := range s.Exposures {
			line("exposure", string(e.Kind)+": "+e.Evidence)
		}
		if t := s.TLS; t != nil {
			line("tls", strings.TrimSpace(t.Version+" "+t.Subject))
			line("sha256", t.SHA256)
		}
		if h := s.HTTP; h != nil {
			line("http", strings.TrimSpace(strconv.Itoa(h.Status)+" "+h.Title))
			line("server", h.Server)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// assetWhat is what there is to say of an asset in one line.
func assetWhat(a *schemas.Asset) string {
	switch a.Kind {
	case schemas.AssetHost:
		return strings.TrimSpace(a.Name + " " + a.MAC + " " + strings.Join(a.Names, ","))
	case schemas.AssetDomain:
		parts := make([]string, len(a.Records))
		for i, r := range a.Records {
			parts[i] = r.Type + " " + strings.Join(r.Values, ",")
		}
		return strings.Join(parts, "; ")
	}
	s := a.Service
	if s == nil {
		return ""
	}
	what := strings.TrimSpace(s.Name + " " + s.Product + " " + s.Version)
	if s.HTTP != nil && s.HTTP.Title != "" {
		what += " “" + s.HTTP.Title + "”"
	}
	return what
}

// printGraph writes a graph as a tree: each thing where it is reached first, and
// under it what leads on; an edge to what stands elsewhere is a line of its own.
func printGraph(w io.Writer, g *graph.Graph) {
	nodes := map[string]*graph.Node{}
	at := map[string][]*graph.Link{}
	for i := range g.Nodes {
		nodes[g.Nodes[i].Key] = &g.Nodes[i]
	}
	for i := range g.Links {
		l := &g.Links[i]
		at[l.From] = append(at[l.From], l)
		at[l.To] = append(at[l.To], l)
	}
	printed, drawn := map[string]bool{g.Root: true}, map[*graph.Link]bool{}
	fmt.Fprintln(w, nodeText(nodes[g.Root]))
	var branch func(key, indent string)
	branch = func(key, indent string) {
		links := slices.DeleteFunc(slices.Clone(at[key]), func(l *graph.Link) bool { return drawn[l] })
		for _, l := range links {
			drawn[l] = true
		}
		for i, l := range links {
			fork, next := "├─", "│  "
			if i == len(links)-1 {
				fork, next = "└─", "   "
			}
			other, arrow := l.To, string(l.Kind)+" →"
			if l.To == key {
				other, arrow = l.From, "← "+string(l.Kind)
			}
			text := printable(other)
			deeper := !printed[other] && nodes[other].Depth > nodes[key].Depth
			if deeper {
				text = nodeText(nodes[other])
			}
			fmt.Fprintf(w, "%s%s %s %s%s\n", indent, fork, arrow, text, evidenceText(l))
			if deeper {
				printed[other] = true
				branch(other, indent+next)
			}
		}
	}
	branch(g.Root, "")
	if g.More > 0 {
		fmt.Fprintf(w, "另有 %d 项未列出 / %d more are not shown\n", g.More, g.More)
	}
}

func nodeText(n *graph.Node) string {
	parts := []string{n.Key}
	if n.Title != "" {
		parts = append(parts, n.Title)
	}
	if a := n.Asset; a != nil {
		if what := assetWhat(a); what != "" && a.Kind == schemas.AssetService {
			parts = append(parts, what)
		}
		if !a.Alive {
			parts = append(parts, "（不在 / gone）")
		}
	}
	if n.Unit != "" && n.Kind != "unit" {
		parts = append(parts, "〔"+n.Unit+"〕")
	}
	return printable(strings.Join(parts, " "))
}

func evidenceText(l *graph.Link) string {
	var b strings.Builder
	for _, e := range l.Evidence {
		b.WriteString("  [" + printable(e.Source))
		if e.Count > 0 {
			fmt.Fprintf(&b, " ×%d %s – %s", e.Count, when(e.First), when(e.Last))
		}
		b.WriteString("]")
	}
	if !l.Current {
		b.WriteString("  （已结束 / ended）")
	}
	return b.String()
}
