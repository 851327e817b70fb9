package correlate

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"fengsui/rules"
	"fengsui/schemas"
)

// definition is a correlation made ready for counting.
type definition struct {
	*schemas.Correlation
	kind   kind
	span   int64 // nanoseconds
	keep   int64 // how long before its newest a window's events are kept: late ones may need them
	cond   []comparison
	logic  *rules.Logic
	share  float64 // of the percentile, 0 to 1
	chains []chain // of temporal_ordered: any of them, in order
	rising bool    // one event more never undoes the condition
	sorted bool    // the order of events of one time matters
}

// chain is a sequence of base rules; place has each rule's position in it, or -1.
type chain struct {
	length int
	place  []int
	first  int // where the chain begins in window.starts
}

type kind uint8

const (
	eventCount kind = iota
	valueCount
	temporal
	ordered
	sumOf
	average
	percentile
)

type comparison struct {
	op    byte
	value float64
}

// define refuses what no rule of ours can say: the topic may hold anything.
func define(c *schemas.Correlation, lateness time.Duration) (*definition, error) {
	d := &definition{Correlation: c, span: int64(c.Timespan), keep: int64(c.Timespan + lateness)}
	if c.Timespan <= 0 || c.Timespan > rules.MaxTimespan {
		return nil, fmt.Errorf("a timespan of %s", c.Timespan)
	}
	if len(c.Rules) == 0 || len(c.Rules) > rules.MaxBaseRules {
		return nil, fmt.Errorf("%d base rules", len(c.Rules))
	}
	d.rising = true
	for _, cmp := range c.Condition {
		op, ok := map[string]byte{"gt": '>', "gte": 'g', "lt": '<', "lte": 'l', "eq": '=', "neq": '!'}[cmp.Op]
		if !ok {
			return nil, fmt.Errorf("an operator %q", cmp.Op)
		}
		d.rising = d.rising && (op == '>' || op == 'g')
		d.cond = append(d.cond, comparison{op, cmp.Value})
	}
	switch c.Type {
	case schemas.EventCount:
		d.kind = eventCount
	case schemas.ValueCount:
		d.kind = valueCount
	case schemas.Temporal:
		d.kind = temporal
	case schemas.TemporalOrdered:
		d.kind, d.sorted = ordered, true
	case schemas.ValueSum:
		d.kind, d.rising = sumOf, false
	case schemas.ValueAvg:
		d.kind, d.rising = average, false
	case schemas.ValueMedian:
		d.kind, d.rising, d.share = percentile, false, 0.5
	case schemas.ValuePercentile:
		d.kind, d.rising, d.share = percentile, false, c.Percentile/100
	default:
		return nil, fmt.Errorf("a type %q", c.Type)
	}
	if len(c.Condition) == 0 && (c.Logic == "" || !c.Type.IsTemporal()) {
		return nil, errors.New("no condition")
	}
	if c.Logic != "" {
		var names []string
		for _, r := range c.Rules {
			names = append(names, r.Name)
		}
		l, err := rules.ParseLogic(c.Logic, names)
		if err != nil {
			return nil, err
		}
		d.logic, d.rising = l, l.Rising()
	}
	if d.kind == ordered {
		if err := d.order(); err != nil {
			return nil, err
		}
	}
	d.sorted = d.sorted || !d.rising
	return d, nil
}

// order finds the sequences of rules, each of which meets the condition: of
// every smallest set of rules that does, in the order of the list.
func (d *definition) order() error {
	n := len(d.Rules)
	var sets []uint64
	if d.logic != nil {
		if !d.logic.Rising() {
			return errors.New("an order with not")
		}
		sets = d.logic.Sets()
	} else {
		for k := 1; k <= n && sets == nil; k++ {
			if schemas.AllHold(d.Condition, float64(k)) {
				if sets = rules.AtLeast(k, n); sets == nil {
					break
				}
			}
		}
	}
	if len(sets) == 0 {
		return errors.New("too many orders of rules")
	}
	d.rising = true
	first := 0
	for _, s := range sets {
		c := chain{length: bits.OnesCount64(s), place: slices.Repeat([]int{-1}, n), first: first}
		at := 0
		for i := range n {
			if s&(1<<i) != 0 {
				c.place[i] = at
				at++
			}
		}
		first += c.length
		d.chains = append(d.chains, c)
	}
	return nil
}

// met compares a count or a computed value with the condition.
func (d *definition) met(v float64) bool {
	for _, c := range d.cond {
		ok := false
		switch c.op {
		case '>':
			ok = v > c.value
		case 'g':
			ok = v >= c.value
		case '<':
			ok = v < c.value
		case 'l':
			ok = v <= c.value
		case '=':
			ok = v == c.value
		case '!':
			ok = v != c.value
		}
		if !ok {
			return false
		}
	}
	return true
}
