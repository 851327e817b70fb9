package parse

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"fengsui/schemas"
)

// parseZeek reads a record of any Zeek log. What JSON is begins with a brace.
func parseZeek(ev *schemas.Event, line string) error {
	if strings.HasPrefix(line, "{") {
		return parseZeekJSON(ev, line)
	}
	return parseZeekTSV(ev, line)
}

// zeekRecord is one record while it is read. TSV and JSON give the same values:
// numbers with a fraction are rounded to six digits, as TSV has them, and an
// empty string or list is a missing field.
type zeekRecord struct {
	ev   *schemas.Event
	path *zeekPath
	err  error

	localOrig, localResp jsonKind // jsonTrue, jsonFalse, or jsonNull when not said
	src, dst, port       string   // of a notice without a connection
}

// zeekSetter writes one field of a record into the event.
type zeekSetter func(z *zeekRecord, v *jsonValue)

// zeekPath is how one kind of log maps.
type zeekPath struct {
	dataset  string
	protocol string
	what     what
	fields   map[string]zeekSetter
	finish   func(z *zeekRecord)
}

// setter finds how a field of the log is mapped; nil is under zeek.extra.
func (p *zeekPath) setter(name string) zeekSetter {
	if s := p.fields[name]; s != nil {
		return s
	}
	return zeekCommon[name]
}

// zeekPathOf finds a log by its name. A log that is not known is mapped as far
// as all logs are alike.
func zeekPathOf(name string) *zeekPath {
	if p := zeekPaths[name]; p != nil {
		return p
	}
	return &zeekPath{dataset: "zeek." + name, what: what{"network", "info", "", ""}}
}

func (z *zeekRecord) begin() {
	z.ev.SetString(schemas.FieldEventModule, "zeek")
	z.ev.SetString(schemas.FieldEventDataset, z.path.dataset)
	z.path.what.set(z.ev)
	z.ev.SetString(schemas.FieldNetworkProtocol, z.path.protocol)
}

func (z *zeekRecord) end() error {
	if z.err != nil {
		return z.err
	}
	setNetworkType(z.ev)
	if z.path.finish != nil {
		z.path.finish(z)
	}
	return nil
}

// The ways a value is written into a field.

func zeekText(id schemas.FieldID) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) { z.ev.SetString(id, v.first()) }
}

func zeekLower(id schemas.FieldID) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) { z.ev.SetString(id, lower(v.first())) }
}

func zeekDomain(id schemas.FieldID) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) { z.ev.SetString(id, domain(v.first())) }
}

func zeekLong(id schemas.FieldID) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) { setWhole(z.ev, id, v.first()) }
}

func zeekBool(id schemas.FieldID) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) {
		if v.kind == jsonTrue || v.kind == jsonFalse {
			z.ev.Set(id, schemas.Bool(v.kind == jsonTrue))
		}
	}
}

func zeekInterval(id schemas.FieldID) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) {
		if us, ok := micros(v.first()); ok {
			z.ev.SetInt(id, us*1000)
		}
	}
}

// zeekFirst keeps the first of a list in a field and, where there are more, all
// of them under zeek.extra.
func zeekFirst(id schemas.FieldID, extra string) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) {
		z.ev.SetString(id, v.first())
		if len(v.list) > 1 {
			zeekExtra(z.ev, extra, v)
		}
	}
}

func zeekFlag(flag string) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) {
		if v.kind == jsonTrue {
			flags := z.ev.Get(schemas.FieldDNSHeaderFlags).List()
			z.ev.Set(schemas.FieldDNSHeaderFlags, schemas.List(append(flags, schemas.String(flag))...))
		}
	}
}

func zeekIgnore(*zeekRecord, *jsonValue) {}

// zeekCommon are the fields that mean the same in every log.
var zeekCommon = map[string]zeekSetter{
	"_path":        zeekIgnore,
	"_write_ts":    zeekIgnore,
	"ts":           zeekTime,
	"uid":          zeekText(schemas.FieldZeekUID),
	"id.orig_h":    func(z *zeekRecord, v *jsonValue) { setSource(z.ev, v.text) },
	"id.orig_p":    zeekLong(schemas.FieldSourcePort),
	"id.resp_h":    func(z *zeekRecord, v *jsonValue) { setDestination(z.ev, v.text) },
	"id.resp_p":    zeekLong(schemas.FieldDestinationPort),
	"proto":        zeekLower(schemas.FieldNetworkTransport),
	"community_id": zeekText(schemas.FieldNetworkCommunityID),
}

