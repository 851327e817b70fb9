// Package query is the search language of the command line and the console:
// text in, a parameterised SQL condition out. It knows no table: the caller
// names the fields. It never runs a query and never puts a value into SQL.
//
//	source.ip = 192.0.2.0/24 && event.outcome = failure && !(user.name = root)
//	dns.question.name *= "*.example.edu.cn" || message = "out of memory"
//
// A field is compared by = (equal; within a network for addresses; contained,
// whatever the case, for texts), == (equal to the letter), != (not =), *= (with
// * and ?), <, <=, >, >=. Terms are joined by && (or "and", or nothing), || (or
// "or"), ! (or "not") and parentheses. A word by itself is looked for in the
// caller's text field.
package query

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a query.
const (
	MaxLength = 16 << 10 // bytes
	MaxTerms  = 500
	maxDepth  = 100
)

// Type is how a field is compared.
type Type int

// The types of field.
const (
	Keyword Type = iota // = is equality
	Text                // = is containment, whatever the case
	IP                  // = is equality or membership of a network
	Number
	Bool
	Time // compared with a day, a month, a year, a time, or an age such as 2h or 7d
)

// Field is what a name in a query stands for.
type Field struct {
	SQL  string // the column or expression, trusted
	Type Type
	List bool // the column is an array: a comparison holds if it does for an element

	// Compare makes the condition itself, where the table has better ways than
	// the ones above. An error is about the value.
	Compare func(*Comparison) (string, error)
}

// Comparison is one comparison of a query. != never comes: it is the not of =.
type Comparison struct {
	Op    string // = == *= < <= > >=
	Value string
	p     *parser
}

// Param makes a value a parameter of a type of ClickHouse's.
func (c *Comparison) Param(typ, value string) string { return c.p.param(typ, value) }

// Moment reads the value as a day, a time or an age: the span that it names.
func (c *Comparison) Moment() (from, to time.Time, err error) { return c.p.moment(c.Value) }

// TimeParam makes a time a parameter.
func (c *Comparison) TimeParam(t time.Time) string {
	return c.p.param("DateTime64(6, 'UTC')", t.UTC().Format("2006-01-02 15:04:05.000000"))
}

// Fields resolves the names of a query.
type Fields interface {
	// Field returns an error that helps who mistyped the name.
	Field(name string) (Field, error)
	// Text is where a word without a field is looked for.
	Text() Field
}

// Condition is a part of a WHERE clause. Its placeholders are ClickHouse's,
// {p0:String} and on, and Params has their values.
type Condition struct {
	SQL    string
	Params map[string]string
}

// Error is a mistake in a query, with the place where it is.
type Error struct {
	Query   string
	At      int    // byte offset
	Msg, Zh string // what it is, in English and in Chinese
}

// mistake is what is wrong with a value or a name, in both languages.
type mistake struct{ en, zh string }

func (m mistake) Error() string { return m.en + " / " + m.zh }

// Bad is an error of a Field or a Comparison. Both texts may use the same
// arguments, by number.
func Bad(en, zh string, args ...any) error {
	if len(args) > 0 {
		en, zh = fmt.Sprintf(en, args...), fmt.Sprintf(zh, args...)
	}
	return mistake{en, zh}
}

// Column is the place as a person counts it: in characters, from 1.
func (e *Error) Column() int { return utf8.RuneCountInString(e.Query[:min(e.At, len(e.Query))]) + 1 }

func (e *Error) Error() string {
	return fmt.Sprintf("query, character %d: %s / 检索语句第 %[1]d 个字符：%[3]s", e.Column(), e.Msg, e.Zh)
}

// Caret shows the place under the query, in two lines: a query that is longer
// than a line by its part around the mistake.
func (e *Error) Caret() string {
	const around = 60
	at := min(e.At, len(e.Query))
	before, after := []rune(e.Query[:at]), []rune(e.Query[at:])
	if len(before) > around {
		before = append([]rune("…"), before[len(before)-around:]...)
	}
	if len(after) > around {
		after = append(after[:around:around], '…')
	}
	width := 0
	for i, r := range before {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			before[i] = ' '
		}
		width++
		if r >= 0x1100 && (unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) || r >= 0xff01 && r <= 0xff60 || r >= 0x3000 && r <= 0x303f) {
			width++ // as terminals show it
		}
	}
	for i, r := range after {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			after[i] = ' '
		}
	}
	return string(before) + string(after) + "\n" + strings.Repeat(" ", width) + "^"
}

