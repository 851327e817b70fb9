// Package mining holds what is known of cryptocurrency mining: pools and their
// addresses, miner programs, options and methods, in pools.yaml.
//
// It is data and its look-ups only. It never judges an event: what a find means
// and how much it weighs is the analyzer's business.
package mining

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"fengsui/schemas"
)

//go:embed pools.yaml
var poolsYAML []byte

// Class says what a name that belongs to a pool is.
type Class uint8

// The classes of name.
const (
	Server   Class = iota + 1 // a pool's server: nothing but miners speak to it
	Apex                      // the pool's domain itself: its page, and with some also its server
	Page                      // a page of the pool
	WebMiner                  // a service that mines in the visitor's browser
	excluded                  // an exchange's, a wallet's: not a pool's
)

// Pool is what a host name was found to be.
type Pool struct {
	Name  string // the pool's domain as listed
	Coin  string // where known
	Class Class
}

// Knowledge is pools.yaml, ready for look-ups. It is safe for concurrent use.
type Knowledge struct {
	names      map[string]Pool
	webLabels  map[string]bool
	coins      map[string]string
	addresses  map[string][]int // by canonical text
	ports      map[int]bool
	processes  map[string]bool
	schemes    map[string]bool
	options    map[string]bool
	values     map[string]ValueOption
	algorithms map[string]bool
	methods    map[string]string
	scripts    map[string]bool
	verdicts   []string
}

// ValueOption is what the value of a miner's option is.
type ValueOption uint8

// The kinds of value.
const (
	AlgorithmOption ValueOption = iota + 1
	CoinOption
	PoolOption
	UserOption
)

type entry struct {
	Name string `yaml:"name"`
	Coin string `yaml:"coin"`
}

type document struct {
	Coins        map[string][]string `yaml:"coins"`
	WebLabels    []string            `yaml:"web_labels"`
	Exclude      []string            `yaml:"exclude"`
	Ports        []int               `yaml:"ports"`
	Processes    []string            `yaml:"processes"`
	Schemes      []string            `yaml:"schemes"`
	Options      []string            `yaml:"options"`
	ValueOptions map[string][]string `yaml:"value_options"`
	Algorithms   []string            `yaml:"algorithms"`
	Methods      map[string][]string `yaml:"methods"`
	Verdicts     []string            `yaml:"verdicts"`
	Scripts      []string            `yaml:"scripts"`
	Pools        []entry             `yaml:"pools"`
	Hosts        []entry             `yaml:"hosts"`
	WebMiners    []entry             `yaml:"web_miners"`
	Addresses    map[string][]int    `yaml:"addresses"`
}

// Load reads the knowledge that is part of the program.
func Load() (*Knowledge, error) {
	k, err := Parse(poolsYAML)
	if err != nil {
		return nil, fmt.Errorf("rules/mining/pools.yaml: %w", err)
	}
	return k, nil
}

// Parse reads knowledge in the form of pools.yaml. Every error in it is told.
func Parse(text []byte) (*Knowledge, error) {
	var doc document
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	p := parser{k: &Knowledge{
		names:     map[string]Pool{},
		coins:     map[string]string{},
		addresses: map[string][]int{},
		ports:     map[int]bool{},
		values:    map[string]ValueOption{},
		methods:   map[string]string{},
	}}
	p.coins(doc.Coins)
	p.k.webLabels = p.set("web_labels", doc.WebLabels)
	p.k.processes = p.set("processes", doc.Processes)
	p.k.schemes = p.set("schemes", doc.Schemes)
	p.k.options = p.set("options", doc.Options)
	p.k.algorithms = p.set("algorithms", doc.Algorithms)
	p.k.scripts = p.set("scripts", doc.Scripts)
	p.set("verdicts", doc.Verdicts)
	p.k.verdicts = doc.Verdicts
	p.names("pools", doc.Pools, Apex)
	p.names("hosts", doc.Hosts, Server)
	p.names("web_miners", doc.WebMiners, WebMiner)
	for _, name := range doc.Exclude {
		p.name("exclude", Pool{Name: name, Class: excluded})
	}
	p.sorted("exclude", doc.Exclude)
	p.valueOptions(doc.ValueOptions)
	p.methods(doc.Methods)
	for _, port := range doc.Ports {
		p.port("ports", port)
		p.k.ports[port] = true
	}
	p.addresses(doc.Addresses)
	return p.k, errors.Join(p.errs...)
}

