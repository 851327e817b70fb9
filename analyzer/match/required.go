package match

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// What a regular expression requires: texts that are in whatever it matches, in
// one case. They are looked for first, because an expression costs a hundred
// times as much.

// requiredOf is a list of texts of which one must be in any text that one of the
// expressions matches; nil if none is known.
func requiredOf(wants []string) []string {
	var out []string
	for _, w := range wants {
		re, err := syntax.Parse(w, syntax.Perl)
		if err != nil { // cannot happen: it was compiled
			return nil
		}
		keys := oneOf(re.Simplify())
		if keys == nil {
			return nil
		}
		out = append(out, keys...)
	}
	return out
}

// oneOf chooses, of all lists of texts of which one must be there, the one whose
// shortest text is longest.
func oneOf(re *syntax.Regexp) []string {
	var best []string
	better := func(keys []string) {
		if len(keys) > 0 && shortest(keys) > shortest(best) {
			best = keys
		}
	}
	for _, p := range pieces(re) {
		better([]string{p})
	}
	switch re.Op {
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			keys := oneOf(sub)
			if keys == nil {
				return best
			}
			all = append(all, keys...)
		}
		better(all)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			better(oneOf(sub))
		}
	case syntax.OpCapture, syntax.OpPlus:
		better(oneOf(re.Sub[0]))
	case syntax.OpRepeat:
		if re.Min > 0 {
			better(oneOf(re.Sub[0]))
		}
	}
	return best
}

func shortest(keys []string) int {
	least := 0
	for i, k := range keys {
		if i == 0 || len(k) < least {
			least = len(k)
		}
	}
	return least
}

// pieces are texts that stand one after the other in whatever the expression
// matches.
func pieces(re *syntax.Regexp) []string {
	if text, ok := exactly(re); ok {
		if text == "" {
			return nil
		}
		return []string{text}
	}
	switch re.Op {
	case syntax.OpCapture, syntax.OpPlus:
		return pieces(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return pieces(re.Sub[0])
		}
	case syntax.OpConcat:
		var out []string
		run := ""
		end := func() {
			if run != "" {
				out = append(out, run)
				run = ""
			}
		}
		for _, sub := range re.Sub {
			if text, ok := exactly(sub); ok {
				run += text
				continue
			}
			end()
			out = append(out, pieces(sub)...)
		}
		end()
		return out
	}
	return nil
}

// exactly is the one text, in one case, that the expression matches.
func exactly(re *syntax.Regexp) (string, bool) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return "", true
	case syntax.OpLiteral:
		if slices.Contains(re.Rune, utf8.RuneError) { // which a byte that is not UTF-8 meets, too
			return "", false
		}
		return fold(string(re.Rune)), true
	case syntax.OpCharClass: // [Aa]
		if len(re.Rune) == 0 || re.Rune[len(re.Rune)-1] >= utf8.RuneError {
			return "", false
		}
		one := foldRune(re.Rune[0])
		for i := 0; i < len(re.Rune); i += 2 {
			if re.Rune[i] != re.Rune[i+1] || foldRune(re.Rune[i]) != one {
				return "", false
			}
		}
		return string(one), true
	case syntax.OpCapture:
		return exactly(re.Sub[0])
	case syntax.OpConcat:
		var b strings.Builder
		for _, sub := range re.Sub {
			text, ok := exactly(sub)
			if !ok {
				return "", false
			}
			b.WriteString(text)
		}
		return b.String(), true
	}
	return "", false
}

// leastOf is how many characters a match of the expression has at the least.
func leastOf(re *syntax.Regexp) int {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1
	case syntax.OpCapture, syntax.OpPlus:
		return leastOf(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min * leastOf(re.Sub[0])
	case syntax.OpConcat:
		sum := 0
		for _, sub := range re.Sub {
			sum += leastOf(sub)
		}
		return sum
	case syntax.OpAlternate:
		least := leastOf(re.Sub[0])
		for _, sub := range re.Sub[1:] {
			least = min(least, leastOf(sub))
		}
		return least
	}
	return 0
}

