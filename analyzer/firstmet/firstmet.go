// Package firstmet remembers when names were first met, in bounded memory, so
// that a name can be told from those that the network has long known. It is pure:
// time comes in as an argument. It judges nothing: most new names are harmless.
package firstmet

import (
	"errors"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Config bounds what is remembered.
type Config struct {
	// Young is how long a name is new after it was first met.
	Young time.Duration `koanf:"young"`
	// Learn is how long must have been listened before any name is new: at first
	// all are.
	Learn time.Duration `koanf:"learn"`
	// MaxNames bounds the names remembered. Half as many that were met lately are
	// always among them; a name that is forgotten is new again.
	MaxNames int `koanf:"max_names"`
}

// DefaultConfig calls new what was first met within a day, after a week of
// listening. It takes about 50 MB at its bound.
func DefaultConfig() Config {
	return Config{Young: 24 * time.Hour, Learn: 7 * 24 * time.Hour, MaxNames: 1_000_000}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.Young <= 0 || c.Learn < 0 || c.MaxNames < 2 {
		return errors.New("young must be above zero, learn not below, and max_names at least 2")
	}
	return nil
}

// Book is what is remembered. It is safe for concurrent use.
type Book struct {
	cfg Config

	mu     sync.Mutex
	since  time.Time         // when listening began
	recent map[uint64]uint32 // name -> when it was first met, in seconds since 1970
	older  map[uint64]uint32 // the generation before: what is met again moves to recent
	forgot uint64
}

// New makes a book without names.
func New(cfg Config) *Book {
	return &Book{cfg: cfg, recent: map[uint64]uint32{}}
}

// Seed tells of a name that was first met before, the names that were met longest
// ago first.
func (b *Book) Seed(name string, first time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.meet(name, first)
}

// Note notes a name that is met at a time. It returns when it was first met, and
// whether that makes it new.
func (b *Book) Note(name string, at time.Time) (first time.Time, isNew bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first = b.meet(name, at)
	return first, at.Sub(b.since) >= b.cfg.Learn && at.Sub(first) < b.cfg.Young
}

// Len is the number of names remembered.
func (b *Book) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.recent) + len(b.older)
}

// Forgot counts the names that were forgotten to stay within the bound.
func (b *Book) Forgot() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.forgot
}

func (b *Book) meet(name string, at time.Time) time.Time {
	if b.since.IsZero() || at.Before(b.since) {
		b.since = at
	}
	h, seconds := xxhash.Sum64String(name), stamp(at)
	first, known := b.recent[h]
	if !known {
		if first, known = b.older[h]; known {
			delete(b.older, h)
		} else {
			first = seconds
		}
	}
	if seconds < first { // records come out of order
		first = seconds
	}
	if _, here := b.recent[h]; !here && len(b.recent) >= b.cfg.MaxNames/2 {
		b.forgot += uint64(len(b.older))
		b.older, b.recent = b.recent, make(map[uint64]uint32, len(b.recent))
	}
	b.recent[h] = first
	return time.Unix(int64(first), 0).UTC()
}

// stamp is a time in seconds since 1970, within what 32 bits hold: to 2106.
func stamp(at time.Time) uint32 {
	return uint32(min(max(at.Unix(), 0), 1<<32-1)) //nolint:gosec // bounded
}
