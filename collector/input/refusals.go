package input

import (
	"maps"
	"sync"
)

// Refusals counts what senders were refused, by the reason. They know of it, so
// that it is in no books; the reasons are the input's own words, and few. It is
// safe for concurrent use.
type Refusals struct {
	mu sync.Mutex
	by map[string]uint64
}

// Add counts one more.
func (r *Refusals) Add(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil {
		r.by = make(map[string]uint64)
	}
	r.by[reason]++
}

// All is a copy of what was counted.
func (r *Refusals) All() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.by)
}
