package match

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"fengsui/rules"
	"fengsui/schemas"
)

// Every rule that is shipped loads, says what a person needs, fires on its
// samples and keeps silent on its near misses.
func TestShipped(t *testing.T) {
	rs, errs := rules.Shipped()
	for _, e := range errs {
		t.Error(e)
	}
	e, problems := Compile(rs, Options{})
	for _, p := range problems {
		t.Error(p)
	}
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)
	byFile := map[string]map[string]bool{} // file -> rule that is reported -> seen
	for _, r := range rs {
		if !uuid.MatchString(r.ID) {
			t.Errorf("%s:%d: id %q is no UUID", r.File, r.Line, r.ID)
		}
		zh, en, ok := strings.Cut(r.Title, " / ")
		if !ok || !strings.ContainsFunc(zh, isHan) || strings.ContainsFunc(en, isHan) {
			t.Errorf("%s:%d: the title %q is not Chinese / English", r.File, r.Line, r.Title)
		}
		if byFile[r.File] == nil {
			byFile[r.File] = map[string]bool{}
		}
	}
	for _, c := range e.Rules() {
		for _, as := range c.raises {
			r := as.Rule
			byFile[r.File][r.ID] = false
			if r.Level == schemas.Informational || len(r.Tags) == 0 || len(r.FalsePositives) == 0 {
				t.Errorf("%s:%d: a rule that alerts needs a level, tags and what else may cause it", r.File, r.Line)
			}
		}
	}
	for file, reported := range byFile {
		samples, err := rules.LoadSamples(rules.Files(), strings.TrimPrefix(file, "rules/"))
		if err != nil {
			t.Error(err)
			continue
		}
		fired := func(ev *schemas.Event) (names []string) {
			compareWithOracle(t, e, ev, func() string { return string(ev.AppendJSON(nil)) })
			e.Match(ev, func(h Hit) {
				if h.Rule.Rule.File != file {
					return
				}
				names = append(names, h.Rule.Rule.ID)
				reported[h.Rule.Rule.ID] = true
				if m := h.ToMatch(ev); len(m.Satisfied) == 0 || len(m.Group) == 0 || m.Summary == "" {
					t.Errorf("%s: a match must say why, of whom and what: %+v", file, m)
				}
			})
			return names
		}
		for _, ev := range samples.Fires {
			if len(fired(ev)) == 0 {
				t.Errorf("%s keeps silent on %s", file, ev.AppendJSON(nil))
			}
		}
		for id, seen := range reported {
			if !seen {
				t.Errorf("%s: no sample fires the rule %s", file, id)
			}
		}
		for _, ev := range samples.Silent {
			if names := fired(ev); len(names) > 0 {
				t.Errorf("%s: %v fires on %s", file, names, ev.AppendJSON(nil))
			}
		}
	}
	t.Logf("%d rules in %d files", len(rs), len(byFile))
}

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }
