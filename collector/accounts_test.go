package collector

import (
	"fmt"
	"testing"
	"time"

	"fengsui/collector/input"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// Sources that somebody makes up do not take memory without bound, and their
// lines are still counted.
func TestAccountsAreBounded(t *testing.T) {
	a, in := newAccounts(), &InputConfig{Name: "udp", Unit: "41"}
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for i := range maxAccounts + 500 {
		a.received(runsOf(in, []input.Line{{Source: fmt.Sprint(i), Value: []byte("xyz"), Received: at, Reject: "short"}}), 1)
	}
	all := a.all()
	var sum int64
	for _, acc := range all {
		if sum += acc.Received; acc.Source == Others && (acc.Received != 500 || acc.Bytes != 1500 || acc.Rejected != 500 || acc.Queued != 500 || !acc.Last.Equal(at)) {
			t.Errorf("%+v", acc)
		}
	}
	if len(all) != maxAccounts+1 || sum != maxAccounts+500 {
		t.Errorf("%d accounts of %d lines", len(all), sum)
	}
}

// A line's own unit goes before its input's, in the books as in the record.
func TestAccountsOfUnits(t *testing.T) {
	a, in := newAccounts(), &InputConfig{Name: "http", Unit: "41"}
	lines := []input.Line{{Source: "s", Unit: "4101"}, {Source: "s"}, {Source: "s"}, {Source: "s", Unit: "4101"}}
	runs := runsOf(in, lines)
	a.received(runs, 1)
	header := func(unit string) kafka.Record {
		return kafka.Record{Key: []byte("s"), Headers: []schemas.Header{{Key: schemas.HeaderInput, Value: []byte("http")}, {Key: schemas.HeaderUnit, Value: []byte(unit)}}}
	}
	refused := header("41")
	a.refused(&refused, true)
	a.delivered(runs, []kafka.Record{header("4101")}, []kafka.Record{header("41")})
	want := []Account{
		{Input: "http", Unit: "41", Source: "s", Received: 2, Lost: 2},
		{Input: "http", Unit: "4101", Source: "s", Received: 2, Shipped: 1, Spooled: 1},
	}
	got := a.all()
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v", got)
	}
}
