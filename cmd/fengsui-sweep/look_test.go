package main

import (
	"net/netip"
	"testing"

	"fengsui/scanner/live"
)

// What the kernel says of a neighbour passes: readings of its table, one after
// the other, and what is to be held of the neighbour after them.
func TestLearn(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	const mac, other = "02:00:00:00:00:01", "02:00:00:00:00:02"
	nothing := live.Neighbour{}
	asking := live.Neighbour{Pending: true}
	failed := live.Neighbour{Failed: true}
	reachable := live.Neighbour{MAC: mac, Reachable: true}
	stale := live.Neighbour{MAC: mac}
	doubted := live.Neighbour{MAC: mac, Pending: true}
	absent := live.Neighbour{MAC: "absent from the table"}
	f := func(name string, want live.Neighbour, readings ...live.Neighbour) {
		t.Helper()
		known := map[netip.Addr]live.Neighbour{}
		var pending bool
		for _, r := range readings {
			table := map[netip.Addr]live.Neighbour{netip.MustParseAddr("192.0.2.2"): asking}
			if r != absent {
				table[ip] = r
			}
			pending = learn(known, []netip.Addr{ip}, table)
		}
		if known[ip] != want || pending != want.Pending {
			t.Errorf("%s: %+v, pending %v, want %+v", name, known[ip], pending, want)
		}
	}
	f("never asked", nothing, absent, absent)
	f("asked, and undecided", asking, absent, asking)
	f("nobody answers", failed, absent, asking, failed)
	f("nobody answers, and a full table forgets him", failed, asking, absent, absent)
	f("somebody answers", reachable, asking, reachable)
	f("he who was known of old answers", reachable, stale, doubted, reachable)
	f("he who was known of old no longer answers", failed, stale, doubted, failed)
	f("known of old and not asked", stale, stale, stale)
	f("known of old, and undecided", doubted, stale, doubted)
	f("he answered a moment ago and is doubted again", reachable, reachable, doubted)
	f("he answered a moment ago and nobody wants him", reachable, reachable, stale)
	f("he answered and is gone", failed, reachable, doubted, failed)
	f("he answered and the table forgot him", reachable, reachable, absent)
	f("another has his address now", live.Neighbour{MAC: other, Pending: true}, reachable, live.Neighbour{MAC: other, Pending: true})
	f("gone, and back", reachable, failed, asking, reachable)
}
