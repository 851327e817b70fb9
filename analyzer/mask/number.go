package mask

import (
	"slices"
	"strings"
)

// Everything that is found by its digits has eleven of them at least, one after
// the other but for single blanks or hyphens, a query's pluses or %20 between groups.
const fewestDigits = 11

// link marks what may stand in such a chain.
var link = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	t[' '], t['-'], t['+'], t['%'] = true, true, true, true
	return t
}()

// findNumbers looks at every eighth place only: a chain of eleven covers four
// bytes from one of them, and four beside them before or after. Blank, hyphen, plus, the
// per cent sign and digits lie between 0x20 and 0x3f, and letters do not. There is one branch for
// each place, which ordinary text hardly ever takes.
func (m *Masker) findNumbers(found []Found, s string) []Found {
	const mask, near = 0xe0e0e0e0e0e0e0e0, 0x2020202020202020
	before := uint32(0) // the four bytes before: 0 where they are near
	at := 0
	for ; at+8 <= len(s); at += 8 {
		b := s[at : at+8] // one check of bounds, one load
		w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		w = w&mask ^ near
		low, high := uint32(w), uint32(w>>32)
		if low|high&before == 0 {
			if to := chainAt(s, at); to > at {
				found = m.findInChain(found, s, chainStart(s, at), to)
				at = to - 8 // the next place is where it ended
				high = ^uint32(0)
			}
		}
		before = high
	}
	if at+4 <= len(s) {
		if to := chainAt(s, at); to > at {
			found = m.findInChain(found, s, chainStart(s, at), to)
		}
	}
	return found
}

// chainAt is where the chain ends that covers four bytes there and is long enough.
func chainAt(s string, at int) int {
	if !link[s[at]] || !link[s[at+1]] || !link[s[at+2]] || !link[s[at+3]] {
		return 0
	}
	to := at + 4
	for to < len(s) && link[s[to]] {
		to++
	}
	if to-chainStart(s, at) < fewestDigits {
		return 0
	}
	return to
}

func chainStart(s string, at int) int {
	for at > 0 && link[s[at-1]] {
		at--
	}
	return at
}

// group is digits one after the other. clean says that a blank's escape ends before
// them.
type group struct {
	from, to int
	clean    bool
}

func (g group) len() int { return g.to - g.from }

// escapedBlank is a blank as addresses write it, whose digits are none of a number's.
const escapedBlank = "%20"

// findInChain looks at the groups of digits of a chain.
func (m *Masker) findInChain(found []Found, s string, from, to int) []Found {
	var last groups
	clean := false
	for i := from; i < to; {
		if !isDigit(s[i]) {
			clean = s[i] == '%' && strings.HasPrefix(s[i:to], escapedBlank)
			if i++; clean {
				i += len(escapedBlank) - 1
			}
			continue
		}
		g := group{i, i, clean}
		for g.to < to && isDigit(s[g.to]) {
			g.to++
		}
		i, clean = g.to, false
		last.add(g)
		if g.len() >= fewestDigits {
			found = m.contiguous(found, s, g)
		} else if last.n > 1 {
			f, ok := m.separated(s, to, &last)
			if !ok {
				continue
			}
			found = append(found, f)
			last.n = 0 // it is no part of what follows
		}
	}
	return found
}

// groups are the latest groups of a chain.
type groups struct {
	ring [8]group // as many as the longest shape has, and one before it
	n    int
}

func (l *groups) add(g group) {
	l.ring[l.n%len(l.ring)] = g
	l.n++
}

// latest is the latest group, but for so many after it; an empty one is none.
func (l *groups) latest(after int) group {
	if after >= l.n {
		return group{}
	}
	return l.ring[(l.n-1-after)%len(l.ring)]
}

