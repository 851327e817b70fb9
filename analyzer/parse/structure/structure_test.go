package structure

import (
	"strings"
	"testing"
)

// show writes pairs in one line.
func show(pairs []Pair) string {
	var b strings.Builder
	for _, p := range pairs {
		if b.Len() > 0 {
			b.WriteString(" | ")
		}
		b.WriteString(p.Key + "=" + p.Value)
		if p.Alias != "" {
			b.WriteString(" (" + p.Alias + ")")
		}
	}
	return b.String()
}

func read(t *testing.T, r Reader, text, want string) {
	t.Helper()
	pairs, err := r.Append(nil, text)
	got := show(pairs)
	if err != nil {
		got = "error: " + err.Error()
	}
	if got != want {
		t.Errorf("%q:\n got %s\nwant %s", text, got, want)
	}
}

// TestKV reads what devices write as keys and values.
func TestKV(t *testing.T) {
	kv := NewKV(KVOptions{})
	f := func(text, want string) { t.Helper(); read(t, kv, text, want) }
	f(`a=1 b=2`, "a=1 | b=2")
	f(`a=1, b=2; c=3`, "a=1 | b=2 | c=3")
	f(`a="x y" b='z' c=`, "a=x y | b=z | c=")
	f(`user= src=192.0.2.1`, "user= | src=192.0.2.1")
	f(`msg=two words here src=192.0.2.1`, "msg=two words here | src=192.0.2.1")
	f(`url=http://x/?q=1&r=2 id=7`, "url=http://x/?q=1&r=2 | id=7")
	f(`a="say \"hi\"" b=1`, `a=say "hi" | b=1`)
	f(`a="C:\Temp" b=1`, `a=C:\Temp | b=1`)
	f(`a="never closed b=1`, `a="never closed | b=1`)
	f(`it's=1 name='tis so b=2`, `it's=1 name='tis so | b=2`[len("it's=1 "):])
	f(`text before a=1`, "a=1")
	f(`a = 1 b = 2`, "a=1 | b=2")
	f(`源IP=192.0.2.1，目的IP=192.0.2.2；用户=张三`, "源IP=192.0.2.1 | 目的IP=192.0.2.2 | 用户=张三")
	f(`用户＝张三 动作＝拒绝`, "用户=张三 | 动作=拒绝")
	f(`b64=YWJj== c=1`, "b64=YWJj== | c=1")
	f(`SrcIPAddr(1003)=192.0.2.1;Type(1067)=ACL;`, "SrcIPAddr(1003)=192.0.2.1 | Type(1067)=ACL")
	f(`nothing here`, "error: no key with a value")
	f(``, "error: no key with a value")
	f(`=1`, "error: no key with a value")
	f(strings.Repeat("k=1 ", MaxPairs+1), "error: more than 1024 keys")

	colon := NewKV(KVOptions{Separators: ",，", Assign: ":："})
	g := func(text, want string) { t.Helper(); read(t, colon, text, want) }
	g(`日志类型:服务控制, 用户:张三(192.0.2.1), 时间:2026-12-10 10:20:30`, "日志类型=服务控制 | 用户=张三(192.0.2.1) | 时间=2026-12-10 10:20:30")
	g(`Source IP: 192.0.2.1, MAC: 00:00:5e:00:53:01, URL: http://x/`, "Source IP=192.0.2.1 | MAC=00:00:5e:00:53:01 | URL=http://x/")
	g(`用户：李四，动作：允许`, "用户=李四 | 动作=允许")
	g(`a:x, y, b:z`, "a=x, y | b=z")
}

// TestDelimited reads CSV and TSV.
func TestDelimited(t *testing.T) {
	f := func(d *Delimited, text, want string) { t.Helper(); read(t, d, text, want) }
	csv := &Delimited{Separator: ",", Quote: '"', Columns: []string{"a", "_", "b"}}
	f(csv, `1,2,3,4`, "a=1 | b=3 | column4=4")
	f(csv, `"x, y", 2 ,"say ""hi"""`, `a=x, y | b=say "hi"`)
	f(csv, `1,,`, "a=1 | b=")
	f(csv, `1,2`, "a=1")
	f(csv, `nothing`, `error: no "," between columns`)
	f(csv, `1,2,"open`, `a=1 | b=open`)
	f(csv, strings.Repeat(",", MaxPairs), "error: more than 1024 columns")
	f(&Delimited{Separator: "\t", Columns: []string{"a", "b"}}, "x \"y\"\tz", `a=x "y" | b=z`)
	f(&Delimited{Separator: "||", Columns: []string{"a", "b"}}, "x|y||z", "a=x|y | b=z")
}

