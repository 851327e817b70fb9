package scanner

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"fengsui/internal/directory"
	"fengsui/internal/hours"
	"fengsui/schemas"
)

// Outside its hours a network gets neither a connection nor a datagram, also where
// a shard is at work when they end: each is asked about when it is sent.
func TestHoursHoldForEveryPacket(t *testing.T) {
	there, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = there.Close() }()
	at := there.LocalAddr().(*net.UDPAddr).AddrPort()
	f := func(from, to int, want error) {
		t.Helper()
		now := time.Now().In(hours.Zone)
		clock := func(later int) string { return fmt.Sprintf("%02d:00", (now.Hour()+later+24)%24) }
		snap, err := directory.NewSnapshot([]schemas.Unit{{Code: "u1", Name: "示例大学", Level: schemas.University}},
			[]schemas.Network{{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Unit: "u1", Scan: true, Hours: clock(from) + "-" + clock(to)}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		looker, err := NewLooker(DefaultConfig(), Deps{})
		if err != nil {
			t.Fatal(err)
		}
		k := &look{Looker: looker, task: &schemas.ScanTask{Job: "j", Shard: "1"}, snap: snap}
		if err := k.allowed(t.Context(), "connection", at.Addr()); !errors.Is(err, want) {
			t.Errorf("a connection: %v, want %v", err, want)
		}
		if _, err := k.askOne(t.Context(), at); !errors.Is(err, want) {
			t.Errorf("a datagram: %v, want %v", err, want)
		}
	}
	f(-1, 2, nil)
	f(2, 4, directory.ErrOutOfHours)
}