// Compile makes the condition of a query. An empty query is "1". Ages in the
// query are counted back from now.
func Compile(text string, fields Fields, now time.Time) (Condition, error) {
	p := &parser{text: text, fields: fields, now: now, cond: Condition{Params: map[string]string{}}}
	if len(text) > MaxLength {
		return Condition{}, p.fail(MaxLength, Bad("longer than %d bytes", "超过 %d 字节", MaxLength))
	}
	if !utf8.ValidString(text) {
		return Condition{}, p.fail(0, Bad("not UTF-8", "不是 UTF-8"))
	}
	p.next()
	if p.tok.kind == end {
		return Condition{SQL: "1", Params: map[string]string{}}, p.err
	}
	sql := p.or(0)
	if p.err == nil && p.tok.kind != end {
		p.errorf("%q is not expected here", "此处不应有 %q", p.tok.text)
	}
	if p.err != nil {
		return Condition{}, p.err
	}
	p.cond.SQL = sql
	return p.cond, nil
}

type tokenKind int

const (
	end tokenKind = iota
	word
	quoted
	operator // = == != *= < <= > >=
	and
	or
	not
	open
	closing
)

type token struct {
	kind tokenKind
	text string
	at   int
}

// said and saidZh are what a message calls a token.
func (t token) said() string {
	if t.kind == end {
		return "the end"
	}
	return strconv.Quote(t.text)
}

func (t token) saidZh() string {
	if t.kind == end {
		return "结尾"
	}
	return " " + strconv.Quote(t.text) + " "
}

type parser struct {
	text   string
	pos    int
	tok    token
	fields Fields
	now    time.Time
	cond   Condition
	terms  int
	err    error
}

func (p *parser) fail(at int, err error) error {
	e := &Error{Query: p.text, At: at, Msg: err.Error(), Zh: err.Error()}
	if m := (mistake{}); errors.As(err, &m) {
		e.Msg, e.Zh = m.en, m.zh
	}
	return e
}

// wrong keeps the first error, at the current token.
func (p *parser) wrong(err error) {
	if p.err == nil {
		p.err = p.fail(p.tok.at, err)
	}
}

// errorf is wrong with a mistake of the query's own.
func (p *parser) errorf(en, zh string, args ...any) { p.wrong(Bad(en, zh, args...)) }

// operators, longest first.
var operators = []struct {
	text string
	kind tokenKind
}{
	{"&&", and},
	{"||", or},
	{"==", operator},
	{"!=", operator},
	{"*=", operator},
	{"<=", operator},
	{">=", operator},
	{"=", operator},
	{"<", operator},
	{">", operator},
	{"!", not},
	{"(", open},
	{")", closing},
}

func (p *parser) next() {
	for p.pos < len(p.text) {
		r, size := utf8.DecodeRuneInString(p.text[p.pos:])
		if !unicode.IsSpace(r) {
			break
		}
		p.pos += size
	}
	p.tok = token{kind: end, at: p.pos}
	if p.pos >= len(p.text) {
		return
	}
	rest := p.text[p.pos:]
	for _, o := range operators {
		if strings.HasPrefix(rest, o.text) {
			p.tok = token{o.kind, o.text, p.pos}
			p.pos += len(o.text)
			return
		}
	}
	if rest[0] == '"' {
		p.quoted(rest)
		return
	}
	length := wordLength(rest)
	p.tok = token{word, rest[:length], p.pos}
	if at, sign := wideSign(p.tok.text); sign != "" {
		p.tok.at += at
		p.errorf("write %[1]s, or quote the text, for %[2]s", "请写半角的 %[1]s，或将文本置于双引号内，而不是 %[2]s", plainSigns[sign], sign)
		p.pos = len(p.text)
		return
	}
	p.pos += length
	switch strings.ToLower(p.tok.text) {
	case "and":
		p.tok.kind = and
	case "or":
		p.tok.kind = or
	case "not":
		p.tok.kind = not
	}
}

// plainSigns are the signs of a query as input methods write them.
var plainSigns = map[string]string{
	"“": `"`, "”": `"`, "＂": `"`, "（": "(", "）": ")", "＝": "=", "！": "!", "＜": "<", "＞": ">", "＆": "&", "｜": "|",
}

// wideSign finds such a sign where it can stand for nothing else: at the beginning
// of a word, and a = anywhere. Text with them in it is no mistake.
func wideSign(word string) (at int, sign string) {
	_, size := utf8.DecodeRuneInString(word)
	if plainSigns[word[:size]] != "" {
		return 0, word[:size]
	}
	if at = strings.Index(word, "＝"); at >= 0 {
		return at, "＝"
	}
	return 0, ""
}

// wordLength is how far a word goes: a * belongs to it unless it begins *=.
func wordLength(s string) int {
	for i, r := range s {
		if unicode.IsSpace(r) || strings.ContainsRune(`=<>!()"&|`, r) || r == '*' && strings.HasPrefix(s[i:], "*=") {
			if i == 0 { // a lone & or |, which is no operator: taken so that it is reported
				return utf8.RuneLen(r)
			}
			return i
		}
	}
	return len(s)
}