// TestCEF reads CEF with its escapes and labels.
func TestCEF(t *testing.T) {
	f := func(text, want string) { t.Helper(); read(t, CEF{}, text, want) }
	const head = "cefVersion=0 | deviceVendor=V | deviceProduct=P | deviceVersion=1 | deviceEventClassId=id | name=n | severity=5"
	f(`CEF:0|V|P|1|id|n|5|src=192.0.2.1 msg=a\=b c\\d\ne dst=192.0.2.2`, head+" | src=192.0.2.1 | msg=a=b c\\d\ne | dst=192.0.2.2")
	f(`CEF:0|V|P|1|id|n|5|`, head)
	f(`CEF:0|V|P|1|id|n|5`, head)
	f(`x CEF:0|V|P|1|id|a \| b|5|`, strings.Replace(head, "name=n", "name=a | b", 1))
	f(`CEF:0|V|P|1|id|n|5|cs1=x y cs1Label=Rule Name cn1=3 cn2Label=alone`, head+" | Rule Name=x y (cs1) | cn1=3 | cn2Label=alone")
	f(`CEF:0|V|P`, "error: no CEF header of seven fields")
	f(`no`, "error: no CEF header of seven fields")
}

// TestLEEF reads both versions with their delimiters.
func TestLEEF(t *testing.T) {
	f := func(text, want string) { t.Helper(); read(t, LEEF{}, text, want) }
	head := func(v string) string {
		return "leefVersion=" + v + " | deviceVendor=V | deviceProduct=P | deviceVersion=1 | eventId=id"
	}
	f("LEEF:1.0|V|P|1|id|a=1\tb=x = y", head("1.0")+" | a=1 | b=x = y")
	f("LEEF:1.0|V|P|1|id|a=1 b=2", head("1.0")+" | a=1 | b=2")
	f("LEEF:2.0|V|P|1|id|^|a=1^b=2", head("2.0")+" | a=1 | b=2")
	f("LEEF:2.0|V|P|1|id|0x5E|a=1^b=2", head("2.0")+" | a=1 | b=2")
	f("LEEF:2.0|V|P|1|id|x7C|a=1|b=2", head("2.0")+" | a=1 | b=2")
	f("LEEF:2.0|V|P|1|id||a=1\tb=2", head("2.0")+" | a=1 | b=2")
	f("LEEF:2.0|V|P|1|id|a=1\tb=2", head("2.0")+" | a=1 | b=2")
	f("LEEF:1.0|V|P", "error: no LEEF header of five fields")
}

