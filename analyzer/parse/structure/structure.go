// Package structure cuts the text of a log line into keys and values: key=value,
// CSV, TSV, CEF, LEEF, and patterns with captures.
//
// It knows nothing of what a key means; a device file (schemas/devices) does. It
// is pure, keeps nothing of a line, and returns strings that share the line's
// memory wherever nothing had to be unescaped. Every reader takes time linear in
// the line's length, whatever the line.
package structure

import (
	"errors"
	"fmt"
)

// MaxPairs bounds the keys of a line.
const MaxPairs = 1024

// MaxKey bounds a key, in bytes: longer text before an assignment is no key.
const MaxKey = 64

// Pair is a key with its value, both as logged.
type Pair struct {
	Key   string
	Value string
	// Alias is another name of the key: CEF's cs1 where a cs1Label named the key.
	Alias string
	// Number is the key's in the Lexicon that the line was read with, plus one; 0
	// is not looked up.
	Number int32
}

// Reader appends the pairs of a text to dst, in their order. An error says why
// the text does not have the structure; what was appended is then of no use.
type Reader interface {
	Append(dst []Pair, text string) ([]Pair, error)
}

var errPairs = fmt.Errorf("more than %d keys", MaxPairs)

var errNoPairs = errors.New("no key with a value")
