package trial

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"fengsui/analyzer/match"
	"fengsui/rules"
	"fengsui/schemas"
)

// Every rule that is shipped loads, says what a person needs, fires on its
// samples and keeps silent on its near misses.
func TestShipped(t *testing.T) {
	report := TestFS(rules.Files(), "sigma", "rules/", match.Options{})
	for _, f := range report.Failures {
		t.Error(f)
	}
	rs, _ := rules.Shipped()
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)
	for _, r := range rs {
		if !uuid.MatchString(r.ID) {
			t.Errorf("%s:%d: id %q is no UUID", r.File, r.Line, r.ID)
		}
		zh, en, ok := strings.Cut(r.Title, " / ")
		if !ok || !strings.ContainsFunc(zh, isHan) || strings.ContainsFunc(en, isHan) {
			t.Errorf("%s:%d: the title %q is not Chinese / English", r.File, r.Line, r.Title)
		}
	}
	engine, problems := match.Compile(rs, match.Options{})
	for _, p := range problems {
		t.Error(p)
	}
	for _, r := range engine.Reported() {
		if r.Level == schemas.Informational || len(r.Tags) == 0 || len(r.FalsePositives) == 0 {
			t.Errorf("%s:%d: a rule that alerts needs a level, tags and what else may cause it", r.File, r.Line)
		}
	}
	t.Logf("%d rules in %d files, %d samples", report.Rules, report.Files, report.Samples)
}

// Every match of a shipped rule says why, of whom and what.
func TestShippedSayWhy(t *testing.T) {
	rs, _ := rules.Shipped()
	engine, _ := match.Compile(rs, match.Options{})
	seen := map[string]bool{}
	for _, r := range rs {
		if seen[r.File] {
			continue
		}
		seen[r.File] = true
		samples, err := rules.LoadSamples(rules.Files(), strings.TrimPrefix(r.File, "rules/"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples.Fires {
			engine.Match(s.Event, func(h match.Hit) {
				if m := h.ToMatch(s.Event); len(m.Satisfied) == 0 || len(m.Group) == 0 || m.Summary == "" {
					t.Errorf("%s:%d: %+v", s.File, s.Line, m)
				}
			})
		}
	}
}

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }
