package console

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fengsui/registry"
	"fengsui/schemas"
)

// TestMistypedValues: whatever is mistyped is told at its field, in both languages,
// whether its shape is wrong, it cannot be decoded, or the registry does not take it.
func TestMistypedValues(t *testing.T) {
	s := start(t, nil, withScanners(&scanners{}))
	root, city, li := s.user("root", registry.RoleAdmin, ""), s.user("city", registry.RoleAdmin, "c1"), s.user("li", registry.RoleAnalyst, "c1")
	type body map[string]any
	with := func(of body, name string, value any) body {
		out := body{name: value}
		for k, v := range of {
			if k != name {
				out[k] = v
			}
		}
		return out
	}
	unit := body{"code": "x", "name": "x", "level": "city", "parent": "p"}
	network := body{"prefix": "192.0.2.0/24", "unit": "c1", "scan": true}
	domain := body{"name": "x.example.edu.cn", "unit": "c1", "scan": true}
	contact := body{"unit": "c1", "duty": "liaison", "name": "李四"}
	system := body{"code": "x", "name": "x", "unit": "c1", "state": "registered", "hosting": "own"}
	entry := body{"kind": "port", "host": "198.51.100.20/32", "port": 443, "unit": "c1", "reason": "选课"}
	f := func(b *browser, method, path string, in body, field, zh, en string) {
		t.Helper()
		p := b.refused(method, "/api/v1/"+path, in, 422, codeInvalid)
		i := slices.IndexFunc(p.Fields, func(m Mistake) bool { return m.Field == field })
		if len(p.Fields) != 1 || i < 0 || !strings.Contains(p.Fields[i].Zh, zh) || !strings.Contains(p.Fields[i].En, en) || !strings.Contains(p.Detail, p.Fields[i].En) {
			t.Errorf("%s %s %v: %+v", method, path, in, p)
		}
	}
	put := func(path string, of body, name string, value any, zh, en string) {
		t.Helper()
		f(root, "PUT", path, with(of, name, value), name, zh, en)
	}

	// What is asked for in the address.
	f(root, "GET", "asset", nil, "key", "缺少", "is missing")
	f(root, "GET", "graph?depth=1", nil, "around", "缺少", "is missing")
	f(root, "GET", "graph?around=unit/c1&at=x", nil, "at", "应为时间", "write a time such as")
	f(root, "GET", "graph?around=unit/c1&at=2126-01-01T00:00:00Z", nil, "at", "尚未到来", "still to come")
	f(root, "GET", "whitelist?within=x", nil, "within", "应为多久以内", "write a time such as 30d")

	// Address blocks.
	put("networks", network, "prefix", "300.0.0.0/24", `"300.0.0.0/24" 不是网段：300.0.0.0 不是地址`, "300.0.0.0 is no address")
	put("networks", network, "prefix", "192.0.2.0/33", "前缀长度应在 0 至 32 之间", "not 0 to 32")
	put("networks", network, "prefix", "2001:db8::/129", "前缀长度应在 0 至 128 之间", "not 0 to 128")
	put("networks", network, "prefix", "192.0.2.0", "缺少前缀长度", "length of its prefix is missing")
	put("networks", network, "prefix", "fe80::1%eth0/64", "不是地址", "is no address")
	put("networks", network, "prefix", "", "缺少网段", "missing")
	put("networks", network, "prefix", 24, "应为文本", "expected string")
	put("networks", network, "exclude", []string{"192.0.2.1/32", "192.0.2.256/32"}, "192.0.2.256 不是地址", "192.0.2.256 is no address")
	put("networks", network, "exclude", "192.0.2.1/32", "应为列表", "expected array")
	// Numbers.
	put("networks", network, "rate", "fast", "应为整数", "expected integer")
	put("networks", network, "rate", 1.5, "应为整数", "expected integer")
	put("networks", network, "host_rate", json.RawMessage("1e300"), "1e300 不是整数，或太大", "no whole number, or too large")
	put("networks", network, "scan", "yes", "应为 true 或 false", "expected boolean")
	put("networks", network, "hours", "25:00", "扫描时段无效", "")
	put("networks", network, "hosts", 3, "没有这一项", "unexpected property")
	f(root, "PUT", "networks", body{"unit": "c1", "scan": true}, "prefix", "缺少", "is missing")
	// Names, codes and persons.
	put("domains", domain, "name", "campus", "不是域名", "no domain name")
	put("domains", domain, "name", "www..example.edu.cn", "不是域名", "no domain name")
	put("units", unit, "code", "a b", "不能含空格", "no space")
	put("units", unit, "division", "41", "六位数字", "six digits")
	put("contacts", contact, "phone", "无", "不是电话号码", "no telephone number")
	// A system, whose person is within it.
	put("systems", system, "addresses", []string{"198.51.100.0/24", "300.1.1.1/32"}, "300.1.1.1 不是地址", "300.1.1.1 is no address")
	put("systems", system, "ports", []string{"443/tcp", "70000/tcp"}, `"70000/tcp" 不是端口`, "no port such as")
	put("systems", system, "domains", []string{"campus"}, "不是域名", "no domain name")
	put("systems", system, "level", 9, "1 至 5", "between 1 and 5")
	f(root, "PUT", "systems", with(system, "responsible", body{"phone": "无"}), "phone", "不是电话号码", "")
	f(root, "PUT", "systems", with(system, "responsible", body{"phone": 110}), "phone", "应为文本", "expected string")
	f(root, "PUT", "systems", with(system, "responsible", body{"name": 7}), "responsible", "应为文本", "expected string")
	// What is asked for, by somebody of a unit: that it is mistyped comes before whose it is.
	ask := func(name string, value any, zh, en string) {
		t.Helper()
		f(li, "POST", "requests", body{"entry": with(entry, name, value)}, name, zh, en)
		put("whitelist", entry, name, value, zh, en)
	}
	ask("host", "300.1.1.1/32", "300.1.1.1 不是地址", "300.1.1.1 is no address")
	ask("port", 70000, "不在 1 至 65535 之间", "not between")
	ask("port", "https", "应为整数", "expected integer")
	ask("until", "tomorrow", "不是时间", "date-time")
	ask("transport", "sctp", "不是 tcp 或 udp", "neither")
	ask("kind", "anything", "不是域名、主机、端口之一", "none of")
	f(li, "POST", "requests", body{"entry": body{"kind": "domain", "domain": "campus", "unit": "c1"}}, "domain", "不是域名", "no domain name")
	f(li, "POST", "requests", body{"entry": body{"kind": "host", "unit": "c1"}}, "host", "须填主机", "needs a host")
	// What is well written and somebody else's is told where it stands, too.
	others := func(path string, in body, field, zh string) {
		t.Helper()
		method := "PUT"
		if path == "requests" || path == "scan-jobs" {
			method = "POST"
		}
		p := city.refused(method, "/api/v1/"+path, in, 403, codeForbidden)
		if len(p.Fields) != 1 || p.Fields[0].Field != field || !strings.Contains(p.Fields[0].Zh, zh) || p.Fields[0].En == "" || !strings.Contains(p.Detail, p.Fields[0].En) {
			t.Errorf("%s %v: %+v", path, in, p)
		}
	}
	others("requests", body{"entry": with(entry, "host", "203.0.113.20/32")}, "host", "不在您单位的网段内")
	others("requests", body{"entry": with(entry, "unit", "c2")}, "unit", "不是您的单位")
	others("whitelist", body{"kind": "domain", "domain": "www.c2.example.edu.cn", "unit": "c1"}, "domain", "不在您单位的域名之下")
	others("systems", with(system, "addresses", []string{"203.0.113.20/32"}), "addresses", "203.0.113.20/32 在其他单位的网段内")
	others("systems", with(system, "domains", []string{"www.c2.example.edu.cn"}), "domains", "在其他单位的域名之下")
	others("units", with(unit, "parent", "c2"), "parent", "不是您的单位")
	others("networks", network, "", "仅全局管理员")
	root.do("PUT", "/api/v1/systems", with(system, "unit", "c2"), 200)
	others("systems", system, "code", "是其他单位的登记")
	others("units", with(with(unit, "code", "c2"), "parent", "c1"), "code", "是其他单位的登记")
	others("units", with(unit, "code", "c1"), "code", "您自己的单位")
	others("scan-jobs", body{"unit": "c2"}, "unit", "不是您的单位")
	// Scans, and what is in a query.
	f(root, "POST", "scan-jobs", body{"unit": "c1", "rate": -1}, "rate", "不能小于 0", ">= 0")
	f(root, "POST", "scan-jobs", body{"unit": ""}, "unit", "至少 1 个字符", ">= 1")
	f(root, "POST", "decisions", body{"id": "x", "state": "maybe"}, "state", "应为 approved, refused, withdrawn 之一", "one of")
	f(root, "GET", "alerts?limit=0", nil, "limit", "不能小于 1", ">= 1")
	f(root, "GET", "alerts?limit=many", nil, "limit", "有误", "integer")

	// All that is wrong at once, and never without bound.
	p := root.refused("PUT", "/api/v1/networks", body{"prefix": "300.0.0.0/24", "unit": "c1", "scan": true, "exclude": slices.Repeat([]string{"x"}, 200)}, 422, codeInvalid)
	if fields := p.Fields; len(fields) != maxMistakes+1 || !slices.ContainsFunc(fields, func(m Mistake) bool { return m.Field == "prefix" }) ||
		fields[maxMistakes] != (Mistake{"", "另有 151 处错误", "and 151 more"}) {
		t.Errorf("%d mistakes: %+v", len(fields), fields)
	}
	if p := root.refused("PUT", "/api/v1/networks", with(network, "prefix", strings.Repeat("9", 900)), 422, codeInvalid); len(p.Fields) != 1 || len(p.Fields[0].Zh) > 400 {
		t.Errorf("a value of 900 characters is repeated: %+v", p)
	}
}

