package mining

import (
	"encoding/json"
	"strings"

	"fengsui/rules/mining"
	"fengsui/schemas"
)

// maxMessages bounds the JSON messages read out of one payload.
const maxMessages = 8

// text looks for a pool's protocol in whatever text a log carries. Ordinary text
// costs a few searches; JSON is read only where a method's key is there.
func (f *finder) text(s string) {
	if len(s) < 12 {
		return
	}
	s = cut(s, maxText)
	if strings.Contains(s, `\"`) {
		s = strings.ReplaceAll(s, `\"`, `"`)
	}
	if i := f.methodIn(s); i >= 0 {
		f.messages(s, i)
	} else if strings.Contains(s, `"type"`) && (strings.Contains(s, `"site_key"`) || strings.Contains(s, `"blob"`) || strings.Contains(s, `"job_id"`)) {
		f.messages(s, strings.Index(s, `"type"`))
	} else if strings.Contains(s, `"job_id"`) && strings.Contains(s, `"blob"`) {
		f.messages(s, strings.Index(s, `"job_id"`))
	} else if i := strings.Index(s, "mining."); i >= 0 {
		f.bareMethod(s[i:])
	} else if i := strings.Index(s, "eth_submit"); i >= 0 {
		f.bareMethod(s[i:])
	} else if i := strings.Index(s, "stratum"); i >= 0 && !strings.Contains(s, "COMMAND=") && !strings.Contains(s, " CMD (") {
		f.poolURL(s[i:])
	}
}

// methodIn is the place of the first "method" key whose value is a pool's method,
// or -1.
func (f *finder) methodIn(s string) int {
	at := 0
	for range maxMessages {
		i := strings.Index(s[at:], `"method"`)
		if i < 0 {
			break
		}
		if f.k.Method(methodAfter(s[at+i+len(`"method"`):])) != "" {
			return at + i
		}
		at += i + 1
	}
	return -1
}

// methodAfter is the string that follows a key.
func methodAfter(s string) string {
	s = strings.TrimLeft(s, " :\t")
	if s == "" || s[0] != '"' {
		return ""
	}
	method, _, _ := strings.Cut(cut(s[1:], 65), `"`)
	return method
}

