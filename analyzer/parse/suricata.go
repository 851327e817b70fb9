package parse

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"fengsui/schemas"
)

// parseSuricata reads an event of Suricata's EVE JSON. What has no ECS name is
// kept under suricata.eve. by its own dotted name.
func parseSuricata(ev *schemas.Event, line string) error {
	r := eveReaders.Get().(*eveReader)
	defer r.release()
	r.eve = eve{ev: ev}
	if err := r.walker.walk(line, r); err != nil {
		return err
	}
	return r.eve.end()
}

// eve is one event while it is read.
type eve struct {
	ev      *schemas.Event
	kind    string // event_type
	err     error
	answers []schemas.Value // DNS, one by one
	grouped []schemas.Value // DNS, grouped by type: the same again
	ttls    []schemas.Value
	first   bool // the first question has been read
	facts   eveFacts
}

type eveReader struct {
	eve    eve
	walker jsonWalker
	extra  names
}

var eveReaders = sync.Pool{New: func() any { return &eveReader{extra: names{prefix: "suricata.eve."}} }}

func (r *eveReader) release() {
	r.eve = eve{}
	r.walker.forget()
	eveReaders.Put(r)
}

func (r *eveReader) visit(path []byte, v *jsonValue) {
	if v.kind == jsonNull {
		return
	}
	if set := eveFields[string(path)]; set != nil {
		set(&r.eve, v)
		return
	}
	if group, ok := strings.CutPrefix(string(path), "dns.grouped."); ok && len(group) <= 8 {
		r.eve.grouped = append(r.eve.grouped, v.texts()...)
		return
	}
	keep(r.eve.ev, r.extra.of(path), v)
}

type eveSetter func(e *eve, v *jsonValue)

func eveText(id schemas.FieldID) eveSetter {
	return func(e *eve, v *jsonValue) { e.ev.SetString(id, v.first()) }
}

func eveLower(id schemas.FieldID) eveSetter {
	return func(e *eve, v *jsonValue) { e.ev.SetString(id, lower(v.first())) }
}

func eveDomain(id schemas.FieldID) eveSetter {
	return func(e *eve, v *jsonValue) { e.ev.SetString(id, domain(v.first())) }
}

func eveLong(id schemas.FieldID) eveSetter {
	return func(e *eve, v *jsonValue) { setWhole(e.ev, id, v.first()) }
}

func eveTime(id schemas.FieldID) eveSetter {
	return func(e *eve, v *jsonValue) {
		t, err := isoUTC(v.text) // a certificate's dates have no zone: they are UTC
		if err == nil {
			e.ev.SetTime(id, t)
		} else if e.err == nil {
			e.err = err
		}
	}
}

func eveFlag(flag string) eveSetter {
	return func(e *eve, v *jsonValue) {
		if v.kind == jsonTrue {
			flags := e.ev.Get(schemas.FieldDNSHeaderFlags).List()
			e.ev.Set(schemas.FieldDNSHeaderFlags, schemas.List(append(flags, schemas.String(flag))...))
		}
	}
}

// eveQuestion keeps the first of several questions (DNS has one in practice).
func eveQuestion(e *eve, v *jsonValue) {
	if !e.first {
		e.first = true
		e.ev.SetString(schemas.FieldDNSQuestionName, domain(v.text))
	}
}

func eveQuestionType(e *eve, v *jsonValue) {
	if e.ev.Get(schemas.FieldDNSQuestionType).IsNone() {
		e.ev.SetString(schemas.FieldDNSQuestionType, v.text)
	}
}

var eveFields map[string]eveSetter

