package rules

import (
	"fmt"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"fengsui/schemas"
)

// Rule is one Sigma document: a detection, a correlation or a filter, and only
// one of them. Source: Sigma rules, correlation and filters specification 2.1.0.
// Source: Sigma rules specification 2.1.0 and correlation specification 2.1.0.
type Rule struct {
	File string // as it was given to the loader
	Line int    // of the document's first key

	ID             string // of a document without one, made of its title; a filter may have none
	Name           string // short name that correlations may refer to
	Title          string
	Description    string
	Status         string
	Level          schemas.Level // medium when the document does not say
	Author         string
	Tags           []string
	References     []string
	Fields         []string
	FalsePositives []string
	Related        []Related

	LogSource   LogSource
	Detection   *Detection
	Correlation *Correlation
	Filter      *Filter
	Alerting    Alerting
}

// LogSource says which logs a detection reads.
type LogSource struct {
	Product  string
	Category string
	Service  string
	Line     int
}

// String is the log source as product/category/service, "*" for what is unsaid.
func (l LogSource) String() string {
	part := func(s string) string {
		if s == "" {
			return "*"
		}
		return s
	}
	return part(l.Product) + "/" + part(l.Category) + "/" + part(l.Service)
}

// Covers says that the log source is the other or wider.
func (l LogSource) Covers(o LogSource) bool {
	return (l.Product == "" || l.Product == o.Product) && (l.Category == "" || l.Category == o.Category) && (l.Service == "" || l.Service == o.Service)
}

// Detection is a rule's searches and how they combine.
type Detection struct {
	Selections []Selection // in the document's order
	Conditions []Condition // more than one are alternatives
}

// Filter is a condition that matches of other rules must meet, too.
type Filter struct {
	Rules     []Reference // by id or name; "any" is every rule of the log source
	Detection Detection
}

// Any says that the filter is for every rule of its log source.
func (f *Filter) Any() bool {
	return len(f.Rules) == 1 && strings.EqualFold(f.Rules[0].Rule, "any")
}

// Related is what a rule is to another one.
type Related struct {
	Rule string // its id
	Type string // derived, obsolete (the other one is no longer used), merged, renamed or similar
	Line int
}

// Selection is one named search, as it stands in the document: a map, a list of
// maps, a list of keywords, or (named expr, or expr_ and more) the text of an
// expression.
type Selection struct {
	Name string
	Node *yaml.Node
	Line int // of the name
}

// Condition is the text that combines selections.
type Condition struct {
	Text string
	Line int
}

// Correlation counts what its base rules found within a time.
// Source: Sigma correlation rules specification 2.1.0; the boolean condition of
// the temporal types is that of 2.2.0.
type Correlation struct {
	Type       schemas.CorrelationType
	Rules      []Reference
	GroupBy    []string
	Aliases    map[string]map[string]string // alias -> base rule's name or id -> field
	Timespan   time.Duration
	Condition  []schemas.Comparison // all must hold; empty where Logic says it
	Logic      string               // of the temporal types: the base rules' names with and, or, not
	Fields     []string             // whose values are counted
	Percentile float64              // of value_percentile, above 0 and below 100
	Generate   bool                 // the base rules alert by themselves, too
	Line       int
	FieldLine  int // of the condition
}

// Reference names a base rule, a detection or a correlation, by its id or name.
type Reference struct {
	Rule string
	Line int
}

// Alerting is our own attribute `fengsui`: how matches of the rule become alerts.
type Alerting struct {
	Group []string      // fields that tell one alert from another; empty is the matcher's default
	Quiet time.Duration // matches within this time of an alert's first join it; 0 is the default
}

// Error says what is wrong with a rule, and where.
type Error struct {
	File   string
	Line   int
	RuleID string // "" when it could not be read
	Reason string
}

func (e *Error) Error() string {
	if e.RuleID == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
	}
	return fmt.Sprintf("%s:%d: rule %s: %s", e.File, e.Line, e.RuleID, e.Reason)
}
