package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
)

func thisMachine() machine {
	return machine{
		CPU: field("/proc/cpuinfo", "model name\t: "), Processors: runtime.NumCPU(), Memory: field("/proc/meminfo", "MemTotal:"),
		OS: strings.Trim(field("/etc/os-release", "PRETTY_NAME="), `"`), Go: runtime.Version(), LoadBefore: load(),
	}
}

// field is the rest of the first line of a file that begins with a name, "" if
// there is none.
func field(path, name string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	return strings.TrimSpace(string(text))
}

func (r *results) markdown(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%d × %s, %s, %s, %s; load before %q, after %q; %d s in all.\n\n", m.Processors, m.CPU, m.Memory, m.OS, m.Go, m.LoadBefore, m.LoadAfter, m.Seconds)
	fmt.Fprintf(w, "fengsui, whole files, from JSON bytes (events/s)\n\n")
	fmt.Fprintf(w, "| events | rule files | rules | workers | cold | warm | parsed whole | candidates an event | compile s | compile MB | values seen MB |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range r.Ours {
		f := c.Median
		fmt.Fprintf(w, "| %s | %d | %d | %d | %.0f | %.0f | %.0f | %.2f | %.2f | %.0f | %.0f |\n",
			c.Events, c.Files, f.Rules, c.CPUs, f.Cold, f.Warm, f.Parsed, f.Candidates, f.CompileS, mb(f.Compile), mb(f.WarmBytes))
	}
	fmt.Fprintf(w, "\n| events | warm, all rules / 100 rules | warm, two workers / one | cold, two workers / one |\n|---|---|---|---|\n")
	for _, events := range eventFiles {
		few, all, two := r.ours(events, false, 1), r.ours(events, true, 1), r.ours(events, true, 2)
		fmt.Fprintf(w, "| %s | %.2f | %.2f | %.2f |\n", events, all.Warm/few.Warm, two.Warm/all.Warm, two.Cold/all.Cold)
	}
	fmt.Fprintf(w, "\nPeers, every %d-th event (events/s: matching alone / decoding with encoding/json included)\n\n", *every)
	fmt.Fprintf(w, "| engine | events | sample | rule files | loaded | load s | load MB | routed | rules tried an event | every rule tried | rules that failed at run time |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i := 0; i+1 < len(r.Peers); i += 2 {
		routed, tried := r.Peers[i], r.Peers[i+1]
		fmt.Fprintf(w, "| %s | %s | %d | %d | %d | %.2f | %.0f | %.0f / %.0f | %.0f | %.0f / %.0f | %d |\n", routed.Engine, routed.Events, routed.Sample,
			routed.Files, routed.Loaded, routed.LoadS, mb(routed.Bytes), routed.FromMap, routed.FromRaw, routed.Tried, tried.FromMap, tried.FromRaw, sum(tried.RunFails))
	}
	fmt.Fprintf(w, "\nWhy rules fail, all rules\n\n| engine | when | rules | reason |\n|---|---|---|---|\n")
	var last peerCell
	for _, c := range r.Peers {
		if c.Files < r.Peers[len(r.Peers)-1].Files || c.Routed || c.Events != eventFiles[0] {
			continue
		}
		if !maps.Equal(c.Failed, last.Failed) { // two ways of one engine fail alike
			counted(w, c.Failed, c.Engine+" | load")
		}
		counted(w, c.RunFails, c.Engine+" | run")
		last = c
	}
	fmt.Fprintf(w, "\nMatches, pairs of event and rule, routed, every %d-th event\n\n| engine | events | sample | fengsui | theirs | both | only fengsui | only theirs |\n|---|---|---|---|---|---|---|---|\n", *check)
	for _, a := range r.Agree {
		fmt.Fprintf(w, "| %s | %s | %d | %d | %d | %d | %d | %d |\n", a.Engine, a.Events, a.Sample, a.Ours, a.Theirs, a.Both, sum(a.Missing), sum(a.Extra))
	}
	fmt.Fprintf(w, "\n| engine, events | difference | pairs | what is known of the rules |\n|---|---|---|---|\n")
	for _, a := range r.Agree {
		counted(w, a.Missing, a.Engine+", "+a.Events+" | only fengsui")
		counted(w, a.Extra, a.Engine+", "+a.Events+" | only theirs")
	}
}

// ours is the cell of a file, with the fewest rules or with all.
func (r *results) ours(events string, all bool, cpus int) ourFigures {
	var out ourCell
	for _, c := range r.Ours {
		if c.Events == events && c.CPUs == cpus && (out.Files == 0 || all == (c.Files > out.Files)) {
			out = c
		}
	}
	return out.Median
}

// counted writes a row for each reason, the commonest first.
func counted(w io.Writer, n map[string]int, first string) {
	names := slices.SortedFunc(maps.Keys(n), func(a, b string) int { return cmp.Or(cmp.Compare(n[b], n[a]), cmp.Compare(a, b)) })
	for _, name := range names {
		fmt.Fprintf(w, "| %s | %d | %s |\n", first, n[name], strings.ReplaceAll(name, "|", `\|`))
	}
}

func sum(n map[string]int) (total int) {
	for _, v := range n {
		total += v
	}
	return total
}

func mb(bytes uint64) float64 { return float64(bytes) / (1 << 20) }
