package registry

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fengsui/schemas"
)

// TestAnyPastMoment writes, changes and deletes, and asks for each moment between.
func TestAnyPastMoment(t *testing.T) { everywhere(t, testAnyPastMoment) }

func testAnyPastMoment(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	var moments []time.Time
	step := func(do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		moments = append(moments, time.Now())
		time.Sleep(2 * time.Millisecond) // times are kept to the microsecond
	}
	write := func(yaml string) func() error {
		return func() error { _, err := r.Put(ctx, "li", read(t, "a.yaml", yaml)); return err }
	}
	before := time.Now().Add(-time.Second)
	step(write(province))
	step(write(`whitelist: [{kind: host, host: 192.0.2.10/32, unit: "10001", reason: 机房}]`))
	step(func() error { return r.Delete(ctx, "wang", "whitelist/host/192.0.2.10/32") })
	step(write(`whitelist: [{kind: host, host: 192.0.2.10/32, unit: "41"}]`))

	f := func(when time.Time, kind, want string) {
		t.Helper()
		c, err := r.Read(ctx, Query{At: when, Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		got := "-"
		for _, w := range c.Whitelist {
			if w.Kind == schemas.WhitelistHost {
				got = w.Unit + w.Reason
			}
		}
		if got != want || kind != "" && len(c.Units) > 0 {
			t.Errorf("%s: %q, not %q; %d units", when, got, want, len(c.Units))
		}
	}
	f(before, "", "-")
	f(moments[0], "", "10001")
	f(moments[1], "whitelist", "10001机房")
	f(moments[2], "whitelist", "-")
	f(moments[3], "", "41")
	f(time.Time{}, "whitelist", "41")

	today, err := r.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	same, err := r.Read(ctx, Query{At: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := recordsOf(today)
	z, _ := recordsOf(same)
	if diff := cmp.Diff(a, z, cmp.AllowUnexported(record{})); diff != "" {
		t.Error(diff)
	}
	if only := today.Of(today.Below("10001")); len(only.Units) != 1 || len(only.Networks) != 2 || len(only.Whitelist) != 2 {
		t.Errorf("%+v", only)
	}

	history, err := r.History(ctx, "whitelist/host/192.0.2.10/32")
	if err != nil || len(history) != 4 {
		t.Fatalf("%d changes, %v", len(history), err)
	}
	var text []string
	for _, c := range history {
		diff, err := c.Differences()
		if err != nil {
			t.Fatal(err)
		}
		line := c.Who
		for _, d := range diff {
			line += " " + d.Field + ":" + d.Before + ">" + d.After
		}
		text = append(text, line)
	}
	want := []string{
		"li host:>192.0.2.10/32 kind:>host unit:>41",
		"wang host:192.0.2.10/32> kind:host> reason:机房> unit:10001>",
		"li reason:>机房",
		"li host:>192.0.2.10/32 kind:>host unit:>10001",
	}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
	if unit, err := r.UnitOf(ctx, "whitelist/host/192.0.2.10/32"); err != nil || unit != "41" {
		t.Errorf("%q, %v", unit, err)
	}
}

// TestTheClockMayGoBack: what was written later is later, whatever the clock says.
func TestTheClockMayGoBack(t *testing.T) { everywhere(t, testTheClockMayGoBack) }

func testTheClockMayGoBack(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	ahead := now().Add(time.Hour)
	if _, err := r.db.NewInsert().Model(&changeRow{At: ahead, Who: "fast clock", Key: "unit/a", Value: `{"unit":{"code":"a"}}`}).Exec(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(ctx, "me", &Content{Units: []schemas.Unit{{Code: "b", Name: "乙", Level: schemas.School}}}); err != nil {
		t.Fatal(err)
	}
	rows, err := changesAfter(ctx, r.db, 0)
	if err != nil || len(rows) != 2 || rows[1].At.Before(ahead) {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestPlanChangesNothing(t *testing.T) { everywhere(t, testPlanChangesNothing) }

func testPlanChangesNothing(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", province)); err != nil {
		t.Fatal(err)
	}
	changes, err := r.Plan(ctx, read(t, "b.yaml", `
units: [{code: "10001", name: 乙大学, level: university, parent: "41"}, {code: "41", name: 某省教育厅, level: province}]
domains: [{name: new.example.cn, unit: "41"}]`))
	if err != nil || len(changes) != 2 {
		t.Fatalf("%+v, %v", changes, err)
	}
	diff, err := changes[0].Differences()
	if err != nil || len(diff) != 1 || diff[0] != (Difference{"name", "甲大学", "乙大学"}) {
		t.Errorf("%+v, %v", diff, err)
	}
	if changes[1].Before != nil || changes[1].Key != "domain/new.example.cn" {
		t.Errorf("%+v", changes[1])
	}
	if c, err := r.All(ctx); err != nil || len(c.Domains) != 1 || c.Units[0].Name != "甲大学" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := r.Plan(ctx, read(t, "c.yaml", `domains: [{name: new.example.cn, unit: "42"}]`)); !errors.Is(err, ErrInvalid) {
		t.Errorf("%v", err)
	}
}

func TestParseMoment(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		got, err := ParseMoment(s)
		if want == "" {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%q: %v, %v", s, got, err)
			}
			return
		}
		if err != nil || !strings.HasPrefix(got.Format("2006-01-02 15:04:05.000000"), want) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	f("2026-11-01", "2026-11-01 23:59:59.999999")
	f("2026-11-01T08:00:00+08:00", "2026-11-01 08:00:00")
	f("yesterday", "")
	f("", "")
}

// TestRequest is a wish on its way: asked for, refused, asked for again, and
// approved by those who may.
func TestRequest(t *testing.T) { everywhere(t, testRequest) }

func testRequest(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", province+`
  - {kind: host, host: 192.0.2.99/32, unit: "10001"}`)); err != nil {
		t.Fatal(err)
	}
	entry := schemas.WhitelistEntry{
		Kind: schemas.WhitelistPort, Host: netip.MustParsePrefix("192.0.2.20/32"), Port: 8080, Unit: "10001",
		Reason: "选课系统", AskedBy: "somebody else", ApprovedBy: "the boss",
	}
	ask := func(e schemas.WhitelistEntry, remove bool) *Request {
		t.Helper()
		q, err := r.Ask(ctx, "li", e, remove)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	decide := func(q *Request, by User, to RequestState, want error) {
		t.Helper()
		if _, err := r.Decide(ctx, by, q.ID, to, "  因为 "); !errors.Is(err, want) {
			t.Errorf("%s by %+v: %v, not %v", to, by, err, want)
		}
	}
	whitelisted := func(key string) *schemas.WhitelistEntry {
		t.Helper()
		c, err := r.Read(ctx, Query{Kind: "whitelist"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.Whitelist {
			if c.Whitelist[i].Key() == key {
				return &c.Whitelist[i]
			}
		}
		return nil
	}
	admin := User{Name: "wang", Role: RoleAdmin}
	const key = "port/192.0.2.20/32/tcp/8080"

	q := ask(entry, false)
	if q.Entry.AskedBy != "li" || q.Entry.ApprovedBy != "" || whitelisted(key) != nil {
		t.Errorf("%+v is in force before anybody has approved", q.Entry)
	}
	decide(q, User{Name: "li", Role: RoleAdmin}, RequestApproved, ErrForbidden)
	decide(q, User{Name: "zhao", Role: RoleAnalyst}, RequestApproved, ErrForbidden)
	decide(q, User{Name: "zhao", Role: RoleAdmin, Unit: "4101"}, RequestApproved, ErrForbidden)
	decide(q, admin, RequestWithdrawn, ErrForbidden)
	decide(q, admin, RequestPending, ErrInvalid)
	decide(&Request{ID: "none"}, admin, RequestApproved, ErrNotFound)
	decide(q, User{Name: "zhao", Role: RoleAdmin, Unit: "41"}, RequestRefused, nil)
	decide(q, admin, RequestApproved, ErrInvalid)
	if whitelisted(key) != nil {
		t.Error("what was refused is in force")
	}

	// What has become another unit's meanwhile is not replaced, nor removed.
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", `whitelist: [{kind: port, host: 192.0.2.20/32, port: 8080, unit: "41"}]`)); err != nil {
		t.Fatal(err)
	}
	for _, q := range []*Request{ask(entry, false), ask(entry, true)} {
		decide(q, User{Name: "wang", Role: RoleAdmin, Unit: "10001"}, RequestApproved, ErrForbidden)
		decide(q, User{Name: "wang", Role: RoleAdmin, Unit: "10001"}, RequestRefused, nil)
	}
	if err := r.Delete(ctx, "me", "whitelist/"+key); err != nil {
		t.Error(err)
	}

	q = ask(entry, false)
	if err := r.Delete(ctx, "me", "unit/4101"); err != nil {
		t.Error(err)
	}
	decide(q, User{Name: "wang", Role: RoleAdmin, Unit: "10001"}, RequestApproved, nil)
	if w := whitelisted(key); w == nil || w.AskedBy != "li" || w.ApprovedBy != "wang" || w.Reason != "选课系统" {
		t.Errorf("%+v", w)
	}
	remove := ask(entry, true)
	decide(remove, admin, RequestApproved, nil)
	if whitelisted(key) != nil {
		t.Error("what was to be removed is there")
	}
	if _, err := r.Ask(ctx, "li", entry, true); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing what is not there: %v", err)
	}
	if _, err := r.Ask(ctx, "li", schemas.WhitelistEntry{Kind: schemas.WhitelistHost, Host: entry.Host, Unit: "nowhere"}, false); !errors.Is(err, ErrInvalid) {
		t.Errorf("an unknown unit: %v", err)
	}
	withdrawn := ask(entry, false)
	decide(withdrawn, User{Name: "li", Role: RoleAnalyst}, RequestWithdrawn, nil)

	pending, err := r.Requests(ctx, RequestPending)
	if err != nil || len(pending) != 0 {
		t.Errorf("%+v, %v", pending, err)
	}
	all, err := r.Requests(ctx, "")
	if err != nil || len(all) != 6 || all[0].State != RequestRefused || all[0].Note != "因为" || all[3].DecidedBy != "wang" {
		t.Errorf("%+v, %v", all, err)
	}
	if c, err := r.All(ctx); err != nil || len(c.Whitelist) != 4 {
		t.Errorf("%+v, %v", c, err)
	}
}