// TestPattern matches texts with patterns.
func TestPattern(t *testing.T) {
	f := func(pattern, text, want string) {
		t.Helper()
		p, err := NewPattern(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			return
		}
		pairs, ok := p.Append(nil, text)
		got := show(pairs)
		if !ok {
			got = "no"
		}
		if got != want {
			t.Errorf("%s on %q: got %s, want %s", pattern, text, got, want)
		}
	}
	f("Deny %{word:proto} src %{word:if}:%{ip:ip}%(/%{port:port}%) end", "Deny tcp src outside:192.0.2.1/80 end", "proto=tcp | if=outside | ip=192.0.2.1 | port=80")
	f("Deny %{word:proto} src %{word:if}:%{ip:ip}%(/%{port:port}%) end", "Deny icmp  src inside:2001:db8::1   end", "proto=icmp | if=inside | ip=2001:db8::1")
	f("%ASA-%{int:level}-%{int:id}: %{rest:body}", "%ASA-6-302013: Built", "level=6 | id=302013 | body=Built")
	f("%%10%{word:m}/%{int:l}/%{word:id}%((%{word})%): %{rest:b}", "%%10SHELL/5/LOGIN(l): x y", "m=SHELL | l=5 | id=LOGIN | b=x y")
	f("user %{text:u} from %{ip:ip}", "user a b c from 192.0.2.1", "u=a b c | ip=192.0.2.1")
	f("user '%{text:u}' x", "user '' x", "")
	f("args (%{all:a}) done", "args (a (b) c) done", "a=a (b) c")
	f("%(login%|logout%) of %{word:u}", "logout of bob", "u=bob")
	f("%(login%|logout%) of %{word:u}", "reload of bob", "no")
	f("a%( b %{word:x}%)%( c %{word:y}%)", "a c 2", "y=2")
	f("a%( b %{word:x}%)%( c %{word:y}%)", "a b 1 c 2", "x=1 | y=2")
	f("a%( b %{word:x}%)%( c %{word:y}%)", "a", "")
	f("a%( b %{word:x}%)", "a c", "no")
	f("by %{quoted:q} %{num:n} %{hex:h} %{mac:m}", `by "x y" 1.5 0xff 0000.5e00.5301`, "q=x y | n=1.5 | h=0xff | m=0000.5e00.5301")
	f("port %{port:p}", "port 65536", "no")
	f("from %{ip:a}.", "from 192.0.2.1.", "a=192.0.2.1")
	f("%{ip:a}:%{port:p}->%{ip:b}", "192.0.2.1:80->2001:db8::2", "a=192.0.2.1 | p=80 | b=2001:db8::2")
	f("%{ip:a}:%{port:p}->%{ip:b}:%{port:q}(", "2001:db8::1:51300->2001:db8::2:443(", "a=2001:db8::1 | p=51300 | b=2001:db8::2 | q=443")
	f("%{ip:a}:%{port:p}->%{ip:b}", "[2001:db8::1]:443->[2001:db8::2]", "a=2001:db8::1 | p=443 | b=2001:db8::2")
	f("%{ip:a}:%{port:p}", "[2001:db8::1:443", "no")
	f("x %{rest:r}", "x   ", "")
	f("用户%{word:u}登录", "用户张三登录", "u=张三")
	f("50% of %{word:x}", "50% of y", "x=y")

	bad := func(pattern string) {
		t.Helper()
		if _, err := NewPattern(pattern); err == nil {
			t.Errorf("%s is accepted", pattern)
		}
	}
	bad("%{word:a}%{word:b}")
	bad("%{text:a}%( x%)%{ip:b}")
	bad("%{what:a}")
	bad("%{word:")
	bad("%{word:}")
	bad("%{rest:a} x")
	bad("%(a")
	bad("a%)")
	bad("%(%)")
	bad("%{all:a}")
	bad(strings.Repeat("%(", maxNesting+2) + "a" + strings.Repeat("%)", maxNesting+2))
	bad(strings.Repeat("a ", maxElements))
}

