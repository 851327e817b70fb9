// Package useragent tells what a user agent is: a browser with its system and
// device, a crawler, a program, or a scanner. It knows, in tables, what the logs
// of campuses hold and what attackers use; another it names as it calls itself.
//
// It is pure. A user agent is what a client says of itself: none of it is proof.
package useragent

import (
	"strings"
	"unicode/utf8"
)

// Agent is what a user agent is. What it does not say is empty.
type Agent struct {
	Name    string // Chrome, WeChat, sqlmap, Googlebot …
	Version string
	OS      string // Windows, Android, iOS …
	Device  string // iPhone, a model …; Spider, Scanner or Program where it is no person's
}

// What is no person's device.
const (
	Spider  = "Spider"  // reads the web for a search engine or a study
	Scanner = "Scanner" // looks for holes
	Program = "Program" // a library or a tool
)

// maxText is how much of a user agent is read, maxPart the longest name or
// version that is one.
const (
	maxText = 1024
	maxPart = 48
)

// Parse reads a user agent: products and comments (RFC 9110, 10.1.5), to which
// most keep more or less. The strings of the result are parts of the text, or
// constant.
func Parse(text string) Agent {
	text = head(text)
	var r reading
	for rest := text; ; {
		var word string
		if word, rest = nextWord(rest); word == "" {
			break
		}
		r.word(word, rest)
	}
	return r.agent(text)
}

// head is as much of a text as is read, and no half letter.
func head(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// reading is what is known so far.
type reading struct {
	product product
	name    string // as it calls itself, where the table does not say
	version string // of the product
	safari  string // Safari's is beside its name
	first   string // the first word
	system  system
}

// product is the client itself.
type product struct {
	name string
	rank int8   // the highest of a text is meant; the first among equals
	kind string // Spider, Scanner, Program, or nothing for a browser
}

func (r *reading) word(word, rest string) {
	name, version := split(word)
	if r.first == "" {
		r.first = name
	}
	if name == "Version" {
		r.safari = version
	}
	var buf [maxPart]byte
	low := lower(buf[:0], name)
	if p, ok := find(low); ok && p.rank > r.product.rank {
		if name == "Trident" {
			version = ofTrident[version]
		} else if version == "" {
			version = versionAhead(rest)
		}
		r.product, r.name, r.version = p, name, version
	}
	if s, ok := systems[string(low)]; ok && s.rank > r.system.rank {
		r.system = s
	}
}

// ofTrident are the versions of Internet Explorer, by those of its engine.
var ofTrident = map[string]string{"7.0": "11.0", "6.0": "10.0", "5.0": "9.0", "4.0": "8.0"}

func (r *reading) agent(text string) Agent {
	a := Agent{Name: r.product.name, Version: r.version, OS: r.system.name, Device: r.product.kind}
	switch {
	case a.Name == "" && r.product.rank > 0: // one of a kind, by its name
		a.Name = r.name
	case a.Name == "Safari" && r.safari != "":
		a.Version = r.safari
	case a.Name == "" && strings.HasPrefix(text, r.first) && plausible(r.first):
		a.Name, a.Version = split(text[:wordEnd(text)])
		if a.Version == "" {
			a.Version = versionAhead(text[wordEnd(text):])
		}
	}
	if a.Device == "" {
		a.Device = r.system.device
	}
	if a.Device == "" && (a.OS == "Android" || a.OS == "HarmonyOS") {
		a.Device = model(text)
	}
	return a
}

// find is the product of a name in small letters: of the whole of it, of what is
// before a sign within it ("dirbuster-1.0"), or by its end ("somebot").
func find(name []byte) (product, bool) {
	if p, ok := products[string(name)]; ok {
		return p, true
	}
	for i, c := range name {
		if c == '-' || c == '_' || c == '.' {
			if p, ok := products[string(name[:i])]; ok && p.kind == Scanner {
				return p, true
			}
			break
		}
	}
	for _, end := range []string{"bot", "spider", "crawler"} {
		if n := len(name) - len(end); n > 0 && string(name[n:]) == end {
			return product{"", 70, Spider}, true
		}
	}
	return product{}, false
}

// nextWord cuts the next word off: what stands between blanks and the signs of
// comments. It is empty at the end.
func nextWord(s string) (word, rest string) {
	start := 0
	for start < len(s) && separates(s[start]) {
		start++
	}
	s = s[start:]
	end := wordEnd(s)
	return s[:end], s[end:]
}

func wordEnd(s string) int {
	for i := range len(s) {
		if separates(s[i]) {
			return i
		}
	}
	return len(s)
}

func separates(c byte) bool {
	switch c {
	case ' ', '\t', '(', ')', '[', ']', '{', '}', ';', ',', '+', '"', '\'', ':':
		return true
	}
	return false
}

// split takes Name/1.2 and Maker/Name/1.2 apart. A version is one if it begins
// with a digit, after a v perhaps.
func split(word string) (name, version string) {
	name, version, _ = strings.Cut(word, "/")
	if inner, last, ok := strings.Cut(version, "/"); ok && name != "" {
		name, version = inner, last
	}
	return name, asVersion(version)
}

func asVersion(s string) string {
	if len(s) > 1 && (s[0] == 'v' || s[0] == 'V') {
		s = s[1:]
	}
	end := 0
	for end < len(s) && (isDigit(s[end]) || isLetter(s[end]) || s[end] == '.' || s[end] == '-' || s[end] == '_') {
		end++
	}
	if end == 0 || end > maxPart || !isDigit(s[0]) {
		return ""
	}
	return s[:end]
}

// versionAhead is the version where the next word is one: "MSIE 8.0".
func versionAhead(rest string) string {
	if !strings.HasPrefix(rest, " ") {
		return ""
	}
	return asVersion(rest[1 : 1+wordEnd(rest[1:])])
}

// plausible says that a word may be a program's name, and is not one that says
// nothing.
func plausible(name string) bool {
	if len(name) < 2 || len(name) > maxPart || name == "Mozilla" || !isLetter(name[0]) {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !isLetter(c) && !isDigit(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// model is the device that an Android browser names after its system: "(Linux;
// Android 13; SM-G991B Build/TP1A)". K is what Chrome says instead.
func model(text string) string {
	_, after, ok := cutSystem(text)
	if !ok {
		return ""
	}
	after, _, _ = strings.Cut(after, ")")
	for part := range strings.SplitSeq(after, ";") {
		part, _, _ = strings.Cut(strings.TrimSpace(part), " Build")
		part, _, _ = strings.Cut(part, "/")
		switch {
		case len(part) < 2 || len(part) > maxPart, part == "wv", part == "Mobile", part == "Tablet":
		case len(part) == 5 && (part[2] == '-' || part[2] == '_') && isLetter(part[0]): // a language
		case strings.HasPrefix(part, "HMSCore"), strings.HasPrefix(part, "rv:"):
		default:
			return part
		}
	}
	return ""
}

// cutSystem finds the comment's part that names Android or HarmonyOS.
func cutSystem(text string) (before, after string, ok bool) {
	for _, name := range []string{"Android", "HarmonyOS", "OpenHarmony"} {
		if i := strings.Index(text, name); i >= 0 {
			if j := strings.IndexAny(text[i:], ";)"); j >= 0 && text[i+j] == ';' {
				return text[:i], text[i+j+1:], true
			}
		}
	}
	return "", "", false
}

func lower(dst []byte, s string) []byte {
	if len(s) > maxPart {
		return dst
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