var zeekPaths map[string]*zeekPath

func init() {
	zeekPaths = map[string]*zeekPath{
		"conn": {dataset: "zeek.conn", what: what{"network", "connection", "", ""}, finish: finishConn, fields: map[string]zeekSetter{
			"service":      zeekService,
			"duration":     zeekInterval(schemas.FieldEventDuration),
			"orig_bytes":   zeekLong(schemas.FieldSourceBytes),
			"resp_bytes":   zeekLong(schemas.FieldDestinationBytes),
			"orig_pkts":    zeekLong(schemas.FieldSourcePackets),
			"resp_pkts":    zeekLong(schemas.FieldDestinationPackets),
			"conn_state":   zeekText(schemas.FieldZeekConnState),
			"history":      zeekText(schemas.FieldZeekConnHistory),
			"missed_bytes": zeekLong(schemas.FieldZeekConnMissedBytes),
			"local_orig":   func(z *zeekRecord, v *jsonValue) { z.localOrig = v.kind },
			"local_resp":   func(z *zeekRecord, v *jsonValue) { z.localResp = v.kind },
			"orig_l2_addr": zeekLower(schemas.FieldSourceMAC),
			"resp_l2_addr": zeekLower(schemas.FieldDestinationMAC),
			"vlan":         zeekText(schemas.FieldNetworkVLANID),
		}},
		"dns": {dataset: "zeek.dns", protocol: "dns", what: what{"network", "protocol", "", ""}, finish: finishDNS, fields: map[string]zeekSetter{
			"trans_id":    zeekText(schemas.FieldDNSID),
			"rtt":         zeekInterval(schemas.FieldEventDuration),
			"query":       zeekDomain(schemas.FieldDNSQuestionName),
			"qclass_name": zeekClass,
			"qtype_name":  zeekText(schemas.FieldDNSQuestionType),
			"rcode_name":  zeekText(schemas.FieldDNSResponseCode),
			"AA":          zeekFlag("AA"),
			"TC":          zeekFlag("TC"),
			"RD":          zeekFlag("RD"),
			"RA":          zeekFlag("RA"),
			"answers":     func(z *zeekRecord, v *jsonValue) { setAnswers(z.ev, v.texts()) },
			"TTLs":        zeekTTLs,
		}},
		"http": {dataset: "zeek.http", protocol: "http", what: what{"web", "access", "http_request", ""}, finish: finishHTTP, fields: map[string]zeekSetter{
			"method":            zeekText(schemas.FieldHTTPRequestMethod),
			"host":              func(z *zeekRecord, v *jsonValue) { setHost2(z.ev, v.text) },
			"uri":               func(z *zeekRecord, v *jsonValue) { setURL(z.ev, v.text, false) },
			"referrer":          zeekText(schemas.FieldHTTPRequestReferrer),
			"version":           zeekText(schemas.FieldHTTPVersion),
			"user_agent":        zeekText(schemas.FieldUserAgentOriginal),
			"request_body_len":  zeekLong(schemas.FieldHTTPRequestBodyBytes),
			"response_body_len": zeekLong(schemas.FieldHTTPResponseBodyBytes),
			"status_code":       zeekLong(schemas.FieldHTTPResponseStatusCode),
			"username":          zeekText(schemas.FieldUserName),
			"post_body":         zeekText(schemas.FieldHTTPRequestBodyContent),
			"orig_mime_types":   zeekFirst(schemas.FieldHTTPRequestMimeType, "zeek.extra.orig_mime_types"),
			"resp_mime_types":   zeekFirst(schemas.FieldHTTPResponseMimeType, "zeek.extra.resp_mime_types"),
		}},
		"ssl": {dataset: "zeek.ssl", protocol: "tls", what: what{"network", "protocol", "", ""}, fields: map[string]zeekSetter{
			"version":        func(z *zeekRecord, v *jsonValue) { setTLSVersion(z.ev, v.text) },
			"cipher":         zeekText(schemas.FieldTLSCipher),
			"curve":          zeekText(schemas.FieldTLSCurve),
			"server_name":    zeekDomain(schemas.FieldTLSClientServerName),
			"resumed":        zeekBool(schemas.FieldTLSResumed),
			"established":    zeekBool(schemas.FieldTLSEstablished),
			"next_protocol":  zeekText(schemas.FieldTLSNextProtocol),
			"subject":        zeekText(schemas.FieldTLSServerSubject),
			"issuer":         zeekText(schemas.FieldTLSServerIssuer),
			"client_subject": zeekText(schemas.FieldTLSClientSubject),
			"ja3":            zeekText(schemas.FieldTLSClientJA3),
			"ja3s":           zeekText(schemas.FieldTLSServerJA3S),
			"ja4":            zeekText(schemas.FieldTLSClientJA4),
			"cert_chain_fps": zeekFingerprint,
		}},
		"ssh": {dataset: "zeek.ssh", protocol: "ssh", what: what{"network", "protocol", "", ""}, fields: map[string]zeekSetter{
			"auth_success": zeekSSHLogin,
		}},
		"notice": {dataset: "zeek.notice", what: what{"intrusion_detection", "info", "", ""}, finish: finishNotice, fields: map[string]zeekSetter{
			"note": func(z *zeekRecord, v *jsonValue) {
				z.ev.SetString(schemas.FieldRuleID, v.text)
				z.ev.SetString(schemas.FieldRuleName, v.text)
			},
			"msg": zeekText(schemas.FieldMessage),
			"sub": zeekText(schemas.FieldEventReason),
			"src": func(z *zeekRecord, v *jsonValue) { z.src = v.text },
			"dst": func(z *zeekRecord, v *jsonValue) { z.dst = v.text },
			"p":   func(z *zeekRecord, v *jsonValue) { z.port = v.text },
		}},
		"stratum": {dataset: "zeek.stratum", protocol: "stratum", what: what{"network", "protocol", "", ""}, fields: map[string]zeekSetter{
			"method":    zeekText(schemas.FieldStratumMethod),
			"user":      zeekText(schemas.FieldStratumUser),
			"agent":     zeekText(schemas.FieldStratumAgent),
			"coin":      zeekText(schemas.FieldStratumCoin),
			"protocol":  zeekText(schemas.FieldStratumProtocol),
			"direction": zeekText(schemas.FieldStratumDirection),
		}},
	}
	maps.Copy(zeekPaths, furtherZeekPaths())
}

