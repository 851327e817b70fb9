package match

import (
	"strings"
	"unicode/utf8"
)

// pattern is a Sigma string: literal text between wildcards.
type pattern []elem

type elem struct {
	kind elemKind
	text string // of a literal
}

type elemKind uint8

const (
	lit  elemKind = iota
	one           // ?: one character
	many          // *: any number of characters
)

// parsePattern reads a Sigma string. Specification 2.1.0, "Escaping": a
// backslash before *, ? or another backslash makes that plain; before anything
// else it is itself.
func parsePattern(s string) pattern {
	var p pattern
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			p = append(p, elem{lit, text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`*?\`, s[i+1]) >= 0:
			i++
			text.WriteByte(s[i])
		case c == '*':
			flush()
			p = append(p, elem{kind: many})
		case c == '?':
			flush()
			p = append(p, elem{kind: one})
		default:
			text.WriteByte(c)
		}
	}
	flush()
	return p.normal()
}

// literal is the pattern of a plain text.
func literal(s string) pattern {
	if s == "" {
		return nil
	}
	return pattern{{lit, s}}
}

// normal joins neighbouring literals and neighbouring stars.
func (p pattern) normal() pattern {
	var out pattern
	for _, e := range p {
		last := len(out) - 1
		switch {
		case e.kind == lit && e.text == "":
		case last >= 0 && e.kind == many && out[last].kind == many:
		case last >= 0 && e.kind == lit && out[last].kind == lit:
			out[last].text += e.text
		default:
			out = append(out, e)
		}
	}
	return out
}

// source is the pattern as parsePattern reads it.
func (p pattern) source() string {
	var b strings.Builder
	for _, e := range p {
		switch e.kind {
		case one:
			b.WriteByte('?')
		case many:
			b.WriteByte('*')
		case lit:
			for i := range len(e.text) {
				if strings.IndexByte(`*?\`, e.text[i]) >= 0 {
					b.WriteByte('\\')
				}
				b.WriteByte(e.text[i])
			}
		}
	}
	return b.String()
}

// plain is the text of a pattern without wildcards.
func (p pattern) plain() (string, bool) {
	switch {
	case len(p) == 0:
		return "", true
	case len(p) == 1 && p[0].kind == lit:
		return p[0].text, true
	}
	return "", false
}

func (p pattern) folded() pattern {
	out := make(pattern, len(p))
	for i, e := range p {
		out[i] = elem{e.kind, fold(e.text)}
	}
	return out
}

// match says whether the whole of s fits. It goes back to the last star only, so
// its cost is at worst the product of the lengths.
func (p pattern) match(s string) bool {
	i, at := 0, 0       // next element, next byte
	star, from := -1, 0 // last star, and where its text may begin next
	for i < len(p) || at < len(s) {
		if i < len(p) {
			switch e := p[i]; e.kind {
			case many:
				if i+1 == len(p) {
					return true
				}
				star, from = i, at
				i++
				continue
			case one:
				if at < len(s) {
					_, n := utf8.DecodeRuneInString(s[at:])
					at += n
					i++
					continue
				}
			case lit:
				if strings.HasPrefix(s[at:], e.text) {
					at += len(e.text)
					i++
					continue
				}
			}
		}
		if star < 0 || from >= len(s) {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[from:])
		from += n
		if next := p[star+1]; next.kind == lit { // nothing before it can fit
			k := strings.Index(s[from:], next.text)
			if k < 0 {
				return false
			}
			from += k
		}
		i, at = star+1, from
	}
	return true
}
