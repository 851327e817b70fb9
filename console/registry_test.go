package console

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"fengsui/internal/hours"
	"fengsui/registry"
)

type anyPage struct {
	Items []map[string]any `json:"items"`
}

func (b *browser) items(path string) []map[string]any {
	b.t.Helper()
	var page anyPage
	b.do("GET", "/api/v1/"+path, nil, 200).into(b.t, &page)
	return page.Items
}

// values are one field of every item, in order.
func values(items []map[string]any, field string) string {
	var out []string
	for _, item := range items {
		text, _ := item[field].(string)
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestRegistryOfAUnit is an administrator of a city: what they may write, see
// and ask for, and what belongs to others.
func TestRegistryOfAUnit(t *testing.T) {
	s := start(t, nil, nil)
	root, city, analyst := s.user("root", registry.RoleAdmin, ""), s.user("city", registry.RoleAdmin, "c1"), s.user("li", registry.RoleAnalyst, "c1")
	put := func(b *browser, path string, body map[string]any, status int, code string) {
		t.Helper()
		if code == "" {
			b.do("PUT", "/api/v1/"+path, body, status)
			return
		}
		b.refused("PUT", "/api/v1/"+path, body, status, code)
	}
	system := func(unit, domain, address string) map[string]any {
		return map[string]any{
			"code": "portal", "name": "门户", "unit": unit, "state": "registered", "hosting": "own", "level": 3, "domains": []string{domain},
			"addresses": []string{address}, "ports": []string{"443/tcp"}, "responsible": map[string]any{"name": "张三", "phone": "0371-60000001"},
		}
	}
	put(analyst, "systems", system("c1", "www.c1.example.edu.cn", "198.51.100.20/32"), 403, codeForbidden)
	put(city, "systems", system("c2", "www.c1.example.edu.cn", "198.51.100.20/32"), 403, codeForbidden)
	put(city, "systems", system("c1", "www.c2.example.edu.cn", "198.51.100.20/32"), 403, codeForbidden)
	put(city, "systems", system("c1", "www.c1.example.edu.cn", "203.0.113.20/32"), 403, codeForbidden)
	put(city, "systems", system("c1", "www.c1.example.edu.cn", "198.51.100.0/24"), 403, codeForbidden)
	put(city, "systems", system("c1", "c1.elsewhere.example.com", "192.0.2.20/32"), 200, "") // a cloud
	put(city, "systems", system("c1", "www.c1.example.edu.cn", "198.51.100.20/32"), 200, "")
	put(root, "systems", map[string]any{"code": "portal", "name": "门户", "unit": "c1", "state": "applied", "hosting": "own"}, 422, codeInvalid)
	put(root, "systems", map[string]any{"code": "other", "name": "别家", "unit": "c2", "state": "registered", "hosting": "own"}, 200, "")
	put(city, "systems", map[string]any{"code": "other", "name": "我的", "unit": "c1", "state": "registered", "hosting": "own"}, 403, codeForbidden)
	if got := values(city.items("systems"), "code"); got != "portal" {
		t.Errorf("the city sees the systems %q", got)
	}
	if got := values(root.items("systems?unit=c2"), "code"); got != "other" {
		t.Errorf("of c2: %q", got)
	}

	put(city, "contacts", map[string]any{"unit": "s1", "duty": "security_officer", "name": "李四", "phone": "0371-60000002"}, 200, "")
	put(city, "contacts", map[string]any{"unit": "c2", "duty": "security_officer", "name": "李四"}, 403, codeForbidden)
	put(city, "units", map[string]any{"code": "s2", "name": "甲市二中", "level": "school", "parent": "c1", "school_code": "3141000002"}, 200, "")
	put(city, "units", map[string]any{"code": "c1", "name": "甲市", "level": "city", "parent": "p"}, 403, codeForbidden)
	put(city, "units", map[string]any{"code": "s1", "name": "甲市一中", "level": "school", "parent": "c2"}, 403, codeForbidden)
	put(city, "networks", map[string]any{"prefix": "198.51.100.32/28", "unit": "c1", "scan": true}, 403, codeForbidden)
	put(root, "networks", map[string]any{"prefix": "192.0.2.0/24", "unit": "c1", "scan": true}, 200, "")
	put(root, "domains", map[string]any{"name": "p.example.edu.cn", "unit": "p", "scan": false}, 200, "")
	if got := values(city.items("units"), "code"); got != "c1 s1 s2" {
		t.Errorf("the city sees the units %q", got)
	}
	city.refused("DELETE", "/api/v1/units?key=s1", nil, 422, codeInvalid)
	city.refused("DELETE", "/api/v1/systems?key=other", nil, 404, codeNotFound)
	city.do("DELETE", "/api/v1/contacts?key="+url.QueryEscape("s1/security_officer"), nil, 204)
	city.do("DELETE", "/api/v1/units?key=s2", nil, 204)

	if got := city.items("history?key=system/portal"); len(got) != 2 || got[0]["who"] != "city" {
		t.Errorf("%v", got)
	}
	city.refused("GET", "/api/v1/history?key=system/other", nil, 404, codeNotFound)
	if yesterday := time.Now().In(hours.Zone).AddDate(0, 0, -1).Format(time.DateOnly); len(root.items("systems?at="+yesterday)) != 0 || len(root.items("whitelist?at="+yesterday)) != 0 {
		t.Error("yesterday there was something")
	}
	if today := time.Now().In(hours.Zone).Format(time.DateOnly); len(root.items("systems?at="+today)) != 2 || len(root.items("whitelist?at="+today)) != 2 {
		t.Error("today there is nothing")
	}
	root.refused("GET", "/api/v1/units?at=yesterday", nil, 422, codeInvalid)
	if log := s.log.String(); strings.Contains(log, "李四") || strings.Contains(log, "0371") || strings.Count(log, "audit=registry") != 9 {
		t.Errorf("%d entries of the log, or people in it: %s", strings.Count(log, "audit=registry"), log)
	}
}

// TestRequests: one asks, another decides, and the entry says who both were.
func TestRequests(t *testing.T) {
	s := start(t, nil, nil)
	root, city, other := s.user("root", registry.RoleAdmin, ""), s.user("city", registry.RoleAdmin, "c1"), s.user("other", registry.RoleAdmin, "c2")
	analyst, auditor := s.user("li", registry.RoleAnalyst, "c1"), s.user("auditor", registry.RoleAuditor, "")
	soon := time.Now().Add(10 * 24 * time.Hour).UTC().Format(time.RFC3339)
	ask := map[string]any{"entry": map[string]any{
		"kind": "port", "host": "198.51.100.20/32", "port": 443, "unit": "c1", "reason": "选课", "until": soon, "approved_by": "the boss",
	}}
	elsewhere := map[string]any{"entry": map[string]any{"kind": "host", "host": "203.0.113.20/32", "unit": "c1"}}
	decide := func(id, state string) map[string]any {
		return map[string]any{"id": id, "state": state, "note": "同意"}
	}

	auditor.refused("POST", "/api/v1/requests", ask, 403, codeForbidden)
	analyst.refused("POST", "/api/v1/requests", elsewhere, 403, codeForbidden)
	var q registry.Request
	analyst.do("POST", "/api/v1/requests", ask, 200).into(t, &q)
	if len(city.items("requests?state=pending")) != 1 || len(other.items("requests")) != 0 {
		t.Error("a request is seen by the wrong people")
	}
	other.refused("POST", "/api/v1/decisions", decide(q.ID, "approved"), 404, codeNotFound)
	analyst.refused("POST", "/api/v1/decisions", decide(q.ID, "approved"), 403, codeForbidden)
	analyst.refused("POST", "/api/v1/decisions", decide("nothing", "approved"), 404, codeNotFound)
	city.do("POST", "/api/v1/decisions", decide(q.ID, "approved"), 200)
	root.refused("POST", "/api/v1/decisions", decide(q.ID, "refused"), 422, codeInvalid)
	expiring := city.items("whitelist?within=30d")
	if len(expiring) != 1 || expiring[0]["asked_by"] != "li" || expiring[0]["approved_by"] != "city" {
		t.Errorf("%v", expiring)
	}
	if len(city.items("whitelist?within=5d")) != 0 {
		t.Error("an entry that ends in 10 days ends within 5")
	}
	city.refused("GET", "/api/v1/whitelist?within=never", nil, 422, codeInvalid)

	// The same words change nothing; others make it one person's own.
	entry := expiring[0]
	delete(entry, "key")
	city.do("PUT", "/api/v1/whitelist", entry, 200)
	if again := city.items("whitelist?within=30d"); again[0]["asked_by"] != "li" {
		t.Errorf("%v", again)
	}
	entry["reason"] = "考试"
	root.do("PUT", "/api/v1/whitelist", entry, 200)
	if again := city.items("whitelist?within=30d"); again[0]["asked_by"] != "root" || again[0]["approved_by"] != "root" {
		t.Errorf("%v", again)
	}
	if n := strings.Count(s.log.String(), "audit=request"); n != 2 {
		t.Errorf("%d entries of requests in the log", n)
	}
}

// TestRequestsForWhatIsOthers: an entry that a unit above has given to another unit,
// on the network of this one, is not this one's to change or remove by asking.
func TestRequestsForWhatIsOthers(t *testing.T) {
	s := start(t, nil, nil)
	root, city, analyst := s.user("root", registry.RoleAdmin, ""), s.user("city", registry.RoleAdmin, "c1"), s.user("li", registry.RoleAnalyst, "c1")
	entry := map[string]any{"kind": "port", "host": "198.51.100.20/32", "port": 443, "unit": "c1", "reason": "选课"}
	var before registry.Request
	analyst.do("POST", "/api/v1/requests", map[string]any{"entry": entry}, 200).into(t, &before)
	root.do("PUT", "/api/v1/whitelist", map[string]any{"kind": "port", "host": "198.51.100.20/32", "port": 443, "unit": "c2", "reason": "托管"}, 200)
	for _, remove := range []bool{false, true} {
		p := analyst.refused("POST", "/api/v1/requests", map[string]any{"entry": entry, "remove": remove}, 403, codeForbidden)
		if len(p.Fields) != 1 || p.Fields[0].Field != "host" || p.Fields[0].Zh != "是其他单位的登记" {
			t.Errorf("%+v", p)
		}
	}
	city.refused("POST", "/api/v1/decisions", map[string]any{"id": before.ID, "state": "approved"}, 403, codeForbidden)
	if got := root.items("whitelist?unit=c2"); len(got) != 2 || got[1]["reason"] != "托管" {
		t.Errorf("%v", got)
	}
	root.do("POST", "/api/v1/decisions", map[string]any{"id": before.ID, "state": "approved"}, 200)
}

// TestRegistryFiles: a template, a file with a mistake, a dry run, the file, and
// what others may take out again.
func TestRegistryFiles(t *testing.T) {
	s := start(t, nil, nil)
	root, city := s.user("root", registry.RoleAdmin, ""), s.user("city", registry.RoleAdmin, "c1")
	send := func(b *browser, query, text string, status int) (out Imported) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/api/v1/import?"+query, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		res, err := b.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status {
			t.Fatalf("status %d: %s, %v", res.StatusCode, body, err)
		}
		if status == 200 {
			(&answer{body: body}).into(t, &out)
		}
		return out
	}
	const good = "单位代码,单位名称,级别,上级单位代码\ns9,甲市九中,学校,c1\ns1,甲市第一中学,学校,c1\n"
	name := "name=" + url.QueryEscape("单位.csv")
	send(city, name, good, 403)
	send(root, "name=x.pdf", good, 422)
	wrong := send(root, name, "单位代码,单位名称,级别,上级单位代码\ns9,甲市九中,学校,c9\n", 200)
	if wrong.Written || len(wrong.Errors) != 1 || wrong.Errors[0].Column != "上级单位代码" || wrong.Errors[0].Row != 2 {
		t.Errorf("%+v", wrong)
	}
	dry := send(root, name+"&dry_run=true", good, 200)
	if dry.Written || dry.Changed != 2 || len(dry.Changes[1].Fields) != 1 || dry.Changes[1].Fields[0].After != "甲市第一中学" {
		t.Errorf("%+v", dry)
	}
	if got := values(city.items("units"), "code"); got != "c1 s1" {
		t.Errorf("after a dry run there is %q", got)
	}
	if done := send(root, name, good, 200); !done.Written || done.Changed != 2 {
		t.Errorf("%+v", done)
	}
	mine := city.do("GET", "/api/v1/export?format=csv&kind=unit", nil, 200)
	if text := string(mine.body); !strings.Contains(text, "甲市九中") || strings.Contains(text, "乙市") || !strings.HasPrefix(mine.header.Get("Content-Type"), "text/csv") {
		t.Errorf("%s %v", text, mine.header)
	}
	for _, path := range []string{"template", "export"} {
		got := city.do("GET", "/api/v1/"+path, nil, 200)
		if _, err := registry.ReadFile("x.xlsx", bytes.NewReader(got.body)); err != nil || !strings.Contains(got.header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: %v, %v", path, err, got.header)
		}
	}
	city.refused("GET", "/api/v1/export?format=csv", nil, 422, codeInvalid)
}

