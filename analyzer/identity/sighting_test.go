package identity_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fengsui/analyzer/identity"
	"fengsui/analyzer/parse"
	"fengsui/schemas"
)

var at = time.Date(2026, 12, 10, 4, 0, 0, 0, time.UTC)

// eventOf makes an event of JSON with dotted names, as golden files have it.
func eventOf(t testing.TB, text string) *schemas.Event {
	t.Helper()
	var fields map[string]any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&fields); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	ev := &schemas.Event{Origin: schemas.Origin{Stream: "s", Seq: 7, Source: "192.0.2.250"}}
	ev.SetTime(schemas.FieldTimestamp, at)
	for name, v := range fields {
		field, known := schemas.LookupField(name)
		if !known {
			ev.SetOpen(name, schemas.String(fmt.Sprint(v)))
			continue
		}
		ev.Set(field.ID, valueOf(t, field, v))
	}
	return ev
}

func valueOf(t testing.TB, field schemas.Field, v any) schemas.Value {
	t.Helper()
	switch v := v.(type) {
	case []any:
		vs := make([]schemas.Value, len(v))
		for i := range v {
			vs[i] = valueOf(t, field, v[i])
		}
		return schemas.List(vs...)
	case bool:
		return schemas.Bool(v)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return schemas.Int(n)
		}
		f, err := v.Float64()
		if err != nil {
			t.Fatal(err)
		}
		return schemas.Float(f)
	}
	text := fmt.Sprint(v)
	if field.Type == schemas.Date {
		when, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return schemas.Time(when)
	}
	return schemas.String(text)
}

