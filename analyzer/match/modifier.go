package match

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
)

// maxValues bounds the texts that one item of a rule grows into, by placeholders
// or by windash.
const maxValues = 10_000

// modify applies one modifier, in the order in which they stand.
func (r *reader) modify(it *item, mod string) error {
	star := pattern{{kind: many}}
	switch mod {
	case "contains":
		it.starts, it.ends = true, true
		return it.each(func(p pattern) ([]pattern, error) { return []pattern{concat(star, p, star)}, nil })
	case "startswith":
		it.starts = true
		return it.each(func(p pattern) ([]pattern, error) { return []pattern{concat(p, star)}, nil })
	case "endswith":
		it.ends = true
		return it.each(func(p pattern) ([]pattern, error) { return []pattern{concat(star, p)}, nil })
	case "all":
		it.all = true
	case "cased":
		it.cased = true
	case "neq":
		it.neq = true
	case "re":
		return it.become(reItem, mod)
	case "i", "m", "s":
		if it.kind != reItem {
			return fmt.Errorf("modifier %s belongs after re", mod)
		}
		it.flags += mod
	case "ignorecase", "multiline", "dotall":
		return r.modify(it, map[string]string{"ignorecase": "i", "multiline": "m", "dotall": "s"}[mod])
	case "cidr":
		return it.become(cidrItem, mod)
	case "exists":
		return it.become(existsItem, mod)
	case "fieldref":
		if it.kind != textItem || it.fn != asIs || it.made {
			return fmt.Errorf("modifier %s cannot follow those before it", mod)
		}
		it.kind = refItem
	case "minute", "hour", "day", "week", "month", "year":
		if it.kind != textItem || it.starts || it.ends || it.fn != asIs {
			return fmt.Errorf("modifier %s cannot follow those before it", mod)
		}
		it.fn, _ = lookupFunction(mod)
	case "gt", "gte", "lt", "lte":
		it.order = map[string]op{"gt": opGt, "gte": opGte, "lt": opLt, "lte": opLte}[mod]
		return it.become(orderItem, mod)
	case "windash":
		return it.make(windash)
	case "expand":
		return it.make(r.expand)
	case "base64":
		return it.make(func(p pattern) ([]pattern, error) {
			text, err := encodable(p, mod)
			return []pattern{literal(base64.StdEncoding.EncodeToString([]byte(text)))}, err
		})
	case "base64offset":
		return it.make(base64Offsets)
	case "wide", "utf16le", "utf16be", "utf16":
		return it.make(func(p pattern) ([]pattern, error) {
			text, err := encodable(p, mod)
			return []pattern{literal(utf16Text(text, mod))}, err
		})
	default:
		if meant := slips[strings.ToLower(mod)]; meant != "" {
			return fmt.Errorf("modifier %s is none of Sigma 2.1; did you mean %s?", mod, meant)
		}
		if small := strings.ToLower(mod); small != mod && r.modify(&item{}, small) == nil {
			return fmt.Errorf("modifier %s is none of Sigma 2.1; did you mean %s?", mod, small)
		}
		return fmt.Errorf("modifier %s is none of Sigma 2.1", mod)
	}
	return nil
}

// slips are other languages' names of modifiers.
var slips = map[string]string{
	"regex": "re", "regexp": "re", "contain": "contains", "startwith": "startswith", "starts_with": "startswith", "beginswith": "startswith",
	"endwith": "endswith", "ends_with": "endswith", "not": "neq", "ne": "neq", "subnet": "cidr", "network": "cidr", "nocase": "re|i", "ge": "gte", "le": "lte",
}

// become makes the item one that takes its values as they are.
func (it *item) become(k itemKind, mod string) error {
	if it.kind != textItem || it.starts || it.ends || it.made || it.fn != asIs && k != orderItem {
		return fmt.Errorf("modifier %s cannot follow those before it", mod)
	}
	it.kind = k
	return nil
}

// make is each for what makes other texts of the rule's own, which the name of a
// field or an expression is not.
func (it *item) make(f func(pattern) ([]pattern, error)) error {
	if it.kind == refItem {
		return fmt.Errorf("fieldref compares with what the other field holds, which no modifier but contains, startswith, endswith and cased can change")
	}
	it.made = true
	return it.each(f)
}

// each replaces every text by those that f makes of it.
func (it *item) each(f func(pattern) ([]pattern, error)) error {
	if it.kind != textItem && it.kind != refItem || it.fn != asIs {
		return fmt.Errorf("a text modifier cannot follow re, cidr, exists, a time or a comparison")
	}
	var out []value
	for _, v := range it.values {
		if v.null {
			return fmt.Errorf("null has no text that a modifier could change; is an item of the list blank?")
		}
		ps, err := f(v.text)
		if err != nil {
			return err
		}
		for _, p := range ps {
			out = append(out, value{from: v.from, raw: v.raw, text: p})
		}
		if len(out) > maxValues {
			return fmt.Errorf("grows to more than %d values", maxValues)
		}
	}
	it.values = out
	return nil
}