// FuzzUndecodable: what encoding/json refuses is told, at fields that the body has,
// within bounds.
func FuzzUndecodable(f *testing.F) {
	bodies := []reflect.Type{reflect.TypeFor[schemas.Network](), reflect.TypeFor[registry.System](), reflect.TypeFor[schemas.WhitelistEntry](), reflect.TypeFor[Listed]()}
	for _, seed := range []string{
		`{"prefix":"300.0.0.0/24"}`, `{"exclude":["x",1,null]}`, `{"ports":["0/tcp"],"responsible":{"name":1}}`, `{"until":"x","port":1e400}`, `{"Prefix":"x","prefix":"192.0.2.0/24"}`, `[`, `"x"`, `{"host":{}}`,
	} {
		for i := range bodies {
			f.Add(seed, uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, raw string, of uint8) {
		body := bodies[int(of)%len(bodies)]
		err := json.Unmarshal([]byte(raw), reflect.New(body).Interface())
		if err == nil {
			return
		}
		out := undecodable(body, []byte(raw), "it is not")
		if len(out) == 0 || len(out) > maxMistakes+1 {
			t.Fatalf("%d mistakes of %v", len(out), err)
		}
		for _, m := range out {
			if m.Zh == "" || m.En == "" || m.Field != "" && !hasField(body, m.Field) {
				t.Errorf("%+v of %s", m, raw)
			}
		}
	})
}

func hasField(t reflect.Type, name string) bool {
	return slices.ContainsFunc(fieldsOf(t), func(f field) bool {
		return f.name == name || f.kind.Kind() == reflect.Struct && !readsItself(f.kind) && hasField(f.kind, name)
	})
}

// TestMistypedAtItsField is who mistypes an address block, twice in one form, and one in
// another form; sees it said at the fields, mends it and saves.
func TestMistypedAtItsField(t *testing.T) {
	needsPage(t)
	s := start(t, openStore(t), nil)
	s.user("root", registry.RoleAdmin, "")
	s.user("li", registry.RoleAnalyst, "c1")
	ctx := browse(t)
	fill, choose, send := inDialogue(t, ctx)
	marked := func(field, text string) { // as whoever does not see the page is told
		t.Helper()
		says(t, ctx, fmt.Sprintf(`(() => { const e = document.querySelector(".ant-modal %s");
			return e?.ariaInvalid + " " + (e?.getAttribute("aria-describedby") ?? "").split(" ").some(id => document.getElementById(id)?.innerText.includes(%q)) })()`, field, text), "true true")
	}
	unmarked := func(field string) {
		t.Helper()
		says(t, ctx, `document.querySelector(".ant-modal `+field+`").ariaInvalid === "true"`, "false")
	}
	focused := func(id string) { t.Helper(); says(t, ctx, `document.activeElement.id`, id) }
	noAlert := func() { t.Helper(); says(t, ctx, `document.querySelectorAll(".ant-modal .ant-alert").length`, "0") }
	closed := func() {
		t.Helper()
		says(t, ctx, `[...document.querySelectorAll(".ant-modal-wrap")].filter(e => e.getClientRects().length).map(e => e.innerText).join()`, "")
	}

	s.enter(ctx, "root", "#/registry?tab=networks")
	press(t, ctx, "#networks button", "登记网段")
	fill("#prefix", "300.0.0.0/24")
	send() // a unit is missing, which the page says itself
	marked("#unit", "必填")
	focused("unit")
	choose("#unit", "c2")
	fill("#exclude", "192.0.2.256")
	send()
	marked("#prefix", `"300.0.0.0/24" 不是网段：300.0.0.0 不是地址`)
	marked("#exclude", "192.0.2.256 不是地址")
	focused("prefix") // the first
	noAlert()
	picture(t, ctx, "network-mistyped")
	fill("#prefix", "192.0.2.0/24")
	unmarked("#prefix")
	marked("#exclude", "192.0.2.256 不是地址")
	send()
	marked("#exclude", "192.0.2.256 不是地址")
	focused("exclude")
	fill("#exclude", "192.0.2.25")
	send()
	closed()
	shows(t, ctx, "#networks", "192.0.2.0/24", "192.0.2.25/32")
	content, err := s.registry.Read(t.Context(), registry.Query{Kind: "network"})
	must(t, err)
	if !slices.ContainsFunc(content.Networks, func(n schemas.Network) bool {
		return n.Prefix == netip.MustParsePrefix("192.0.2.0/24") && n.Unit == "c2" && slices.Equal(n.Exclude, []netip.Prefix{netip.MustParsePrefix("192.0.2.25/32")})
	}) {
		t.Errorf("%+v", content.Networks)
	}

	// In the other language, and in a form whose body has the entry within it.
	leave(t, ctx)
	s.enter(ctx, "li", "#/registry?tab=requests")
	press(t, ctx, "header .ant-segmented-item", "English")
	press(t, ctx, "#requests button", "Ask for an entry")
	fill("#host", "198.51.100.300", "#port", "443", "#reason", "选课")
	choose("#unit", "c1")
	press(t, ctx, ".ant-modal button", "Submit")
	marked("#host", "198.51.100.300 is no address")
	focused("host")
	noAlert()
	fill("#host", "198.51.100.30")
	press(t, ctx, ".ant-modal button", "Submit")
	closed()
	pending, err := s.registry.Requests(t.Context(), registry.RequestPending)
	must(t, err)
	if len(pending) != 1 || pending[0].Entry.Host != netip.MustParsePrefix("198.51.100.30/32") || pending[0].Asked.After(time.Now()) {
		t.Errorf("%+v", pending)
	}
}
