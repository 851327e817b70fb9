package drift

import (
	"fmt"
	"net/netip"
	"testing"

	"fengsui/schemas"
)

// A name of others that is made of a domain of ours is one drift, whatever tells
// of it, until it is registered.
func TestMarkedNames(t *testing.T) {
	w := newWorld(t, schemas.RegistryRecord{Domain: &schemas.Domain{Name: "shilidaxue.edu.cn", Unit: "U", Scan: true}})
	w.see("", 1, "www.shilidaxue.com A 203.0.113.9").is("unregistered_marks domain/www.shilidaxue.com suspected").asks(0)
	w.sees("", 30, "203.0.113.10:443", func(o *schemas.Observation) {
		o.Name, o.Service = "www.shilidaxue.com", &schemas.Service{TLS: &schemas.TLS{}}
	})
	w.is("unregistered_marks domain/www.shilidaxue.com open").asks(0)
	if d := w.only(schemas.UnregisteredMarks); d.Unit != "U" || d.Detail != "U" || d.Observed != "name shilidaxue 203.0.113.10" || len(d.History) != 2 {
		t.Errorf("%+v", d)
	}
	w.see("", 31, "www.shilidaxue.com A 10.0.0.5") // another kind: it lies on an address of ours
	w.is("unregistered_marks domain/www.shilidaxue.com open", "foreign_domain_own_address host/10.0.0.5 suspected")
	w.put(schemas.RegistryRecord{Domain: &schemas.Domain{Name: "shilidaxue.com", Unit: "U"}})
	w.judge(40).is("unregistered_marks domain/www.shilidaxue.com closed registered", "foreign_domain_own_address host/10.0.0.5 closed registered")

	// What a scan says is not believed, and what an alias of ours points to is ours.
	w = newWorld(t, schemas.RegistryRecord{Domain: &schemas.Domain{Name: "shilidaxue.edu.cn", Unit: "U", Scan: true}},
		schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistDomain, Domain: "*.shilidaxue.edu.cn", Unit: "U"}})
	w.see("1", 1, "www.shilidaxue.com A 203.0.113.9").is()
	w.see("1", 2, "www.shilidaxue.edu.cn CNAME www.shilidaxue.edu.cn.cdn.example.com")
	w.see("", 3, "www.shilidaxue.edu.cn.cdn.example.com A 203.0.113.9").is()
	w.see("", 4, "pay.shilidaxue.edu.cn.cdn.example.com A 203.0.113.9").is("unregistered_marks domain/pay.shilidaxue.edu.cn.cdn.example.com suspected")
	w.remove("unit/U")
	w.judge(5).is("unregistered_marks domain/pay.shilidaxue.edu.cn.cdn.example.com closed no longer registered")
}

// The number of an ICP filing tells of its unit.
func TestMarkedByFiling(t *testing.T) {
	w := newWorld(t, schemas.RegistryRecord{System: &schemas.System{Code: "s", Name: "门户", Unit: "U", State: schemas.SystemRegistered, Hosting: schemas.HostingOwn, ICP: "豫ICP备00000001号-1"}})
	w.sees("", 1, "203.0.113.9:80", func(o *schemas.Observation) {
		o.Service = &schemas.Service{Name: "http", HTTP: &schemas.HTTP{Status: 200, Body: "豫ICP备00000001号"}}
	})
	w.is("unregistered_marks service/203.0.113.9/tcp/80 suspected")
	if d := w.only(schemas.UnregisteredMarks); d.Unit != "U" || d.Observed != "icp 豫ICP备00000001号" {
		t.Errorf("%+v", d)
	}
}

// Whoever makes sites with our marks does not fill the room of other drifts.
func TestMarksHaveAShare(t *testing.T) {
	w := newWorld(t, schemas.RegistryRecord{Domain: &schemas.Domain{Name: "shilidaxue.edu.cn", Unit: "U", Scan: true}})
	w.j.cfg.MaxDrifts = 50
	for i := range 20 {
		w.see("", i, fmt.Sprintf("shilidaxue.x%d.com A 203.0.113.9", i))
	}
	if n := len(w.rows); n != 5 || w.j.Dropped() != 15 || w.j.marked != 5 {
		t.Errorf("%d drifts, %d dropped, %d counted", n, w.j.Dropped(), w.j.marked)
	}
	w.sees("", 30, "10.0.0.7:22", func(o *schemas.Observation) { o.IP = netip.MustParseAddr("10.0.0.7") })
	if n := len(w.rows); n != 6 {
		t.Errorf("%d drifts", n)
	}
}
