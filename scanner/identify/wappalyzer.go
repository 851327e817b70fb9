package identify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode"

	wappalyzer "github.com/projectdiscovery/wappalyzergo"
	"golang.org/x/net/html"

	"fengsui/schemas"
)

// The fingerprints are wappalyzergo's, as are the patterns and what a match says.
// Which patterns are tried is decided here: it tries all of them on the page and
// on every script, which takes a page of 60 KB full of scripts 18 seconds. Here a
// pattern is tried where a piece of text that it cannot do without is seen, which
// takes milliseconds.

const (
	maxTags = 64  // scripts and metas of a page, each
	maxText = 512 // bytes of one
)

// clue is one pattern of a product.
type clue struct {
	app     string
	text    string     // the pattern as it is written
	needs   [][]string // of each, one must be there; the longest first
	once    sync.Once
	pattern *wappalyzer.ParsedPattern
}

// in says whether the pattern can match a text in lower case.
func (c *clue) in(text string) bool {
	for _, any := range c.needs {
		if !slices.ContainsFunc(any, func(n string) bool { return strings.Contains(text, n) }) {
			return false
		}
	}
	return true
}

// match tries the pattern, which is compiled when it is first needed.
func (c *clue) match(text string) (version string, weight int, yes bool) {
	c.once.Do(func() {
		c.pattern, _ = wappalyzer.ParsePattern(c.text) // one that Go cannot read never matches
	})
	if c.pattern == nil {
		return "", 0, false
	}
	yes, version = c.pattern.Evaluate(text)
	return version, c.pattern.Confidence, yes
}

// clues is all fingerprints, by where they are looked for.
type clues struct {
	html, script           []*clue
	headers, cookies, meta map[string][]*clue
	implies                map[string][]string
}

var allClues = sync.OnceValue(func() *clues {
	var all wappalyzer.Fingerprints
	if err := json.Unmarshal([]byte(wappalyzer.GetRawFingerprints()), &all); err != nil {
		panic(fmt.Sprintf("identify: wappalyzergo's own fingerprints: %v", err)) // a mistake in the module
	}
	out := &clues{headers: map[string][]*clue{}, cookies: map[string][]*clue{}, meta: map[string][]*clue{}, implies: map[string][]string{}}
	for app, f := range all.Apps {
		for _, p := range f.HTML {
			out.html = append(out.html, newClue(app, p))
		}
		for _, p := range f.ScriptSrc {
			out.script = append(out.script, newClue(app, p))
		}
		for key, p := range f.Headers {
			out.headers[key] = append(out.headers[key], &clue{app: app, text: p})
		}
		for key, p := range f.Cookies {
			out.cookies[key] = append(out.cookies[key], &clue{app: app, text: p})
		}
		for key, list := range f.Meta {
			for _, p := range list {
				out.meta[key] = append(out.meta[key], &clue{app: app, text: p})
			}
		}
		for _, other := range f.Implies {
			other, _, _ = strings.Cut(other, `\;`)
			out.implies[app] = append(out.implies[app], other)
		}
	}
	return out
})

func newClue(app, pattern string) *clue {
	c := &clue{app: app, text: pattern}
	expression, _, _ := strings.Cut(pattern, `\;`)
	if re, err := syntax.Parse("(?i)"+expression, syntax.Perl); err == nil {
		c.needs = needed(re.Simplify())
		slices.SortFunc(c.needs, func(a, b []string) int { return shortest(b) - shortest(a) })
	}
	return c
}

// needed is pieces of text that a match must hold: of each list one.
func needed(re *syntax.Regexp) [][]string {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if r >= 0x80 && unicode.SimpleFold(r) != r {
				return nil
			}
		}
		return [][]string{{strings.ToLower(string(re.Rune))}}
	case syntax.OpCapture, syntax.OpPlus:
		return needed(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return needed(re.Sub[0])
		}
	case syntax.OpConcat:
		var all [][]string
		for _, s := range re.Sub {
			all = append(all, needed(s)...)
		}
		return all
	case syntax.OpAlternate:
		var any []string
		for _, s := range re.Sub { // the longest piece of each
			var best []string
			for _, n := range needed(s) {
				if shortest(n) > shortest(best) {
					best = n
				}
			}
			if best == nil {
				return nil
			}
			any = append(any, best...)
		}
		return [][]string{any}
	}
	return nil
}

func shortest(pieces []string) int {
	if len(pieces) == 0 {
		return 0
	}
	n := len(pieces[0])
	for _, p := range pieces {
		n = min(n, len(p))
	}
	return n
}

// seen gathers what was found.
type seen map[string]*struct {
	version string
	weight  int
}

func (f seen) add(app, version string, weight int) {
	if f[app] == nil {
		f[app] = &struct {
			version string
			weight  int
		}{}
	}
	f[app].weight += weight
	if f[app].version == "" {
		f[app].version = version
	}
}

func (c *clues) try(f seen, list []*clue, text string) {
	for _, one := range list {
		if !one.in(text) {
			continue
		}
		if version, weight, yes := one.match(text); yes {
			f.add(one.app, version, weight)
			for _, other := range c.implies[one.app] {
				f.add(other, "", weight)
			}
		}
	}
}

// fingerprint is what wappalyzergo knows of a page.
func fingerprint(header http.Header, text []byte) (out []schemas.Technology) {
	c := allClues()
	f := seen{}
	for key, values := range header {
		c.try(f, c.headers[strings.ToLower(key)], strings.ToLower(strings.Join(values, ", ")))
	}
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		c.try(f, c.cookies[strings.ToLower(cookie.Name)], strings.ToLower(cookie.Value))
	}
	page := strings.ToLower(string(text))
	c.try(f, c.html, page)
	scripts, metas := tags(page)
	joined := strings.Join(scripts, "\n")
	for _, one := range c.script {
		if one.in(joined) {
			for _, s := range scripts {
				c.try(f, []*clue{one}, s)
			}
		}
	}
	for _, m := range metas {
		c.try(f, c.meta[m[0]], m[1])
	}
	for app, found := range f {
		if found.weight > 0 {
			out = append(out, schemas.Technology{Name: Printable([]byte(app)), Version: printable([]byte(found.version), maxVersion, "")})
		}
	}
	return out
}

// tags is the addresses of a page's scripts, and the names and contents of its
// metas.
func tags(page string) (scripts []string, metas [][2]string) {
	z := html.NewTokenizer(strings.NewReader(page))
	z.SetMaxBuf(maxBody * 4)
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return scripts, metas
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		name, more := z.TagName()
		script, meta := bytes.Equal(name, []byte("script")), bytes.Equal(name, []byte("meta"))
		if !script && !meta {
			continue
		}
		values := map[string]string{}
		for more {
			var key, value []byte
			key, value, more = z.TagAttr()
			if len(values) < 16 {
				values[string(key)] = string(value[:min(len(value), maxText)])
			}
		}
		if src := values["src"]; script && src != "" && len(scripts) < maxTags && !slices.Contains(scripts, src) {
			scripts = append(scripts, src)
		}
		if meta && values["name"] != "" && len(metas) < maxTags {
			metas = append(metas, [2]string{values["name"], values["content"]})
		}
	}
}
