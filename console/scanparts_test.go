package console

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"fengsui/registry"
	"fengsui/schemas"
)

// province authorises scans of two cities' and a school's networks: the first city's at
// a rate, so in shards of their own, the school's and the second city's together.
func (s *station) province() {
	s.t.Helper()
	_, err := s.registry.Put(s.t.Context(), "test", &registry.Content{
		Units: []schemas.Unit{{Code: "c3", Name: "丙市", Level: schemas.City, Parent: "p"}},
		Networks: []schemas.Network{
			{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Unit: "c1", Scan: true, Rate: 1000},
			{Prefix: netip.MustParsePrefix("198.51.100.128/25"), Unit: "s1", Scan: true},
			{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Unit: "c2", Scan: true},
		},
		Domains: []schemas.Domain{{Name: "c1.example.edu.cn", Unit: "c1", Scan: true}},
	})
	must(s.t, err)
}

// What a province asks for is seen by each city as far as it is about the city's own,
// whole by the province, and by nobody else.
func TestScanOfAUnitAbove(t *testing.T) {
	fold := &scanners{}
	s := start(t, nil, withScanners(fold))
	s.province()
	p, all := s.user("of-p", registry.RoleAdmin, "p"), s.user("all", registry.RoleAdmin, "")
	c1, c2, c3, s1 := s.user("of-c1", registry.RoleAdmin, "c1"), s.user("of-c2", registry.RoleAnalyst, "c2"), s.user("of-c3", registry.RoleAuditor, "c3"), s.user("of-s1", registry.RoleAdmin, "s1")
	auditor := s.user("auditor", registry.RoleAuditor, "c1")
	type body map[string]any
	begin := func(in body) string {
		t.Helper()
		var started StartedScan
		p.do("POST", "/api/v1/scan-jobs", in, 200).into(t, &started)
		return started.Job
	}
	jobs := func(b *browser, query string) (ScanJobs, string) {
		t.Helper()
		var list ScanJobs
		answer := b.do("GET", "/api/v1/scan-jobs"+query, nil, 200)
		answer.into(t, &list)
		return list, string(answer.body)
	}
	whole := func(b *browser, job string) (ScanJobDetail, string) {
		t.Helper()
		var d ScanJobDetail
		answer := b.do("GET", "/api/v1/scan-job?job="+job, nil, 200)
		answer.into(t, &d)
		return d, string(answer.body)
	}

	job := begin(body{"unit": "p", "ports": "80", "reason": "全省普查"})
	first, _ := whole(p, job)
	// Names and PTRs of the first city, its ports; PTRs and ports of the others' together.
	if len(first.Shards) != 5 || first.Job.Shards != 5 || first.Job.Above || len(first.LeftOut) == 0 {
		t.Fatalf("%+v", first)
	}
	// Everything is done, or fails with the second city's address in the trouble.
	for range 5 {
		fold.works(t, "north", schemas.ShardFailed, "no route to 203.0.113.9")
	}
	failed, _ := whole(p, job)
	if failed.Job.Failed != 5 || failed.Job.Seen != 5*12 || len(failed.Job.Errors) == 0 || len(failed.Job.Agents) != 0 {
		t.Errorf("%+v", failed.Job)
	}

	list, text := jobs(c1, "")
	if len(list.Items) != 1 || list.Total != 1 {
		t.Fatalf("%s", text)
	}
	if j := list.Items[0]; !j.Above || j.ID != job || j.Unit != "p" || j.By != "of-p" || j.Reason != "全省普查" || j.Created.IsZero() || j.Class != schemas.ScanInteractive ||
		j.Shards != 5 || j.Failed != 5 || j.State != schemas.JobPartial || j.Percent != 100 || j.Seen != 0 || j.Errors != nil || j.Agents != nil || j.Scope != nil {
		t.Errorf("%+v", j)
	}
	d, text := whole(c1, job)
	own, mixed := 0, 0
	for _, sh := range d.Shards {
		if sh.About != "" && sh.Seen == 12 && sh.Error != "" {
			own++
		} else if sh.About == "" && sh.Seen == 0 && sh.Error == "" && sh.State == "failed" {
			mixed++
		}
	}
	if own != 3 || mixed != 2 || len(d.Shards) != 5 || len(d.LeftOut) != 0 || strings.Count(text, "203.0.113.9") != 3 { // in its own shards' trouble, which the test made so
		t.Errorf("%d of its own, %d with others: %s", own, mixed, text)
	}
	d, text = whole(c2, job)
	if len(d.Shards) != 2 || d.Job.Shards != 2 || d.Job.Failed != 2 || strings.Contains(text, "198.51.100") || strings.Contains(text, "c1.example") || strings.Contains(text, "no route") || strings.Contains(text, `"units"`) {
		t.Errorf("%s", text)
	}
	if d, _ := whole(s1, job); len(d.Shards) != 2 || d.Shards[0].About != "" {
		t.Errorf("%+v", d)
	}
	if list, text := jobs(c3, ""); len(list.Items) != 0 || strings.Contains(text, job) {
		t.Errorf("whom it is not about is told: %s", text)
	}
	c3.refused("GET", "/api/v1/scan-job?job="+job, nil, 404, codeNotFound)
	if d, _ := whole(auditor, job); !d.Job.Above {
		t.Errorf("%+v", d.Job)
	}

	// A part of it alone: one city's, who is told its own addresses of what was asked for.
	part := begin(body{"unit": "p", "ports": "80", "scope": []string{"198.51.100.0/26", "c1.example.edu.cn", "203.0.113.7"}})
	fold.works(t, "south", "", "")
	scopeOf := func(b *browser) []string {
		t.Helper()
		d, text := whole(b, part)
		if b == c2 && (strings.Contains(text, "198.51.100") || strings.Contains(text, "c1.example")) || b == c1 && strings.Contains(text, "203.0.113") {
			t.Errorf("others' targets: %s", text)
		}
		return d.Job.Scope
	}
	if one, two := scopeOf(c1), scopeOf(c2); !slices.Equal(one, []string{"198.51.100.0/26", "c1.example.edu.cn"}) || !slices.Equal(two, []string{"203.0.113.7"}) {
		t.Errorf("%v, %v", one, two)
	}
	s1.refused("GET", "/api/v1/scan-job?job="+part, nil, 404, codeNotFound)
	for _, b := range []*browser{c1, c2} {
		list, text := jobs(b, "?active=true")
		if len(list.Items) != 1 || list.Items[0].ID != part || len(list.Agents) != 2 {
			t.Errorf("%s", text)
		}
		for _, a := range list.Agents { // that may be at others' addresses
			if a.Shard != "" {
				t.Errorf("a city is told what a scanner is at: %+v", a)
			}
		}
	}
	for query, want := range map[string]int{"?unit=s1": 1, "?unit=c1": 2, "?unit=c2": 0, "?unit=p": 2, "?class=periodic": 0} {
		if list, _ := jobs(c1, query); len(list.Items) != want {
			t.Errorf("%s: %d jobs, want %d", query, len(list.Items), want)
		}
	}
	for _, b := range []*browser{p, all} {
		if list, _ := jobs(b, ""); len(list.Items) != 2 || list.Items[0].Above || !slices.ContainsFunc(list.Agents, func(a schemas.ScanAgent) bool { return strings.HasPrefix(a.Shard, part) }) {
			t.Errorf("%+v", list)
		}
	}

	// Nobody below stops it, or lets it go on; it is the province's.
	said := len(fold.said)
	for _, b := range []*browser{c1, s1} {
		if refused := b.refused("POST", "/api/v1/scan-stops", body{"job": job}, 403, codeForbidden); len(refused.Fields) != 1 || !strings.Contains(refused.Fields[0].Zh, "由上级单位 p 发起") || !strings.Contains(refused.Detail, "started by unit p above yours") {
			t.Errorf("%+v", refused)
		}
	}
	c2.refused("POST", "/api/v1/scan-stops", body{"job": part}, 403, codeForbidden) // an analyst stops nothing
	c1.refused("DELETE", "/api/v1/scan-stops?job="+part, nil, 403, codeForbidden)
	if len(fold.said) != said {
		t.Errorf("%v", fold.said[said:])
	}
	p.do("POST", "/api/v1/scan-stops", body{"job": part, "reason": "误扫"}, 200)
	if d, _ := whole(c1, part); d.Job.State != schemas.JobStopped || d.Job.Stopped == nil || d.Job.Stopped.By != "of-p" {
		t.Errorf("%+v", d.Job)
	}
	p.do("DELETE", "/api/v1/scan-stops?job="+part, nil, 204)
}