func concat(ps ...pattern) pattern { return slices.Concat(ps...).normal() }

// encodable is the text of a value that is to be encoded, which wildcards
// cannot be.
func encodable(p pattern, mod string) (string, error) {
	text, ok := p.plain()
	if !ok {
		return "", fmt.Errorf("modifier %s cannot encode wildcards", mod)
	}
	return text, nil
}

// base64Offsets are the three ways a text may look inside encoded data, without
// the letters at its ends that depend on its neighbours.
func base64Offsets(p pattern) ([]pattern, error) {
	text, err := encodable(p, "base64offset")
	if err != nil {
		return nil, err
	}
	var out []pattern
	for before := range 3 {
		padded := strings.Repeat(" ", before) + text
		code := base64.StdEncoding.EncodeToString([]byte(padded))
		from := []int{0, 2, 3}[before]
		until := len(code) - []int{0, 3, 2}[len(padded)%3]
		if from < until {
			out = append(out, literal(code[from:until]))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q is too short for base64offset", text)
	}
	return out, nil
}

// utf16Text is the text in UTF-16 as a string of bytes.
func utf16Text(text, mod string) string {
	var b []byte
	if mod == "utf16" {
		b = append(b, 0xff, 0xfe)
	}
	for _, u := range utf16.Encode([]rune(text)) {
		if mod == "utf16be" {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

// windash makes all permutations of the dashes that begin a word: a flag's.
func windash(p pattern) ([]pattern, error) {
	out := []pattern{nil}
	extend := func(es ...elem) error {
		if len(out)*len(es) > maxValues {
			return fmt.Errorf("windash grows to more than %d values", maxValues)
		}
		var next []pattern
		for _, o := range out {
			for _, e := range es {
				next = append(next, append(slices.Clone(o), e))
			}
		}
		out = next
		return nil
	}
	word := func(c byte) bool {
		return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	dashes := []elem{{lit, "-"}, {lit, "/"}, {lit, "–"}, {lit, "—"}, {lit, "―"}}
	for _, e := range p {
		from := 0
		for i := 0; e.kind == lit && i < len(e.text); i++ {
			dash := slices.IndexFunc(dashes, func(d elem) bool { return strings.HasPrefix(e.text[i:], d.text) })
			if dash < 0 {
				continue
			}
			end := i + len(dashes[dash].text)
			if i > 0 && word(e.text[i-1]) || end == len(e.text) || !word(e.text[end]) {
				continue
			}
			if err := extend(elem{lit, e.text[from:i]}); err != nil {
				return nil, err
			}
			if err := extend(dashes...); err != nil {
				return nil, err
			}
			from = end
		}
		rest := e
		if e.kind == lit {
			rest.text = e.text[from:]
		}
		if err := extend(rest); err != nil {
			return nil, err
		}
	}
	for i := range out {
		out[i] = out[i].normal()
	}
	return out, nil
}

// usual are the values of placeholders of shipped rules where the installation
// gives none. What is not home is abroad.
var usual = map[string][]string{"home_countries": {"CN", "HK", "MO", "TW"}}

var placeholder = regexp.MustCompile(`\\%|%([^%]+)%`)

// expand puts the configured values for %name%; \% is a plain percent sign.
func (r *reader) expand(p pattern) ([]pattern, error) {
	out := []pattern{nil}
	extend := func(ps ...pattern) error {
		if len(out)*len(ps) > maxValues {
			return fmt.Errorf("placeholders grow to more than %d values", maxValues)
		}
		var next []pattern
		for _, o := range out {
			for _, p := range ps {
				next = append(next, concat(o, p))
			}
		}
		out = next
		return nil
	}
	for _, e := range p {
		from := 0
		if e.kind == lit {
			for _, m := range placeholder.FindAllStringSubmatchIndex(e.text, -1) {
				if err := extend(literal(e.text[from:m[0]])); err != nil {
					return nil, err
				}
				from = m[1]
				chosen := []pattern{literal("%")}
				if m[2] >= 0 {
					name := e.text[m[2]:m[3]]
					values := r.opt.Placeholders[name]
					if len(values) == 0 {
						values = usual[name]
					}
					if len(values) == 0 {
						return nil, fmt.Errorf("placeholder %%%s%% has no values in the configuration", name)
					}
					chosen = nil
					for _, v := range values {
						chosen = append(chosen, parsePattern(v))
					}
				}
				if err := extend(chosen...); err != nil {
					return nil, err
				}
			}
		}
		rest := e
		if e.kind == lit {
			rest.text = e.text[from:]
		}
		if err := extend(pattern{rest}); err != nil {
			return nil, err
		}
	}
	return out, nil
}
