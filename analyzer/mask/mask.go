// Package mask finds personal data in texts and events and replaces it before
// anything is stored or sent on: identity card numbers, student numbers, mobile
// phone numbers, the names of people under configured keys or on a list, and, if
// asked, passports, bank cards and e-mail addresses. What it finds is replaced
// either for good or by a token that only the holder of the key can open
// (docs/decisions/0011-masking.md). It reads no file, keeps no text, and writes
// no value anywhere but into what it returns.
package mask

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"fengsui/schemas"
)

// Class is a kind of personal data.
type Class uint8

// The classes.
const (
	ID       Class = iota // resident identity card number, GB 11643, of 18 digits; of 15 where the text says what it is
	Student               // student number (学籍号): G and an identity card number, or L and 18 characters
	Phone                 // mobile phone number of the mainland
	Name                  // name of a person, under a key that says so or on the operator's list
	Passport              // passport number, under a key that says so
	BankCard              // bank card number: issuer's prefix and Luhn's digit
	Email                 // e-mail address

	NumClasses = iota
)

var classNames = [NumClasses]string{"id", "student", "phone", "name", "passport", "bank", "email"}

// String is the class's name in the configuration, in tokens and in metrics.
func (c Class) String() string { return classNames[c] }

// Action is what is done with what a class finds.
type Action string

// The actions.
const (
	Off     Action = "off"   // nothing is looked for
	Hide    Action = "mask"  // replaced for good, but for what is kept
	Reverse Action = "token" // replaced by a token, which the key opens
)

// Rule is what is done with one class.
type Rule struct {
	// Do is off, mask (for good) or token (which the key opens).
	Do Action `koanf:"do"`
	// KeepFirst and KeepLast are how many characters a mask leaves in the clear.
	KeepFirst int `koanf:"keep_first"`
	KeepLast  int `koanf:"keep_last"`
}

// Config is what is looked for and what is done with it.
type Config struct {
	ID       Rule `koanf:"id"`
	Student  Rule `koanf:"student"`
	Phone    Rule `koanf:"phone"`
	Name     Rule `koanf:"name"`
	Passport Rule `koanf:"passport"`
	BankCard Rule `koanf:"bank"`
	Email    Rule `koanf:"email"`
	// NameKeys are the keys (last parts of field names, keys in the text) whose
	// values are people's names. Upper and lower case are one.
	NameKeys []string `koanf:"name_keys"`
}

// DefaultConfig needs no key: what has to be protected by law is masked for good,
// with what forms and public notices leave in the clear, which tells people apart
// well enough to count them.
func DefaultConfig() Config {
	return Config{
		ID: Rule{Hide, 6, 4}, Student: Rule{Hide, 7, 4}, Phone: Rule{Hide, 3, 4}, Name: Rule{Do: Hide},
		Passport: Rule{Off, 1, 2}, BankCard: Rule{Off, 6, 4}, Email: Rule{Off, 1, 0},
		NameKeys: []string{"姓名", "学生姓名", "xm", "xsxm", "xs_xm", "xingming", "student_name", "studentname", "stu_name", "stuname"},
	}
}

func (c *Config) rules() [NumClasses]Rule {
	return [NumClasses]Rule{c.ID, c.Student, c.Phone, c.Name, c.Passport, c.BankCard, c.Email}
}

// most is how many characters of a class a mask may leave.
var most = [NumClasses]struct{ first, last, both int }{
	ID: {8, 4, 11}, Student: {9, 4, 12}, Phone: {7, 4, 7}, Name: {1, 0, 1}, Passport: {2, 4, 4}, BankCard: {6, 4, 10}, Email: {3, 0, 3},
}

// Bounds of the configuration and of values.
const (
	maxKeys  = 200
	maxKey   = 64  // bytes
	maxValue = 200 // bytes of a name; what is longer is none
)