// zeekTime reads ts: seconds since 1970, or ISO 8601 in UTC.
func zeekTime(z *zeekRecord, v *jsonValue) {
	read := epoch
	if v.kind == jsonString {
		read = isoUTC
	}
	t, err := read(v.text)
	if err != nil {
		z.err = fmt.Errorf("ts: %w", err)
		return
	}
	z.ev.SetTime(schemas.FieldTimestamp, t)
}

// zeekService names the protocol that Zeek saw; several are kept as it lists them.
func zeekService(z *zeekRecord, v *jsonValue) {
	service := lower(v.first())
	if service == "ssl" {
		service = "tls"
	}
	z.ev.SetString(schemas.FieldNetworkProtocol, service)
}

func zeekClass(z *zeekRecord, v *jsonValue) {
	class := v.text
	if class == "C_INTERNET" {
		class = "IN"
	}
	z.ev.SetString(schemas.FieldDNSQuestionClass, class)
}

func zeekTTLs(z *zeekRecord, v *jsonValue) {
	ttls := make([]schemas.Value, 0, len(v.list))
	for _, ttl := range v.list {
		if us, ok := micros(ttl.text); ok {
			ttls = append(ttls, schemas.Int(us/1_000_000))
		}
	}
	if len(ttls) > 0 {
		z.ev.Set(schemas.FieldDNSAnswersTTL, schemas.List(ttls...))
	}
}

