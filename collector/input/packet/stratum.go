package packet

import (
	"strconv"
	"strings"

	"github.com/valyala/fastjson"
)

// The protocols that a stratum record names.
const (
	protocolStratum1 = "stratum1"         // mining.subscribe and the like (Slush's Stratum, version 1)
	protocolXMR      = "xmr-stratum"      // login, job, submit; also of miners in web pages
	protocolEth      = "eth-stratum"      // eth_submitLogin and the like, and NiceHash's EthereumStratum
	protocolGetwork  = "getwork"          // Bitcoin's first way
	protocolTemplate = "getblocktemplate" // BIP 22
)

const (
	maxMisses  = 64 // messages of JSON that were no mining before listening ends
	maxBatch   = 32 // messages looked at of one array
	maxPending = 64 // calls of one connection that wait for their answer
	maxDetail  = 256
	maxID      = 64
)

// message is one mining message.
type message struct {
	method   string
	protocol string
	user     string
	agent    string
	coin     string
	algo     string
	detail   string
}

// belief is how much a message says for itself.
type belief uint8

const (
	beliefNone belief = iota
	beliefWeak        // mining only among other mining messages
	beliefSure
)

type stratumKey struct {
	method string
	dir    int
}

type stratumTally struct{ seen, written int64 }

// call is a method that waits for its answer.
type call struct{ method, protocol string }

// stratumSession is what is known of a mining conversation.
type stratumSession struct {
	known   message // what the latest messages said of user, agent, coin and algo
	tallies map[stratumKey]*stratumTally
	calls   map[string]call
}

// heldLogin is a login that could be anything until a job answers it.
type heldLogin struct {
	m         message
	id        string
	at        int64
	dir       int
	transport string
}

func (s *session) jsonLine(dir int, b []byte) bool { return s.jsonMessage(dir, b, "tcp", "", "") }

func (s *session) jsonBody(dir int, b []byte, tx *httpTx) {
	s.jsonMessage(dir, b, "http", tx.user, tx.agent)
}

// jsonMessage reads JSON and says whether it belongs to a mining conversation.
// user and agent are what the transport said of the sender.
func (s *session) jsonMessage(dir int, b []byte, transport, user, agent string) bool {
	v, err := s.e.json.ParseBytes(b)
	if err != nil {
		s.e.m.undecoded["json"].Inc()
		return false
	}
	if v.Type() != fastjson.TypeArray {
		return s.miningMessage(dir, v, transport, user, agent)
	}
	found := false
	for i, x := range v.GetArray() {
		if i < maxBatch && s.miningMessage(dir, x, transport, user, agent) {
			found = true
		}
	}
	return found
}

func (s *session) miningMessage(dir int, v *fastjson.Value, transport, user, agent string) bool {
	if v.Type() != fastjson.TypeObject {
		return false
	}
	id := idOf(v)
	m, b := classify(v)
	if b == beliefNone && v.Get("method") == nil {
		m, b = s.classifyAnswer(v, id)
	}
	switch {
	case b == beliefNone, b == beliefWeak && s.stratum == nil && m.method != "login":
		return false
	case b == beliefWeak && s.stratum == nil:
		if m.user != "" {
			s.login = &heldLogin{m, id, s.at, dir, transport}
		}
		return false
	}
	if s.stratum == nil {
		s.stratum = &stratumSession{tallies: map[stratumKey]*stratumTally{}, calls: map[string]call{}}
		s.c.addService("stratum")
	}
	if x := s.login; x != nil {
		s.login = nil
		s.stratum.calls[x.id] = call{x.m.method, x.m.protocol}
		s.writeStratum(x.dir, x.m, x.transport, x.at)
	}
	if v.Get("method") != nil && id != "" && len(s.stratum.calls) < maxPending {
		s.stratum.calls[id] = call{m.method, m.protocol}
	}
	if m.user == "" {
		m.user = user
	}
	if m.agent == "" {
		m.agent = agent
	}
	s.writeStratum(dir, m, transport, s.at)
	return true
}

// idOf is the message's id as text: numbers and strings are told apart.
func idOf(v *fastjson.Value) string {
	id := v.Get("id")
	if id == nil || id.Type() != fastjson.TypeNumber && id.Type() != fastjson.TypeString {
		return ""
	}
	text := string(id.MarshalTo(nil))
	if len(text) > maxID {
		return ""
	}
	return text
}

// stratum1Methods are the methods of Stratum version 1 and its extensions.
var stratum1Methods = map[string]bool{
	"mining.subscribe": true, "mining.authorize": true, "mining.submit": true, "mining.notify": true,
	"mining.set_difficulty": true, "mining.set_target": true, "mining.set_extranonce": true,
	"mining.extranonce.subscribe": true, "mining.configure": true, "mining.set_version_mask": true,
	"mining.get_transactions": true, "mining.suggest_difficulty": true, "mining.suggest_target": true,
	"mining.multi_version": true, "mining.capabilities": true, "mining.set_goal": true, "mining.ping": true,
}

