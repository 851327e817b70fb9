package parse

import (
	"testing"
	"time"

	"fengsui/schemas"
)

func flowEvent(t *testing.T, line string) *schemas.Event {
	t.Helper()
	ev := &schemas.Event{Original: line}
	ev.Format, ev.Source, ev.Received = "flow", "192.0.2.1", time.Date(2026, 11, 22, 9, 0, 10, 0, time.UTC)
	if err := Parse(ev); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return ev
}

// TestFlow: a field's name and its value as text, for each line.
func TestFlow(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		ev := flowEvent(t, line)
		for i := 0; i < len(want); i += 2 {
			if got := ev.Lookup(want[i]).Text(); got != want[i+1] {
				t.Errorf("%s\n%s is %q, want %q", line, want[i], got, want[i+1])
			}
		}
	}
	// The client's half.
	f(`{"@timestamp":"2026-11-22T09:00:01.5Z","event.start":"2026-11-22T09:00:01Z","event.end":"2026-11-22T09:00:01.5Z","event.duration":500000000,`+
		`"event.provider":"netflow5","source.ip":"10.1.0.5","source.port":40000,"source.bytes":432,"source.packets":3,"destination.ip":"203.0.113.9",`+
		`"destination.port":443,"network.transport":"tcp","network.community_id":"1:x","labels.tcp_flags":"FSPA","labels.tos":16}`,
		"@timestamp", "2026-11-22T09:00:01.5Z", "event.module", "flow", "event.dataset", "flow.conn", "event.provider", "netflow5",
		"event.kind", "event", "event.category", "network", "event.type", "connection", "event.duration", "500000000",
		"source.ip", "10.1.0.5", "source.port", "40000", "destination.ip", "203.0.113.9", "destination.port", "443",
		"network.bytes", "432", "network.packets", "3", "network.type", "ipv4", "network.transport", "tcp", "network.community_id", "1:x",
		"observer.ip", "192.0.2.1", "labels.tos", "16", "labels.flow_seen", "source", "zeek.conn.state", "")
	// The server's half of the same, turned round.
	f(`{"@timestamp":"2026-11-22T09:00:01.5Z","source.ip":"203.0.113.9","source.port":443,"source.bytes":1332,"source.packets":3,"source.as.number":64500,`+
		`"source.mac":"02:00:00:00:00:02","destination.ip":"10.1.0.5","destination.port":40000,"network.transport":"tcp","labels.tcp_flags":"FSPA","labels.ingress_interface":7}`,
		"source.ip", "10.1.0.5", "source.port", "40000", "source.bytes", "", "destination.ip", "203.0.113.9", "destination.port", "443",
		"destination.bytes", "1332", "destination.as.number", "64500", "destination.mac", "02:00:00:00:00:02", "network.bytes", "1332",
		"labels.flow_seen", "destination", "labels.tcp_flags_reverse", "FSPA", "labels.tcp_flags", "", "zeek.conn.state", "S3", "labels.egress_interface", "7")
	// Both ways in one record.
	f(`{"source.ip":"2001:db8::1","source.port":50000,"source.bytes":10,"source.packets":3,"destination.ip":"2001:db8::2","destination.port":22,`+
		`"destination.bytes":20,"destination.packets":2,"network.transport":"tcp","labels.tcp_flags":"FSA","labels.tcp_flags_reverse":"FSA"}`,
		"source.port", "50000", "network.bytes", "30", "network.packets", "5", "labels.flow_seen", "both", "zeek.conn.state", "SF", "network.type", "ipv6")
	// A biflow whose first packet was the answer.
	f(`{"source.ip":"10.1.0.1","source.port":53,"source.bytes":0,"source.packets":0,"destination.ip":"10.1.0.5","destination.port":53001,"destination.bytes":68,"destination.packets":1,"network.transport":"udp"}`,
		"source.ip", "10.1.0.5", "destination.port", "53", "source.bytes", "68", "zeek.conn.state", "", "labels.flow_seen", "source")
	// A scan from a low port is no answer.
	f(`{"source.ip":"10.1.0.9","source.port":53,"source.packets":1,"destination.ip":"10.1.0.5","destination.port":40001,"network.transport":"tcp","labels.tcp_flags":"S"}`,
		"source.ip", "10.1.0.9", "zeek.conn.state", "S0", "labels.flow_seen", "source")
	f(`{"source.ip":"10.1.0.9","source.port":40001,"source.packets":1,"destination.ip":"10.1.0.5","destination.port":23,"destination.packets":1,"network.transport":"tcp","labels.tcp_flags":"S","labels.tcp_flags_reverse":"RA"}`,
		"zeek.conn.state", "REJ")
	// One SYN and ACK may be all that there was.
	f(`{"source.ip":"10.1.0.5","source.port":23,"source.packets":1,"destination.ip":"10.1.0.9","destination.port":40001,"network.transport":"tcp","labels.tcp_flags":"SA"}`,
		"source.ip", "10.1.0.9", "zeek.conn.state", "")
	// Who was behind an address.
	f(`{"@timestamp":"2026-11-22T09:00:01Z","source.ip":"100.64.3.9","source.port":443,"source.nat.ip":"198.51.100.7","source.nat.port":21001,"destination.ip":"203.0.113.9","destination.port":40000,"network.transport":"tcp","labels.nat_event":4}`,
		"event.dataset", "flow.nat", "event.action", "nat_session_created", "event.type", "start", "source.ip", "100.64.3.9", "source.port", "443",
		"source.nat.ip", "198.51.100.7", "source.nat.port", "21001", "labels.flow_seen", "")
	f(`{"source.ip":"100.64.3.9","source.nat.ip":"198.51.100.7","labels.nat_event":16,"labels.port_range_start":1024,"labels.port_range_end":1535}`,
		"event.action", "nat_ports_allocated", "labels.port_range_end", "1535")
	f(`{"source.ip":"10.0.0.1","destination.ip":"10.0.0.2","labels.firewall_event":3}`, "event.dataset", "flow.firewall", "event.type", "denied")
	// Hostile: what is not ours to be told, and what is of a wrong type.
	f(`{"source.ip":"10.0.0.1","event.module":"zeek","organization.id":"1","source.port":"x"}`,
		"event.module", "flow", "organization.id", "", "labels.organization.id", "1", "source.ip", "10.0.0.1")
}

func FuzzFlow(f *testing.F) {
	f.Add(`{"source.ip":"10.1.0.1","source.port":53,"destination.packets":1,"network.transport":"tcp","labels.tcp_flags":"SA"}`)
	f.Add(`{"labels.nat_event":[4],"source.packets":9223372036854775807,"destination.packets":1}`)
	f.Fuzz(func(_ *testing.T, line string) {
		ev := &schemas.Event{Original: line}
		ev.Format = "flow"
		_ = Parse(ev)
	})
}

func BenchmarkFlow(b *testing.B) {
	line := `{"@timestamp":"2026-11-22T09:00:01.5Z","event.start":"2026-11-22T09:00:01Z","event.end":"2026-11-22T09:00:01.5Z","event.duration":500000000,` +
		`"event.provider":"netflow5","source.ip":"10.1.0.5","source.port":40000,"source.bytes":432,"source.packets":3,"destination.ip":"203.0.113.9",` +
		`"destination.port":443,"network.transport":"tcp","network.community_id":"1:x","labels.tcp_flags":"FSPA","labels.tos":16}`
	ev := &schemas.Event{}
	b.ReportAllocs()
	for b.Loop() {
		ev.Reset()
		ev.Original, ev.Format = line, "flow"
		if err := Parse(ev); err != nil {
			b.Fatal(err)
		}
	}
}