// TestScanPageOfAUnitAbove is a city's administrator who looks at a scan of the province.
func TestScanPageOfAUnitAbove(t *testing.T) {
	needsPage(t)
	fold := &scanners{}
	s := start(t, openStore(t), withScanners(fold))
	s.province()
	s.user("of-c1", registry.RoleAdmin, "c1")
	p := s.user("of-p", registry.RoleAdmin, "p")
	p.do("POST", "/api/v1/scan-jobs", map[string]any{"unit": "p", "ports": "80", "reason": "全省普查"}, 200)
	fold.works(t, "north", schemas.ShardDone, "")
	ctx := browse(t)

	s.enter(ctx, "of-c1", "#/scans")
	shows(t, ctx, "#jobs", "由上级单位发起", "of-p", "全省普查", "1/5 片", "涉及本单位的授权范围")
	press(t, ctx, "#jobs tbody a", "20")
	shows(t, ctx, "#scan-job", "由上级单位发起", "由发起单位或其上级停止", "of-p", "全省普查", "198.51.100.0/26", "含其他单位的地址，不列出", "时段")
	says(t, ctx, `document.querySelectorAll("#scan-job button").length`, "0")
	says(t, ctx, `/203\.0\.113|不扫描的/.test(document.querySelector("#scan-job").innerText)`, "false")
	picture(t, ctx, "scan-above")
	fits(t, ctx, 390, "scan-above")
	do(t, ctx, chromedp.EmulateViewport(1440, 1000), chromedp.KeyEvent(kb.Escape))
	press(t, ctx, "header .ant-segmented-item", "English")
	shows(t, ctx, "#jobs", "started by a unit above")
	press(t, ctx, "header .ant-segmented-item", "中文")
	leave(t, ctx)
	s.enter(ctx, "of-p", "#/scans")
	shows(t, ctx, "#jobs", "of-p", "全省普查", "1/5 片")
	says(t, ctx, `document.querySelector("#jobs").innerText.includes("由上级单位发起")`, "false")
}
