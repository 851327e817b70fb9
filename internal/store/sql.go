package store

import (
	"regexp"
	"strings"
)

// firstWord is the statement's first word in capitals, past white space,
// comments and opening brackets; "" when there is none.
func firstWord(sql string) string {
	l := lexer{text: sql}
	for {
		t := l.next()
		switch {
		case t.kind == tokenEnd:
			return ""
		case t.kind == tokenName && !t.quoted:
			return strings.ToUpper(t.text)
		case t.kind == tokenOther && t.text == "(":
		default:
			return ""
		}
	}
}

// hasInnerSemicolon says whether the text goes on after a semicolon.
func hasInnerSemicolon(sql string) bool {
	l := lexer{text: sql}
	for seen := false; ; {
		t := l.next()
		if t.kind == tokenEnd {
			return false
		}
		if seen {
			return true
		}
		seen = t.kind == tokenOther && t.text == ";"
	}
}

// insertFormat matches what ends an INSERT whose data follows elsewhere.
var insertFormat = regexp.MustCompile(`(?is)\s(?:FORMAT\s+([A-Za-z][A-Za-z0-9]*)|(VALUES))\s*;?\s*$`)

// splitInsert divides "INSERT INTO t (…) FORMAT X" into the statement that the
// engine wants and its format.
func splitInsert(sql string) (statement, format string, ok bool) {
	m := insertFormat.FindStringSubmatchIndex(sql)
	if m == nil {
		return "", "", false
	}
	if m[2] < 0 {
		return sql[:m[0]], "Values", true
	}
	return sql[:m[0]], sql[m[2]:m[3]], true
}

// quoteIdentifier writes a name as ClickHouse reads it literally.
func quoteIdentifier(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

// quoteString writes a string literal.
func quoteString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\x00", `\0`).Replace(s) + "'"
}

type tokenKind int

const (
	tokenEnd    tokenKind = iota
	tokenName             // a word, or a name in backticks or double quotes
	tokenString           // 'text'
	tokenOther            // one other character
)

type token struct {
	kind   tokenKind
	text   string
	quoted bool
}

// lexer splits SQL into words as ClickHouse's own lexer does, as far as is
// needed to see which names a text holds. odd is set where the two might read
// differently; who relies on the names must then refuse the text.
type lexer struct {
	text string
	pos  int
	odd  bool
}

func (l *lexer) next() token {
	l.skipBlank()
	if l.pos >= len(l.text) {
		return token{}
	}
	start := l.pos
	c := l.text[l.pos]
	switch {
	case c == '\'':
		l.quoted(c)
		return token{kind: tokenString, text: l.text[start:l.pos]}
	case c == '`' || c == '"':
		return token{kind: tokenName, text: l.quoted(c), quoted: true}
	case isWord(c):
		for l.pos < len(l.text) && isWord(l.text[l.pos]) {
			l.pos++
		}
		return token{kind: tokenName, text: l.text[start:l.pos]}
	}
	if c == '$' || c >= 0x80 { // a heredoc, typographic quotes, other white space
		l.odd = true
	}
	l.pos++
	return token{kind: tokenOther, text: l.text[start:l.pos]}
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func (l *lexer) skipBlank() {
	for l.pos < len(l.text) {
		rest := l.text[l.pos:]
		switch {
		case rest[0] <= ' ' || rest[0] == 0x7f:
			l.pos++
		case strings.HasPrefix(rest, "--"), rest[0] == '#':
			l.odd = l.odd || rest[0] == '#' // only sometimes a comment
			l.skipTo("\n")
		case strings.HasPrefix(rest, "/*"):
			start := l.pos + 2
			l.pos = start
			l.skipTo("*/")
			l.odd = l.odd || strings.Contains(l.text[start:l.pos], "/*")
		default:
			return
		}
	}
}

// skipTo moves past the next end, or past everything.
func (l *lexer) skipTo(end string) {
	if at := strings.Index(l.text[l.pos:], end); at >= 0 {
		l.pos += at + len(end)
	} else {
		l.pos = len(l.text)
	}
}

// quoted reads past a quoted text and returns what it means. In a name, an
// escape could spell anything.
func (l *lexer) quoted(quote byte) string {
	var b strings.Builder
	for l.pos++; l.pos < len(l.text); l.pos++ {
		c := l.text[l.pos]
		switch {
		case c == '\\' && l.pos+1 < len(l.text):
			l.odd = l.odd || quote != '\''
			l.pos++
			b.WriteByte(l.text[l.pos])
		case c == quote && l.pos+1 < len(l.text) && l.text[l.pos+1] == quote:
			l.pos++
			b.WriteByte(quote)
		case c == quote:
			l.pos++
			return b.String()
		default:
			b.WriteByte(c)
		}
	}
	l.odd = true // never closed
	return b.String()
}
