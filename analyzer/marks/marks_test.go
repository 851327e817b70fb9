package marks

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

func registry(t testing.TB, more ...schemas.Unit) *directory.Snapshot {
	t.Helper()
	units := append([]schemas.Unit{
		{Code: "41", Name: "河南省", Level: schemas.Province},
		{Code: "4101", Name: "郑州市教育局", Level: schemas.City, Parent: "41"},
		{Code: "U", Name: "示例大学", Level: schemas.University, Parent: "41"},
		{Code: "V", Name: "示例大学附属中学", Level: schemas.School, Parent: "U"},
		{Code: "W", Name: "一中", Level: schemas.School, Parent: "4101"},
		{Code: "X", Name: "第一实验小学", Level: schemas.School, Parent: "4101"},
		{Code: "Y", Name: "第一实验小学", Level: schemas.School, Parent: "4101"},
	}, more...)
	domains := []schemas.Domain{
		{Name: "shilidaxue.edu.cn", Unit: "U"},
		{Name: "lab.shilidaxue.edu.cn", Unit: "U"},
		{Name: "sl.edu.cn", Unit: "U"},
		{Name: "mail.net.cn", Unit: "U"},
		{Name: "shared.cn", Unit: "U"},
		{Name: "shared.com", Unit: "V"},
	}
	systems := []schemas.System{
		{Code: "s1", Name: "门户", Unit: "U", State: schemas.SystemRegistered, Hosting: schemas.HostingPublicCloud, Domains: []string{"shilidaxue.example.com"}, ICP: "豫ICP备00000001号-1"},
		{Code: "s2", Name: "论坛", Unit: "V", State: schemas.SystemRegistered, Hosting: schemas.HostingOwn, ICP: "未备案"},
	}
	s, err := directory.NewSnapshot(units, []schemas.Network{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Unit: "U"}}, domains, nil, systems...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOf(t *testing.T) {
	m := New(registry(t))
	f := func(o schemas.Observation, want string) {
		t.Helper()
		got := ""
		if mark, ok := m.Of(&o); ok {
			got = strings.TrimSpace(mark.Unit + " " + mark.String() + " " + mark.Host)
		}
		if got != want {
			t.Errorf("%+v %+v: %q, want %q", o, o.Service, got, want)
		}
	}
	page := func(title, body string) schemas.Observation {
		return schemas.Observation{Service: &schemas.Service{HTTP: &schemas.HTTP{Title: title, Body: body}}}
	}
	f(page("示例大学统一身份认证", ""), "U title 示例大学")
	f(page("欢迎来到示例大学附属中学", ""), "V title 示例大学附属中学")  // the longer name
	f(page("河南省新闻", ""), "")                         // names of places are everybody's
	f(page("第一实验小学", ""), "")                        // two have it
	f(page("一中", ""), "")                            // too short
	f(page(strings.Repeat("字", 253)+"示例大学", ""), "") // too far
	f(page(strings.Repeat("字", 252)+"示例大学", ""), "U title 示例大学")
	f(page("\xff示例大学\xfe", ""), "U title 示例大学")
	f(page("", "版权所有 豫ICP备00000001号-7 豫公网安备"), "U icp 豫ICP备00000001号")
	f(page("", "豫ICP备00000002号 豫ICP备00000001号"), "U icp 豫ICP备00000001号")
	f(page("", "豫ICP备00000001 ICP备00000001号 京ICP备00000001号"), "")

	tls := func(host, subject string, names ...string) schemas.Observation {
		return schemas.Observation{Name: host, Service: &schemas.Service{TLS: &schemas.TLS{Subject: subject, Names: names}}}
	}
	f(tls("", "CN=x.example.com,O=示例大学,L=郑州,C=CN"), "U certificate 示例大学")
	f(tls("", "C=CN, ST=河南, O=示例大学, CN=x.example.com"), "U certificate 示例大学") // as Suricata writes it
	f(tls("", `CN=x.example.com,O=\E7\A4\BA\E4\BE\8B\E5\A4\A7\E5\AD\A6,C=CN`), "U certificate 示例大学")
	f(tls("www.shilidaxue.edu.cn", "CN=x.example.com,O=示例大学"), "") // where a name of ours may lie is another question
	f(tls("", "CN=*.shilidaxue.edu.cn,O=示例大学"), "")
	f(tls("", "CN=x,O=示例大学", "a.example.com", "*.lab.shilidaxue.edu.cn"), "")
	f(tls("shilidaxue.example.com", "O=示例大学"), "") // a system's
	f(tls("www.shilidaxue.top", "CN=www.shilidaxue.top"), "U name shilidaxue www.shilidaxue.top")
	f(tls("", "CN=Example", "shilidaxue.top"), "U name shilidaxue shilidaxue.top")

	name := func(host string) schemas.Observation { return schemas.Observation{Name: host} }
	f(name("shilidaxue-login.example.com"), "U name shilidaxue shilidaxue-login.example.com")
	f(name("shilidaxuelogin.example.com"), "")
	f(name("www.shilidaxue.edu.cn.evil.example.com"), "U name shilidaxue.edu.cn www.shilidaxue.edu.cn.evil.example.com")
	f(name("sl-edu-cn.example.com"), "U name sl.edu.cn sl-edu-cn.example.com")
	f(name("sl.example.com"), "")     // too short to be somebody's
	f(name("mail.example.com"), "")   // says what it is for
	f(name("shared.example.com"), "") // two have it
	f(name("a.shared"), "")
	f(name("www.shilidaxue.edu.cn"), "")
	f(name(strings.Repeat("a.", 100)+"shilidaxue.com"), "") // too far
	f(name(""), "")
	f(schemas.Observation{}, "")

	if mark, _ := m.Of(&schemas.Observation{Name: "www.shilidaxue.edu.cn.cdn.example.com"}); mark.Own != "www.shilidaxue.edu.cn" {
		t.Errorf("%+v", mark)
	}
	h := page("示例大学", "")
	h.Service.HTTP.Location = "https://www.shilidaxue.edu.cn/"
	f(h, "") // it only sends people to us
	if !m.For(registry(t).Places()) {
		snap := registry(t)
		if m := New(snap); !m.For(snap) || m.For(registry(t)) {
			t.Error("For")
		}
	}
	var none *Marks
	if none.For(registry(t)) {
		t.Error("none")
	}
}

// What stands anywhere in a title of up to 256 letters is found, whatever is
// around it, and nothing is found where it does not stand.
func TestNameIsFoundWhereItStands(t *testing.T) {
	m := New(registry(t))
	rapid.Check(t, func(t *rapid.T) {
		noise := rapid.StringOfN(rapid.SampledFrom([]rune("示例大学a /校")), 0, 40, -1)
		before, after := noise.Draw(t, "before"), noise.Draw(t, "after")
		unit, name := m.Name(before + "示例大学" + after)
		if unit != "U" || name != "示例大学" {
			t.Fatalf("%q %q", unit, name)
		}
		text := rapid.String().Draw(t, "text")
		if unit, _ := m.Name(text); unit != "" && !strings.Contains(text, "示例大学") {
			t.Fatalf("%q in %q", unit, text)
		}
	})
}

// FuzzOf holds what is found to what was given: a mark stands in the text that it
// is said to be of, and is a unit's.
func FuzzOf(f *testing.F) {
	for _, s := range []string{"www.shilidaxue.edu.cn.cdn.example.com", "shilidaxue.top", "示例大学", "豫ICP备00000001号-1", `CN=x,O=\E7\A4\BA\E4\BE\8B\E5\A4\A7\E5\AD\A6`, "CN=\\", "a-b--c..d"} {
		f.Add(s, s, s, s)
	}
	m := New(registry(f))
	f.Fuzz(func(t *testing.T, host, title, body, subject string) {
		o := schemas.Observation{Name: host, Service: &schemas.Service{HTTP: &schemas.HTTP{Title: title, Body: body}, TLS: &schemas.TLS{Subject: subject}}}
		mark, ok := m.Of(&o)
		if !ok {
			return
		}
		in := map[string]string{"title": title, "certificate": Organisation(subject), "icp": body, "name": strings.ReplaceAll(mark.Host, "-", ".")}[mark.What]
		if mark.Unit != "U" && mark.Unit != "V" || !strings.Contains(in, mark.Text) || utf8.RuneCountInString(mark.Text) < minName {
			t.Errorf("%+v in %q", mark, in)
		}
		if m.Ours(mark.Host) || (mark.Host != "") != (mark.What == "name") || mark.Own != "" && (!strings.HasPrefix(mark.Host, mark.Own) || !m.Ours(mark.Own)) {
			t.Errorf("%+v", mark)
		}
	})
}

func BenchmarkOfName(b *testing.B) {
	m := New(registry(b))
	o := schemas.Observation{Name: "edge-star-mini.c10r.cdn.example.com"}
	b.ReportAllocs()
	for b.Loop() {
		m.Of(&o)
	}
}