// rpc is a message of any of the protocols.
type rpc struct {
	Method string          `json:"method"`
	Type   string          `json:"type"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
}

// messages reads the JSON objects of a payload. Where they begin is not known
// when a device writes words before them: at the first brace, else at the one
// before the place at. Where they are broken or cut off, the method's name must
// do.
func (f *finder) messages(s string, at int) {
	first, nearest := strings.IndexByte(s, '{'), strings.LastIndexByte(s[:at], '{')
	if nearest < 0 || !f.objects(s[first:]) && !f.objects(s[nearest:]) {
		f.brokenMessage(s)
	}
}

// objects reads JSON objects one after another and says whether there was one.
func (f *finder) objects(s string) bool {
	dec := json.NewDecoder(strings.NewReader(s))
	for n := range maxMessages {
		var m rpc
		if dec.Decode(&m) != nil {
			return n > 0
		}
		f.rpc(&m)
	}
	return true
}

// brokenMessage looks at a message that is not whole JSON. Methods that others
// use too need a miner's word beside them.
func (f *finder) brokenMessage(s string) {
	at := f.methodIn(s)
	if at < 0 {
		return
	}
	method := methodAfter(s[at+len(`"method"`):])
	protocol := f.k.Method(method)
	if protocol == "xmr-stratum" && !(method == "login" && strings.Contains(s, `"agent"`) || method == "job" && strings.Contains(s, `"blob"`)) {
		return
	}
	f.protocol(protocol, method, "", "")
}

// bareMethod looks at a method that a device names in plain words.
func (f *finder) bareMethod(s string) {
	end := strings.IndexFunc(s, func(r rune) bool {
		return r != '.' && r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if end < 0 {
		end = len(s)
	}
	method := strings.TrimRight(s[:end], ".")
	f.protocol(f.k.Method(method), method, "", "")
}

// poolURL looks at a stratum URL that a device names.
func (f *finder) poolURL(s string) {
	url, _, _ := strings.Cut(s, " ")
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || !f.k.Scheme(scheme) {
		return
	}
	host, port := hostPort(rest)
	pool, _ := f.k.Host(host)
	f.add(schemas.MiningEvidence{Kind: schemas.StratumMethod, Pool: f.poolName(host), Port: port, Coin: pool.Coin, Protocol: "stratum1", Detail: url, Weight: weightURL})
}

// params is what the parameters of the protocols' messages may hold. Fields are
// any because others' messages use the same names for other things.
type params struct {
	Login   any `json:"login"`
	Agent   any `json:"agent"`
	Algo    any `json:"algo"`
	RigID   any `json:"rigid"`
	Blob    any `json:"blob"`
	Target  any `json:"target"`
	JobID   any `json:"job_id"`
	Nonce   any `json:"nonce"`
	Result  any `json:"result"`
	SiteKey any `json:"site_key"`
	Job     *params
}

func (f *finder) rpc(m *rpc) {
	var p params
	var list []any
	if len(m.Params) > 0 && m.Params[0] == '{' {
		_ = json.Unmarshal(m.Params, &p) // a wrong shape is no evidence
	} else if len(m.Params) > 0 {
		_ = json.Unmarshal(m.Params, &list)
	}
	if m.Method == "" {
		f.webMessage(m, &p)
		return
	}
	protocol := f.k.Method(m.Method)
	var user, agent string
	switch protocol {
	case "xmr-stratum":
		if !p.isXMR(m.Method) {
			return
		}
		user, agent = text(p.Login), text(p.Agent)
	case "stratum1", "eth-stratum":
		if len(list) > 0 {
			user = text(list[0])
		}
		if m.Method == "mining.subscribe" {
			user, agent = "", user
		} else if m.Method != "mining.authorize" && m.Method != "mining.submit" && !strings.EqualFold(m.Method, "eth_submitLogin") {
			user = ""
		}
	}
	f.protocol(protocol, m.Method, user, agent)
}

// isXMR says whether the parameters are a miner's: other programs' methods are
// called login, job and submit, too.
func (p *params) isXMR(method string) bool {
	switch strings.ToLower(method) {
	case "login":
		return text(p.Login) != "" && (p.Agent != nil || p.Algo != nil || p.RigID != nil || walletCoin(text(p.Login)) != "")
	case "job":
		return p.isJob()
	case "submit":
		return p.JobID != nil && p.Nonce != nil && p.Result != nil
	}
	return false
}

func (p *params) isJob() bool { return p.Blob != nil && p.Target != nil && p.JobID != nil }

// webMessage looks at messages without a method: those of miners in web pages
// ("type"), and a pool's answer to a login.
func (f *finder) webMessage(m *rpc, p *params) {
	web := m.Type == "auth" && p.SiteKey != nil || m.Type == "job" && p.isJob() ||
		m.Type == "submit" && p.JobID != nil && p.Nonce != nil && p.Result != nil
	if web {
		pool, port := poolEnd(f.ev)
		if named, ok := f.namedPool(); ok {
			pool = named.Name
		}
		f.add(schemas.MiningEvidence{Kind: schemas.WebMiner, Pool: pool, Port: port, Protocol: "xmr-stratum", Coin: "XMR", Wallet: text(p.SiteKey), Detail: m.Type, Weight: weightWebMiner})
		return
	}
	var answer params
	if json.Unmarshal(m.Result, &answer) == nil && answer.Job != nil && answer.Job.isJob() {
		f.protocol("xmr-stratum", "job", "", "")
	}
}

// namedPool is the pool by the name that the event has for it.
func (f *finder) namedPool() (mining.Pool, bool) {
	for _, field := range [...]schemas.FieldID{schemas.FieldTLSClientServerName, schemas.FieldURLDomain, schemas.FieldDestinationDomain} {
		if pool, ok := f.k.Host(f.ev.Str(field)); ok {
			return pool, true
		}
	}
	return mining.Pool{}, false
}

func (f *finder) protocol(protocol, method, user, agent string) {
	kind, weight := protocolKind(protocol)
	if kind == "" {
		return
	}
	f.speaks(schemas.MiningEvidence{Kind: kind, Weight: weight, Protocol: protocol, Wallet: user, Coin: f.k.CoinIn(agent), Detail: strings.TrimSpace(method + " " + agent)})
}

// text is the string in a JSON value, or "".
func text(v any) string {
	s, _ := v.(string)
	return s
}