func init() {
	eveFields = map[string]eveSetter{
		"timestamp":  eveTime(schemas.FieldTimestamp),
		"event_type": func(e *eve, v *jsonValue) { e.kind = v.text },
		"host":       eveText(schemas.FieldObserverHostname),
		"in_iface":   eveText(schemas.FieldObserverIngressInterfaceName),
		"src_ip":     func(e *eve, v *jsonValue) { setSource(e.ev, v.text) },
		"src_port":   eveLong(schemas.FieldSourcePort),
		"dest_ip":    func(e *eve, v *jsonValue) { setDestination(e.ev, v.text) },
		"dest_port":  eveLong(schemas.FieldDestinationPort),
		"proto":      eveLower(schemas.FieldNetworkTransport),
		"app_proto": func(e *eve, v *jsonValue) {
			if v.text != "failed" {
				e.ev.SetString(schemas.FieldNetworkProtocol, v.text)
			}
		},
		"community_id":  eveText(schemas.FieldNetworkCommunityID),
		"vlan":          eveText(schemas.FieldNetworkVLANID),
		"ether.src_mac": eveLower(schemas.FieldSourceMAC), "ether.dest_mac": eveLower(schemas.FieldDestinationMAC),

		"alert.signature_id": func(e *eve, v *jsonValue) {
			e.ev.SetString(schemas.FieldRuleID, v.text)
			e.ev.SetString(schemas.FieldEventCode, v.text)
		},
		"alert.signature": eveText(schemas.FieldRuleName),
		"alert.category":  eveText(schemas.FieldRuleCategory),
		"alert.severity":  eveLong(schemas.FieldEventSeverity),
		"alert.action":    eveText(schemas.FieldEventAction),

		"dns.type":             eveDNSType,
		"dns.id":               eveText(schemas.FieldDNSID),
		"dns.rcode":            eveText(schemas.FieldDNSResponseCode),
		"dns.rrname":           eveQuestion,
		"dns.rrtype":           eveQuestionType,
		"dns.queries.rrname":   eveQuestion,
		"dns.queries.rrtype":   eveQuestionType,
		"dns.query.rrname":     eveQuestion, // inside alerts
		"dns.query.rrtype":     eveQuestionType,
		"dns.query.id":         eveText(schemas.FieldDNSID),
		"dns.answer.rrname":    eveQuestion,
		"dns.answer.rrtype":    eveQuestionType,
		"dns.answer.rcode":     eveText(schemas.FieldDNSResponseCode),
		"dns.rdata":            eveAnswer, // version 1: an event an answer
		"dns.ttl":              eveTTL,
		"dns.answers.rdata":    eveAnswer,
		"dns.answers.ttl":      eveTTL,
		"dns.aa":               eveFlag("AA"),
		"dns.tc":               eveFlag("TC"),
		"dns.rd":               eveFlag("RD"),
		"dns.ra":               eveFlag("RA"),
		"http.hostname":        func(e *eve, v *jsonValue) { setHost2(e.ev, v.text) },
		"http.http_port":       eveLong(schemas.FieldURLPort),
		"http.url":             func(e *eve, v *jsonValue) { setURL(e.ev, v.text, false) },
		"http.http_method":     eveText(schemas.FieldHTTPRequestMethod),
		"http.http_user_agent": eveText(schemas.FieldUserAgentOriginal),
		"http.http_refer":      eveText(schemas.FieldHTTPRequestReferrer),
		"http.status":          eveLong(schemas.FieldHTTPResponseStatusCode),
		"http.length":          eveLong(schemas.FieldHTTPResponseBodyBytes),
		"http.protocol": func(e *eve, v *jsonValue) {
			e.ev.SetString(schemas.FieldHTTPVersion, strings.TrimPrefix(v.text, "HTTP/"))
		},
		"http.http_content_type":            eveText(schemas.FieldHTTPResponseMimeType),
		"http.http_request_body_printable":  eveText(schemas.FieldHTTPRequestBodyContent),
		"http.http_response_body_printable": eveText(schemas.FieldHTTPResponseBodyContent),

		"tls.version":   func(e *eve, v *jsonValue) { setTLSVersion(e.ev, v.text) },
		"tls.sni":       eveDomain(schemas.FieldTLSClientServerName),
		"tls.subject":   eveText(schemas.FieldTLSServerSubject),
		"tls.issuerdn":  eveText(schemas.FieldTLSServerIssuer),
		"tls.notbefore": eveTime(schemas.FieldTLSServerNotBefore), "tls.notafter": eveTime(schemas.FieldTLSServerNotAfter),
		"tls.session_resumed": func(e *eve, v *jsonValue) { e.ev.Set(schemas.FieldTLSResumed, schemas.Bool(v.kind == jsonTrue)) },
		"tls.ja3.hash":        eveText(schemas.FieldTLSClientJA3),
		"tls.ja3s.hash":       eveText(schemas.FieldTLSServerJA3S),
		"tls.ja4":             eveText(schemas.FieldTLSClientJA4),

		"flow.pkts_toserver":  eveLong(schemas.FieldSourcePackets),
		"flow.pkts_toclient":  eveLong(schemas.FieldDestinationPackets),
		"flow.bytes_toserver": eveLong(schemas.FieldSourceBytes),
		"flow.bytes_toclient": eveLong(schemas.FieldDestinationBytes),
		"flow.start":          eveTime(schemas.FieldEventStart),
		"flow.end":            eveTime(schemas.FieldEventEnd),

		"fileinfo.filename": func(e *eve, v *jsonValue) {
			e.ev.SetString(schemas.FieldFilePath, v.text)
			e.ev.SetString(schemas.FieldFileName, baseName(v.text))
		},
		"fileinfo.sha256": eveText(schemas.FieldFileHashSHA256),
		"fileinfo.size":   eveLong(schemas.FieldFileSize),
		"anomaly.event": func(e *eve, v *jsonValue) {
			e.ev.SetString(schemas.FieldRuleName, v.text)
		},
	}
	maps.Copy(eveFields, furtherEVEFields())
	for name, w := range furtherEVEKinds {
		protocol := name
		if p := eveProtocols[name]; p != "" {
			protocol = p
		}
		eveKinds[name] = eveKind{"suricata." + name, protocol, w}
	}
}