// separator is what stands between each of the last n groups, if it is the same.
func (l *groups) separator(s string, n int) (separator string, ok bool) {
	for after := range n - 1 {
		between := s[l.latest(after+1).to:l.latest(after).from]
		if after == 0 {
			separator = between
		}
		if between != separator {
			return "", false
		}
	}
	return separator, len(separator) == 1 || separator == escapedBlank
}

// contiguous looks at one group of eleven digits or more. Its first digits may
// belong to an escape, as in %0a13800000000.
func (m *Masker) contiguous(found []Found, s string, g group) []Found {
	if f, ok := m.number(s, g.from, g.to, g.clean); ok {
		return append(found, f)
	}
	if from, ok := afterEscape(s, g); ok && g.to-from >= fewestDigits {
		if f, ok := m.number(s, from, g.to, true); ok {
			return append(found, f)
		}
	}
	return found
}

// afterEscape is where digits begin that an escape stands before: %E5, \xE5,
// \u5f20, \n.
func afterEscape(s string, g group) (from int, ok bool) {
	at := g.from
	hex := func(mark string, digits int) bool {
		for before := 0; before <= digits && before+len(mark) <= at; before++ {
			if strings.HasSuffix(s[:at-before], mark) {
				from = at + digits - before
				return from <= g.to
			}
			if before < at && !isHex(s[at-before-1]) {
				return false
			}
		}
		return false
	}
	switch {
	case at >= 2 && s[at-2] == '\\' && strings.IndexByte("nrt", s[at-1]) >= 0:
		return at, true
	case hex("%", 2), hex(`\x`, 2), hex(`\u`, 4):
		return from, true
	}
	return 0, false
}

// number is what the digits from one place to another are, if they are anything.
// clean says that an escape ends before them.
func (m *Masker) number(s string, from, to int, clean bool) (Found, bool) {
	n := to - from
	if n > 19 || !m.mayBegin(s, from, clean) {
		return Found{}, false
	}
	if m.on(ID) || m.on(Student) {
		if f, ok := m.identity(s, from, to, clean); ok {
			return f, true
		}
	}
	if !ends(s, to) || !clean && !begins(s, from) {
		return Found{}, false
	}
	if m.on(Phone) {
		if at, ok := phoneIn(s, from, to); ok && !isQuantity(s, from) && !isForeign(s, from, at) {
			return Found{Phone, at, to}, true
		}
	}
	if m.on(BankCard) && isBankCard(s[from:to]) {
		return Found{BankCard, from, to}, true
	}
	return Found{}, false
}

// mayBegin is the least that must hold: the digits are not the rest of a decimal
// fraction.
func (m *Masker) mayBegin(s string, from int, clean bool) bool {
	return clean || from < 2 || s[from-1] != '.' || !isDigit(s[from-2])
}

// labels are the words that may stand right before digits, as in tel13800000000.
var labels = []string{
	"tel", "phone", "mobile", "mob", "sj", "sjh", "sjhm", "dh", "lxdh", "u", "uid", "user", "username", "id", "idcard", "sfz", "sfzh",
	"s", "st", "stu", "student", "xs", "no", "num", "wx", "wechat", "weixin", "login", "account", "reg",
}

// begins says that a number may begin there: nothing that it could belong to
// stands before.
func begins(s string, from int) bool {
	if from == 0 || !isAlnum(s[from-1]) {
		return true
	}
	word := from
	for word > 0 && isLetter(s[word-1]) && from-word <= 8 {
		word--
	}
	if word > 0 && isDigit(s[word-1]) {
		return false
	}
	// The second byte of a Chinese character may be a letter in GB18030.
	if word == from-1 && word > 0 && s[word-1] >= 0x80 {
		return true
	}
	for _, l := range labels {
		if len(l) == from-word && equalFold(s[word:from], l) {
			return true
		}
	}
	return false
}

// ends says that a number may end there.
func ends(s string, to int) bool {
	if to == len(s) {
		return true
	}
	if s[to] == '.' {
		return to+1 == len(s) || !isDigit(s[to+1])
	}
	return !isAlnum(s[to])
}

