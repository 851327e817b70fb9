package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

func campus(t *testing.T) *directory.Snapshot {
	t.Helper()
	inside := network("10.1.0.0/22", "a", true)
	inside.Exclude = []netip.Prefix{netip.MustParsePrefix("10.1.3.0/25")}
	return snapshot(t,
		[]schemas.Network{inside, network("10.1.1.0/24", "b", true), network("10.1.2.0/24", "a1", false), network("10.2.0.0/24", "b", true), network("fd00:1::/48", "a", true)},
		[]schemas.Domain{
			{Name: "a.example", Unit: "a", Scan: true, Exclude: []string{"vpn.a.example"}},
			{Name: "lab.a.example", Unit: "a", Scan: true},
			{Name: "b.a.example", Unit: "b", Scan: true},
			{Name: "off.example", Unit: "a"},
		},
		[]schemas.WhitelistEntry{
			{Kind: schemas.WhitelistPort, Host: netip.MustParsePrefix("10.1.0.9/32"), Port: 54321, Unit: "a"},
			{Kind: schemas.WhitelistDomain, Domain: "www.a.example", Unit: "a"},
		})
}

// Each shard of names says whose domains they are below.
func TestUnitsOfNames(t *testing.T) {
	tasks, err := Plan(campus(t), Request{Unit: "p", By: "t", Now: now, Ports: "22", Discover: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, task := range tasks {
		if len(task.Names) > 0 {
			got = append(got, fmt.Sprint(task.Kind, " ", task.Names[0], " ", task.Units))
		}
	}
	if want := "[names a.example [a b] discover a.example [a] discover b.a.example [b] discover lab.a.example [a]]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// What is asked for of a unit is looked at, and nothing else.
func TestScope(t *testing.T) {
	snap := campus(t)
	f := func(scope string, targets, names, zones string) {
		t.Helper()
		tasks, err := Plan(snap, Request{Unit: "a", Scope: strings.Fields(scope), By: "t", Now: now, Ports: "22", Discover: true})
		if err != nil {
			t.Errorf("%s: %v", scope, err)
			return
		}
		if got := tasks[0].Scope; !slices.Equal(got, strings.Fields(scope)) {
			t.Errorf("%s: the job says %v", scope, got)
		}
		var swept, asked, looked []string
		for _, task := range tasks {
			switch task.Kind {
			case schemas.TaskSweep:
				for _, p := range task.Targets {
					swept = append(swept, p.String())
				}
				if want := scope == "" || strings.Contains(scope, "10.1.0.0"); strings.Contains(task.Ports, "54321") != want {
					t.Errorf("%s: ports %s", scope, task.Ports)
				}
			case schemas.TaskNames:
				asked = append(asked, task.Names...)
			case schemas.TaskDiscover:
				looked = append(looked, task.Names[0])
			}
		}
		if got := strings.Join(swept, " "); got != targets {
			t.Errorf("%s: targets %s, want %s", scope, got, targets)
		}
		if got := strings.Join(asked, " "); got != names {
			t.Errorf("%s: names %s, want %s", scope, got, names)
		}
		if got := strings.Join(looked, " "); got != zones {
			t.Errorf("%s: zones %s, want %s", scope, got, zones)
		}
	}
	f("", "10.1.0.0/24 10.1.0.9/32 10.1.3.128/25", "a.example lab.a.example www.a.example", "a.example lab.a.example")
	f("10.1.0.5", "10.1.0.5/32", "", "")
	f("10.1.3.0/24 10.1.3.200", "10.1.3.128/25", "", "")
	f("10.1.0.0/16", "10.1.0.0/24 10.1.0.9/32 10.1.3.128/25", "", "")
	f("fd00:1::7", "fd00:1::7/128", "", "")
	f("A.Example.", "", "a.example lab.a.example www.a.example", "a.example lab.a.example")
	f("lab.a.example 10.1.0.5", "10.1.0.5/32", "lab.a.example", "lab.a.example")
	f("mail.a.example", "", "mail.a.example", "")
}

// What may not be looked at is refused, each thing with why.
func TestScopeRefuses(t *testing.T) {
	snap := campus(t)
	f := func(unit, scope string, field string, want ...string) {
		t.Helper()
		tasks, err := Plan(snap, Request{Unit: unit, Scope: strings.Split(scope, " "), By: "t", Now: now})
		var r *Refused
		if tasks != nil || !errors.As(err, &r) || r.Field != field {
			t.Errorf("%s: %v, %d tasks", scope, err, len(tasks))
			return
		}
		for _, text := range want {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v, want %q", scope, err, text)
			}
		}
	}
	f("a", "192.0.2.1", "scope", "192.0.2.1 is in no registered network", "192.0.2.1 不在已登记的网段内")
	f("a", "10.1.0.1 10.1.1.7 10.2.0.0/25", "scope", "10.1.1.7 is not of unit a", "10.2.0.0/25 is not of unit a")
	f("a", "10.1.2.0/24", "scope", "not authorised", "未授权")
	f("a", "10.1.3.4", "scope", "excluded", "排除")
	f("a", "fd00:1::/64", "scope", "too large")
	f("a", "::/0", "scope", "fd00:1::", "too large", "太大") // not: in no registered network
	f("a1", "10.1.2.0/23", "scope", "10.1.2.0/24, which is in 10.1.2.0/23, is not authorised", "未授权")
	f("a", "www.other.example", "scope", "below no registered domain")
	f("a", "x.b.a.example", "scope", "is not of unit a")
	f("a", "vpn.a.example", "scope", "excluded")
	f("a", "www.off.example", "scope", "off.example, which is not authorised")
	for _, bad := range []string{"10.1.0.0/33", "10.1.0", "host", "http://a.example", "fe80::1%eth0", "*.a.example", ""} {
		f("a", bad, "scope", fmt.Sprintf("%q is no address", bad))
	}
	f("a", strings.TrimSpace(strings.Repeat("10.1.0.1 ", maxScope+1)), "scope", "more than 64")
	f("nobody", "10.1.0.1", "unit", "台账中没有单位")
	if _, err := Plan(snap, Request{Unit: "a", Scope: []string{"10.1.2.1"}, By: "t", Now: now}); !errors.Is(err, directory.ErrOutOfScope) {
		t.Errorf("%v", err)
	}
}

func TestLeftOut(t *testing.T) {
	snap := campus(t)
	f := func(unit, scope, want string) {
		t.Helper()
		all, err := LeftOut(snap, unit, strings.Fields(scope))
		var got []string
		for _, l := range all {
			got = append(got, fmt.Sprintf("%s %s", l.What, l.Why))
		}
		if text := strings.Join(got, ", "); err != nil || text != want {
			t.Errorf("%s of %s: %s, %v, want %s", scope, unit, text, err, want)
		}
	}
	f("a", "", "10.1.3.0/25 excluded, 10.1.1.0/24 other_unit, 10.1.2.0/24 not_authorised, fd00:1::/48 too_large, "+
		"vpn.a.example excluded, b.a.example other_unit, off.example not_authorised")
	f("a", "10.1.3.0/26", "10.1.3.0/26 excluded")
	f("a", "10.1.0.0/24", "")
	f("p", "10.1.0.0/16", "10.1.3.0/25 excluded, 10.1.2.0/24 not_authorised")
	f("a", "lab.a.example", "")
	if _, err := LeftOut(snap, "a", []string{"?"}); err == nil {
		t.Error("what is no scope has something left out")
	}
}