// TestPatterns: the first in their order that matches, found by its literal.
func TestPatterns(t *testing.T) {
	var list []*Pattern
	for _, s := range []string{"Built inbound %{rest:a}", "%{word:any} done", "Built %{rest:b}", "Teardown %{word:c}"} {
		p, err := NewPattern(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	ps := NewPatterns(list)
	f := func(text string, want int) {
		t.Helper()
		if _, got := ps.Append(nil, text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	f("Built inbound x", 0)
	f("Built done", 1)
	f("Built outbound x", 2)
	f("Teardown x", 3)
	f("Other x", -1)
	f("", -1)
}

// FuzzPattern compiles any pattern and matches any text with it: no captures
// beyond the text, and the same twice.
func FuzzPattern(f *testing.F) {
	f.Add("Deny %{word:p} src %{word:i}:%{ip:a}%(/%{port:n}%) by %{quoted:q}%( %{rest}%)", `Deny tcp src x:192.0.2.1/2 by "y" [0x0]`)
	f.Add("%(a%|b%|%)%{text:t}, %{all:x})", "ab, c, d))")
	f.Add("%{mac:m} %{hex:h} %{num:n} %{int:i}", "00:00:5e:00:53:01 0x1f 1.5 -7")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		p, err := NewPattern(pattern)
		if err != nil {
			return
		}
		pairs, ok := p.Append(nil, text)
		again, ok2 := NewPatterns([]*Pattern{p}).Append(nil, text)
		if ok != (ok2 == 0) || show(pairs) != show(again) {
			t.Fatalf("not the same through the index: %v %d\n%s\n%s", ok, ok2, show(pairs), show(again))
		}
		for _, one := range pairs {
			if !strings.Contains(text, one.Value) || one.Value == "" {
				t.Fatalf("%q is not of the text", one.Value)
			}
		}
	})
}

// FuzzReaders holds every reader to its limits on any text.
func FuzzReaders(f *testing.F) {
	for _, s := range []string{
		`a=1 b="x y" c='z' d=`, `源IP：192.0.2.1，x:y;z=1`, "1,\"a,\"\"b\",3\t4", `CEF:0|V|P|1|id|n|5|a=b\=c cs1=x cs1Label=y`, "LEEF:2.0|V|P|1|id|^|a=1^b=2",
	} {
		f.Add(s)
	}
	readers := []Reader{
		NewKV(KVOptions{}), NewKV(KVOptions{Separators: " ", Assign: "="}), NewKV(KVOptions{Separators: ",，", Assign: ":：", Quotes: "none"}),
		&Delimited{Separator: ",", Quote: '"', Columns: []string{"a", "_"}}, &Delimited{Separator: "\t"},
		CEF{},
		LEEF{},
	}
	f.Fuzz(func(t *testing.T, text string) {
		for i, r := range readers {
			had := []Pair{{Key: "before"}}
			pairs, err := r.Append(had, text)
			if err != nil {
				continue
			}
			if len(pairs) == 0 || pairs[0].Key != "before" || len(pairs) > MaxPairs+16 {
				t.Fatalf("reader %d: %d pairs", i, len(pairs))
			}
			for _, p := range pairs[1:] {
				if p.Key == "" || len(p.Value) > len(text) {
					t.Fatalf("reader %d: %q=%q of %q", i, p.Key, p.Value, text)
				}
			}
		}
	})
}

const fortigate = `date=2026-12-10 time=12:00:01 devname="FG100F-EDU" devid="FG100FTK20000001" eventtime=1796875201123456789 tz="+0800" logid="0000000013" type="traffic" subtype="forward" level="notice" vd="root" srcip=192.0.2.17 srcport=51234 srcintf="lan" srcintfrole="lan" dstip=198.51.100.20 dstport=443 dstintf="wan1" dstintfrole="wan" sessionid=884412 proto=6 action="close" policyid=12 service="HTTPS" duration=61 sentbyte=2331 rcvdbyte=90455 sentpkt=21 rcvdpkt=77`

func BenchmarkReaders(b *testing.B) {
	f := func(name string, r Reader, text string) {
		b.Run(name, func(b *testing.B) {
			var pairs []Pair
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				var err error
				if pairs, err = r.Append(pairs[:0], text); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(pairs)), "pairs")
		})
	}
	f("kv-fortigate", NewKV(KVOptions{Separators: " ", Assign: "="}), fortigate)
	f("kv-default", NewKV(KVOptions{}), fortigate)
	f("kv-short", NewKV(KVOptions{Separators: " ", Assign: "="}), `id=tos time="2026-12-10 12:00:01" fw=TopsecOS pri=6 type=ac recorder=FW-NAT src=192.0.2.17 dst=198.51.100.20 sport=51234 dport=443 proto=tcp rule=accept policyid=8021`)
	f("kv-colon", NewKV(KVOptions{Separators: ",，", Assign: ":："}), `日志类型:服务控制或应用控制, 用户:张三(192.0.2.1), 源IP:192.0.2.1, 源端口:51234, 目的IP:198.51.100.20, 目的端口:443, 应用类型:HTTP, 动作:拒绝`)
	f("csv", &Delimited{Separator: ",", Quote: '"'}, `1,2026/12/10 12:00:01,001122334455,TRAFFIC,end,2562,2026/12/10 12:00:01,192.0.2.17,198.51.100.20,198.51.100.1,198.51.100.20,out,"edu\alice",,web-browsing,vsys1,trust,untrust,ethernet1/1,ethernet1/2,default,2026/12/10 12:00:01,884412,1,51234,443,40000,443,0x400000,tcp,allow`)
	f("cef", CEF{}, `CEF:0|ACME|Sensor|1.4|100|worm successfully stopped|10|src=192.0.2.17 spt=51234 dst=198.51.100.20 dpt=443 proto=TCP rt=1796875201123 act=blocked outcome=success cat=Worm suser=alice cs1=policy cs1Label=Policy`)
	p, err := NewPattern("Built inbound %{word:proto} connection %{int:c} for %{word:if}:%{ip:src}/%{port:sp} (%{ip:sn}/%{port:snp})%((%{text:u})%) to %{word:of}:%{ip:dst}/%{port:dp} (%{ip:dn}/%{port:dnp})%( (%{text:user})%)")
	if err != nil {
		b.Fatal(err)
	}
	f("pattern-asa", one{p}, "Built inbound TCP connection 884400 for outside:203.0.113.5/51234 (203.0.113.5/51234) to dmz:192.0.2.10/443 (198.51.100.10/443)")
}

// one is a pattern as a reader.
type one struct{ p *Pattern }

func (o one) Append(dst []Pair, s string) ([]Pair, error) {
	pairs, ok := o.p.Append(dst, s)
	if !ok {
		return pairs, errNoPairs
	}
	return pairs, nil
}