// TestRegistryMistakes: what is wrong with an entry is told in both languages, by
// the field that the body has for it.
func TestRegistryMistakes(t *testing.T) {
	root := start(t, nil, nil).user("root", registry.RoleAdmin, "")
	type body map[string]any
	f := func(path string, in body, field, zh string) {
		t.Helper()
		p := root.refused("PUT", "/api/v1/"+path, in, 422, codeInvalid)
		if len(p.Fields) != 1 || p.Fields[0].Field != field || !strings.Contains(p.Fields[0].Zh, zh) || p.Fields[0].En == "" {
			t.Errorf("%s %v: %+v", path, in, p)
		}
	}
	f("units", body{"code": "a b", "name": "x", "level": "city", "parent": "p"}, "code", "不能含空格")
	f("units", body{"code": "x", "name": "x", "level": "city", "parent": "nobody"}, "parent", "台账中没有单位")
	f("units", body{"code": "c1", "name": "甲市", "level": "city", "parent": "s1"}, "parent", "成环")
	f("units", body{"code": "x", "name": "x", "level": "city", "parent": "p", "division": "41"}, "division", "六位数字")
	f("networks", body{"prefix": "192.0.2.0/24", "unit": "nobody", "scan": true}, "unit", "台账中没有单位")
	f("networks", body{"prefix": "192.0.2.0/24", "unit": "c1", "scan": true, "hours": "25:00"}, "hours", "扫描时段无效")
	f("networks", body{"prefix": "192.0.2.0/24", "unit": "c1", "scan": true, "exclude": []string{"198.51.100.0/28"}}, "exclude", "不在 192.0.2.0/24 之内")
	f("networks", body{"prefix": "192.0.2.0/24", "unit": "c1", "scan": true, "host_rate": -1}, "host_rate", "")
	f("networks", body{"prefix": "192.0.2.0/33", "unit": "c1", "scan": true}, "prefix", "\"192.0.2.0/33\" 不是网段")
	f("networks", body{"prefix": "192.0.2.0/24", "unit": "c1", "scan": true, "exclude": []string{"192.0.2.1"}}, "exclude", "\"192.0.2.1\" 不是网段")
	f("domains", body{"name": "campus", "unit": "c1", "scan": true}, "name", "不是域名")
	f("contacts", body{"unit": "c1", "duty": "liaison", "name": "李四", "phone": "??"}, "phone", "不是电话号码")
	f("systems", body{"code": "x", "name": "x", "unit": "c1", "state": "registered", "hosting": "own", "level": 9}, "level", "1 至 5")
	f("systems", body{"code": "x", "name": "x", "unit": "c1", "state": "registered", "hosting": "own", "addresses": []string{"300.1.1.1/32"}}, "addresses", "\"300.1.1.1/32\" 不是网段")

	for path, want := range map[string]string{"units?key=c1": "单位 c1 之下还有 1 个单位", "units?key=s1": "单位 s1 名下还有登记：网段 1 条"} {
		if p := root.refused("DELETE", "/api/v1/"+path, nil, 422, codeInvalid); len(p.Fields) != 1 || p.Fields[0].Zh != want || p.Fields[0].En == "" {
			t.Errorf("%s: %+v", path, p)
		}
	}
}