// classify reads a message by itself: the method's name and the shape of its
// parameters have to fit both. Answers are for classifyAnswer.
func classify(v *fastjson.Value) (message, belief) {
	method, params := text(v, "method"), v.Get("params")
	if method == "" {
		return classifyWeb(v)
	}
	list, object := isType(params, fastjson.TypeArray), isType(params, fastjson.TypeObject)
	m := message{method: method}
	switch {
	case stratum1Methods[method] && list:
		return stratum1(m, params), beliefSure
	case method == "mining.hello" && object && strings.HasPrefix(text(params, "proto"), "EthereumStratum/"):
		m.protocol, m.agent, m.detail = protocolEth, text(params, "agent"), text(params, "proto")
		return m, beliefSure
	case method == "login" && object:
		return xmrLogin(m, params)
	case method == "job" && object && isJob(params):
		return xmrJob(m, params), beliefSure
	case method == "submit" && object && isShare(params):
		m.protocol, m.detail = protocolXMR, "job "+text(params, "job_id")
		m.algo, m.coin = text(params, "algo"), algoCoin(text(params, "algo"))
		return m, beliefSure
	case (method == "keepalived" || method == "getjob") && object && text(params, "id") != "":
		m.protocol = protocolXMR
		return m, beliefWeak
	case strings.HasPrefix(method, "eth_"):
		return ethereum(m, v, params)
	case method == "getblocktemplate" && v.Get("id") != nil && (params == nil || list || isType(params, fastjson.TypeNull)):
		m.protocol = protocolTemplate
		return m, beliefSure
	case (method == "getwork" || method == "getworkex") && v.Get("id") != nil && list && isWork(params):
		m.protocol = protocolGetwork
		return m, beliefSure
	case method == "submitblock" && list:
		m.protocol = protocolTemplate
		return m, beliefWeak
	case (method == "client.reconnect" || method == "client.get_version" || method == "client.show_message") && list:
		m.protocol = protocolStratum1
		return m, beliefWeak
	}
	return message{}, beliefNone
}

func stratum1(m message, params *fastjson.Value) message {
	m.protocol = protocolStratum1
	first := item(params, 0)
	switch m.method {
	case "mining.subscribe":
		m.agent = first
		if strings.HasPrefix(item(params, 1), "EthereumStratum/") {
			m.protocol, m.algo, m.detail = protocolEth, "ethash", item(params, 1)
		}
	case "mining.authorize":
		m.user, m.coin = first, walletCoin(first)
	case "mining.submit":
		m.user, m.coin, m.detail = first, walletCoin(first), "job "+item(params, 1)
	case "mining.notify":
		m.detail = "job " + first
	case "mining.set_difficulty", "mining.suggest_difficulty":
		m.detail = "difficulty " + raw(params, 0)
	case "mining.set_target", "mining.suggest_target":
		m.detail = "target " + first
	case "mining.set_extranonce":
		m.detail = "extranonce " + first
	}
	return m
}

func xmrLogin(m message, params *fastjson.Value) (message, belief) {
	user := text(params, "login")
	if user == "" {
		return message{}, beliefNone
	}
	m.protocol, m.user, m.agent, m.coin = protocolXMR, user, text(params, "agent"), walletCoin(user)
	algo := params.Get("algo")
	if isType(algo, fastjson.TypeString) {
		m.algo = text(params, "algo")
	}
	_, hasPass := stringOf(params.Get("pass"))
	miner := m.agent != "" || algo != nil || params.Get("rigid") != nil
	if m.coin != "" || hasPass && miner {
		return m, beliefSure
	}
	return m, beliefWeak
}

func xmrJob(m message, params *fastjson.Value) message {
	m.protocol, m.algo = protocolXMR, text(params, "algo")
	m.coin = algoCoin(m.algo)
	m.detail = "job " + text(params, "job_id")
	if h := params.Get("height"); isType(h, fastjson.TypeNumber) {
		m.detail += ", height " + string(h.MarshalTo(nil))
	}
	return m
}

// isJob says whether an object is a job of a CryptoNote coin.
func isJob(v *fastjson.Value) bool {
	blob := text(v, "blob")
	return text(v, "job_id") != "" && len(blob) >= 64 && isHex(blob) && text(v, "target") != ""
}

// isShare says whether an object is a solution for such a job.
func isShare(v *fastjson.Value) bool {
	nonce, result := text(v, "nonce"), text(v, "result")
	return text(v, "job_id") != "" && len(nonce) >= 8 && isHex(nonce) && len(result) == 64 && isHex(result)
}

