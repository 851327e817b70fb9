package parse_test

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"

	"fengsui/analyzer/assets"
	"fengsui/analyzer/marks"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

func marksOf(t testing.TB) *marks.Marks {
	t.Helper()
	snap, err := directory.NewSnapshot(
		[]schemas.Unit{{Code: "U", Name: "示例大学", Level: schemas.University}},
		[]schemas.Network{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Unit: "U"}},
		[]schemas.Domain{{Name: "shilidaxue.edu.cn", Unit: "U"}}, nil,
		schemas.System{Code: "s", Name: "门户", Unit: "U", State: schemas.SystemRegistered, Hosting: schemas.HostingOwn, ICP: "豫ICP备00000001号-1"})
	if err != nil {
		t.Fatal(err)
	}
	return marks.New(snap)
}

// TestLogsTellOfForeignSites: of the Internet logs tell what carries a unit's marks,
// from the line on, and nothing else.
func TestLogsTellOfForeignSites(t *testing.T) {
	known := marksOf(t)
	f := func(format, line, want string) {
		t.Helper()
		ev, got := eventOf(t, format, line), ""
		if out := assets.FromEvent(ev, inside, assets.NewRecent(10, time.Minute)); len(out) > 0 {
			t.Errorf("%s\nis in the map: %+v", line, out)
		}
		for _, o := range assets.Abroad(ev, inside, known, assets.NewRecent(10, time.Minute)) {
			got += told(&o)
			if o.Kind == schemas.ObservedPort {
				got += " for " + o.Name
			}
			if s := o.Service; s != nil && s.HTTP != nil {
				got += " " + s.HTTP.Title + s.HTTP.Body
			}
			if o.Method != assets.MethodMarks || o.Source != ev.Str(schemas.FieldEventDataset) || o.Unit != "u" || o.ID == "" || o.Time.IsZero() {
				t.Errorf("%s\n%+v", line, o)
			}
		}
		if got != want {
			t.Errorf("%s\ntells %q, want %q", line, got, want)
		}
	}
	const to = `"id.orig_h":"192.0.2.60","id.orig_p":40000,"id.resp_h":%q,"id.resp_p":%d,`
	zeek := func(path, ip string, port int, more, want string) {
		t.Helper()
		f("zeek", `{"_path":"`+path+`","ts":1796875200.5,"uid":"C1",`+fmt.Sprintf(to, ip, port)+more+`}`, want)
	}
	const cert = `"established":true,"version":"TLSv12","server_name":"jw.example.com","subject":"CN=jw.example.com,O=\\E7\\A4\\BA\\E4\\BE\\8B\\E5\\A4\\A7\\E5\\AD\\A6,C=CN"`
	zeek("ssl", "203.0.113.9", 443, cert, `port 203.0.113.9 443/tcp CN=jw.example.com,O=\E7\A4\BA\E4\BE\8B\E5\A4\A7\E5\AD\A6,C=CN for jw.example.com`)
	zeek("ssl", "203.0.113.9", 443, strings.Replace(cert, "true", "false", 1), "")
	zeek("ssl", "203.0.113.9", 443, strings.Replace(cert, `"jw.example.com","sub`, `"www.shilidaxue.edu.cn","sub`, 1), "") // a name of ours
	zeek("ssl", "203.0.113.9", 443, `"established":true,"server_name":"shop.example.com","subject":"CN=shop.example.com,O=Shop"`, "")
	zeek("ssl", "203.0.113.9", 443, `"established":true,"server_name":"www.shilidaxue.top"`, "port 203.0.113.9 443/tcp for www.shilidaxue.top") // TLS 1.3 shows no certificate
	for _, ip := range []string{"10.1.1.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "224.0.0.1", "fd00::1", "fe80::1", "::1"} {
		if !inside(netip.MustParseAddr(ip)) {
			zeek("ssl", ip, 443, cert, "")
		}
	}
	const page = `"method":"GET","uri":"/","status_code":200,"host":`
	zeek("http", "203.0.113.9", 80, page+`"shilidaxue-pay.example.com"`, "port 203.0.113.9 80/tcp http 200 for shilidaxue-pay.example.com ")
	zeek("http", "203.0.113.9", 80, page+`"www.example.com"`, "")
	zeek("http", "203.0.113.9", 80, `"method":"GET","uri":"/","host":"shilidaxue-pay.example.com"`, "") // not answered
	const dns = `"proto":"udp","qtype_name":"A","rcode_name":"NOERROR","query":`
	zeek("dns", "192.0.2.53", 53, dns+`"WWW.shilidaxue.com","answers":["edge.example.net","203.0.113.10","203.0.113.9"]`, "name www.shilidaxue.com A 203.0.113.10 203.0.113.9")
	zeek("dns", "192.0.2.53", 53, dns+`"www.example.com","answers":["203.0.113.9"]`, "")
	zeek("dns", "192.0.2.53", 53, dns+`"www.shilidaxue.edu.cn","answers":["203.0.113.9"]`, "") // another kind of drift, and not for logs
	zeek("dns", "192.0.2.53", 53, `"proto":"udp","qtype_name":"A","rcode_name":"NXDOMAIN","query":"www.shilidaxue.com"`, "")

	eve := func(kind, more, want string) {
		t.Helper()
		f("suricata", `{"timestamp":"2026-12-10T12:00:00.000000+0800","event_type":"`+kind+`","src_ip":"192.0.2.60","src_port":40000,"dest_ip":"203.0.113.9","dest_port":8443,"proto":"TCP",`+more+`}`, want)
	}
	eve("tls", `"tls":{"subject":"C=CN, O=示例大学, CN=jw.example.com","sni":"jw.example.com","version":"TLS 1.2"}`, "port 203.0.113.9 8443/tcp C=CN, O=示例大学, CN=jw.example.com for jw.example.com")
	eve("tls", `"tls":{"subject":"CN=x.example.com","subjectaltname":["x.example.com","www.shilidaxue.net"],"version":"TLS 1.2"}`, "port 203.0.113.9 8443/tcp CN=x.example.com for ")
	eve("tls", `"tls":{"sni":"www.shilidaxue.net"}`, "") // the client's hello alone
	eve("dns", `"dns":{"version":2,"type":"answer","rrname":"shilidaxue.net","rrtype":"A","rcode":"NOERROR","answers":[{"rrname":"shilidaxue.net","rrtype":"A","ttl":60,"rdata":"203.0.113.9"}]}`, "name shilidaxue.net A 203.0.113.9")
	const html = `<html><head><TITLE class="x">示例大学 &amp; 统一认证</title></head><body>%s</body></html>`
	body := func(text string) string {
		return `"http":{"hostname":"jw.example.com","url":"/","http_method":"GET","status":200,"http_response_body":"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"}`
	}
	eve("http", body(fmt.Sprintf(html, "张三 13800000000")), "port 203.0.113.9 8443/tcp http 200 for jw.example.com 示例大学") // of the page, the mark alone
	gbk, err := simplifiedchinese.GBK.NewEncoder().String(fmt.Sprintf(html, ""))
	if err != nil {
		t.Fatal(err)
	}
	eve("http", body(gbk), "port 203.0.113.9 8443/tcp http 200 for jw.example.com 示例大学")
	eve("http", body("<title>首页</title>豫ICP备00000001号-3"), "port 203.0.113.9 8443/tcp http 200 for jw.example.com 豫ICP备00000001号")
	eve("http", body("<title>商店</title>京ICP备00000009号"), "")
	eve("http", `"http":{"hostname":"jw.example.com","url":"/","status":200,"http_response_body_printable":"<title>示例大学</title>"}`, "port 203.0.113.9 8443/tcp http 200 for jw.example.com 示例大学")
	eve("http", `"http":{"hostname":"jw.example.com","url":"/","status":200,"http_response_body":"!!!!"}`, "")
	f("syslog", "<30>Dec 10 12:00:00 dns1 named[9]: client @0x7f 203.0.113.9#5353 (www.shilidaxue.com): query: www.shilidaxue.com IN A +", "") // a question
}

// Whoever makes names fills no more than the share of marks, and the same one is
// told of once in a while.
func TestForeignSitesAreFew(t *testing.T) {
	known, recent, told := marksOf(t), assets.NewRecent(50_000, time.Hour), 0
	for i := range 1500 {
		for range 2 {
			line := fmt.Sprintf(`{"_path":"dns","ts":%d,"uid":"C1","id.orig_h":"192.0.2.60","id.orig_p":40000,"id.resp_h":"192.0.2.53","id.resp_p":53,"proto":"udp","qtype_name":"A","rcode_name":"NOERROR","query":"shilidaxue.x%d.com","answers":["203.0.113.9"]}`, 1796875200+i, i)
			told += len(assets.Abroad(eventOf(t, "zeek", line), inside, known, recent))
		}
	}
	if told != 1000 || recent.Dropped() != 1000 {
		t.Errorf("%d told, %d dropped", told, recent.Dropped())
	}
}
