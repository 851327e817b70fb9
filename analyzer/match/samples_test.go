package match

import (
	"strings"
	"testing"

	"fengsui/internal/testkit/race"
	"fengsui/rules"
)

// On the samples of all rules that are shipped, the engine and the oracle agree.
// Whether the rules fire as they should is trial's test.
func TestOracleOnSamples(t *testing.T) {
	race.SkipPure(t)
	rs, _ := rules.Shipped()
	e, _ := Compile(rs, Options{})
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
		for _, s := range append(samples.Fires, samples.Silent...) {
			compareWithOracle(t, e, s.Event, func() string { return string(s.Event.AppendJSON(nil)) })
		}
	}
}