// isWork says whether the parameters are getwork's: none, or one block header.
func isWork(params *fastjson.Value) bool {
	vs := params.GetArray()
	if len(vs) == 0 {
		return true
	}
	data, ok := stringOf(vs[0])
	return ok && len(data) >= 256 && isHex(data)
}

func ethereum(m message, v, params *fastjson.Value) (message, belief) {
	m.protocol = protocolEth
	list := isType(params, fastjson.TypeArray)
	m.agent = text(v, "worker")
	switch {
	case m.method == "eth_submitLogin" && list && item(params, 0) != "":
		m.user, m.coin, m.agent = item(params, 0), walletCoin(item(params, 0)), ""
		m.detail = text(v, "worker")
	case m.method == "eth_getWork" && (params == nil || list):
		m.agent = ""
	case m.method == "eth_submitWork" && list && is0xHex(item(params, 0)) && is0xHex(item(params, 1)) && is0xHex(item(params, 2)):
		m.agent, m.detail = "", "nonce "+item(params, 0)
	case m.method == "eth_submitHashrate" && list && is0xHex(item(params, 0)) && is0xHex(item(params, 1)):
		m.agent, m.detail = "", "hashrate "+item(params, 0)
	default:
		return message{}, beliefNone
	}
	return m, beliefSure
}

// classifyWeb reads the messages of miners in web pages: Coinhive and its
// successors by "type", webminerpool's kin by "identifier".
func classifyWeb(v *fastjson.Value) (message, belief) {
	typ, params := text(v, "type"), v.Get("params")
	m := message{method: typ, protocol: protocolXMR}
	switch {
	case typ == "auth" && text(params, "site_key") != "":
		m.user, m.coin, m.detail = text(params, "site_key"), "XMR", "site key"
		return m, beliefSure
	case typ == "job" && isJob(params):
		return xmrJob(m, params), beliefSure
	case typ == "submit" && isShare(params):
		m.detail = "job " + text(params, "job_id")
		return m, beliefSure
	case (typ == "authed" || typ == "hash_accepted") && params.Exists("hashes"):
		return m, beliefWeak
	}
	typ = text(v, "identifier")
	m.method = typ
	switch {
	case typ == "handshake" && text(v, "pool") != "" && text(v, "login") != "":
		m.user, m.coin, m.detail = text(v, "login"), walletCoin(text(v, "login")), "pool "+text(v, "pool")
		return m, beliefSure
	case typ == "job" && isJob(v):
		return xmrJob(m, v), beliefSure
	case typ == "solved" && isShare(v):
		m.detail = "job " + text(v, "job_id")
		return m, beliefSure
	case typ == "hashsolved":
		return m, beliefWeak
	}
	return message{}, beliefNone
}

// classifyAnswer reads a message without a method: the answer to a call that
// was seen, or one whose own shape says what it answers.
func (s *session) classifyAnswer(v *fastjson.Value, id string) (message, belief) {
	result, failure := v.Get("result"), v.Get("error")
	if result == nil && failure == nil {
		return message{}, beliefNone
	}
	if m, ok := answerByShape(result); ok {
		if s.stratum != nil {
			delete(s.stratum.calls, id)
		}
		return m, beliefSure
	}
	if s.stratum == nil || id == "" {
		return message{}, beliefNone
	}
	c, ok := s.stratum.calls[id]
	if !ok {
		return message{}, beliefNone
	}
	delete(s.stratum.calls, id)
	return message{method: c.method, protocol: c.protocol, detail: outcome(result, failure)}, beliefSure
}

// outcome says how a call ended.
func outcome(result, failure *fastjson.Value) string {
	if failure != nil && failure.Type() != fastjson.TypeNull {
		if t, ok := stringOf(failure); ok {
			return "error: " + t
		}
		if t := text(failure, "message"); t != "" {
			return "error: " + t
		}
		if t := item(failure, 1); t != "" {
			return "error: " + t
		}
		return "error"
	}
	if isType(result, fastjson.TypeFalse) {
		return "refused"
	}
	return "accepted"
}