type parser struct {
	k    *Knowledge
	errs []error
}

func (p *parser) fail(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

// set makes a set of words, which must be in lower case and said once.
func (p *parser) set(section string, words []string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, w := range words {
		if w == "" || w != strings.ToLower(w) || strings.TrimSpace(w) != w {
			p.fail("%s: %q is empty, has space around it or is not in lower case", section, w)
		}
		if set[w] {
			p.fail("%s: %q is said twice", section, w)
		}
		set[w] = true
	}
	return set
}

func (p *parser) coins(coins map[string][]string) {
	for coin, words := range coins {
		if coin != strings.ToUpper(coin) {
			p.fail("coins: %q is not in upper case", coin)
		}
		for w := range p.set("coins: "+coin, words) {
			if other, taken := p.k.coins[w]; taken {
				p.fail("coins: %q stands for both %s and %s", w, other, coin)
			}
			p.k.coins[w] = coin
		}
	}
}

func (p *parser) sorted(section string, names []string) {
	for i := 1; i < len(names); i++ {
		if names[i-1] >= names[i] {
			p.fail("%s: %q comes after %q: keep the list sorted", section, names[i], names[i-1])
		}
	}
}

func (p *parser) names(section string, entries []entry, class Class) {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name
		if e.Coin != strings.ToUpper(e.Coin) {
			p.fail("%s: coin %q of %s is not in upper case", section, e.Coin, e.Name)
		}
		p.name(section, Pool{Name: e.Name, Coin: e.Coin, Class: class})
	}
	p.sorted(section, names)
}

func (p *parser) name(section string, pool Pool) {
	name := pool.Name
	if name != strings.ToLower(name) || strings.Trim(name, ".") != name || !strings.Contains(name, ".") ||
		strings.ContainsAny(name, " /:*") || strings.Contains(name, "..") || len(name) > 253 {
		p.fail("%s: %q is not a domain name in lower case", section, name)
	}
	if _, err := netip.ParseAddr(name); err == nil {
		p.fail("%s: %q is an address", section, name)
	}
	if other, taken := p.k.names[name]; taken {
		p.fail("%s: %q is said twice, with classes %d and %d", section, name, other.Class, pool.Class)
	}
	p.k.names[name] = pool
}

func (p *parser) valueOptions(options map[string][]string) {
	kinds := map[string]ValueOption{"algorithm": AlgorithmOption, "coin": CoinOption, "pool": PoolOption, "user": UserOption}
	for kind, words := range options {
		id, ok := kinds[kind]
		if !ok {
			p.fail("value_options: unknown kind %q", kind)
		}
		for w := range p.set("value_options: "+kind, words) {
			if p.k.values[w] != 0 || p.k.options[w] {
				p.fail("value_options: %q is said twice", w)
			}
			p.k.values[w] = id
		}
	}
}

func (p *parser) methods(protocols map[string][]string) {
	known := []string{"stratum1", "xmr-stratum", "eth-stratum", "getwork", "getblocktemplate"}
	for protocol, words := range protocols {
		if !slices.Contains(known, protocol) {
			p.fail("methods: unknown protocol %q", protocol)
		}
		for w := range p.set("methods: "+protocol, words) {
			if p.k.methods[w] != "" {
				p.fail("methods: %q belongs to both %s and %s", w, p.k.methods[w], protocol)
			}
			p.k.methods[w] = protocol
		}
	}
}

func (p *parser) port(section string, port int) {
	if port < 1 || port > 65535 {
		p.fail("%s: %d is not a port", section, port)
	}
}

func (p *parser) addresses(addresses map[string][]int) {
	for text, ports := range addresses {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			p.fail("addresses: %w", err)
			continue
		}
		if !ip.IsGlobalUnicast() || ip.IsPrivate() {
			p.fail("addresses: %s is not a public address", ip)
		}
		if len(ports) == 0 {
			p.fail("addresses: %s without a port", ip)
		}
		for _, port := range ports {
			p.port("addresses", port)
		}
		p.k.addresses[ip.String()] = ports
	}
}

