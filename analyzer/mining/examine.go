// Package mining finds cryptocurrency mining: it takes evidence from single
// events and folds the evidence of a host into one detection.
//
// It is pure. It never reads a topic, a database or a clock, and it never asks
// who owns an address: the caller says what is internal. Reading about mining is
// not mining: pages of exchanges and wallets are no evidence, a pool's own page
// next to none.
package mining

import (
	"encoding/base64"
	"net/netip"
	"strings"

	"fengsui/rules/mining"
	"fengsui/schemas"
)

// What each kind of evidence weighs: the probability that it alone means that
// the host mines. They are judgements, not measurements. Old lists of addresses
// are half out of date, so an address alone does not raise a detection.
const (
	weightDNS         = 0.60
	weightTLS         = 0.80
	weightHTTP        = 0.60
	weightAddress     = 0.45
	weightStratum     = 0.90
	weightTemplate    = 0.75
	weightLogin       = 0.95
	weightWebMiner    = 0.70
	weightURL         = 0.70
	weightProcess     = 0.75
	weightCommand     = 0.90
	weightCommandHint = 0.55
	weightVerdict     = 0.60
	weightWeak        = 0.10 // a pool's port, a pool's page, a listed address with another port
)

// weakBelow is the weight under which evidence never raises a detection, however
// much of it there is.
const weakBelow = 0.3

// The bounds of one look: longer texts are looked at up to here.
const (
	maxText    = 16 << 10
	maxCommand = 8 << 10
	maxDetail  = 256
)

// Detector finds evidence in events. It is safe for concurrent use.
type Detector struct{ k *mining.Knowledge }

// New makes a detector.
func New(k *mining.Knowledge) *Detector { return &Detector{k} }

// Examine returns what in the event speaks for mining: at most one piece of a
// kind and pool, nothing for ordinary events.
func (d *Detector) Examine(ev *schemas.Event) []schemas.MiningEvidence {
	f := finder{k: d.k, ev: ev, port: int(ev.Get(schemas.FieldDestinationPort).Int())}
	f.dns()
	f.tls()
	f.http()
	f.connection()
	f.stratum()
	f.text(ev.Str(schemas.FieldHTTPRequestBodyContent))
	f.text(ev.Str(schemas.FieldHTTPResponseBodyContent))
	f.message(ev.Str(schemas.FieldMessage))
	f.process()
	f.openFields()
	f.verdict()
	return f.found
}

// finder is one look at one event.
type finder struct {
	k     *mining.Knowledge
	ev    *schemas.Event
	port  int
	found []schemas.MiningEvidence
}