// answerByShape knows results that only a pool gives.
func answerByShape(result *fastjson.Value) (message, bool) {
	switch {
	case isType(result, fastjson.TypeObject):
		if job := result.Get("job"); job != nil && isJob(job) {
			m := xmrJob(message{method: "login"}, job)
			m.detail = "accepted, " + m.detail
			return m, true
		}
		if d := text(result, "data"); len(d) >= 256 && isHex(d) && len(text(result, "target")) == 64 {
			return message{method: "getwork", protocol: protocolGetwork, detail: "accepted"}, true
		}
		if text(result, "previousblockhash") != "" && text(result, "bits") != "" && result.Exists("coinbasevalue") {
			detail := "accepted"
			if h := result.Get("height"); isType(h, fastjson.TypeNumber) {
				detail += ", height " + string(h.MarshalTo(nil))
			}
			return message{method: "getblocktemplate", protocol: protocolTemplate, detail: detail}, true
		}
	case isType(result, fastjson.TypeArray):
		// [[["mining.set_difficulty", "…"], ["mining.notify", "…"]], extranonce, size]
		vs := result.GetArray()
		if len(vs) != 3 || !isType(vs[0], fastjson.TypeArray) || !isType(vs[1], fastjson.TypeString) || !isType(vs[2], fastjson.TypeNumber) {
			return message{}, false
		}
		subscriptions := append([]*fastjson.Value{vs[0]}, vs[0].GetArray()...)
		for _, x := range subscriptions {
			if name := item(x, 0); name == "mining.notify" || name == "mining.set_difficulty" {
				return message{method: "mining.subscribe", protocol: protocolStratum1, detail: "accepted, extranonce " + item(result, 1)}, true
			}
		}
	}
	return message{}, false
}

// writeStratum writes the first messages of each method and direction of a
// connection, and after these one in a while, so that a busy miner is seen to
// go on without flooding. count says how many there have been.
func (s *session) writeStratum(dir int, m message, transport string, at int64) {
	x := s.stratum
	remember := func(known, v *string) {
		if *v != "" {
			*known = *v
		} else {
			*v = *known
		}
	}
	if x.known.protocol == protocolEth && m.protocol == protocolStratum1 {
		m.protocol = protocolEth // EthereumStratum uses Stratum's names once it was agreed
	}
	x.known.protocol = m.protocol
	remember(&x.known.user, &m.user)
	remember(&x.known.agent, &m.agent)
	remember(&x.known.coin, &m.coin)
	remember(&x.known.algo, &m.algo)

	key := stratumKey{m.method, dir}
	t := x.tallies[key]
	if t == nil {
		t = &stratumTally{}
		x.tallies[key] = t
	}
	t.seen++
	if t.seen > int64(s.e.limits.stratumFirst) && at-t.written < s.e.limits.stratumEvery {
		s.e.m.suppressed.Inc()
		return
	}
	t.written = at
	r := s.c.head("stratum", at, s.e.identity)
	r.str("transport", transport)
	r.str("protocol", m.protocol)
	r.str("method", m.method)
	r.str("direction", [2]string{"request", "response"}[dir])
	r.str("user", m.user)
	r.str("agent", m.agent)
	r.str("coin", m.coin)
	r.str("algo", m.algo)
	if len(m.detail) > maxDetail {
		m.detail = m.detail[:maxDetail]
	}
	r.str("detail", m.detail)
	r.int("count", t.seen)
	s.e.write("stratum", r.done())
}

func isType(v *fastjson.Value, t fastjson.Type) bool { return v != nil && v.Type() == t }

func stringOf(v *fastjson.Value) (string, bool) {
	if !isType(v, fastjson.TypeString) {
		return "", false
	}
	b, err := v.StringBytes()
	return string(b), err == nil
}

// text is the string at a key of an object, or "".
func text(v *fastjson.Value, key string) string {
	if !isType(v, fastjson.TypeObject) {
		return ""
	}
	t, _ := stringOf(v.Get(key))
	return t
}

// item is the string at a place in an array, or "".
func item(v *fastjson.Value, i int) string {
	if !isType(v, fastjson.TypeArray) || i >= len(v.GetArray()) {
		return ""
	}
	t, _ := stringOf(v.GetArray()[i])
	return t
}

func raw(v *fastjson.Value, i int) string {
	if !isType(v, fastjson.TypeArray) || i >= len(v.GetArray()) {
		return ""
	}
	if x := v.GetArray()[i]; x.Type() == fastjson.TypeNumber {
		return string(x.MarshalTo(nil))
	}
	return strconv.Quote(item(v, i))
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

func is0xHex(s string) bool { return strings.HasPrefix(s, "0x") && isHex(s[2:]) }

// algoCoin is the coin that an algorithm is, today, used for before all others.
func algoCoin(algo string) string {
	switch a := strings.ToLower(algo); {
	case a == "rx/0" || a == "randomx" || a == "cn" || strings.HasPrefix(a, "cn/") || strings.HasPrefix(a, "cryptonight"):
		return "XMR"
	case a == "rx/wow":
		return "WOW"
	case a == "rx/arq":
		return "ARQ"
	case a == "kawpow":
		return "RVN"
	case a == "ghostrider":
		return "RTM"
	case a == "autolykos2":
		return "ERG"
	case a == "sha256d":
		return "BTC"
	}
	return ""
}
