package parse

import (
	"strings"
	"sync"

	"fengsui/schemas"
)

// parseFlow reads a line of the collector's flow input: NetFlow, IPFIX and sFlow
// as flat JSON with ECS names. It gives the record the meaning that Zeek's conn
// log has: the source is who began the connection, and zeek.conn.state is how it
// went, as far as TCP's flags tell.
//
// Most exporters tell each direction of a connection by itself. The half that
// the server sent is turned round, so that both halves have the same source;
// labels.flow_seen says whose packets a record tells of: source, destination or
// both.
func parseFlow(ev *schemas.Event, line string) error {
	r := flowReaders.Get().(*flowReader)
	defer r.release()
	r.flat.ev = ev
	r.turned = flowTurned(line)
	if err := r.flat.walker.walk(line, r); err != nil {
		return err
	}
	if err := r.flat.end(); err != nil {
		return err
	}
	ev.SetString(schemas.FieldEventModule, "flow")
	setNetworkType(ev)
	switch {
	case !ev.Lookup("labels.nat_event").IsNone(), !ev.Lookup("labels.port_range_start").IsNone():
		ev.SetString(schemas.FieldEventDataset, "flow.nat")
		natEvent(ev.Lookup("labels.nat_event").Str()).set(ev)
	case !ev.Lookup("labels.firewall_event").IsNone():
		ev.SetString(schemas.FieldEventDataset, "flow.firewall")
		firewallEvent(ev.Lookup("labels.firewall_event").Str()).set(ev)
	default:
		ev.SetString(schemas.FieldEventDataset, "flow.conn")
		what{"network", "connection", "", ""}.set(ev)
	}
	flowSums(ev)
	if ev.Str(schemas.FieldEventDataset) == "flow.conn" {
		flowSeen(ev, r.turned)
	}
	return nil
}

type flowReader struct {
	flat   flatReader
	turned bool
}

var flowReaders = sync.Pool{New: func() any { return &flowReader{flat: flatReader{labels: names{prefix: "labels."}}} }}

func (r *flowReader) release() {
	r.flat.ev, r.flat.times = nil, [len(flatTimes)]jsonValue{}
	r.flat.walker.forget()
	flowReaders.Put(r)
}

func (r *flowReader) visit(path []byte, v *jsonValue) {
	if r.turned {
		if other, ok := flowOther[string(path)]; ok {
			path = other
		}
	}
	r.flat.visit(path, v)
}

// flowOther is each field's counterpart at the other end.
var flowOther = func() map[string][]byte {
	m := make(map[string][]byte)
	pair := func(a, b string) { m[a], m[b] = []byte(b), []byte(a) }
	for _, field := range []string{"ip", "port", "bytes", "packets", "mac", "as.number", "nat.ip", "nat.port"} {
		pair("source."+field, "destination."+field)
	}
	pair("labels.source_mask", "labels.destination_mask")
	pair("labels.tcp_flags", "labels.tcp_flags_reverse")
	pair("observer.ingress.interface.name", "observer.egress.interface.name")
	pair("labels.ingress_interface", "labels.egress_interface")
	return m
}()

// flowTurned says that a record tells of the packets that a server sent to its
// client. It looks at the line before it is read, since reading it depends on
// that. What it is mistaken in is read all the same.
func flowTurned(line string) bool {
	if strings.Contains(line, `"labels.nat_event":`) || strings.Contains(line, `"labels.firewall_event":`) ||
		strings.Contains(line, `"labels.port_range_start":`) {
		return false
	}
	if back := flowNumber(line, `"destination.packets":`); back >= 0 {
		return back > 0 && flowNumber(line, `"source.packets":`) == 0
	}
	src, dst := flowNumber(line, `"source.port":`), flowNumber(line, `"destination.port":`)
	if src <= 0 || dst <= 0 {
		return false
	}
	if _, flags, ok := strings.Cut(line, `"labels.tcp_flags":"`); ok {
		if flags, _, _ = strings.Cut(flags, `"`); opens(flags) {
			return false // a SYN without an ACK: whoever sent it began
		}
	}
	const known, ephemeral = 1024, 32768 // below, and from there on (Linux; others begin higher)
	return src < known && dst >= known || src < ephemeral && dst >= ephemeral
}

func flowNumber(line, key string) int64 {
	if i := strings.Index(line, key); i >= 0 {
		if n, digits := number(line[i+len(key):]); digits > 0 {
			return n
		}
	}
	return -1
}