// Validate checks the configuration.
func (c Config) Validate() error {
	var errs []error
	for class, r := range c.rules() {
		name, bound := classNames[class], most[class]
		switch r.Do {
		case Off, Hide, Reverse:
		default:
			errs = append(errs, fmt.Errorf("%s.do %q is none of off, mask, token", name, r.Do))
		}
		if r.KeepFirst < 0 || r.KeepLast < 0 || r.KeepFirst > bound.first || r.KeepLast > bound.last || r.KeepFirst+r.KeepLast > bound.both {
			errs = append(errs, fmt.Errorf("%s keeps %d and %d characters: at most %d, %d and %d together", name, r.KeepFirst, r.KeepLast, bound.first, bound.last, bound.both))
		}
	}
	if len(c.NameKeys) > maxKeys {
		errs = append(errs, fmt.Errorf("%d name_keys: at most %d", len(c.NameKeys), maxKeys))
	}
	for _, k := range c.NameKeys {
		if len(k) < 2 || len(k) > maxKey || !utf8.ValidString(k) || strings.ContainsAny(k, " =:\"'\t\r\n") {
			errs = append(errs, fmt.Errorf("name_keys: %q is no key: 2 to %d bytes, without = and : and quotes and blanks", k, maxKey))
		}
	}
	return errors.Join(errs...)
}

// NeedsKey says that the configuration cannot be met without a key.
func (c Config) NeedsKey() bool {
	return slices.ContainsFunc(slices.Collect(func(yield func(Rule) bool) {
		for _, r := range c.rules() {
			if !yield(r) {
				return
			}
		}
	}), func(r Rule) bool { return r.Do == Reverse })
}

// Masker replaces personal data. It is safe for concurrent use.
type Masker struct {
	rules   [NumClasses]Rule
	key     *Key
	numbers bool // anything that is found by its digits
	anchors []anchor
	fields  fieldKeys
	named   [schemas.NumFields]bool // the catalogue's fields among them
	listed  *nameSet
	idle    bool
}

// New makes a masker. The key is needed where a class asks for tokens; names are
// those to be found in any text.
func New(cfg Config, key *Key, names []string) (*Masker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("mask: %w", err)
	}
	if cfg.NeedsKey() && key == nil {
		return nil, errors.New("mask: a class asks for tokens, and there is no key")
	}
	m := &Masker{rules: cfg.rules(), key: key, idle: true}
	for _, r := range m.rules {
		m.idle = m.idle && r.Do == Off
	}
	m.numbers = m.on(ID) || m.on(Student) || m.on(Phone) || m.on(BankCard)
	var keys []keyword
	if m.on(Name) {
		m.fields = newFieldKeys(cfg.NameKeys)
		for _, f := range schemas.Fields() {
			m.named[f.ID] = m.fields.has(f.Name)
		}
		for _, k := range cfg.NameKeys {
			keys = append(keys, spellings(k, Name)...)
		}
		var err error
		if m.listed, err = newNameSet(names); err != nil {
			return nil, fmt.Errorf("mask: %w", err)
		}
	}
	if m.on(Passport) {
		for _, k := range passportKeys {
			keys = append(keys, spellings(k, Passport)...)
		}
	}
	m.anchors = newAnchors(keys)
	return m, nil
}

func (m *Masker) on(c Class) bool { return m.rules[c].Do != Off }

// Found is one piece of personal data in a text.
type Found struct {
	Class    Class
	From, To int // bytes
}

// Find appends what there is in the text, in order, without overlaps.
func (m *Masker) Find(found []Found, s string) []Found { return m.find(found, s, nil) }

// find looks for further names too.
func (m *Masker) find(found []Found, s string, names []string) []Found {
	start := len(found)
	if m.numbers {
		found = m.findNumbers(found, s)
	}
	if len(m.anchors) > 0 {
		found = m.findKeyed(found, s)
	}
	if m.listed != nil {
		found = m.listed.find(found, s)
	}
	if m.on(Email) {
		found = findEmails(found, s)
	}
	for _, name := range names {
		found = findName(found, s, name)
	}
	if len(found) == start {
		return found
	}
	return found[:start+len(settle(found[start:], s))]
}

// settle orders what was found, leaves what is masked already, and makes one of
// what overlaps.
func settle(found []Found, s string) []Found {
	slices.SortStableFunc(found, func(a, b Found) int {
		if a.From != b.From {
			return a.From - b.From
		}
		return b.To - a.To
	})
	tokens := tokensIn(s)
	out := found[:0]
	for _, f := range found {
		for len(tokens) > 0 && tokens[0].To <= f.From {
			tokens = tokens[1:]
		}
		if len(tokens) > 0 && tokens[0].From < f.To {
			continue
		}
		if n := len(out); n > 0 && f.From < out[n-1].To {
			out[n-1].To = max(out[n-1].To, f.To)
			continue
		}
		out = append(out, f)
	}
	return out
}