// zeekFingerprint keeps the SHA-256 of the server's own certificate, the first
// of the chain; older Zeek has ids of files there.
func zeekFingerprint(z *zeekRecord, v *jsonValue) {
	if fp := v.first(); len(fp) == 64 {
		z.ev.SetString(schemas.FieldTLSServerHashSHA256, fp)
		if len(v.list) < 2 {
			return
		}
	}
	zeekExtra(z.ev, "zeek.extra.cert_chain_fps", v)
}

// zeekSSHLogin makes a record of whom Zeek saw log in an authentication.
func zeekSSHLogin(z *zeekRecord, v *jsonValue) {
	switch v.kind {
	case jsonTrue:
		sshLogin.set(z.ev)
	case jsonFalse:
		sshFailed.set(z.ev)
	}
}

func finishConn(z *zeekRecord) {
	ev := z.ev
	setSum(ev, schemas.FieldNetworkBytes, schemas.FieldSourceBytes, schemas.FieldDestinationBytes)
	setSum(ev, schemas.FieldNetworkPackets, schemas.FieldSourcePackets, schemas.FieldDestinationPackets)
	if z.localOrig != jsonNull && z.localResp != jsonNull {
		orig, resp := z.localOrig == jsonTrue, z.localResp == jsonTrue
		direction := "external"
		switch {
		case orig && resp:
			direction = "internal"
		case orig:
			direction = "outbound"
		case resp:
			direction = "inbound"
		}
		ev.SetString(schemas.FieldNetworkDirection, direction)
	}
}

// setSum sets a field to the sum of two that are both there.
func setSum(ev *schemas.Event, id, a, b schemas.FieldID) {
	x, y := ev.Get(a), ev.Get(b)
	if x.IsNone() || y.IsNone() {
		return
	}
	if sum := x.Int() + y.Int(); sum >= x.Int() { // sums of hostile records may overflow
		ev.SetInt(id, sum)
	}
}

func finishDNS(z *zeekRecord) { finishAnyDNS(z.ev) }

// finishAnyDNS says whether it was a question or its answer, and how it went.
func finishAnyDNS(ev *schemas.Event) {
	kind := "query"
	code := ev.Str(schemas.FieldDNSResponseCode)
	if code != "" || !ev.Get(schemas.FieldDNSAnswersData).IsNone() {
		kind = "answer"
	}
	if ev.Get(schemas.FieldDNSType).IsNone() {
		ev.SetString(schemas.FieldDNSType, kind)
	}
	switch code {
	case "":
	case "NOERROR":
		ev.SetString(schemas.FieldEventOutcome, "success")
	default:
		ev.SetString(schemas.FieldEventOutcome, "failure")
	}
}

// setAnswers sets the data of DNS answers, and the addresses among them.
func setAnswers(ev *schemas.Event, answers []schemas.Value) {
	if len(answers) == 0 {
		return
	}
	ev.Set(schemas.FieldDNSAnswersData, schemas.List(answers...))
	var ips []schemas.Value
	for i, a := range answers {
		if ip, ok := canonicalIP(a.Str()); ok {
			if ips == nil {
				ips = make([]schemas.Value, 0, len(answers)-i)
			}
			ips = append(ips, schemas.String(ip))
		}
	}
	if ips != nil {
		ev.Set(schemas.FieldDNSResolvedIP, schemas.List(ips...))
	}
}

func finishHTTP(z *zeekRecord) { setHTTPOutcome(z.ev) }

func setHTTPOutcome(ev *schemas.Event) {
	if code := ev.Get(schemas.FieldHTTPResponseStatusCode); !code.IsNone() {
		outcome := "success"
		if code.Int() >= 400 {
			outcome = "failure"
		}
		ev.SetString(schemas.FieldEventOutcome, outcome)
	}
}

// finishNotice names the ends of a notice by its src and dst where it has no
// connection.
func finishNotice(z *zeekRecord) {
	ev := z.ev
	ev.SetString(schemas.FieldEventKind, "alert")
	if ev.Get(schemas.FieldSourceIP).IsNone() {
		setSource(ev, z.src)
	}
	if ev.Get(schemas.FieldDestinationIP).IsNone() {
		setDestination(ev, z.dst)
	}
	if ev.Get(schemas.FieldDestinationPort).IsNone() {
		setWhole(ev, schemas.FieldDestinationPort, z.port)
	}
	setNetworkType(ev)
}

