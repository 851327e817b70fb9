package discover

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The limits of a word list.
const (
	maxWords    = 200_000
	maxList     = 16 << 20
	maxLine     = 1 << 10
	maxExpanded = 10_000 // of one line
	maxNested   = 4      // braces inside braces
)

// shipped is our own list for education networks, the commonest words first.
//
//go:embed words.txt
var shipped string

// Words is a list of labels, the likeliest first, each once.
type Words struct{ all []string }

// few is how many of the first words are tried below a name that is not itself a
// zone: a college's www, rather than everything that a university may have.
const few = 150

// Shipped is the list that the program brings.
func Shipped() (*Words, error) { return ReadWords(strings.NewReader(shipped)) }

// LoadWords is the shipped list and, before it, that of a file.
func LoadWords(path string) (*Words, error) {
	ours, err := Shipped()
	if err != nil || path == "" {
		return ours, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a word list: %w", err)
	}
	defer func() { _ = f.Close() }()
	theirs, err := ReadWords(f)
	if err != nil {
		return nil, fmt.Errorf("word list %s: %w", path, err)
	}
	return merge(theirs, ours), nil
}

func merge(lists ...*Words) *Words {
	out, seen := &Words{}, map[string]bool{}
	for _, list := range lists {
		for _, w := range list.all {
			if !seen[w] && len(out.all) < maxWords {
				seen[w] = true
				out.all = append(out.all, w)
			}
		}
	}
	return out
}

// ReadWords reads a list: one or more words a line, # begins a remark. Braces hold
// alternatives or a range, as in a shell: {jwc,xgc}{,2} is four words, ns{1-4} too.
func ReadWords(r io.Reader) (*Words, error) {
	out, seen := &Words{}, map[string]bool{}
	lines := bufio.NewScanner(io.LimitReader(r, maxList+1))
	lines.Buffer(make([]byte, 4096), maxLine)
	read := 0
	for n := 1; lines.Scan(); n++ {
		if read += len(lines.Bytes()) + 1; read > maxList {
			return nil, fmt.Errorf("longer than %d bytes", maxList)
		}
		text, _, _ := strings.Cut(lines.Text(), "#")
		for _, pattern := range strings.Fields(text) {
			words, err := expand(strings.ToLower(pattern), maxNested)
			if err != nil {
				return nil, fmt.Errorf("line %d: %q: %w", n, pattern, err)
			}
			for _, w := range words {
				if !ValidName(w) || strings.Contains(w, "*") {
					return nil, fmt.Errorf("line %d: %q: %q is no label of a name", n, pattern, w)
				}
				if seen[w] {
					continue
				}
				if len(out.all) == maxWords {
					return nil, fmt.Errorf("line %d: more than %d words", n, maxWords)
				}
				seen[w] = true
				out.all = append(out.all, w)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading a word list: %w", err)
	}
	return out, nil
}

var errBraces = errors.New("braces do not match")

// expand makes the words of a pattern.
func expand(pattern string, depth int) ([]string, error) {
	open := strings.IndexAny(pattern, "{}")
	if open < 0 {
		return []string{pattern}, nil
	}
	if pattern[open] == '}' {
		return nil, errBraces
	}
	if depth == 0 {
		return nil, fmt.Errorf("more than %d braces inside or after one another", maxNested)
	}
	inner, rest, err := braces(pattern[open+1:])
	if err != nil {
		return nil, err
	}
	tails, err := expand(rest, depth-1)
	if err != nil {
		return nil, err
	}
	var heads []string
	for _, part := range inner {
		some, err := expand(part, depth-1)
		if err != nil {
			return nil, err
		}
		if heads = append(heads, some...); len(heads)*len(tails) > maxExpanded {
			return nil, fmt.Errorf("more than %d words", maxExpanded)
		}
	}
	out := make([]string, 0, len(heads)*len(tails))
	for _, h := range heads {
		for _, t := range tails {
			out = append(out, pattern[:open]+h+t)
		}
	}
	return out, nil
}

// braces reads the alternatives up to the brace that closes them.
func braces(text string) (parts []string, rest string, err error) {
	depth, from := 0, 0
	for i := range len(text) {
		switch {
		case text[i] == '{':
			depth++
		case text[i] == ',' && depth == 0:
			parts = append(parts, text[from:i])
			from = i + 1
		case text[i] == '}' && depth > 0:
			depth--
		case text[i] == '}':
			parts = append(parts, text[from:i])
			if len(parts) == 1 {
				parts, err = between(parts[0])
			}
			return parts, text[i+1:], err
		}
	}
	return nil, "", errBraces
}

// between is the numbers of a range, "1-4", with the width of the first: "01-12".
func between(text string) ([]string, error) {
	low, high, is := strings.Cut(text, "-")
	if !is {
		return []string{text}, nil
	}
	from, err1 := strconv.ParseUint(low, 10, 16)
	to, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil || from > to || to-from >= maxExpanded {
		return nil, fmt.Errorf("%q is no range of numbers", text)
	}
	var out []string
	for n := from; n <= to; n++ {
		out = append(out, fmt.Sprintf("%0*d", len(low), n))
	}
	return slices.Clip(out), nil
}

// Len is how many words there are.
func (w *Words) Len() int { return len(w.all) }

// first is the first n words, or all.
func (w *Words) first(n int) []string { return w.all[:min(n, len(w.all))] }
