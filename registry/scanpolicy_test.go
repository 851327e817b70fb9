package registry

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// How something is scanned has one form, whatever words it was written in, and
// what contradicts itself is refused by column in both languages.
func TestScanPolicy(t *testing.T) {
	const units = "units: [{code: u, name: 甲, level: university}]\n"
	f := func(entry, want string) {
		t.Helper()
		c := read(t, "a.yaml", units+entry)
		err := Check(c)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", entry, err, want)
			}
			return
		}
		if err != nil {
			t.Errorf("%s: %v", entry, err)
		}
	}
	network := func(rest string) string {
		return "networks: [{prefix: 192.0.2.0/24, unit: u, scan: true, " + rest + "}]"
	}
	domain := func(rest string) string { return "domains: [{name: u.example, unit: u, scan: true, " + rest + "}]" }
	f(network(`exclude: [192.0.2.0/24]`), "")
	f(network(`exclude: [192.0.3.1/32]`), "192.0.3.1/32 is not inside 192.0.2.0/24")
	f(network(`exclude: [192.0.0.0/16]`), "is not inside")
	f(network(`hours: night`), "night")
	f(network(`rate: -1`), "rate -1")
	f(network(`host_rate: 1000001`), "rate 1000001")
	f(domain(`exclude: [u.example, a.u.example]`), "")
	f(domain(`exclude: [other.example]`), "other.example is not below u.example")
	f(domain(`exclude: ["*"]`), "is no domain name")
	f(domain(`hours: "25:00-26:00"`), "25:00")
	f(domain(`rate: -1`), "rate -1")

	c := read(t, "a.yaml", units+network(`exclude: [192.0.2.9/30, 192.0.2.1/32, 192.0.2.8/30], hours: "周一至周五 22:00-6:00", rate: 100, host_rate: 5`)+
		"\n"+domain(`exclude: [B.u.example., a.u.example], hours: "", rate: 7`))
	r := backends[0].open(t)
	if _, err := r.Put(context.Background(), "me", c); err != nil {
		t.Fatal(err)
	}
	snap, err := r.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%+v %+v", snap.AllNetworks(), snap.Domains("u", true))
	if want := "[{Prefix:192.0.2.0/24 Unit:u Name: Scan:true Exclude:[192.0.2.1/32 192.0.2.8/30] Hours:mon,tue,wed,thu,fri 22:00-06:00 Rate:100 HostRate:5}] " +
		"[{Name:u.example Unit:u Scan:true Exclude:[a.u.example b.u.example] Hours: Rate:7}]"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	// In a table, with the row and the column.
	_, err = ReadFile("x.csv", strings.NewReader("网段,单位代码,授权扫描,排除地址,扫描速率\n192.0.2.0/24,u,是,192.0.2.1、here,fast\n"))
	if rows := RowErrors(err); len(rows) != 2 || rows[0].Column != "排除地址" || rows[1].Column != "扫描速率" || rows[1].Row != 2 {
		t.Errorf("%v", err)
	}
}
