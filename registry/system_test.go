package registry

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fengsui/schemas"
)

const portal = `
units:
  - {code: "10001", name: 甲大学, level: university}
  - {code: "10002", name: 乙大学, level: university}
systems:
  - code: portal
    name: 门户网站
    unit: "10001"
    state: applied
    level: 3
    critical: true
    hosting: own
    filing: "41010000001-00001"
    icp: 豫ICP备00000001号-1
    data: important
    people: 30000
    vendor: 某公司
    responsible: {name: 张三, phone: 0371-60000001}
    domains: [WWW.Example.edu.cn., example.edu.cn, www.example.edu.cn]
    addresses: [192.0.2.10/32, "2001:db8::10/128"]
    ports: [443, 80/TCP, 443/tcp]
whitelist:
  - {kind: port, host: 192.0.2.10/32, port: 443, unit: "10001", system: portal, asked_by: li, approved_by: wang}
`

func TestSystem(t *testing.T) { everywhere(t, testSystem) }

func testSystem(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	if changed, err := r.Put(ctx, "me", read(t, "a.yaml", portal)); err != nil || changed != 4 {
		t.Fatalf("%d, %v", changed, err)
	}
	s, err := r.System(ctx, "portal")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"example.edu.cn", "www.example.edu.cn"}, s.Domains); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]schemas.PortName{{Port: 80, Transport: "tcp"}, {Port: 443, Transport: "tcp"}}, s.Ports); diff != "" {
		t.Error(diff)
	}
	snap, err := r.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := snap.SystemOfName("www.example.edu.cn"); !ok || got.Level != 3 || !got.Critical {
		t.Errorf("%+v", got)
	}
	if w := snap.Whitelist(); len(w) != 1 || w[0].System != "portal" || w[0].ApprovedBy != "wang" {
		t.Errorf("%+v", w)
	}

	state := func(to schemas.SystemState, want string) {
		t.Helper()
		s, err := r.System(ctx, "portal")
		if err != nil {
			t.Fatal(err)
		}
		s.State = to
		_, err = r.Put(ctx, "me", &Content{Systems: []System{*s}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("to %s: got %v, want %q", to, err, want)
		}
	}
	state(schemas.SystemSuspended, "is applied, and cannot be suspended next")
	state(schemas.SystemRegistered, "")
	state(schemas.SystemRegistered, "")
	state(schemas.SystemApplied, "cannot be applied next")
	state(schemas.SystemChanged, "")
	state(schemas.SystemSuspended, "")
	state(schemas.SystemChanged, "cannot be changed next")
	state(schemas.SystemRetired, "")
	state(schemas.SystemRegistered, "is retired, and cannot be registered next")
	state(schemas.SystemApplied, "")

	refused := func(yaml, want string) {
		t.Helper()
		if _, err := r.Put(ctx, "me", read(t, "b.yaml", yaml)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	refused(`whitelist: [{kind: host, host: 192.0.2.10/32, unit: "10001", system: nowhere}]`, `system "nowhere" is not in the registry`)
	refused(`whitelist: [{kind: host, host: 192.0.2.10/32, unit: "10002", system: portal}]`, `system "portal" is of unit 10001, not 10002`)
	refused(`systems: [{code: portal, name: 门户, unit: "10002", state: applied}]`, "1 whitelist entries of it are of another unit")
	refused(`systems: [{code: new, name: 门户, unit: "10003"}]`, `unit "10003" is not in the registry`)
	if err := r.Delete(ctx, "me", "system/portal"); err == nil || !strings.Contains(err.Error(), "still named by 1 whitelist entries") {
		t.Errorf("%v", err)
	}
	if err := r.Delete(ctx, "me", "whitelist/port/192.0.2.10/32/tcp/443", "system/portal"); err != nil {
		t.Error(err)
	}
}

func TestSystemIsPublishedWithoutPeople(t *testing.T) {
	c := read(t, "a.yaml", portal)
	if err := Check(c); err != nil {
		t.Fatal(err)
	}
	records, err := publicationOf(c)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, r := range records {
		for _, secret := range []string{"张三", "0371", "某公司", "30000", "41010000001"} {
			if bytes.Contains(r.value, []byte(secret)) {
				t.Errorf("%s is published in %s", secret, r.value)
			}
		}
		if r.key == "system/portal" {
			found = true
			want := `{"system":{"code":"portal","name":"门户网站","unit":"10001","state":"applied","level":3,"critical":true,"icp":"豫ICP备00000001号-1","hosting":"own",` +
				`"domains":["example.edu.cn","www.example.edu.cn"],"addresses":["192.0.2.10/32","2001:db8::10/128"],"ports":["80/tcp","443/tcp"]}}`
			if diff := cmp.Diff(want, string(r.value)); diff != "" {
				t.Error(diff)
			}
		}
	}
	if !found {
		t.Error("the system is not published")
	}
}

func TestSystemsFromAChineseTable(t *testing.T) {
	c := read(t, "s.csv", "系统代码,系统名称,单位代码,状态,等级保护级别,关键信息基础设施,数据分级,部署方式,域名,地址,端口,个人信息规模,负责人\n"+
		"oa,办公系统,10001,在用,第二级,是,重要,教育云,oa.example.edu.cn、*.oa.example.edu.cn,192.0.2.1；192.0.2.0/28,\"443,8443/tcp\",\"12,000\",王五\n")
	if err := Check(c); err != nil {
		t.Fatal(err)
	}
	s := c.Systems[0]
	if s.State != schemas.SystemRegistered || s.Level != 2 || !s.Critical || s.Data != DataImportant || s.Hosting != schemas.HostingEducationCloud ||
		len(s.Domains) != 2 || len(s.Addresses) != 2 || len(s.Ports) != 2 || s.People != 12000 || s.Responsible.Name != "王五" {
		t.Errorf("%+v", s)
	}
	var b bytes.Buffer
	if err := WriteFile("x.xlsx", &b, c); err != nil {
		t.Fatal(err)
	}
	back, err := ReadFile("x.xlsx", &b)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(back); err != nil {
		t.Fatal(err)
	}
	a, _ := recordsOf(c)
	z, _ := recordsOf(back)
	if diff := cmp.Diff(a, z, cmp.AllowUnexported(record{})); diff != "" {
		t.Error(diff)
	}
}

func TestSystemsThatAreWrong(t *testing.T) {
	f := func(change func(*System), want string) {
		t.Helper()
		s := System{System: schemas.System{Code: "a", Name: "甲", Unit: "u"}}
		change(&s)
		if err := Check(&Content{Systems: []System{s}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(func(s *System) { s.Code = "a/b" }, "code is missing")
	f(func(s *System) { s.Name = " " }, "name is missing")
	f(func(s *System) { s.Unit = "" }, "unit is missing")
	f(func(s *System) { s.State = "gone" }, `state "gone" is none of`)
	f(func(s *System) { s.Level = 6 }, "level 6")
	f(func(s *System) { s.Hosting = "garage" }, `hosting "garage"`)
	f(func(s *System) { s.Data = "secret" }, `data "secret"`)
	f(func(s *System) { s.People = -1 }, "below 0")
	f(func(s *System) { s.Domains = []string{"cn"} }, "is no domain name")
	f(func(s *System) { s.Ports = []schemas.PortName{{Port: 70000, Transport: "tcp"}} }, "not between 1 and 65535")
	f(func(s *System) { s.Domains = make([]string, maxEndpoints+1) }, "more than 1000")
	f(func(s *System) { s.Vendor = "a\x1bb" }, "control characters")
	f(func(s *System) { s.Responsible.Phone = "none" }, "responsible: phone is no telephone number")
}
