package schemas

import (
	"strconv"
	"time"
)

// CorrelationType says what a correlation looks at, in Sigma's words.
// Source: Sigma correlation rules specification 2.1.0, "Correlation Types".
type CorrelationType string

// The types of correlation.
const (
	EventCount      CorrelationType = "event_count"
	ValueCount      CorrelationType = "value_count" // distinct values
	Temporal        CorrelationType = "temporal"
	TemporalOrdered CorrelationType = "temporal_ordered"
	ValueSum        CorrelationType = "value_sum"
	ValueAvg        CorrelationType = "value_avg"
	ValuePercentile CorrelationType = "value_percentile"
	ValueMedian     CorrelationType = "value_median"
)

// IsTemporal says that the type asks which base rules were met, not how often.
func (t CorrelationType) IsTemporal() bool { return t == Temporal || t == TemporalOrdered }

// IsNumeric says that the type computes with the numbers of a field.
func (t CorrelationType) IsNumeric() bool {
	return t == ValueSum || t == ValueAvg || t == ValuePercentile || t == ValueMedian
}

// Comparison is one criterion of a correlation's condition.
type Comparison struct {
	Op    string  `json:"op"` // gt, gte, lt, lte, eq or neq
	Value float64 `json:"value"`
}

// Holds compares a count or a computed value.
func (c Comparison) Holds(v float64) bool {
	switch c.Op {
	case "gt":
		return v > c.Value
	case "gte":
		return v >= c.Value
	case "lt":
		return v < c.Value
	case "lte":
		return v <= c.Value
	case "eq":
		return v == c.Value
	case "neq":
		return v != c.Value
	}
	return false
}

func (c Comparison) String() string { return c.Op + " " + strconv.FormatFloat(c.Value, 'g', -1, 64) }

// AllHold says whether a value meets every criterion.
func AllHold(cs []Comparison, v float64) bool {
	for _, c := range cs {
		if !c.Holds(v) {
			return false
		}
	}
	return true
}

// Correlation is how the matches of one rule are counted. A match carries it
// whole, so that what a record means does not depend on the rules that are
// loaded when it is read.
type Correlation struct {
	Type       CorrelationType `json:"type"`
	Timespan   time.Duration   `json:"timespan"` // nanoseconds in JSON
	Condition  []Comparison    `json:"condition,omitempty"`
	Logic      string          `json:"logic,omitempty"` // of the temporal types, over the names of Rules
	Percentile float64         `json:"percentile,omitempty"`
	Field      string          `json:"field,omitempty"`  // what is counted, for people
	Rules      []BaseRule      `json:"rules"`            // in the correlation's order
	Silent     bool            `json:"silent,omitempty"` // it raises no alert, it only counts for others
	Version    string          `json:"version"`          // changes whenever one of the above does
}

// BaseRule is a rule that a correlation counts.
type BaseRule struct {
	Name  string `json:"name"` // as the correlation refers to it
	Title string `json:"title,omitempty"`
}

// Text is the condition in words: "gte 10", "gt 100 and lte 200", "a and not b".
func (c *Correlation) Text() string {
	text := c.Logic
	for i, cmp := range c.Condition {
		if i > 0 {
			text += " and "
		}
		text += cmp.String()
	}
	return text
}

// Reached is what an alert says of the correlation that raised it.
type Reached struct {
	Type       CorrelationType `json:"type"`
	Condition  string          `json:"condition"` // Correlation.Text
	Timespan   time.Duration   `json:"timespan"`  // nanoseconds in JSON
	Field      string          `json:"field,omitempty"`
	Percentile float64         `json:"percentile,omitempty"`
	Value      float64         `json:"value"` // the count or the computed value when the condition held last; of the temporal types how many base rules were met
	Fired      time.Time       `json:"fired"` // event time at which the condition held first
	Rules      []BaseSeen      `json:"rules"` // the base rules that were met, in the correlation's order
}

// BaseSeen is a base rule with the number of its events in an alert.
type BaseSeen struct {
	BaseRule
	Events uint64 `json:"events"`
}
