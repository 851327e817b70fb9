package parse_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"fengsui/analyzer/assets"
	"fengsui/analyzer/mining"
	"fengsui/analyzer/parse"
	poolsof "fengsui/rules/mining"
	"fengsui/schemas"
)

// TestFlowsFeed: a flow alone shows a service on the map, and a connection to a
// pool, as a record of Zeek's would.
func TestFlowsFeed(t *testing.T) {
	read := func(line string) *schemas.Event {
		t.Helper()
		ev := &schemas.Event{Original: line}
		ev.Format, ev.Stream, ev.Received = "flow", "s", time.Date(2026, 11, 22, 9, 0, 10, 0, time.UTC)
		if err := parse.Parse(ev); err != nil {
			t.Fatal(err)
		}
		return ev
	}
	internal := func(a netip.Addr) bool { return a.IsPrivate() }
	f := func(line, want string) {
		t.Helper()
		got := ""
		for _, o := range assets.FromEvent(read(line), internal, assets.NewRecent(10, time.Minute)) {
			got += string(o.Kind) + " " + netip.AddrPortFrom(o.IP, uint16(o.Port)).String() //nolint:gosec // a port
		}
		if got != want {
			t.Errorf("%s\nobserved %q, want %q", line, got, want)
		}
	}
	answer := `{"source.ip":"10.2.0.1","source.port":3306,"source.packets":3,"destination.ip":"10.1.0.6","destination.port":50123,"network.transport":"tcp","labels.tcp_flags":"FSPA"}`
	f(answer, string(schemas.ObservedPort)+" 10.2.0.1:3306")
	f(strings.Replace(answer, "FSPA", "RA", 1), "") // refused
	f(`{"source.ip":"10.1.0.6","source.port":50123,"source.packets":3,"destination.ip":"10.2.0.1","destination.port":3306,"network.transport":"tcp","labels.tcp_flags":"FSPA"}`, "")

	k, err := poolsof.Load()
	if err != nil {
		t.Fatal(err)
	}
	kinds := ""
	pool := `{"source.ip":"8.8.4.4","source.port":3333,"source.packets":9,"destination.ip":"10.1.0.6","destination.port":50124,"network.transport":"tcp","labels.tcp_flags":"SPA"}`
	for _, e := range mining.New(k).Examine(read(pool)) {
		kinds += string(e.Kind)
	}
	if kinds != string(schemas.PoolPort) {
		t.Errorf("a flow back from a pool's port is evidence of %q", kinds)
	}
}