// TestFromEvent: what each kind of log tells, and what tells nothing.
func TestFromEvent(t *testing.T) {
	f := func(event string, want *schemas.Sighting) {
		t.Helper()
		var got schemas.Sighting
		ok := identity.FromEvent(eventOf(t, event), &got)
		if ok != (want != nil) {
			t.Fatalf("%s: %v %+v", event, ok, got)
		}
		if want == nil {
			return
		}
		want.Source, want.EventID = "192.0.2.250", "s-7"
		if d := cmp.Diff(*want, got); d != "" {
			t.Errorf("%s: %s", event, d)
		}
	}
	const mac = "00:00:5e:00:53:17"
	f(`{"event.action":"address_assigned","organization.id":"10001","event.dataset":"h3c.comware","source.ip":"10.1.2.3","source.mac":"00-00-5E-00-53-17","event.duration":3600000000000}`,
		&schemas.Sighting{Kind: schemas.IdentityLease, Unit: "10001", Address: "10.1.2.3", MAC: mac, From: at, Until: at.Add(time.Hour), System: "h3c.comware"})
	f(`{"event.action":"address_assigned","event.module":"kea","source.ip":"10.1.2.3","source.mac":"`+mac+`","source.domain":"pc1","event.end":"2026-12-11T04:00:00Z"}`,
		&schemas.Sighting{Kind: schemas.IdentityLease, Address: "10.1.2.3", MAC: mac, Host: "pc1", From: at, Until: at.Add(24 * time.Hour), System: "kea"})
	f(`{"event.action":"address_released","source.ip":"10.1.2.3","source.mac":"`+mac+`","event.duration":86400000000000}`,
		&schemas.Sighting{Kind: schemas.IdentityLease, Address: "10.1.2.3", MAC: mac, Until: at, Ended: true})
	f(`{"event.action":"address_assigned","source.ip":"2001:db8::17","labels.duid":"0003000100005e005317"}`,
		&schemas.Sighting{Kind: schemas.IdentityLease, Address: "2001:db8::17", MAC: mac, From: at})
	f(`{"event.action":"address_assigned","source.ip":"2001:db8::17","labels.duid":"00:01:00:01:1c:2d:3e:4f:00:00:5e:00:53:17"}`,
		&schemas.Sighting{Kind: schemas.IdentityLease, Address: "2001:db8::17", MAC: mac, From: at})
	f(`{"event.action":"address_assigned","source.ip":"2001:db8::17","labels.duid":"0002000100005e005317"}`, nil) // an enterprise's number
	f(`{"event.action":"address_assigned","source.ip":"10.1.2.3"}`, nil)
	f(`{"event.action":"address_assigned","source.ip":"0.0.0.0","source.mac":"`+mac+`"}`, nil)
	f(`{"event.action":"user_online","source.ip":"10.1.2.3","source.mac":"`+mac+`","user.name":"20260101"}`,
		&schemas.Sighting{Kind: schemas.IdentityLogin, Address: "10.1.2.3", MAC: mac, User: "20260101", From: at})
	f(`{"event.action":"user_online","source.mac":"`+mac+`","user.name":"20260101"}`, // 802.1X
		&schemas.Sighting{Kind: schemas.IdentityLogin, MAC: mac, User: "20260101", From: at})
	f(`{"event.action":"user_online","source.ip":"203.0.113.44","source.nat.ip":"192.0.2.201","user.name":"t3"}`, // VPN
		&schemas.Sighting{Kind: schemas.IdentityLogin, Address: "192.0.2.201", Peer: "203.0.113.44", User: "t3", From: at})
	f(`{"event.action":"user_offline","source.ip":"10.1.2.3","user.name":"a","event.duration":60000000000}`,
		&schemas.Sighting{Kind: schemas.IdentityLogin, Address: "10.1.2.3", User: "a", From: at.Add(-time.Minute), Until: at, Ended: true})
	f(`{"event.action":"user_offline","source.ip":"10.1.2.3","user.name":"a"}`,
		&schemas.Sighting{Kind: schemas.IdentityLogin, Address: "10.1.2.3", User: "a", Until: at, Ended: true})
	f(`{"event.action":"user_online","source.ip":"10.1.2.3","user.name":"a","event.outcome":"failure"}`, nil)
	f(`{"event.action":"user_online","source.ip":"10.1.2.3"}`, nil)
	f(`{"event.action":"nat_translation_created","source.ip":"10.1.2.3","source.port":50123,"source.nat.ip":"198.51.100.1","source.nat.port":40001,"network.transport":"tcp"}`,
		&schemas.Sighting{Kind: schemas.IdentityNAT, Address: "198.51.100.1", Port: 40001, Inside: "10.1.2.3", InsidePort: 50123, Transport: "tcp", From: at})
	f(`{"event.action":"nat_translation_deleted","event.type":"end","source.ip":"10.1.2.3","source.nat.ip":"198.51.100.1","event.duration":60000000000}`,
		&schemas.Sighting{Kind: schemas.IdentityNAT, Address: "198.51.100.1", Inside: "10.1.2.3", From: at.Add(-time.Minute), Until: at, Ended: true})
	f(`{"event.action":"session_end","event.type":"end","event.start":"2026-12-10T03:59:01Z","event.end":"2026-12-10T03:59:59Z","source.ip":"10.1.2.3","source.nat.ip":"198.51.100.1","source.nat.port":2048,"destination.ip":"203.0.113.80","user.name":"alice"}`,
		&schemas.Sighting{
			Kind: schemas.IdentityNAT, Address: "198.51.100.1", Port: 2048, Inside: "10.1.2.3", Peer: "203.0.113.80", User: "alice",
			From: at.Add(-59 * time.Second), Until: at.Add(-time.Second), Ended: true,
		})
	f(`{"event.dataset":"flow.nat","event.action":"nat_ports_allocated","source.ip":"10.1.2.3","source.nat.ip":"198.51.100.1","labels.port_range_start":1024,"labels.port_range_end":2047}`,
		&schemas.Sighting{Kind: schemas.IdentityBlock, Address: "198.51.100.1", Port: 1024, LastPort: 2047, Inside: "10.1.2.3", From: at, System: "flow.nat"})
	f(`{"event.action":"session_start","source.ip":"203.0.113.5","source.nat.ip":"203.0.113.5"}`, nil) // nothing was translated
	f(`{"event.action":"connection_denied","event.outcome":"failure","source.ip":"10.1.2.3","source.nat.ip":"198.51.100.1"}`, nil)
	f(`{"event.action":"kerberos_ticket_requested","event.outcome":"success","source.ip":"10.1.2.3","user.name":"alice"}`,
		&schemas.Sighting{Kind: schemas.IdentityLogin, Address: "10.1.2.3", User: "alice", From: at, System: "kerberos"})
	f(`{"event.action":"kerberos_ticket_requested","event.outcome":"success","source.ip":"10.1.2.3","user.name":"PC-7$"}`,
		&schemas.Sighting{Kind: schemas.IdentityLogin, Address: "10.1.2.3", Host: "PC-7", From: at, System: "kerberos.machine"})
	f(`{"event.action":"ssh_login","event.outcome":"success","source.ip":"203.0.113.5","user.name":"root"}`, nil) // the account that was used, not who used it
}

