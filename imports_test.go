// Package fengsui has no code: it is the place of the tests of the whole tree.
package fengsui

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed is who may import whom: a room, and the rooms that it stands on beside
// itself. cmd may import everything.
var allowed = map[string][]string{
	"schemas":   {},
	"internal":  {"schemas"},
	"rules":     {"schemas"},
	"registry":  {"internal", "schemas"},
	"collector": {"internal", "schemas"},
	"scanner":   {"internal", "schemas"},
	"analyzer":  {"internal", "schemas", "rules", "registry"},
	"console":   {"internal", "schemas", "rules", "registry"},
}

// pure are the packages of judgement: they never reach a topic, a database or
// the network.
var pure = []string{
	"fengsui/analyzer/parse", "fengsui/analyzer/match", "fengsui/analyzer/correlate", "fengsui/analyzer/mining",
	"fengsui/analyzer/assets", "fengsui/analyzer/drift", "fengsui/analyzer/marks", "fengsui/analyzer/mask", "fengsui/analyzer/tune", "fengsui/analyzer/trial", "fengsui/rules/tuning", "fengsui/analyzer/geo", "fengsui/analyzer/useragent", "fengsui/internal/directory", "fengsui/internal/query", "fengsui/internal/graph", "fengsui/internal/hours", "fengsui/scanner/queue", "fengsui/analyzer/annotate",
}

var impure = []string{"fengsui/internal/kafka", "fengsui/internal/clickhouse", "database/sql", "net/http", "os/exec"}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Fields(string(out))
}

// room is the top-level folder of one of our packages, "" for another's.
func room(pkg string) string {
	rest, ours := strings.CutPrefix(pkg, "fengsui/")
	if !ours {
		return ""
	}
	top, _, _ := strings.Cut(rest, "/")
	return top
}

func TestWhoMayImportWhom(t *testing.T) {
	for _, pkg := range list(t, "./...") {
		from := room(pkg)
		stands, known := allowed[from]
		if from == "" || from == "cmd" {
			continue
		}
		if !known {
			t.Errorf("%s is in no room of the house", pkg)
			continue
		}
		for _, dep := range list(t, "-deps", pkg) {
			if to := room(dep); to != "" && to != from && !slices.Contains(stands, to) {
				t.Errorf("%s imports %s: %s may stand on %v only", pkg, dep, from, stands)
			}
		}
	}
}

// TestJudgementIsPure follows imports, but for those of the public suffix list:
// it names net/http/cookiejar for an interface that it satisfies, and opens
// nothing.
func TestJudgementIsPure(t *testing.T) {
	imports := map[string][]string{}
	for _, line := range list(t, append([]string{"-deps", "-f", "{{.ImportPath}}{{range .Imports}},{{.}}{{end}}"}, pure...)...) {
		names := strings.Split(line, ",")
		imports[names[0]] = names[1:]
	}
	imports["golang.org/x/net/publicsuffix"] = nil
	for _, pkg := range pure {
		seen := map[string]bool{}
		var follow func(string)
		follow = func(name string) {
			if seen[name] {
				return
			}
			seen[name] = true
			for _, i := range imports[name] {
				follow(i)
			}
		}
		follow(pkg)
		for _, bad := range impure {
			if seen[bad] {
				t.Errorf("%s reaches %s", pkg, bad)
			}
		}
	}
}

// TestOnlySynNeedsC holds that the main binary and the sweep helper are built
// without cgo and without naabu, whose import alone opens sockets.
func TestOnlySynNeedsC(t *testing.T) {
	for _, program := range []string{"./cmd/fengsui", "./cmd/fengsui-sweep"} {
		for _, dep := range list(t, "-deps", program) {
			if strings.HasPrefix(dep, "github.com/projectdiscovery/naabu") || strings.HasPrefix(dep, "github.com/gopacket/gopacket/pcap") && dep != "github.com/gopacket/gopacket/pcapgo" {
				t.Errorf("%s reaches %s", program, dep)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}\t{{.Doc}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, doc, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if doc == "" && pkg != "fengsui" { // which has these tests alone
			t.Errorf("%s has no package comment", pkg)
		}
	}
}