// identity finds identity card and student numbers.
func (m *Masker) identity(s string, from, to int, clean bool) (Found, bool) {
	n := to - from
	if n == 17 && to < len(s) && s[to]|0x20 == 'x' {
		n, to = 18, to+1
	}
	if n != 18 && n != 15 || !ends(s, to) {
		return Found{}, false
	}
	if n == 15 {
		ok := m.on(ID) && isOldID(s[from:to]) && (clean || begins(s, from)) && saysIdentity(s, from)
		return Found{ID, from, to}, ok
	}
	prefix := byte(0)
	if from > 0 && isLetter(s[from-1]) && (from == 1 || !isAlnum(s[from-2])) {
		prefix = s[from-1] | 0x20
	}
	if prefix == 'l' && m.on(Student) {
		return Found{Student, from - 1, to}, true
	}
	if !isID(s[from:to]) {
		return Found{}, false
	}
	switch {
	case prefix == 'g' && m.on(Student):
		return Found{Student, from - 1, to}, true
	case m.on(ID) && (prefix == 'g' || clean || begins(s, from)):
		return Found{ID, from, to}, true
	}
	return Found{}, false
}

// The groups that people write the numbers in.
var (
	phoneShape = []int{3, 4, 4}
	idShapes   = [][]int{{6, 8, 4}, {6, 6, 6}, {6, 4, 4, 4}, {4, 4, 4, 4, 2}, {3, 3, 4, 4, 4}, {6, 4, 2, 2, 4}}
	cardShapes = [][]int{{4, 4, 4, 4}, {4, 4, 4, 4, 3}, {6, 10}, {4, 6, 5}}
)

// separated finds numbers written in groups that a blank, a hyphen or a query's plus
// or %20 stands between: 138-0000-0000, 410105 20350307 1016, 4101 0520 3503 0710 16.
func (m *Masker) separated(s string, chain int, last *groups) (Found, bool) {
	if m.on(Phone) {
		if separator, _, ok := last.shaped(s, phoneShape, false); ok {
			a, end := last.latest(2), last.latest(0).to
			ok := m.beginsGroup(s, a) && isMobile(s[a.from:a.to]) && ends(s, end) && !isForeign(s, a.from, a.from) &&
				alone(s, last.latest(3), a) && !continued(s, end, chain, separator)
			return Found{Phone, a.from, end}, ok
		}
	}
	if m.on(ID) {
		for _, shape := range idShapes {
			if _, end, ok := last.shaped(s, shape, true); ok {
				if a := last.latest(len(shape) - 1); m.beginsGroup(s, a) && ends(s, end) && isID(joined(s, last, len(shape), end)) {
					return Found{ID, a.from, end}, true
				}
			}
		}
	}
	if m.on(BankCard) {
		for _, shape := range cardShapes {
			if separator, end, ok := last.shaped(s, shape, false); ok {
				a := last.latest(len(shape) - 1)
				if m.beginsGroup(s, a) && ends(s, end) && alone(s, last.latest(len(shape)), a) && !continued(s, end, chain, separator) &&
					isBankCard(joined(s, last, len(shape), end)) {
					return Found{BankCard, a.from, end}, true
				}
			}
		}
	}
	return Found{}, false
}

// shaped says that the last groups are of the lengths of a shape, with one separator
// between them, and where they end: an X may be the last digit.
func (l *groups) shaped(s string, shape []int, x bool) (separator string, end int, ok bool) {
	g := l.latest(0)
	end = g.to
	if n := shape[len(shape)-1]; g.len() != n {
		if !x || g.len() != n-1 || end == len(s) || s[end]|0x20 != 'x' {
			return "", 0, false
		}
		end++
	}
	for after := 1; after < len(shape); after++ {
		if l.latest(after).len() != shape[len(shape)-1-after] {
			return "", 0, false
		}
	}
	separator, ok = l.separator(s, len(shape))
	return separator, end, ok
}

