package collector

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"fengsui/collector/input"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// Account says where the lines of one source are, counted since the collector
// started. At any moment
//
//	Received = Shipped + Spooled + Queued + Lost
//
// and what was spooled reaches Kafka later: Drained counts those, and such as an
// earlier run had left in the spool.
type Account struct {
	Input    string    `json:"input"`
	Unit     string    `json:"unit,omitempty"`
	Source   string    `json:"source,omitempty"` // Others: those beyond the number that is kept
	Received int64     `json:"received"`
	Bytes    int64     `json:"bytes"`
	Rejected int64     `json:"rejected"` // of Received: no whole records, on their way to the dead letters
	Shipped  int64     `json:"shipped"`  // acknowledged by Kafka without having been in the spool
	Spooled  int64     `json:"spooled"`
	Drained  int64     `json:"drained"` // acknowledged by Kafka out of the spool
	Queued   int64     `json:"queued"`  // in memory
	Lost     int64     `json:"lost"`    // found no room at the end, or refused by Kafka for their size
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
}

// Others is the source of lines whose own source is not counted apart.
const Others = "(others)"

// maxAccounts bounds the sources that are counted apart: over UDP anybody can
// make some up.
const maxAccounts = 50_000

type accountKey struct{ input, unit, source string }

// accounts are safe for concurrent use.
type accounts struct {
	mu sync.Mutex
	by map[accountKey]*Account
}

func newAccounts() *accounts { return &accounts{by: map[accountKey]*Account{}} }

// of finds an account; mu must be held.
func (a *accounts) of(k accountKey) *Account {
	if acc := a.by[k]; acc != nil {
		return acc
	}
	if len(a.by) >= maxAccounts && k.source != Others {
		return a.of(accountKey{k.input, k.unit, Others})
	}
	acc := &Account{Input: k.input, Unit: k.unit, Source: k.source}
	a.by[k] = acc
	return acc
}

// run is lines of one source that follow each other.
type run struct {
	key                    accountKey
	lines, bytes, rejected int64
	last                   time.Time
}

// runsOf counts the lines of one input.
func runsOf(in *InputConfig, lines []input.Line) []run {
	var runs []run
	for i := range lines {
		l := &lines[i]
		k := accountKey{in.Name, cmp.Or(l.Unit, in.Unit), l.Source}
		if len(runs) == 0 || runs[len(runs)-1].key != k {
			runs = append(runs, run{key: k})
		}
		r := &runs[len(runs)-1]
		r.lines++
		r.bytes += int64(len(l.Value))
		r.last = l.Received
		if l.Reject != "" {
			r.rejected++
		}
	}
	return runs
}

// received counts lines as received; times is -1 where they were not, after all.
func (a *accounts) received(runs []run, times int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range runs {
		acc := a.of(r.key)
		acc.Received += times * r.lines
		acc.Bytes += times * r.bytes
		acc.Rejected += times * r.rejected
		if acc.First.IsZero() {
			acc.First = r.last
		}
		if r.last.After(acc.Last) {
			acc.Last = r.last
		}
	}
}

// delivered says where received lines have gone: to Kafka, but for those that are
// in the spool or lost now.
func (a *accounts) delivered(runs []run, spooled, lost []kafka.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	lines := int64(0)
	for _, r := range runs {
		lines += r.lines
	}
	if int64(len(spooled)) == lines { // as nearly always, if any: nothing of the records need be read
		for _, r := range runs {
			a.of(r.key).Spooled += r.lines
		}
		return
	}
	for _, r := range runs {
		a.of(r.key).Shipped += r.lines
	}
	a.each(spooled, func(acc *Account) { acc.Shipped--; acc.Spooled++ })
	a.each(lost, func(acc *Account) { acc.Shipped--; acc.Lost++ })
}

// drained says that Kafka has acknowledged records of the spool.
func (a *accounts) drained(records []kafka.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.each(records, func(acc *Account) { acc.Drained++ })
}

// refused says that a record can never be sent, directly or out of the spool.
func (a *accounts) refused(r *kafka.Record, direct bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.each([]kafka.Record{*r}, func(acc *Account) {
		if acc.Lost++; direct {
			acc.Shipped--
		} else {
			acc.Spooled--
			acc.Drained--
		}
	})
}

// each looks for the accounts of records; mu must be held.
func (a *accounts) each(records []kafka.Record, change func(*Account)) {
	var key accountKey // of acc
	var acc *Account
	for i := range records {
		var input, unit []byte
		_ = records[i].EachHeader(func(name string, value []byte) { // they are ours
			switch name {
			case schemas.HeaderInput:
				input = value
			case schemas.HeaderUnit:
				unit = value
			}
		})
		if source := records[i].Key; acc == nil || key.source != string(source) || key.input != string(input) || key.unit != string(unit) {
			key = accountKey{string(input), string(unit), string(source)}
			acc = a.of(key)
		}
		change(acc)
	}
}

// all are copies, by input, unit and source.
func (a *accounts) all() []Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]Account, 0, len(a.by))
	for _, acc := range a.by {
		c := *acc
		c.Queued = max(0, c.Received-c.Shipped-c.Spooled-c.Lost)
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y Account) int {
		return cmp.Or(cmp.Compare(x.Input, y.Input), cmp.Compare(x.Unit, y.Unit), cmp.Compare(x.Source, y.Source))
	})
	return out
}