// setTLSVersion reads TLSv12, TLSv1.2, "TLS 1.2", SSLv3 and DTLSv12. A number
// nobody knows is kept as logged.
func setTLSVersion(ev *schemas.Event, s string) {
	protocol, version := "", ""
	switch {
	case strings.HasPrefix(s, "TLS"):
		protocol, version = "tls", s[3:]
	case strings.HasPrefix(s, "SSL"):
		protocol, version = "ssl", s[3:]
	case strings.HasPrefix(s, "DTLS"):
		protocol, version = "dtls", s[4:]
	}
	version = strings.TrimLeft(version, "v ")
	switch {
	case protocol == "" || version == "" || !isDigit(version[0]):
		ev.SetString(schemas.FieldTLSVersion, s)
		return
	case len(version) == 1:
		version += ".0"
	case len(version) == 2:
		version = version[:1] + "." + version[1:]
	}
	ev.SetString(schemas.FieldTLSVersion, version)
	ev.SetString(schemas.FieldTLSVersionProtocol, protocol)
}

// zeekExtra keeps a value under zeek.extra.; name is full.
func zeekExtra(ev *schemas.Event, name string, v *jsonValue) {
	switch v.kind {
	case jsonNull:
	case jsonList:
		switch list := v.texts(); {
		case v.many:
			addOpen(ev, name, list)
		case len(list) == 1:
			ev.SetOpen(name, list[0])
		case len(list) > 1:
			ev.SetOpen(name, schemas.List(list...))
		}
	default:
		switch text := v.plain(); {
		case text == "":
		case v.many:
			addOpen(ev, name, []schemas.Value{schemas.String(text)})
		default:
			ev.SetOpen(name, schemas.String(text))
		}
	}
}

// addOpen adds values to those that an open field has.
func addOpen(ev *schemas.Event, name string, values []schemas.Value) {
	if len(values) == 0 {
		return
	}
	if old := ev.Lookup(name).List(); len(old) > 0 {
		values = append(old[:len(old):len(old)], values...)
	}
	ev.SetOpen(name, schemas.List(values...))
}

// plain is a scalar's text; a number with a fraction is rounded to six digits.
func (v *jsonValue) plain() string {
	if v.kind == jsonNumber && strings.ContainsAny(v.text, ".eE") {
		return sixDigits(v.text)
	}
	return v.text
}

// first is a scalar's text, or that of a list's first element.
func (v *jsonValue) first() string {
	if v.kind == jsonList {
		if len(v.list) == 0 {
			return ""
		}
		return v.list[0].text
	}
	return v.text
}

// texts are a list's elements that are not empty, or a scalar as a list of one.
func (v *jsonValue) texts() []schemas.Value {
	if v.kind != jsonList {
		if text := v.plain(); text != "" {
			return []schemas.Value{schemas.String(text)}
		}
		return nil
	}
	texts := make([]schemas.Value, 0, len(v.list))
	for i := range v.list {
		if text := v.list[i].plain(); text != "" {
			texts = append(texts, schemas.String(text))
		}
	}
	return texts
}

// sixDigits writes a number with at most six digits after the point and no
// zeros at its end.
func sixDigits(s string) string {
	us, ok := micros(s)
	if !ok {
		return s
	}
	whole, fraction := us/1_000_000, us%1_000_000
	b := make([]byte, 0, 24)
	if us < 0 {
		b = append(b, '-')
		whole, fraction = -whole, -fraction
	}
	b = strconv.AppendInt(b, whole, 10)
	if fraction != 0 {
		b = append(b, '.')
		for scale := int64(100_000); scale > 0 && fraction > 0; scale /= 10 {
			b = append(b, byte('0'+fraction/scale))
			fraction %= scale
		}
	}
	return string(b)
}

var errNotZeek = errors.New("not a JSON object")