// opens says that flags are of nothing but attempts to begin a connection.
func opens(flags string) bool {
	return strings.Contains(flags, "S") && !strings.ContainsAny(flags, "APFRU")
}

func flowSums(ev *schemas.Event) {
	for _, f := range [...]struct{ sum, a, b schemas.FieldID }{
		{schemas.FieldNetworkBytes, schemas.FieldSourceBytes, schemas.FieldDestinationBytes},
		{schemas.FieldNetworkPackets, schemas.FieldSourcePackets, schemas.FieldDestinationPackets},
	} {
		switch a, b := ev.Get(f.a), ev.Get(f.b); {
		case a.IsNone():
			ev.Set(f.sum, b)
		case b.IsNone():
			ev.Set(f.sum, a)
		default:
			setSum(ev, f.sum, f.a, f.b)
		}
	}
}

// flowSeen says whose packets the record tells of, and how the connection went.
func flowSeen(ev *schemas.Event, turned bool) {
	seen, back := "source", ev.Get(schemas.FieldDestinationPackets)
	switch {
	case turned && ev.Get(schemas.FieldSourcePackets).Int() == 0:
		seen = "destination"
	case back.Int() > 0:
		seen = "both"
	}
	label(ev, "labels.flow_seen", seen)
	if ev.Str(schemas.FieldNetworkTransport) == "tcp" {
		ev.SetString(schemas.FieldZeekConnState, flowState(seen,
			ev.Lookup("labels.tcp_flags").Str(), ev.Lookup("labels.tcp_flags_reverse").Str(), back))
	}
}

// flowState is Zeek's conn_state, where the flags that each side has sent tell
// it: one side's alone seldom do.
func flowState(seen, own, back string, backPackets schemas.Value) string {
	answered := strings.Contains(back, "S") && strings.Contains(back, "A")
	switch {
	case opens(own) && back == "" && seen == "source":
		return "S0"
	case seen == "both" && strings.Contains(own, "S") && back != "" && !answered && strings.Contains(back, "R"):
		return "REJ"
	case !answered, seen == "source", seen == "destination" && backPackets.Int() < 2:
		return "" // one answer to a SYN may be all there was
	case strings.Contains(own, "R"):
		return "RSTO"
	case strings.Contains(back, "R"):
		return "RSTR"
	case strings.Contains(own, "F") && strings.Contains(back, "F"):
		return "SF"
	case strings.Contains(own, "F"):
		return "S2"
	case strings.Contains(back, "F"):
		return "S3"
	}
	return "S1"
}

// natEvent is what IANA's number for an event of address translation means
// (https://www.iana.org/assignments/ipfix, natEvent).
func natEvent(number string) what {
	w, ok := natEvents[number]
	if !ok {
		return what{"network", "info", "nat_event", ""}
	}
	return w
}

var natEvents = map[string]what{
	"1":  {"network", "start", "nat_session_created", ""},
	"2":  {"network", "end", "nat_session_deleted", ""},
	"3":  {"network", "error", "nat_addresses_exhausted", "failure"},
	"4":  {"network", "start", "nat_session_created", ""},
	"5":  {"network", "end", "nat_session_deleted", ""},
	"6":  {"network", "start", "nat_session_created", ""},
	"7":  {"network", "end", "nat_session_deleted", ""},
	"8":  {"network", "start", "nat_binding_created", ""},
	"9":  {"network", "end", "nat_binding_deleted", ""},
	"10": {"network", "start", "nat_binding_created", ""},
	"11": {"network", "end", "nat_binding_deleted", ""},
	"12": {"network", "error", "nat_ports_exhausted", "failure"},
	"13": {"network", "error", "nat_quota_exceeded", "failure"},
	"14": {"network", "start", "nat_binding_created", ""},
	"15": {"network", "end", "nat_binding_deleted", ""},
	"16": {"network", "start", "nat_ports_allocated", ""},
	"17": {"network", "end", "nat_ports_released", ""},
	"18": {"network", "info", "nat_threshold_reached", ""},
}

// firewallEvent is what IANA's number for a firewall's event means.
func firewallEvent(number string) what {
	switch number {
	case "1":
		return what{"network", "start", "flow_created", ""}
	case "2":
		return what{"network", "end", "flow_deleted", ""}
	case "3":
		return what{"network", "denied", "flow_denied", "failure"}
	case "4":
		return what{"network", "info", "flow_alert", ""}
	}
	return what{"network", "connection", "", ""}
}