func (p *parser) quoted(rest string) {
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; c {
		case '"':
			p.tok = token{quoted, b.String(), p.pos}
			p.pos += i + 1
			return
		case '\\':
			if i++; i < len(rest) {
				b.WriteByte(rest[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	p.errorf(`this " is not closed`, `此处的 " 没有闭合`)
	p.pos = len(p.text)
}

func (p *parser) or(depth int) string {
	sql := p.and(depth)
	for p.err == nil && p.tok.kind == or {
		p.next()
		sql = "(" + sql + " OR " + p.and(depth) + ")"
	}
	return sql
}

func (p *parser) and(depth int) string {
	sql := p.unary(depth)
	for p.err == nil {
		switch p.tok.kind {
		case and:
			p.next()
		case word, quoted, not, open: // joined by nothing
		default:
			return sql
		}
		sql = "(" + sql + " AND " + p.unary(depth) + ")"
	}
	return sql
}

func (p *parser) unary(depth int) string {
	if depth > maxDepth {
		p.errorf("nested deeper than %d", "括号与非的嵌套超过 %d 层", maxDepth)
		return ""
	}
	switch p.tok.kind {
	case not:
		p.next()
		return "NOT (" + p.unary(depth+1) + ")"
	case open:
		p.next()
		sql := p.or(depth + 1)
		if p.tok.kind != closing {
			p.errorf("a ) is missing before %[1]s", "%[2]s之前缺少 )", p.tok.said(), p.tok.saidZh())
			return ""
		}
		p.next()
		return sql
	case word, quoted:
		return p.term()
	}
	p.errorf("a field or a word is missing before %[1]s", "%[2]s之前缺少字段或词", p.tok.said(), p.tok.saidZh())
	return ""
}

func (p *parser) term() string {
	if p.terms++; p.terms > MaxTerms {
		p.errorf("more than %d terms", "条件多于 %d 个", MaxTerms)
		return ""
	}
	name := p.tok
	p.next()
	if p.tok.kind != operator {
		if strings.ContainsAny(name.text, "*?") && name.kind == word {
			return p.compare(p.fields.Text(), "*=", token{quoted, "*" + name.text + "*", name.at})
		}
		return p.compare(p.fields.Text(), "=", token{quoted, name.text, name.at})
	}
	op := p.tok.text
	field, err := p.fields.Field(name.text)
	if err != nil {
		p.tok.at = name.at
		p.wrong(err)
		return ""
	}
	p.next()
	value := p.tok
	if value.kind != word && value.kind != quoted {
		p.errorf("a value is missing after %s", "%s 之后缺少值", op)
		return ""
	}
	p.next()
	return p.compare(field, op, value)
}

// compare makes the SQL of one comparison.
func (p *parser) compare(f Field, op string, value token) string {
	if f.List {
		one := f
		one.List, one.SQL = false, "x"
		if op == "!=" {
			return "NOT arrayExists(x -> " + p.compare(one, "=", value) + ", " + f.SQL + ")"
		}
		return "arrayExists(x -> " + p.compare(one, op, value) + ", " + f.SQL + ")"
	}
	if op == "!=" {
		return "NOT (" + p.compare(f, "=", value) + ")"
	}
	if f.Compare != nil {
		sql, err := f.Compare(&Comparison{op, value.text, p})
		if err != nil {
			p.tok = value
			p.wrong(err)
		}
		return sql
	}
	if op == "*=" {
		return f.text() + " ILIKE " + p.param("String", LikePattern(value.text))
	}
	switch f.Type {
	case Number:
		return p.number(f, op, value)
	case Bool:
		return p.truth(f, op, value)
	case Time:
		return p.time(f, op, value)
	case IP:
		return p.address(f, op, value)
	}
	switch op {
	case "=":
		if f.Type == Text {
			return "positionCaseInsensitiveUTF8(" + f.SQL + ", " + p.param("String", value.text) + ") > 0"
		}
		return f.SQL + " = " + p.param("String", value.text)
	case "==":
		return f.SQL + " = " + p.param("String", value.text)
	}
	return f.SQL + " " + op + " " + p.param("String", value.text)
}

// text is the field as text, for patterns.
func (f Field) text() string {
	if f.Type == Number || f.Type == Bool || f.Type == Time {
		return "toString(" + f.SQL + ")"
	}
	return f.SQL
}

// inParameter writes a text as ClickHouse reads a parameter: with escapes.
var inParameter = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)

// EscapeParam is for texts that a caller makes parameters of a Condition itself.
func EscapeParam(s string) string { return inParameter.Replace(s) }

func (p *parser) param(typ, value string) string {
	name := "p" + strconv.Itoa(len(p.cond.Params))
	if typ == "String" {
		value = inParameter.Replace(value)
	}
	p.cond.Params[name] = value
	return "{" + name + ":" + typ + "}"
}

func sqlOp(op string) string {
	if op == "==" {
		return "="
	}
	return op
}

// number compares; a field that is missing (NULL) is neither equal nor above.
func (p *parser) number(f Field, op string, value token) string {
	if _, err := strconv.ParseFloat(value.text, 64); err != nil {
		p.tok = value
		p.errorf("%q is not a number", "%q 不是数字", value.text)
		return ""
	}
	return "ifNull(" + f.SQL + " " + sqlOp(op) + " " + p.param("Float64", value.text) + ", 0)"
}

func (p *parser) truth(f Field, op string, value token) string {
	b, err := strconv.ParseBool(strings.ToLower(value.text))
	if err != nil || op != "=" && op != "==" {
		p.tok = value
		p.errorf("this field is = true or = false", "该字段只能 = true 或 = false")
		return ""
	}
	return "ifNull(" + f.SQL + " = " + p.param("Bool", strconv.FormatBool(b)) + ", 0)"
}

func (p *parser) address(f Field, op string, value token) string {
	if op != "=" && op != "==" {
		p.tok = value
		p.errorf("an address is compared by =, != or *=, not by %s", "地址用 =、!= 或 *= 比较，不能用 %s", op)
		return ""
	}
	if prefix, err := netip.ParsePrefix(value.text); err == nil {
		// The function throws on what is no address, and both sides of AND may run.
		guard := "if(isIPv4String(" + f.SQL + ") OR isIPv6String(" + f.SQL + "), " + f.SQL + ", '::')"
		return "(" + f.SQL + " != '' AND isIPAddressInRange(" + guard + ", " + p.param("String", prefix.Masked().String()) + "))"
	}
	a, err := netip.ParseAddr(value.text)
	if err != nil {
		p.tok = value
		p.errorf("%q is neither an address nor a network", "%q 不是地址，也不是网段", value.text)
		return ""
	}
	return f.SQL + " = " + p.param("String", a.Unmap().String())
}

func (p *parser) time(f Field, op string, value token) string {
	from, to, err := p.moment(value.text)
	if err != nil {
		p.tok = value
		p.wrong(err)
		return ""
	}
	at := (&Comparison{p: p}).TimeParam
	switch op {
	case ">", ">=", "<", "<=":
		return "ifNull(" + f.SQL + " " + op + " " + at(from) + ", 0)"
	}
	return "ifNull(" + f.SQL + " >= " + at(from) + " AND " + f.SQL + " < " + at(to) + ", 0)"
}

// moment reads a day, a time or an age, as the span of time that it names.
func (p *parser) moment(s string) (from, to time.Time, err error) {
	for _, l := range []struct {
		layout string
		span   time.Duration
	}{
		{time.RFC3339Nano, time.Microsecond},
		{"2006-01-02T15:04:05", time.Second},
		{"2006-01-02 15:04:05", time.Second},
		{"2006-01-02T15:04", time.Minute},
		{"2006-01-02 15:04", time.Minute},
	} {
		if t, err := time.ParseInLocation(l.layout, s, p.now.Location()); err == nil {
			return inRange(t, l.span)
		}
	}
	for _, l := range []struct {
		layout              string
		years, months, days int
	}{{"2006-1-2", 0, 0, 1}, {"2006/1/2", 0, 0, 1}, {"2006-1", 0, 1, 0}, {"2006", 1, 0, 0}} {
		if t, err := time.ParseInLocation(l.layout, s, p.now.Location()); err == nil {
			return inRange(t, t.AddDate(l.years, l.months, l.days).Sub(t))
		}
	}
	age, ok := parseAge(s)
	if !ok {
		return from, to, Bad("%q is no time: write 2026-09-01, 2026-09-01T08:00, or an age such as 30m, 12h or 7d", "%q 不是时间：应如 2026-09-01、2026-09-01T08:00，或距今多久：30m、12h、7d", s)
	}
	return p.now.Add(-age), p.now, nil
}

// inRange refuses what DateTime64(6) cannot hold.
func inRange(t time.Time, span time.Duration) (from, to time.Time, err error) {
	if t.Year() < 1900 || t.Year() > 2260 {
		return t, t, Bad("the year %d is not between 1900 and 2260", "年份 %d 不在 1900 至 2260 之间", t.Year())
	}
	return t, t.Add(span), nil
}

func parseAge(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		return time.Duration(n) * 24 * time.Hour, err == nil && n >= 0 && n <= 36500
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}

// LikePattern turns * and ? into LIKE's % and _; a \ makes the next one plain.
func LikePattern(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '*':
			b.WriteByte('%')
		case '?':
			b.WriteByte('_')
		case '%', '_':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\\':
			if i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '?') {
				i++
				b.WriteByte(s[i])
				continue
			}
			b.WriteString(`\\`)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