// Host says to which pool a host name belongs and what it is there: the longest
// listed name that is the host or above it decides. Case and a final dot do not
// matter.
func (k *Knowledge) Host(host string) (Pool, bool) {
	host = schemas.CanonicalName(host)
	for at := host; at != ""; {
		if pool, ok := k.names[at]; ok {
			return k.classify(pool, host)
		}
		i := strings.IndexByte(at, '.')
		if i < 0 {
			break
		}
		at = at[i+1:]
	}
	return Pool{}, false
}

func (k *Knowledge) classify(pool Pool, host string) (Pool, bool) {
	if pool.Class == excluded {
		return Pool{}, false
	}
	below := strings.TrimSuffix(strings.TrimSuffix(host, pool.Name), ".")
	if pool.Class == Apex && below != "" {
		pool.Class = Server
		if last := below[strings.LastIndexByte(below, '.')+1:]; k.webLabels[last] {
			pool.Class = Page
		}
	}
	if pool.Coin == "" {
		pool.Coin = k.CoinIn(below)
	}
	return pool, true
}

// CoinIn finds the first word of a text that stands for a coin: of a host name
// "xmr-eu1" it is XMR.
func (k *Knowledge) CoinIn(text string) string {
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool {
		return (r < 'a' || r > 'z')
	}) {
		if coin, ok := k.coins[word]; ok {
			return coin
		}
	}
	return ""
}

// Address says whether an address, in the canonical form that events have, is
// listed as a pool's, and whether with this port.
func (k *Knowledge) Address(ip string, port int) (listed, withPort bool) {
	ports, ok := k.addresses[ip]
	return ok, slices.Contains(ports, port)
}

// Port says whether pools like to listen on a port.
func (k *Knowledge) Port(port int) bool { return k.ports[port] }

// Process finds the miner that a program's name or path, of Unix or Windows,
// names; "" for none.
func (k *Knowledge) Process(program string) string {
	if len(program) > 4096 {
		return ""
	}
	name := strings.ToLower(program[strings.LastIndexAny(program, `/\`)+1:])
	name = strings.TrimSuffix(name, ".exe")
	if k.processes[name] {
		return name
	}
	for i := 1; i < len(name) && i <= 32; i++ {
		if c := name[i]; (c == '-' || c == '_' || c == '.' || c >= '0' && c <= '9') && k.processes[name[:i]] {
			return name[:i]
		}
	}
	return ""
}

// Scheme says whether a URL's scheme, in lower case, is one that miners write.
func (k *Knowledge) Scheme(scheme string) bool { return k.schemes[scheme] }

// Option says whether an option, without its dashes, is one that only miners
// have.
func (k *Knowledge) Option(name string) bool { return k.options[name] }

// ValueOption says what the value of an option is; 0 when it says nothing.
func (k *Knowledge) ValueOption(name string) ValueOption { return k.values[name] }

// Coin is the coin that one word, in any case, stands for; "" for none.
func (k *Knowledge) Coin(word string) string { return k.coins[strings.ToLower(word)] }

// Algorithm says whether a name, in lower case, is a mining algorithm's.
func (k *Knowledge) Algorithm(name string) bool { return k.algorithms[name] }

// Method is the protocol that a JSON-RPC method belongs to, as in
// stratum.protocol; "" for none. Case does not matter.
func (k *Knowledge) Method(method string) string {
	if p := k.methods[method]; p != "" || len(method) > 64 {
		return p
	}
	return k.methods[strings.ToLower(method)]
}

// Script says whether a URL's path names a script that mines.
func (k *Knowledge) Script(urlPath string) bool {
	return k.scripts[strings.ToLower(path.Base(urlPath))]
}

// Verdict finds the word in a device's rule that names mining; "" for none.
func (k *Knowledge) Verdict(rule string) string {
	if rule == "" || len(rule) > 4096 {
		return ""
	}
	rule = strings.ToLower(rule)
	for _, w := range k.verdicts {
		if strings.Contains(rule, w) {
			return w
		}
	}
	return ""
}
