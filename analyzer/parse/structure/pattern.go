package structure

import (
	"errors"
	"fmt"
	"strings"
)

// Pattern is a compiled pattern: literals and captures, matched from the start
// of a text to its end.
//
//	%{class:name}   a capture; %{class} matches and keeps nothing
//	%( … %)         an optional part
//	%( … %| … %)    one of several parts
//
// A blank matches one or more blanks; every other character, a % that begins
// none of the above included, matches itself. The classes:
//
//	word    no blanks, up to what follows in the pattern
//	text    anything, up to the first occurrence of what follows; may be empty
//	all     anything, up to the last occurrence of the literal that follows
//	rest    everything to the end; may be empty
//	ip      an IPv4 or IPv6 address
//	int     digits, with a sign or not
//	port    digits, at most 65535
//	num     digits with a fraction or not
//	hex     hexadecimal digits, with 0x before them or not
//	mac     a MAC address, in the writings 00:00:5e:…, 00-00-5e-…, 0000.5e00.…
//	quoted  what stands between double quotes
//
// Nothing is ever taken back: a capture that ended stays as it is, and a part is
// tried once at one place. So time is linear in the text, for every text.
type Pattern struct {
	Text  string
	first string // what every text begins with
	ops   []op
	names []string
}

// The limits of a pattern.
const (
	maxPattern  = 4096 // bytes
	maxNesting  = 4    // of parts
	maxElements = 256
)

type kind uint8

const (
	literal kind = iota
	blanks
	capture
	part
)

type class uint8

const (
	word class = iota
	text
	all
	rest
	ip
	integer
	port
	num
	hex
	mac
	quoted
)

var classes = map[string]class{
	"word": word, "text": text, "all": all, "rest": rest, "ip": ip, "int": integer, "port": port, "num": num, "hex": hex, "mac": mac, "quoted": quoted,
}

// open says that a class ends where something else begins.
func (c class) open() bool { return c == word || c == text || c == all }

type op struct {
	kind     kind
	class    class
	optional bool
	lit      string // of a literal
	name     string // of a capture; "" keeps nothing
	stops    []string
	toEnd    bool // a capture may end at the end of the text
	port     bool // an address's port follows, after a colon
	parts    [][]op
}

// NewPattern compiles a pattern. An error says where it is wrong.
func NewPattern(s string) (*Pattern, error) {
	if len(s) > maxPattern {
		return nil, fmt.Errorf("pattern of %d bytes is longer than %d", len(s), maxPattern)
	}
	p := &patternParser{s: strings.TrimRight(s, " ")}
	ops, err := p.sequence(0)
	if err != nil {
		return nil, fmt.Errorf("%w at byte %d of %q", err, p.i, s)
	}
	if err := settle(ops, follow{end: true}); err != nil {
		return nil, fmt.Errorf("%w in %q", err, s)
	}
	out := &Pattern{Text: s, ops: ops, names: p.names}
	if len(ops) > 0 && ops[0].kind == literal {
		out.first = ops[0].lit
	}
	return out, nil
}

// Names are the names of the captures, in their order.
func (p *Pattern) Names() []string { return p.names }

type patternParser struct {
	s        string
	i        int
	elements int
	names    []string
}

func (p *patternParser) sequence(depth int) (ops []op, err error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("parts nested deeper than %d", maxNesting)
	}
	for p.i < len(p.s) {
		if p.elements++; p.elements > maxElements {
			return nil, fmt.Errorf("more than %d elements", maxElements)
		}
		switch rest := p.s[p.i:]; {
		case rest[0] == ' ' || rest[0] == '\t':
			p.i += len(rest) - len(strings.TrimLeft(rest, " \t"))
			ops = append(ops, op{kind: blanks})
		case strings.HasPrefix(rest, "%{"):
			o, err := p.capture()
			if err != nil {
				return nil, err
			}
			ops = append(ops, o)
		case strings.HasPrefix(rest, "%("):
			o, err := p.group(depth)
			if err != nil {
				return nil, err
			}
			ops = append(ops, o)
		case strings.HasPrefix(rest, "%)"), strings.HasPrefix(rest, "%|"):
			if depth == 0 {
				return nil, fmt.Errorf("%q without %q before it", rest[:2], "%(")
			}
			return ops, nil
		default:
			ops = append(ops, op{kind: literal, lit: p.literal()})
		}
	}
	return ops, nil
}