// TestZeek: Zeek's own logs, by way of the parser.
func TestZeek(t *testing.T) {
	f := func(line string, want *schemas.Sighting) {
		t.Helper()
		ev := &schemas.Event{Origin: schemas.Origin{Stream: "s", Seq: 7, Source: "192.0.2.250", Format: "zeek", Received: at}, Original: line}
		if err := parse.Parse(ev); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var got schemas.Sighting
		ok := identity.FromEvent(ev, &got)
		if want == nil {
			if ok {
				t.Errorf("%s: %+v", line, got)
			}
			return
		}
		want.Source, want.EventID = "192.0.2.250", "s-7"
		if d := cmp.Diff(*want, got); d != "" {
			t.Errorf("%s: %s", line, d)
		}
	}
	f(`{"_path":"dhcp","ts":1796875200.0,"uids":["C1"],"client_addr":"10.1.2.3","server_addr":"10.1.0.1","mac":"00:00:5e:00:53:17","host_name":"pc1","assigned_addr":"10.1.2.3","lease_time":3600.0,"msg_types":["REQUEST","ACK"],"duration":0.1}`,
		&schemas.Sighting{Kind: schemas.IdentityLease, Address: "10.1.2.3", MAC: "00:00:5e:00:53:17", Host: "pc1", From: at, Until: at.Add(time.Hour), System: "zeek.dhcp"})
	f(`{"_path":"dhcp","ts":1796875200.0,"mac":"00:00:5e:00:53:17","assigned_addr":"10.1.2.3","lease_time":3600.0,"msg_types":["DISCOVER","OFFER"]}`, nil)
	f(`{"_path":"dhcp","ts":1796875200.0,"mac":"00:00:5e:00:53:17","client_addr":"10.1.2.3","msg_types":["RELEASE"]}`,
		&schemas.Sighting{Kind: schemas.IdentityLease, Address: "10.1.2.3", MAC: "00:00:5e:00:53:17", Until: at, Ended: true, System: "zeek.dhcp"})
	f(`{"_path":"radius","ts":1796875200.0,"id.orig_h":"10.9.0.1","id.orig_p":1812,"id.resp_h":"10.9.0.2","id.resp_p":1812,"username":"alice","mac":"00:00:5e:00:53:17","framed_addr":"10.1.2.3","result":"success"}`,
		&schemas.Sighting{Kind: schemas.IdentityLogin, Address: "10.1.2.3", MAC: "00:00:5e:00:53:17", User: "alice", From: at, System: "zeek.radius"})
	f(`{"_path":"radius","ts":1796875200.0,"username":"alice","mac":"00:00:5e:00:53:17","result":"failed"}`, nil)
	f(`{"_path":"kerberos","ts":1796875200.0,"id.orig_h":"10.1.2.3","id.orig_p":50000,"id.resp_h":"10.9.0.2","id.resp_p":88,"request_type":"AS","client":"alice/EXAMPLE.EDU.CN","service":"krbtgt/EXAMPLE.EDU.CN","success":true}`,
		&schemas.Sighting{Kind: schemas.IdentityLogin, Address: "10.1.2.3", User: "alice", From: at, System: "kerberos"})
	f(`{"_path":"conn","ts":1796875200.0,"id.orig_h":"10.1.2.3","id.orig_p":50000,"id.resp_h":"10.9.0.2","id.resp_p":88,"proto":"tcp"}`, nil)
}

// TestDevices: every event of the device files' own samples that says who has an
// address is understood.
func TestDevices(t *testing.T) {
	files, err := filepath.Glob("../../schemas/devices/*.golden.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	kinds := map[schemas.IdentityKind]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if !bytes.Contains(lines.Bytes(), []byte(`"event.action"`)) {
				continue
			}
			ev := eventOf(t, lines.Text())
			var s schemas.Sighting
			ok := identity.FromEvent(ev, &s)
			if ok {
				kinds[s.Kind]++
			}
			if ok && (s.Key().Name == "" || s.Since().IsZero() || s.EventID == "" || s.MAC == "" && s.Host == "" && s.User == "" && s.Inside == "") {
				t.Errorf("%s: a sighting of nobody: %+v", filepath.Base(file), s)
			}
			action := ev.Str(schemas.FieldEventAction)
			named := ev.Has(schemas.FieldSourceIP) && (ev.Has(schemas.FieldSourceMAC) || ev.Has(schemas.FieldUserName))
			says := strings.HasPrefix(action, "address_assigned") || action == "address_released" || named && strings.HasPrefix(action, "user_o")
			if says && !ok && ev.Str(schemas.FieldEventOutcome) != "failure" && (named || ev.Has(schemas.FieldUserName)) {
				t.Errorf("%s: %s is not understood: %s", filepath.Base(file), action, lines.Text())
			}
		}
	}
	t.Logf("%v", kinds)
	for _, k := range []schemas.IdentityKind{schemas.IdentityLease, schemas.IdentityLogin, schemas.IdentityNAT} {
		if kinds[k] < 5 {
			t.Errorf("%d sightings of kind %s in all samples", kinds[k], k)
		}
	}
}

// BenchmarkFromEvent is what an event costs that tells nothing, and one that does.
func BenchmarkFromEvent(b *testing.B) {
	f := func(name, event string, want bool) {
		ev := eventOf(b, event)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var s schemas.Sighting
			for b.Loop() {
				if ok := identity.FromEvent(ev, &s); ok != want {
					b.Fatal(ok)
				}
			}
		})
	}
	f("sshd", `{"event.action":"ssh_login","event.module":"sshd","event.dataset":"system.auth","source.ip":"203.0.113.5"}`, false)
	f("no-action", `{"event.module":"nginx","event.dataset":"nginx.access","source.ip":"203.0.113.5"}`, false)
	f("zeek.conn", `{"event.module":"zeek","event.dataset":"zeek.conn","source.ip":"203.0.113.5"}`, false)
	f("lease", `{"event.action":"address_assigned","source.ip":"10.1.2.3","source.mac":"00:00:5e:00:53:17","event.duration":3600000000000}`, true)
	f("nat", `{"event.action":"session_start","source.ip":"10.1.2.3","source.port":50123,"source.nat.ip":"198.51.100.1","source.nat.port":40001,"destination.ip":"203.0.113.80","network.transport":"tcp"}`, true)
}