// Text is the text with all personal data replaced: the text itself, without an
// allocation, where there is none.
func (m *Masker) Text(s string) string {
	var few [8]Found
	text, _ := m.mask(s, nil, few[:0], nil)
	return text
}

// rounds bounds how often a text is looked at again: what was replaced may have
// hidden what stood beside it.
const rounds = 4

// mask replaces, until there is nothing left to, and counts what it replaced. It
// returns the memory of found for the next text.
func (m *Masker) mask(s string, names []string, found []Found, counts *[NumClasses]uint64) (string, []Found) {
	for range rounds {
		found = m.find(found[:0], s, names)
		masked := m.replace(s, found)
		if masked == s {
			break
		}
		for i := 0; i < len(found) && counts != nil; i++ {
			counts[found[i].Class]++
		}
		s = masked
	}
	return s, found
}

func (m *Masker) replace(s string, found []Found) string {
	if len(found) == 0 {
		return s
	}
	out := make([]byte, 0, len(s)+64*len(found))
	var quotes jsonQuotes
	at := 0
	for _, f := range found {
		out = append(out, s[at:f.From]...)
		bare := f.Class != Name && quotes.bare(s, f)
		if bare {
			out = append(out, '"')
		}
		out = m.append(out, f.Class, s[f.From:f.To])
		if bare {
			out = append(out, '"')
		}
		at = f.To
	}
	return string(append(out, s[at:]...))
}

// Replace is what stands for a value of a class.
func (m *Masker) Replace(c Class, value string) string { return string(m.append(nil, c, value)) }

// append appends what stands for a value.
func (m *Masker) append(dst []byte, c Class, value string) []byte {
	r := m.rules[c]
	if r.Do == Reverse && len(value) <= maxSealed {
		return m.key.seal(dst, c, value)
	}
	switch c {
	case Name:
		return append(append(dst, value[:runes(value, r.KeepFirst)]...), "**"...)
	case Email:
		at := strings.LastIndexByte(value, '@')
		return append(append(append(dst, value[:min(r.KeepFirst, at)]...), "***"...), value[at:]...)
	}
	return hide(dst, value, r.KeepFirst, r.KeepLast)
}

// hide writes stars for the letters and digits between the first and the last
// few; what stands between groups of digits stays.
func hide(dst []byte, value string, first, last int) []byte {
	n := 0
	for i := 0; i < len(value); i++ {
		if strings.HasPrefix(value[i:], escapedBlank) {
			i += len(escapedBlank) - 1
		} else if isAlnum(value[i]) {
			n++
		}
	}
	if first+last > n-4 { // two numbers that overlap, or a value of another form
		first, last = 0, 0
	}
	k := 0
	for i := 0; i < len(value); i++ {
		c := value[i]
		if strings.HasPrefix(value[i:], escapedBlank) {
			dst = append(dst, escapedBlank...)
			i += len(escapedBlank) - 1
			continue
		}
		if !isAlnum(c) {
			if c < utf8.RuneSelf {
				dst = append(dst, c)
			}
			continue
		}
		if k < first || k >= n-last {
			dst = append(dst, c)
		} else {
			dst = append(dst, '*')
		}
		k++
	}
	return dst
}

// runes is the length in bytes of the first n characters.
func runes(s string, n int) int {
	at := 0
	for ; n > 0 && at < len(s); n-- {
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
	return at
}

// jsonQuotes tells, going through a text once, where a number stands bare in
// JSON, so that what replaces it must be quoted for the text to stay JSON.
type jsonQuotes struct {
	at     int
	inside bool
}

func (q *jsonQuotes) bare(s string, f Found) bool {
	if s[0] != '{' && s[0] != '[' {
		return false
	}
	for ; q.at < f.From; q.at++ {
		switch s[q.at] {
		case '"':
			q.inside = !q.inside
		case '\\':
			q.at++
		}
	}
	if q.inside {
		return false
	}
	before := strings.TrimRight(s[max(0, f.From-8):f.From], " \t\r\n")
	return before != "" && strings.IndexByte(":,[", before[len(before)-1]) >= 0 && f.To < len(s) && strings.IndexByte(",}] \t\r\n", s[f.To]) >= 0
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func isLetter(c byte) bool { return (c|0x20)-'a' <= 25 }

func isAlnum(c byte) bool { return isDigit(c) || isLetter(c) }

func isHex(c byte) bool { return isDigit(c) || (c|0x20)-'a' <= 5 }
