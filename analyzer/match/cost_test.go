package match

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// A rule that costs more than all others is seen by name, and goes on matching.
func TestCosts(t *testing.T) {
	var text strings.Builder
	for i := range 20 {
		fmt.Fprintf(&text, "title: cheap\nid: cheap%d\nlogsource: {product: fengsui}\ndetection: {s: {user.name: u%d}, condition: s}\n---\n", i, i)
	}
	text.WriteString(`
title: dear
id: dear
logsource: {product: fengsui}
detection: {s: {message|re: '(a|b)*a(a|b){18}c'}, condition: s}
`)
	e, problems := Compile(parseRules(t, text.String()), Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if costs, timed := e.Costs(); len(costs) != 0 || timed != 0 {
		t.Errorf("before any event: %v, %v", costs, timed)
	}
	random := rand.New(rand.NewPCG(1, 2))
	unlike := make([]byte, 1000)
	hits := 0
	for i := range 40 * timedEvery {
		for k := range unlike { // what no automaton has seen
			unlike[k] = "ab"[random.IntN(2)]
		}
		unlike[len(unlike)-19] = 'a'
		e.Match(event(t, fmt.Sprintf(`{"message":"%d %sc","user.name":"u1"}`, i, unlike)), func(h Hit) {
			if h.Rule.Rule.ID == "dear" {
				hits++
			}
		})
	}
	costs, timed := e.Costs()
	if len(costs) == 0 || costs[0].Rule.ID != "dear" || costs[0].Share < 0.5 || costs[0].Share > 1 || timed <= 0 {
		t.Errorf("costs %v of %v", costs, timed)
	}
	if hits != 40*timedEvery {
		t.Errorf("%d hits", hits)
	}
	if costs, _ := e.Costs(); len(costs) != 0 {
		t.Errorf("told twice: %v", costs)
	}
}
