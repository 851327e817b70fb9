package schemas

import (
	"strconv"
	"time"
)

// Level is a rule's or an alert's severity, in Sigma's words.
type Level string

// The levels, from lowest to highest.
const (
	Informational Level = "informational"
	Low           Level = "low"
	Medium        Level = "medium"
	High          Level = "high"
	Critical      Level = "critical"
)

// MatchKind says what kind of finding a Match carries.
type MatchKind string

// The kinds of match.
const (
	MatchRule   MatchKind = "rule"   // a rule's condition held for one event
	MatchMining MatchKind = "mining" // one piece of mining evidence
)

// Satisfied is one field value that satisfied one selection of a rule.
type Satisfied struct {
	Selection string `json:"selection"`
	Field     string `json:"field"`
	Value     string `json:"value"`
}

// Rule is what a match and an alert repeat of the rule that made them.
type Rule struct {
	ID    string   `json:"id"`
	Title string   `json:"title"`
	Level Level    `json:"level"`
	Tags  []string `json:"tags,omitempty"`
}

// Match is a record of the topic matches: one event met one rule, counts for one
// correlation, or carried one piece of mining evidence. Redelivery repeats it
// unchanged. It holds all that counting it needs: no rule is looked up for it.
type Match struct {
	Kind      MatchKind       `json:"kind,omitempty"`
	EventID   string          `json:"event_id,omitempty"`
	Time      time.Time       `json:"time,omitzero"` // event time
	Received  time.Time       `json:"received,omitzero"`
	Unit      string          `json:"unit,omitempty"`
	Host      string          `json:"host,omitempty"`
	Rule      Rule            `json:"rule,omitzero"`
	Group     []GroupValue    `json:"group,omitempty"` // what alerts are grouped by, in the rule's order
	Quiet     time.Duration   `json:"quiet,omitempty"` // matches of a group within this time of its alert's first join it; 0 is the default
	Satisfied []Satisfied     `json:"satisfied,omitempty"`
	Summary   string          `json:"summary,omitempty"` // the event in one line
	Drill     bool            `json:"drill,omitempty"`
	Mining    *MiningEvidence `json:"mining,omitempty"`

	// Of a correlation, whose identity Rule then is.
	Correlation *Correlation `json:"correlation,omitempty"`
	Base        int          `json:"base,omitempty"`    // which of Correlation.Rules was met
	From        string       `json:"from,omitempty"`    // id of the correlation that was met, where that is the base rule
	Values      []string     `json:"values,omitempty"`  // what value_count counts
	Numbers     []float64    `json:"numbers,omitempty"` // what the numeric types compute with
	// Next are the matches that this one becomes when its correlation is met:
	// those of the correlations that refer to it, without what they share with
	// this one (event, time, place).
	Next []Match `json:"next,omitempty"`
}

// GroupValue is one field of a group with its value in this match.
type GroupValue struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// ID is the match's own id: of the event, of what it met, and of the base rule
// where each of them counts. Of the base rules of a count one event counts once.
func (m *Match) ID() string {
	if m.Kind == MatchMining && m.Mining != nil {
		return m.EventID + "/mining/" + string(m.Mining.Kind) + "/" + m.Mining.Pool
	}
	id := m.EventID + "/" + m.Rule.ID
	if m.CountsBase() {
		id += "/" + strconv.Itoa(m.Base)
	}
	return id
}

// CountsBase says that the base rule is part of the id.
func (m *Match) CountsBase() bool {
	return m.Correlation != nil && (m.From != "" || m.Correlation.Type.IsTemporal())
}

// Key is the record's key: all matches that one alert or one detection can be
// made of share it, so they share a partition. An alert of a detection is of one
// unit: hosts, accounts and private addresses of one name are in many of them. A
// correlation counts by its group alone.
func (m *Match) Key() string {
	if m.Kind == MatchMining {
		return "mining/" + m.Unit + "/" + m.Host
	}
	n := len(m.Rule.ID)
	for i := range m.Group {
		n += 1 + len(m.Group[i].Value)
	}
	unit := m.keyUnit()
	k := append(make([]byte, 0, n+1+len(unit)), m.Rule.ID...)
	if unit != "" {
		k = append(append(k, '\x1e'), unit...)
	}
	for i := range m.Group {
		k = append(append(k, '\x1f'), m.Group[i].Value...)
	}
	return string(k)
}

// keyUnit is the unit that is part of the key.
func (m *Match) keyUnit() string {
	if m.Correlation != nil {
		return ""
	}
	return m.Unit
}

// AlertStatus is where an alert is in its life.
type AlertStatus string

// The states of an alert.
const (
	AlertOpen   AlertStatus = "open"
	AlertClosed AlertStatus = "closed"
)

// AlertKind says which part of the analyzer raised the alert.
type AlertKind string

// The kinds of alert.
const (
	AlertRule   AlertKind = "rule"
	AlertMining AlertKind = "mining"
	AlertDrift  AlertKind = "drift"
)

// Alert is what a person is told, once for one cause. It is updated in place:
// the same id with a higher Version replaces it.
type Alert struct {
	ID        string       `json:"id"` // from rule, group and first match, or the drift's id
	Version   uint64       `json:"version"`
	Kind      AlertKind    `json:"kind"`
	Status    AlertStatus  `json:"status"`
	Rule      Rule         `json:"rule"`
	Unit      string       `json:"unit,omitempty"`
	Host      string       `json:"host,omitempty"`
	Group     []GroupValue `json:"group,omitempty"`
	First     time.Time    `json:"first"`  // event time of the first match
	Last      time.Time    `json:"last"`   // event time of the latest match
	Raised    time.Time    `json:"raised"` // when the alert was first written
	Updated   time.Time    `json:"updated"`
	Received  time.Time    `json:"received"` // when the collector accepted the event that raised it
	Count     uint64       `json:"count"`    // matches so far
	EventIDs  []string     `json:"event_ids,omitempty"`
	Satisfied []Satisfied  `json:"satisfied,omitempty"` // of the match that raised it
	Summary   string       `json:"summary,omitempty"`
	Reason    string       `json:"reason,omitempty"` // why it closed
	Drill     bool         `json:"drill,omitempty"`

	Correlation *Reached `json:"correlation,omitempty"` // what was counted, of a correlation

	// Who had the alert's addresses at its first and last event, as far as leases,
	// logins and translations tell: at most MaxWho, in order of time. It comes
	// after the alert, as a version of its own.
	Who []Identity `json:"who,omitempty"`

	// Suppressed counts the alerts that were not raised after this one because
	// the rule is throttled.
	Suppressed uint64 `json:"suppressed,omitempty"`

	// Partition and Offset are the last record of the source topic that is
	// counted in: a record at or before Offset is not counted again.
	Partition int   `json:"partition"`
	Offset    int64 `json:"offset"`
}

// MaxAlertEvents bounds Alert.EventIDs and the evidence kept in a detection:
// the first half stays, the newest replace one another in the second.
const MaxAlertEvents = 100