// add keeps a piece of evidence. Texts are copied: those of an event share the
// memory of the whole record.
func (f *finder) add(e schemas.MiningEvidence) {
	for i := range f.found {
		if f.found[i].Kind == e.Kind && f.found[i].Pool == e.Pool {
			f.found[i].Weight = max(f.found[i].Weight, e.Weight)
			return
		}
	}
	e.EventID = f.ev.EventID()
	if e.Time = f.ev.Time(); e.Time.IsZero() {
		e.Time = f.ev.Received
	}
	e.Pool = strings.Clone(e.Pool)
	e.Wallet = strings.Clone(cut(e.Wallet, maxDetail))
	e.Detail = strings.Clone(cut(e.Detail, maxDetail))
	e.Protocol = strings.Clone(e.Protocol)
	f.found = append(f.found, e)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// dns looks at the name asked for and at the names among the answers (a CNAME
// to a pool). Questions that no miner asks (a mail server's MX) do not count.
func (f *finder) dns() {
	question := f.ev.Str(schemas.FieldDNSQuestionName)
	if question == "" {
		return
	}
	switch f.ev.Str(schemas.FieldDNSQuestionType) {
	case "MX", "NS", "SOA", "TXT", "PTR", "DS", "DNSKEY", "CAA", "SRV":
		return
	}
	f.dnsName(question)
	for _, a := range f.ev.Get(schemas.FieldDNSAnswersData).List() {
		if s := a.Str(); s != "" && !isAddress(s) {
			f.dnsName(s)
		}
	}
}

// isAddress tells an address from a name by its end; no name in use ends in a
// digit.
func isAddress(s string) bool {
	last := s[len(s)-1]
	return last >= '0' && last <= '9' || strings.IndexByte(s, ':') >= 0
}

func (f *finder) dnsName(name string) {
	pool, ok := f.k.Host(name)
	if !ok || pool.Class == mining.Page {
		return
	}
	weight := weightDNS
	if pool.Class == mining.Apex {
		weight = weightWeak
	}
	f.add(schemas.MiningEvidence{Kind: schemas.PoolDomainDNS, Pool: pool.Name, Coin: pool.Coin, Detail: name, Weight: weight})
}

// tls looks at the server name and at the certificate's. Pools use one wildcard
// certificate for pages and servers, so that counts only on a port of its own.
func (f *finder) tls() {
	if sni := f.ev.Str(schemas.FieldTLSClientServerName); sni != "" {
		f.contact(schemas.PoolDomainTLS, sni, f.port, weightTLS)
	}
	if subject := f.ev.Str(schemas.FieldTLSServerSubject); subject != "" {
		f.contact(schemas.PoolDomainTLS, strings.TrimPrefix(commonName(subject), "*."), f.port, weightTLS)
	}
}

func commonName(subject string) string {
	for part := range strings.SplitSeq(subject, ",") {
		if part = strings.TrimSpace(part); len(part) > 3 && strings.EqualFold(part[:3], "CN=") {
			return part[3:]
		}
	}
	return ""
}

// http looks at the host of a request, at scripts that mine in a page and at the
// program that asked.
func (f *finder) http() {
	port := f.port
	if p := f.ev.Get(schemas.FieldURLPort).Int(); p != 0 {
		port = int(p)
	}
	host := f.ev.Str(schemas.FieldURLDomain)
	if host == "" {
		for _, field := range [...]schemas.FieldID{schemas.FieldURLFull, schemas.FieldURLOriginal} {
			if u := f.ev.Str(field); u != "" && u[0] != '/' {
				if h, p := hostPort(u); h != "" {
					if host = h; p != 0 {
						port = p
					}
					break
				}
			}
		}
	}
	if host != "" {
		f.contact(schemas.PoolDomainHTTP, host, port, weightHTTP)
	}
	if d := f.ev.Str(schemas.FieldDestinationDomain); d != "" && d != host {
		f.contact(schemas.PoolDomainHTTP, d, f.port, weightHTTP)
	}
	if path := f.ev.Str(schemas.FieldURLPath); len(path) > 1 && f.k.Script(path) {
		f.add(schemas.MiningEvidence{Kind: schemas.WebMiner, Pool: f.poolName(host), Detail: path, Weight: weightWebMiner})
	}
	if agent, _, ok := strings.Cut(f.ev.Str(schemas.FieldUserAgentOriginal), "/"); ok && f.k.Process(agent) != "" {
		f.add(schemas.MiningEvidence{Kind: schemas.MinerProcess, Detail: f.ev.Str(schemas.FieldUserAgentOriginal), Weight: weightProcess})
	}
}

// contact judges a name that a connection was made to. A pool's page on a page's
// port is reading, not mining.
func (f *finder) contact(kind schemas.EvidenceKind, name string, port int, weight float64) {
	pool, ok := f.k.Host(name)
	if !ok {
		return
	}
	if (pool.Class == mining.Apex || pool.Class == mining.Page) && pagePort(port) {
		return
	}
	f.add(schemas.MiningEvidence{Kind: kind, Pool: pool.Name, Port: port, Coin: pool.Coin, Detail: name, Weight: weight})
}

// pagePort says whether a port is one that web pages are read on; an unknown
// port is taken for one.
func pagePort(port int) bool {
	switch port {
	case 0, 80, 443, 8080, 8443:
		return true
	}
	return false
}

// poolName is the listed pool that a host belongs to, or the host itself.
func (f *finder) poolName(host string) string {
	if pool, ok := f.k.Host(host); ok {
		return pool.Name
	}
	return host
}

// connection looks at where a connection goes: a listed address, or only a port
// that pools like, on a connection out of which no other protocol was read.
func (f *finder) connection() {
	ip := f.ev.Str(schemas.FieldDestinationIP)
	if ip == "" {
		return
	}
	if listed, withPort := f.k.Address(ip, f.port); listed {
		weight := weightAddress
		if !withPort {
			weight = weightWeak
		}
		f.add(schemas.MiningEvidence{Kind: schemas.PoolAddress, Pool: ip, Port: f.port, Detail: ip, Weight: weight})
		return
	}
	if !f.k.Port(f.port) || f.ev.Str(schemas.FieldNetworkTransport) == "udp" {
		return
	}
	if p := f.ev.Str(schemas.FieldNetworkProtocol); p != "" && p != "stratum" {
		return
	}
	switch f.ev.Str(schemas.FieldZeekConnState) {
	case "S0", "REJ", "RSTOS0", "SH", "OTH": // nobody answered
		return
	}
	if a, err := netip.ParseAddr(ip); err != nil || !a.IsGlobalUnicast() || a.IsPrivate() {
		return
	}
	f.add(schemas.MiningEvidence{Kind: schemas.PoolPort, Pool: ip, Port: f.port, Weight: weightWeak})
}

// stratum takes what a sensor has read out of a mining conversation.
func (f *finder) stratum() {
	method := f.ev.Str(schemas.FieldStratumMethod)
	protocol := f.ev.Str(schemas.FieldStratumProtocol)
	if protocol == "" {
		protocol = f.k.Method(method)
	}
	kind, weight := protocolKind(protocol)
	if kind == "" {
		return
	}
	e := schemas.MiningEvidence{
		Kind: kind, Weight: weight, Protocol: protocol, Wallet: f.ev.Str(schemas.FieldStratumUser), Coin: f.ev.Str(schemas.FieldStratumCoin),
		Detail: strings.TrimSpace(method + " " + f.ev.Str(schemas.FieldStratumAgent)),
	}
	if coin := f.k.CoinIn(e.Coin); coin != "" {
		e.Coin = coin
	}
	f.speaks(e)
}

// protocolKind is the kind of evidence that speaking a pool's protocol is.
func protocolKind(protocol string) (schemas.EvidenceKind, float64) {
	switch protocol {
	case "stratum1":
		return schemas.StratumMethod, weightStratum
	case "xmr-stratum":
		return schemas.MinerLogin, weightLogin
	case "eth-stratum":
		return schemas.EthLogin, weightLogin
	case "getwork", "getblocktemplate":
		return schemas.GetBlockTemplate, weightTemplate
	}
	return "", 0
}

// speaks adds evidence of a conversation in a pool's protocol: its far end is
// the pool.
func (f *finder) speaks(e schemas.MiningEvidence) {
	ip, port := poolEnd(f.ev)
	e.Pool, e.Port = ip, port
	if pool, ok := f.namedPool(); ok {
		e.Pool = pool.Name
		if e.Coin == "" {
			e.Coin = pool.Coin
		}
	}
	if e.Coin == "" {
		e.Coin = walletCoin(e.Wallet)
	}
	f.add(e)
}

// poolEnd is the end of a conversation that the pool is: the destination, except
// in a record of a single message from the pool, where it is the lower port.
func poolEnd(ev *schemas.Event) (ip string, port int) {
	if reversed(ev) {
		return ev.Str(schemas.FieldSourceIP), int(ev.Get(schemas.FieldSourcePort).Int())
	}
	return ev.Str(schemas.FieldDestinationIP), int(ev.Get(schemas.FieldDestinationPort).Int())
}

// reversed says that a record's source is the serving side.
func reversed(ev *schemas.Event) bool {
	src, dst := ev.Get(schemas.FieldSourcePort).Int(), ev.Get(schemas.FieldDestinationPort).Int()
	if src == 0 || dst == 0 || src >= dst {
		return false
	}
	return ev.Str(schemas.FieldStratumDirection) == "response" || ev.Str(schemas.FieldDNSType) == "answer" && src == 53
}

// process looks at the program of a process event and at its command line.
func (f *finder) process() {
	for _, field := range [...]schemas.FieldID{schemas.FieldProcessName, schemas.FieldProcessExecutable, schemas.FieldProcessPEOriginalFileName} {
		if program := f.ev.Str(field); program != "" && f.k.Process(program) != "" {
			f.add(schemas.MiningEvidence{Kind: schemas.MinerProcess, Detail: program, Weight: weightProcess})
			break
		}
	}
	if line := f.ev.Str(schemas.FieldProcessCommandLine); line != "" {
		f.commandLine(line)
	}
}

// message looks into a log line's text: at the command that sudo or cron ran,
// and at a payload.
func (f *finder) message(text string) {
	if text == "" {
		return
	}
	if f.ev.Get(schemas.FieldProcessCommandLine).IsNone() {
		if _, line, ok := strings.Cut(text, "COMMAND="); ok {
			f.commandLine(line)
		} else if _, line, ok := strings.Cut(text, " CMD ("); ok {
			f.commandLine(strings.TrimSuffix(line, ")"))
		}
	}
	f.text(text)
}

// openFields looks at what vendors' own fields carry: a command line that no
// parser mapped, and Suricata's payload.
func (f *finder) openFields() {
	for _, o := range f.ev.Open() {
		switch o.Name {
		case "winlog.event_data.CommandLine":
			if f.ev.Get(schemas.FieldProcessCommandLine).IsNone() {
				f.commandLine(o.Value.Str())
			}
		case "suricata.eve.payload_printable":
			f.text(o.Value.Str())
		case "suricata.eve.payload":
			if raw, err := base64.StdEncoding.DecodeString(cut(o.Value.Str(), maxText)); err == nil {
				f.text(string(raw))
			}
		}
	}
}

// verdict takes the word of a device whose own rule names mining.
func (f *finder) verdict() {
	for _, field := range [...]schemas.FieldID{schemas.FieldRuleName, schemas.FieldRuleCategory} {
		if rule := f.ev.Str(field); rule != "" && f.k.Verdict(rule) != "" {
			f.add(schemas.MiningEvidence{Kind: schemas.DeviceVerdict, Coin: f.k.CoinIn(rule), Detail: rule, Weight: weightVerdict})
			return
		}
	}
}

// Host is the internal host that an event's evidence is about: the client of a
// conversation, the host of a process; "" when the event names none.
func Host(ev *schemas.Event, internal func(netip.Addr) bool) string {
	if !ev.Get(schemas.FieldProcessCommandLine).IsNone() || !ev.Get(schemas.FieldProcessExecutable).IsNone() || ev.Str(schemas.FieldSourceIP) == "" {
		if h := ownHost(ev, internal); h != "" {
			return h
		}
	}
	near, far := ev.Str(schemas.FieldSourceIP), ev.Str(schemas.FieldDestinationIP)
	if reversed(ev) {
		near, far = far, near
	}
	inside := func(text string) bool {
		a, err := netip.ParseAddr(text)
		return err == nil && internal(a)
	}
	if near == "" || !inside(near) && inside(far) {
		near = far
	}
	return near
}

// ownHost is the host that an event happened on: an internal address of it, its
// name, or whatever address it has.
func ownHost(ev *schemas.Event, internal func(netip.Addr) bool) string {
	first := ""
	for _, v := range ev.Get(schemas.FieldHostIP).List() {
		a, err := netip.ParseAddr(v.Str())
		if err != nil || a.IsLoopback() || a.IsLinkLocalUnicast() {
			continue
		}
		if internal(a) {
			return a.Unmap().String()
		}
		if first == "" {
			first = a.Unmap().String()
		}
	}
	for _, field := range [...]schemas.FieldID{schemas.FieldHostName, schemas.FieldHostHostname, schemas.FieldWinlogComputerName, schemas.FieldLogSyslogHostname} {
		if name := ev.Str(field); name != "" {
			return strings.ToLower(name)
		}
	}
	return first
}