// joined is the number that the last n groups are, up to an end.
func joined(s string, l *groups, n, end int) string {
	digits := make([]byte, 0, 20)
	for after := n - 1; after > 0; after-- {
		g := l.latest(after)
		digits = append(digits, s[g.from:g.to]...)
	}
	return string(append(digits, s[l.latest(0).from:end]...))
}

// beginsGroup says that a number in groups may begin with one.
func (m *Masker) beginsGroup(s string, g group) bool {
	return (g.clean || begins(s, g.from)) && m.mayBegin(s, g.from, g.clean)
}

// alone says that the groups from a on do not go on to the left, as those of a
// table of numbers do. The prefix of the country may.
func alone(s string, before, a group) bool {
	if before.to == 0 || s[before.to:a.from] != escapedBlank && before.to+1 != a.from {
		return true
	}
	return before.len() >= fewestDigits || s[before.from:before.to] == "86" || s[before.from:before.to] == "0086"
}

// continued says that a further short group follows, unless another number in
// groups begins with it.
func continued(s string, to, chain int, separator string) bool {
	rest, ok := strings.CutPrefix(s[to:chain], separator)
	if !ok || rest == "" || !isDigit(rest[0]) {
		return false
	}
	if k := len(separator); len(rest) >= 11+2*k && rest[3:3+k] == separator && rest[7+k:7+2*k] == separator && isMobile(rest) {
		return false
	}
	n := 0
	for n < len(rest) && isDigit(rest[n]) {
		n++
	}
	return n < fewestDigits
}

// phoneIn is where in the digits a mobile number begins: they are one, or have
// the trunk's 0 or the country's prefix before it.
func phoneIn(s string, from, to int) (at int, ok bool) {
	at = to - 11
	switch prefix := s[from:at]; prefix {
	case "", "86", "0086":
	case "0": // but for the last part of a UUID
		if from > 0 && s[from-1] == '-' {
			return 0, false
		}
	default:
		return 0, false
	}
	return at, isMobile(s[at:])
}

// isMobile says that a number begins with three digits that the MIIT has given to
// mobile networks (电信网编号计划, 2017, and what was assigned since).
func isMobile(s string) bool {
	if s[0] != '1' {
		return false
	}
	c := s[2]
	switch s[1] {
	case '3', '8':
		return true
	case '4':
		return c != '2' && c != '3'
	case '5':
		return c != '4'
	case '6':
		return c == '2' || c == '5' || c == '6' || c == '7'
	case '7':
		return c != '9'
	case '9':
		return c != '4'
	}
	return false
}

// isForeign says that a plus stands before the digits: the number of another
// country, such as +1 380 000 0000, unless our own prefix follows it. A plus after
// a letter or digit is a blank in a query.
func isForeign(s string, from, at int) bool {
	return from == at && from > 0 && s[from-1] == '+' && (from == 1 || !isAlnum(s[from-2]))
}

// quantities are parts of keys whose numbers count or measure something, and
// quantityWords such keys' last words.
var (
	quantities    = []string{"byte", "size", "length", "count", "packets", "pkts", "duration", "elapsed", "offset", "timestamp"}
	quantityWords = []string{"len", "seq", "ack", "ns", "us", "ms", "ts", "time", "port", "pid", "inode"}
)