// literal reads up to a blank or what is none.
func (p *patternParser) literal() string {
	start := p.i
	for p.i++; p.i < len(p.s); p.i++ {
		c := p.s[p.i]
		if c == ' ' || c == '\t' || c == '%' && p.i+1 < len(p.s) && strings.IndexByte("{()|", p.s[p.i+1]) >= 0 {
			break
		}
	}
	return p.s[start:p.i]
}

func (p *patternParser) capture() (op, error) {
	end := strings.IndexByte(p.s[p.i:], '}')
	if end < 0 {
		return op{}, errors.New("capture without }")
	}
	of, name, named := strings.Cut(p.s[p.i+2:p.i+end], ":")
	c, ok := classes[of]
	if !ok {
		return op{}, fmt.Errorf("unknown class %q (there are word, text, all, rest, ip, int, port, num, hex, mac, quoted)", of)
	}
	if named {
		if name == "" || strings.ContainsAny(name, " \t{%") {
			return op{}, fmt.Errorf("%q is no name of a capture", name)
		}
		p.names = append(p.names, name)
	}
	p.i += end + 1
	return op{kind: capture, class: c, name: name}, nil
}

func (p *patternParser) group(depth int) (op, error) {
	p.i += 2
	o := op{kind: part}
	for {
		ops, err := p.sequence(depth + 1)
		if err != nil {
			return op{}, err
		}
		o.parts = append(o.parts, ops)
		if p.i >= len(p.s) {
			return op{}, fmt.Errorf("%q without %q", "%(", "%)")
		}
		closed := p.s[p.i+1] == ')'
		p.i += 2
		if closed {
			o.optional = len(o.parts) == 1
			if o.optional && len(ops) == 0 {
				return op{}, errors.New("empty part")
			}
			return o, nil
		}
	}
}

// follow is what may come after an element.
type follow struct {
	stops []string
	other bool // a capture, which no literal tells
	end   bool // the end of the text
}

func (f *follow) add(o follow) {
	f.stops = append(f.stops, o.stops...)
	f.other = f.other || o.other
	f.end = f.end || o.end
}

// settle tells every capture where it ends.
func settle(ops []op, after follow) error {
	for i := len(ops) - 1; i >= 0; i-- {
		o := &ops[i]
		switch o.kind {
		case capture:
			if o.class.open() {
				if after.other {
					return fmt.Errorf("%%{…:%s} is followed by a capture: nothing says where it ends", o.name)
				}
				if o.class == all && (len(after.stops) != 1 || after.end) {
					return fmt.Errorf("%%{all:%s} must be followed by one literal", o.name)
				}
				o.stops, o.toEnd = after.stops, after.end
			}
			o.port = o.class == ip && i+2 < len(ops) && ops[i+1].kind == literal && ops[i+1].lit == ":" && ops[i+2].kind == capture && ops[i+2].class == port
			if o.class == rest && (len(after.stops) > 0 || after.other) {
				return fmt.Errorf("%%{rest:%s} is not the end", o.name)
			}
		case part:
			for _, p := range o.parts {
				if err := settle(p, after); err != nil {
					return err
				}
			}
		}
		after = before(o, after)
	}
	return nil
}

// before is what may come before an element: it, or what follows where it may
// be empty.
func before(o *op, after follow) follow {
	switch o.kind {
	case literal:
		return follow{stops: []string{o.lit}}
	case blanks:
		f := follow{end: after.end}
		for _, stop := range after.stops {
			f.stops = append(f.stops, " "+strings.TrimPrefix(stop, " "))
		}
		if after.other {
			f.stops = []string{" "}
		}
		return f
	case capture:
		if o.class == quoted {
			return follow{stops: []string{`"`}}
		}
		return follow{other: true}
	}
	var f follow
	for _, p := range o.parts {
		first := after
		for i := len(p) - 1; i >= 0; i-- {
			first = before(&p[i], first)
		}
		f.add(first)
	}
	if o.optional {
		f.add(after)
	}
	return f
}

// Append appends the captures, where the whole text matches; dst is as it was
// where it does not. Blanks at the end of the text do not matter.
func (p *Pattern) Append(dst []Pair, s string) ([]Pair, bool) {
	s = strings.TrimRight(s, " \t")
	m := matcher{s: s, pairs: dst}
	end, ok := m.run(p.ops, 0)
	if !ok || end != len(s) {
		return dst, false
	}
	return m.pairs, true
}

type matcher struct {
	s     string
	pairs []Pair
}

