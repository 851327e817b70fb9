package parse

import (
	"strings"
	"testing"
	"testing/fstest"
)

// own loads device files of a folder of one's own, for one test.
func own(t *testing.T, files map[string]string) error {
	t.Helper()
	dir := fstest.MapFS{}
	for name, text := range files {
		dir[name+".yaml"] = &fstest.MapFile{Data: []byte("id: " + name + "\nname: {zh: 甲, en: A}\n" + text)}
	}
	before := theDevices()
	t.Cleanup(func() { knownDevices.Store(before) })
	return LoadDevices(dir)
}

// TestOwnDevices: a new device needs no Go. Each structure is read, inside
// syslog or not, and what is built in can be replaced.
func TestOwnDevices(t *testing.T) {
	err := own(t, map[string]string{
		"acme-json": "detect: [{contains: '\"acme\"'}]\nstructure: json\nfields: {a.src: source.ip, ips: dns.resolved_ip, n: {to: event.duration, type: duration, unit: ms}}\n",
		"acme-csv": "envelope: none\nstructure: {kind: csv, columns: 'time, kind'}\nmessages:\n" +
			"  - {name: flow, if: {kind: FLOW}, structure: {kind: csv, columns: 'time, kind, source.ip, source.port, _'}}\n" +
			"  - {name: user, if: {kind: USER}, structure: {kind: csv, columns: 'time, kind, who'}, fields: {who: {to: user.name, type: user}}}\n",
		"acme-sd":     "detect: [{msgid: ACME_*}]\nstructure: sd\nfields: {source-address: source.ip, bytes: {to: network.bytes, type: bytes, unit: KB}}\nignore: [sd_id]\n",
		"acme-nested": "detect: [{keys: [acme]}]\nstructure: {kind: kv, separator: ' ', nested: {args: {kind: kv, separator: ';', assign: ':'}}}\nfields: {args.src: source.ip, tags: {to: dns.answers.data, type: list, separator: '/'}}\nrest: drop\n",
		"acme-hex":    "structure: kv\nfields: {src: {to: source.ip, type: hexip}}\n",
		"acme-url":    "structure: kv\nfields: {url: {to: url.original, type: url}, mac: {to: source.mac, type: mac}, took: {to: event.duration, type: duration}, ok: {to: tls.established, type: bool}, risk: event.risk_score}\n",
		"topsec-ngfw": "structure: kv\nfields: {src: destination.ip}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	f := func(format, line, want string) {
		t.Helper()
		ev := sampleEvent(format, line)
		if err := Parse(ev); err != nil {
			t.Errorf("%s: %v", line, err)
			return
		}
		for _, field := range strings.Split(want, "; ") {
			name, value, _ := strings.Cut(field, "=")
			if got := ev.Lookup(name).Text(); got != value {
				t.Errorf("%s %s: %s is %q, want %q", format, line, name, got, value)
			}
		}
	}
	f("auto", `{"v":"acme","a":{"src":"192.0.2.1"},"ips":["192.0.2.2","192.0.2.3"],"n":1.5,"x":["p","q"]}`,
		"source.ip=192.0.2.1; dns.resolved_ip=192.0.2.2, 192.0.2.3; event.duration=1500000; labels.x=p, q; labels.v=acme; event.dataset=acme.json")
	f("syslog", `<13>Dec 10 12:00:00 h1 {"v":"acme","a":{"src":"192.0.2.1"}}`, "source.ip=192.0.2.1; host.name=h1")
	f("acme-csv", `2026-12-10 12:00:00,FLOW,192.0.2.1,80,x`, "source.ip=192.0.2.1; source.port=80; labels.kind=FLOW; labels.time=2026-12-10 12:00:00; message=")
	f("acme-csv", `2026-12-10 12:00:00,USER,EDU\alice`, "user.name=alice; user.domain=EDU")
	f("acme-csv", `2026-12-10 12:00:00,OTHER,z`, "labels.kind=OTHER; labels.column3=z")
	f("auto", `<14>1 2026-12-10T12:00:00Z h1 flowd - ACME_OPEN [acme@32473 source-address="192.0.2.1" bytes="2"] open`, "source.ip=192.0.2.1; network.bytes=2048; event.dataset=acme.sd; labels.sd_id=")
	f("auto", `acme=1 args=src:192.0.2.1;x:y tags=a/b`, "source.ip=192.0.2.1; dns.answers.data=a, b; labels.args.x=; labels.acme=")
	f("acme-url", `url=www.example.com:8080/a?b=c mac=0000-5E00-5301 took="1 day 00:00:01" ok=是 risk=7.5`,
		"url.domain=www.example.com; url.port=8080; url.path=/a; source.mac=00:00:5e:00:53:01; event.duration=86401000000000; tls.established=true; event.risk_score=7.5")
	f("acme-url", `mac=nonsense took=-1 ok=perhaps risk=NaN`, "labels.mac=nonsense; labels.took=-1; labels.ok=perhaps; labels.risk=NaN; source.mac=")
	for in, want := range map[string]string{"4-c0000201": "192.0.2.1", "C0000201": "192.0.2.1", "192.0.2.1": "192.0.2.1", "6-20010db8000000000000000000000001": "2001:db8::1", "4-c00002": "", "c000020z": ""} {
		f("acme-hex", "src="+in, "source.ip="+want)
	}
	f("topsec-ngfw", `src=192.0.2.1`, "destination.ip=192.0.2.1; source.ip=")
}

// TestOwnFaults: what is wrong with a file is said, and what was known stays.
func TestOwnFaults(t *testing.T) {
	f := func(name, text, want string) {
		t.Helper()
		if err := own(t, map[string]string{name: text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		if _, err := Lookup("cisco-asa"); err != nil {
			t.Error(err)
		}
	}
	f("acme", "structure: ['%{word:a}%{word:b}']\nfields: {a: user.name}\n", "followed by a capture")
	f("acme", "structure: ['%{word:sorce.ip}']\nfields: {a: user.name}\n", `did you mean "source.ip"?`)
	f("acme", "structure: ['%{word:organization.id}']\nfields: {a: user.name}\n", "not a log's to set")
	f("syslog", "structure: kv\nfields: {a: user.name}\n", "a format that is built in")
	f("acme", "structure: kv\nfields: {a: nothing}\n", "acme.yaml:4: unknown field")
}

// TestFinder: of several devices the one that asks for more is it.
func TestFinder(t *testing.T) {
	err := own(t, map[string]string{
		"acme-cef":  "detect: [{starts: 'CEF:0|ACME|'}]\nstructure: cef\nfields: {src: source.ip}\n",
		"acme-keys": "detect: [{keys: [wall, act]}]\nstructure: kv\nfields: {src: source.ip}\n",
		"acme-prog": "detect: [{program: acmed, contains: flow}]\nstructure: kv\nfields: {src: source.ip}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	f := func(line, want string) {
		t.Helper()
		x, err := Explain(sampleEvent("auto", line))
		if err != nil || x.Device != want {
			t.Errorf("%s: %q, want %q (%v)", line, x.Device, want, err)
		}
	}
	f("CEF:0|ACME|a|b|c|d|e|src=192.0.2.1", "acme-cef")
	f("<13>Dec 10 12:00:00 h1 CEF:0|Other|a|b|c|d|e|src=192.0.2.1", "generic-cef")
	f("wall=1 act=x", "acme-keys")
	f("firewall=1 act=x", "")
	f("wall=1 fact=x", "")
	f("<13>Dec 10 12:00:00 h1 acmed[7]: flow src=192.0.2.1", "acme-prog")
	f("<13>Dec 10 12:00:00 h1 other[7]: flow src=192.0.2.1", "")
	f("<13>Dec 10 12:00:00 h1 sshd[7]: wall=1 act=x", "")
}