// mayMatch says whether one of the expressions can match a text, whose folded
// form is given: all its pieces are there, one after the other.
func (p *predicate) mayMatch(folded string) bool {
	for _, e := range p.needs {
		rest, ok := folded, len(folded) >= e.least
		for _, piece := range e.texts {
			if !ok {
				break
			}
			_, rest, ok = strings.Cut(rest, piece)
		}
		if ok {
			return true
		}
	}
	return false
}

// needs are what is known of all that one expression matches.
type needs struct {
	texts []string // in this order
	least int      // characters
}

func needsOf(wants []string) []needs {
	var out []needs
	for _, w := range wants {
		re, err := syntax.Parse(w, syntax.Perl)
		if err != nil { // cannot happen: it was compiled
			return []needs{{}}
		}
		out = append(out, needs{pieces(re.Simplify()), leastOf(re)})
	}
	return out
}

// searcher looks for one expression in a text.
type searcher struct {
	re    *regexp.Regexp
	quick *automata
	run   *syntax.Regexp // the expression is only so many characters of one kind in a row
}

// newSearcher leaves out of an expression what makes no difference to whether it
// matches: how often something may be repeated where a match begins or ends.
func newSearcher(want string) (searcher, error) {
	if _, err := regexp.Compile(want); err != nil {
		return searcher{}, err
	}
	re, err := syntax.Parse(want, syntax.Perl)
	if err != nil {
		return searcher{}, err
	}
	re = trim(re)
	if re.Op == syntax.OpRepeat && re.Min == re.Max && re.Min > 0 && ofOne(re.Sub[0]) {
		return searcher{run: re}, nil
	}
	out, err := regexp.Compile(re.String())
	if err != nil {
		return searcher{}, err
	}
	prefix, _ := out.LiteralPrefix()
	return searcher{re: out, quick: &automata{want: re.String(), prefix: prefix}}, nil
}

func ofOne(re *syntax.Regexp) bool {
	return re.Op == syntax.OpAnyChar || re.Op == syntax.OpAnyCharNotNL || re.Op == syntax.OpCharClass
}

// trim shortens repetitions at both ends.
func trim(re *syntax.Regexp) *syntax.Regexp {
	switch re.Op {
	case syntax.OpCapture:
		return trim(re.Sub[0])
	case syntax.OpPlus:
		return re.Sub[0]
	case syntax.OpRepeat:
		if re.Min > 0 {
			re.Max = re.Min
		}
	case syntax.OpConcat:
		for len(re.Sub) > 1 && re.Sub[0].Op == syntax.OpStar {
			re.Sub = re.Sub[1:]
		}
		for len(re.Sub) > 1 && re.Sub[len(re.Sub)-1].Op == syntax.OpStar {
			re.Sub = re.Sub[:len(re.Sub)-1]
		}
		re.Sub[0] = trim(re.Sub[0])
		re.Sub[len(re.Sub)-1] = trim(re.Sub[len(re.Sub)-1])
	}
	return re
}

func (s *searcher) match(text string) bool {
	if s.run == nil {
		if holds, ok := s.quick.match(text); ok {
			return holds
		}
		return s.re.MatchString(text)
	}
	n := 0
	for _, c := range text {
		if n++; !oneOfClass(s.run.Sub[0], c) {
			n = 0
		}
		if n == s.run.Min {
			return true
		}
	}
	return false
}

func oneOfClass(class *syntax.Regexp, c rune) bool {
	switch class.Op {
	case syntax.OpAnyChar:
		return true
	case syntax.OpAnyCharNotNL:
		return c != '\n'
	}
	for i := 0; i < len(class.Rune); i += 2 {
		if class.Rune[i] <= c && c <= class.Rune[i+1] {
			return true
		}
	}
	return false
}