// isQuantity says that a key before the digits makes them no phone number.
func isQuantity(s string, from int) bool {
	end := from
	for end > 0 && from-end < 6 && strings.IndexByte(`"'=: \`, s[end-1]) >= 0 {
		end--
	}
	if !strings.ContainsAny(s[end:from], "=:") {
		return false
	}
	return namesQuantity(lastWord(s[:end]))
}

// lastWord is the name that a text ends with.
func lastWord(s string) string {
	const longest = 64
	at := len(s)
	for at > 0 && len(s)-at < longest && (isAlnum(s[at-1]) || s[at-1] == '_' || s[at-1] == '-' || s[at-1] == '.') {
		at--
	}
	return s[at:]
}

func namesQuantity(key string) bool {
	for _, q := range quantities {
		if containsFold(key, q) {
			return true
		}
	}
	at := len(key)
	for at > 0 && isLetter(key[at-1]) {
		at--
	}
	for _, q := range quantityWords {
		if equalFold(key[at:], q) {
			return true
		}
	}
	return false
}

// provinces are the first two digits of GB/T 2260; 83 stands for the permits of
// those who live in Taiwan. Foreigners' permits have a 9 before them.
var provinces = func() (t [100]bool) {
	for _, p := range []int{
		11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46,
		50, 51, 52, 53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83, 91,
	} {
		t[p] = true
	}
	return t
}()

func isProvince(s string) bool {
	return provinces[two(s)] || s[0] == '9' && provinces[two(s[1:])]
}

// isID says that 18 characters are an identity card number: GB 11643-1999, with
// ISO 7064 MOD 11-2's check digit.
func isID(s string) bool {
	if !isProvince(s) || !isDate(100*two(s[6:])+two(s[8:]), two(s[10:]), two(s[12:])) {
		return false
	}
	return s[17]&^0x20 == checkDigit(s)&^0x20
}

func checkDigit(s string) byte {
	sum := 0
	for i := range 17 {
		sum = (2 * (sum + int(s[i]-'0'))) % 11
	}
	return "10X98765432"[sum]
}

// isOldID says that 15 characters have the form of a number issued before 1999. They
// have no check digit.
func isOldID(s string) bool {
	for i := range 15 {
		if !isDigit(s[i]) {
			return false
		}
	}
	return provinces[two(s)] && isDate(1900+two(s[6:]), two(s[8:]), two(s[10:]))
}

func two(s string) int { return 10*int(s[0]-'0') + int(s[1]-'0') }

func isDate(year, month, day int) bool {
	if year < 1900 || year > 2099 || month < 1 || month > 12 || day < 1 {
		return false
	}
	days := [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[month-1]
	if month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		days++
	}
	return day <= days
}

// identityWords are those that make 15 digits an identity card number;
// identityCodes are the Chinese ones as addresses and JSON write them.
var (
	identityWords = []string{
		"身份证", "证件号", "sfz", "zjhm", "idcard", "id_card", "id-card", "idno", "id_no", "idnum", "id_num", "identity",
		"cert_no", "certno", "cardno", "card_no", "cardid", "card_id",
	}
	identityCodes = func() (codes []string) {
		for _, w := range identityWords[:2] {
			codes = append(codes, strings.ToLower(percent(w)), escapes(w))
		}
		return codes
	}()
)

// saysIdentity says that one of the words stands before the digits: within 32
// bytes, or, where a character takes nine of them, 80.
func saysIdentity(s string, from int) bool {
	says := func(words []string, within int) bool {
		window := s[max(0, from-within):from]
		return slices.ContainsFunc(words, func(w string) bool { return containsFold(window, w) })
	}
	return says(identityWords, 32) || says(identityCodes, 80)
}

// isBankCard says that digits are a payment card's: ISO/IEC 7812-1, of issuers
// that are met in China.
func isBankCard(s string) bool {
	n := len(s)
	known := false
	switch {
	case s[:2] == "62":
		known = n >= 16 && n <= 19
	case s[0] == '4', s[0] == '5' && s[1] >= '1' && s[1] <= '5', s[:2] == "35":
		known = n == 16
	case s[:2] == "34", s[:2] == "37":
		known = n == 15
	}
	return known && luhn(s)
}

func luhn(s string) bool {
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// equalFold compares with a word in lower case; letters of ASCII in either case
// are one.
func equalFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c-'A' <= 25 {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func containsFold(s, lower string) bool {
	for i := 0; i+len(lower) <= len(s); i++ {
		if equalFold(s[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}