// run matches elements from i on and says where they end.
func (m *matcher) run(ops []op, i int) (int, bool) {
	for k := range ops {
		o := &ops[k]
		switch o.kind {
		case literal:
			if !strings.HasPrefix(m.s[i:], o.lit) {
				return i, false
			}
			i += len(o.lit)
		case blanks:
			n := i
			for n < len(m.s) && (m.s[n] == ' ' || m.s[n] == '\t') {
				n++
			}
			if n == i && n < len(m.s) { // blanks at the end of the text were cut off
				return i, false
			}
			i = n
		case capture:
			from, to, next, ok := o.take(m.s, i)
			if !ok {
				return i, false
			}
			if o.name != "" && from < to {
				if len(m.pairs) >= 2*MaxPairs {
					return i, false
				}
				m.pairs = append(m.pairs, Pair{Key: o.name, Value: m.s[from:to]})
			}
			i = next
		case part:
			next, ok := m.part(o, i)
			if !ok {
				return i, false
			}
			i = next
		}
	}
	return i, true
}

// part tries the parts in their order; the captures of one that did not match
// are forgotten.
func (m *matcher) part(o *op, i int) (int, bool) {
	had := len(m.pairs)
	for _, ops := range o.parts {
		if next, ok := m.run(ops, i); ok {
			return next, true
		}
		m.pairs = m.pairs[:had]
	}
	return i, o.optional
}

// take matches a capture at i: its value is s[from:to], and the text goes on at
// next.
func (o *op) take(s string, i int) (from, to, next int, ok bool) {
	end := i
	switch o.class {
	case word, text, all:
		end = o.until(s, i)
		if end < 0 || o.class == word && end == i {
			return 0, 0, 0, false
		}
		value := strings.TrimRight(s[i:end], " \t") // where several blanks follow
		return i, i + len(value), end, true
	case rest:
		end = len(s)
	case quoted:
		if i == len(s) || s[i] != '"' {
			return 0, 0, 0, false
		}
		n := strings.IndexByte(s[i+1:], '"')
		if n < 0 {
			return 0, 0, 0, false
		}
		return i + 1, i + 1 + n, i + n + 2, true
	case ip:
		return o.address(s, i)
	default:
		end += scan(o.class, s[i:])
		if end == i {
			return 0, 0, 0, false
		}
	}
	return i, end, end, true
}

// address takes an address, in brackets or not. What stands after the last colon
// of an IPv6 address without brackets is its port where the pattern asks for one.
func (o *op) address(s string, i int) (from, to, next int, ok bool) {
	if i < len(s) && s[i] == '[' {
		n := scanIP(s[i+1:])
		end := i + 1 + n
		return i + 1, end, end + 1, n > 0 && end < len(s) && s[end] == ']'
	}
	n := scanIP(s[i:])
	if last := strings.LastIndexByte(s[i:i+n], ':'); o.port && last > 0 {
		n = last
	}
	return i, i + n, i + n, n > 0
}

// until is where an open capture that begins at i ends, or -1.
func (o *op) until(s string, i int) int {
	if o.class == all {
		n := strings.LastIndex(s[i:], o.stops[0])
		if n < 0 {
			return -1
		}
		return i + n
	}
	limit := len(s)
	if o.class == word {
		if n := strings.IndexAny(s[i:], " \t"); n >= 0 {
			limit = i + n
		}
	}
	end := -1
	for _, stop := range o.stops {
		reach := min(limit+len(stop), len(s)) // a stop may begin with the blank that ends the word
		if end >= 0 {
			reach = min(end+len(stop)-1, reach)
		}
		var n int
		if o.class == word && stop[0] == ' ' {
			n = -1
			if limit < len(s) && strings.HasPrefix(strings.TrimLeft(s[limit:], " \t"), stop[1:]) {
				n = limit - i
			}
		} else if stop == " " {
			n = strings.IndexAny(s[i:reach], " \t")
		} else {
			n = strings.Index(s[i:reach], stop)
		}
		if n >= 0 && (end < 0 || i+n < end) && i+n <= limit {
			end = i + n
		}
	}
	if end < 0 && o.toEnd && limit == len(s) {
		end = limit
	}
	return end
}

// scan is how many bytes of a class s begins with.
func scan(c class, s string) int {
	switch c {
	case integer:
		n := 0
		if s != "" && (s[0] == '-' || s[0] == '+') {
			n = 1
		}
		d := digits(s[n:])
		if d == 0 {
			return 0
		}
		return n + d
	case port:
		n := digits(s)
		value := 0
		for i := range min(n, 6) {
			value = value*10 + int(s[i]-'0')
		}
		if n > 5 || value > 65535 {
			return 0
		}
		return n
	case num:
		n := scan(integer, s)
		if n > 0 && n+1 < len(s) && s[n] == '.' {
			if d := digits(s[n+1:]); d > 0 {
				n += 1 + d
			}
		}
		return n
	case hex:
		if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' && isHex(s[2]) {
			return 2 + hexDigits(s[2:])
		}
		return hexDigits(s)
	case mac:
		return scanMAC(s)
	}
	return scanIP(s)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n]-'0' <= 9 {
		n++
	}
	return n
}