func eveDNSType(e *eve, v *jsonValue) {
	kind := v.text
	switch kind {
	case "request":
		kind = "query"
	case "response":
		kind = "answer"
	}
	e.ev.SetString(schemas.FieldDNSType, kind)
}

func eveAnswer(e *eve, v *jsonValue) { e.answers = append(e.answers, v.texts()...) }

func eveTTL(e *eve, v *jsonValue) {
	if n, ok := whole(v.text); ok {
		e.ttls = append(e.ttls, schemas.Int(n))
	}
}

// eveKind is what a type of event means.
type eveKind struct {
	dataset  string
	protocol string
	what     what
}

var eveKinds = map[string]eveKind{
	"alert":    {"suricata.alert", "", what{"intrusion_detection", "info", "", ""}},
	"drop":     {"suricata.drop", "", what{"network", "denied", "", ""}},
	"anomaly":  {"suricata.anomaly", "", what{"network", "info", "", ""}},
	"dns":      {"suricata.dns", "dns", what{"network", "protocol", "", ""}},
	"http":     {"suricata.http", "http", what{"web", "access", "http_request", ""}},
	"tls":      {"suricata.tls", "tls", what{"network", "protocol", "", ""}},
	"ssh":      {"suricata.ssh", "ssh", what{"network", "protocol", "", ""}},
	"flow":     {"suricata.flow", "", what{"network", "connection", "", ""}},
	"netflow":  {"suricata.netflow", "", what{"network", "connection", "", ""}},
	"fileinfo": {"suricata.fileinfo", "", what{"file", "info", "", ""}},
	"stats":    {"suricata.stats", "", what{}},
}

// end sets what depends on the whole event.
func (e *eve) end() error {
	ev := e.ev
	switch {
	case e.err != nil:
		return e.err
	case e.kind == "":
		return fmt.Errorf("not an event of Suricata: no event_type")
	}
	kind, known := eveKinds[e.kind]
	if !known {
		kind.dataset, kind.what = "suricata."+e.kind, what{"network", "info", "", ""}
	}
	ev.SetString(schemas.FieldEventModule, "suricata")
	ev.SetString(schemas.FieldEventDataset, kind.dataset)
	kind.what.set(ev)
	if kind.protocol != "" {
		ev.SetString(schemas.FieldNetworkProtocol, kind.protocol)
	}
	e.endDNS()
	e.endFurther()
	setNetworkType(ev)
	setSum(ev, schemas.FieldNetworkBytes, schemas.FieldSourceBytes, schemas.FieldDestinationBytes)
	setSum(ev, schemas.FieldNetworkPackets, schemas.FieldSourcePackets, schemas.FieldDestinationPackets)
	if start, end := ev.Get(schemas.FieldEventStart).Time(), ev.Get(schemas.FieldEventEnd).Time(); !start.IsZero() && !end.Before(start) {
		ev.SetInt(schemas.FieldEventDuration, int64(end.Sub(start)/time.Nanosecond))
	}
	switch e.kind {
	case "alert":
		ev.SetString(schemas.FieldEventKind, "alert")
		switch ev.Str(schemas.FieldEventAction) {
		case "allowed":
			ev.SetString(schemas.FieldEventType, "allowed")
		case "blocked":
			ev.SetString(schemas.FieldEventType, "denied")
		}
	case "http":
		setHTTPOutcome(ev)
	case "stats":
		ev.SetString(schemas.FieldEventKind, "metric")
	}
	return nil
}

func (e *eve) endDNS() {
	answers := e.answers
	if len(answers) == 0 {
		answers = e.grouped
	}
	setAnswers(e.ev, answers)
	if len(e.ttls) > 0 {
		e.ev.Set(schemas.FieldDNSAnswersTTL, schemas.List(e.ttls...))
	}
	if e.kind == "dns" {
		finishAnyDNS(e.ev)
	}
}
