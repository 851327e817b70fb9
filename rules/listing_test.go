package rules

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fengsui/schemas"
)

var update = flag.Bool("update", false, "write docs/manual/shipped-rules.md anew")

const listing = "../docs/manual/shipped-rules.md"

// TestListing: the manual's table of shipped rules is what is shipped. After a
// change: go test ./rules -run Listing -update
func TestListing(t *testing.T) {
	rs, errs := Shipped()
	for _, e := range errs {
		t.Fatal(e)
	}
	want := listRules(rs)
	if *update {
		if err := os.WriteFile(listing, []byte(want), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(listing)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: go test ./rules -run Listing -update", filepath.Base(listing))
	}
}

// listRules is the manual's page: a table for each folder.
func listRules(rs []*Rule) string {
	bases := map[string]bool{} // by id or name: what only feeds correlations
	for _, r := range rs {
		if r.Correlation != nil && !r.Correlation.Generate {
			for _, ref := range r.Correlation.Rules {
				bases[ref.Rule] = true
			}
		}
	}
	var alerting []*Rule
	correlations := 0
	for _, r := range rs {
		if r.Level == schemas.Informational && (bases[r.ID] || bases[r.Name]) {
			continue
		}
		if r.Level == schemas.Informational {
			continue // a base of correlations that generate
		}
		alerting = append(alerting, r)
		if r.Correlation != nil {
			correlations++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Shipped rules / 内置规则

%d rules that alert, %d of them correlations; %d more only feed correlations. This page is made from `+"`rules/sigma`"+` (`+"`go test ./rules -run Listing -update`"+`), which holds each rule with its description, false positives, references and samples.
共 %d 条告警规则（其中关联规则 %d 条），另有 %d 条仅供关联。本页由规则文件生成；说明、误报、依据与样例见各规则文件。

Levels: **critical** act now; **high** look today; **medium** look in the order of assets; **low** is context. 级别：critical 立即处置，high 当日核查，medium 按资产重要性核查，low 为线索。
`, len(alerting), correlations, len(rs)-len(alerting), len(alerting), correlations, len(rs)-len(alerting))
	slices.SortStableFunc(alerting, func(x, y *Rule) int {
		return strings.Compare(x.File, y.File)
	})
	folder := ""
	for _, r := range alerting {
		if f := filepath.Base(filepath.Dir(r.File)); f != folder {
			folder = f
			fmt.Fprintf(&b, "\n## %s\n\n| 规则 / rule | level | ATT&CK | kind | file, id |\n|---|---|---|---|---|\n", folder)
		}
		zh, en, _ := strings.Cut(r.Title, " / ")
		kind := "event"
		if r.Correlation != nil {
			kind = string(r.Correlation.Type)
		}
		fmt.Fprintf(&b, "| %s<br>%s | %s | %s | %s | `%s`<br>`%s` |\n", cell(zh), cell(en), r.Level, techniques(r), kind,
			strings.TrimSuffix(filepath.Base(r.File), ".yml"), r.ID)
	}
	return b.String()
}

// techniques are the ATT&CK techniques and CVE numbers among a rule's tags, or
// its tactics where it has none.
func techniques(r *Rule) string {
	var out, tactics []string
	for _, tag := range r.Tags {
		switch name, ok := strings.CutPrefix(tag, "attack."); {
		case ok && strings.HasPrefix(name, "t1"):
			out = append(out, strings.ToUpper(name))
		case ok:
			tactics = append(tactics, name)
		case strings.HasPrefix(tag, "cve."):
			out = append(out, "CVE-"+strings.TrimPrefix(tag, "cve."))
		}
	}
	if len(out) == 0 {
		out = tactics
	}
	return strings.Join(out, ", ")
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