func isHex(c byte) bool { return c-'0' <= 9 || (c|0x20)-'a' <= 5 }

func hexDigits(s string) int {
	n := 0
	for n < len(s) && isHex(s[n]) {
		n++
	}
	return n
}

// scanMAC takes six bytes as 00:00:5e:00:53:01 or with dashes, and Cisco's and
// Huawei's 0000.5e00.5301 and 0000-5e00-5301.
func scanMAC(s string) int {
	group := hexDigits(s[:min(len(s), 5)])
	groups := map[int]int{2: 6, 4: 3}[group]
	if groups == 0 || len(s) <= group || strings.IndexByte(":-.", s[group]) < 0 {
		return 0
	}
	length := groups*group + groups - 1
	if len(s) < length || len(s) > length && isHex(s[length]) {
		return 0
	}
	for i := range length {
		if i%(group+1) == group {
			if s[i] != s[group] {
				return 0
			}
		} else if !isHex(s[i]) {
			return 0
		}
	}
	return length
}

// scanIP takes an address's characters: four numbers with dots, or hexadecimal
// groups with colons. Whether it is an address is for whoever uses it to say.
func scanIP(s string) int {
	if n := scanIPv4(s); n > 0 {
		return n
	}
	n, colons := 0, 0
	for n < len(s) && n < 45 && (isHex(s[n]) || s[n] == ':' || s[n] == '.') {
		if s[n] == ':' {
			colons++
		}
		n++
	}
	for n > 1 && (s[n-1] == '.' || s[n-1] == ':' && s[n-2] != ':') { // the sentence's own
		if s[n-1] == ':' {
			colons--
		}
		n--
	}
	if colons < 2 {
		return 0
	}
	return n
}

func scanIPv4(s string) int {
	n := 0
	for group := range 4 {
		d := digits(s[n:min(len(s), n+4)])
		if d == 0 || d > 3 {
			return 0
		}
		n += d
		if group == 3 {
			return n
		}
		if n >= len(s) || s[n] != '.' {
			return 0
		}
		n++
	}
	return 0
}

// Patterns are patterns that are tried on one text, the first that matches
// counting. Those whose first literal the text does not begin with cost nothing.
type Patterns struct {
	list []*Pattern
	trie []trieNode
}

type trieNode struct {
	next map[byte]int
	here []int // patterns whose first literal ends here
}

// NewPatterns indexes patterns.
func NewPatterns(list []*Pattern) *Patterns {
	p := &Patterns{list: list, trie: make([]trieNode, 1)}
	for i, one := range list {
		at := 0
		for j := range len(one.first) {
			c := one.first[j]
			to, ok := p.trie[at].next[c]
			if !ok {
				to = len(p.trie)
				p.trie = append(p.trie, trieNode{})
				if p.trie[at].next == nil {
					p.trie[at].next = map[byte]int{}
				}
				p.trie[at].next[c] = to
			}
			at = to
		}
		p.trie[at].here = append(p.trie[at].here, i)
	}
	return p
}

// Len is how many patterns there are.
func (p *Patterns) Len() int { return len(p.list) }

// Text is the pattern's text.
func (p *Patterns) Text(i int) string { return p.list[i].Text }

// Append appends the captures of the first pattern that matches and says which
// it is; -1 is none.
func (p *Patterns) Append(dst []Pair, s string) ([]Pair, int) {
	var found [64]int
	candidates := p.candidates(found[:0], s)
	for _, i := range candidates {
		if pairs, ok := p.list[i].Append(dst, s); ok {
			return pairs, i
		}
	}
	return dst, -1
}

// candidates are the patterns whose first literal s begins with, in their order.
func (p *Patterns) candidates(found []int, s string) []int {
	at := 0
	for i := 0; ; i++ {
		for _, one := range p.trie[at].here { // each list is sorted: merge
			j := len(found)
			found = append(found, one)
			for j > 0 && found[j-1] > one {
				found[j] = found[j-1]
				j--
			}
			found[j] = one
		}
		if i == len(s) {
			return found
		}
		to, ok := p.trie[at].next[s[i]]
		if !ok {
			return found
		}
		at = to
	}
}
