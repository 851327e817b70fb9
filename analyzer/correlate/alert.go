package correlate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"fengsui/schemas"
)

// raised is an alert with the times that it is found by.
type raised struct {
	*schemas.Alert
	first int64 // of its first event
	fired int64 // of the event at which the condition held first
}

func (a *raised) open() bool { return a.Status == schemas.AlertOpen }

// change is one record at work on its group.
type change struct {
	*Fold
	g         *group
	m         *schemas.Match
	partition int
	offset    int64
	now       time.Time
	at        int64
	quiet     time.Duration
}

// covers says that an event of that time joins the alert.
func (c *change) covers(a *raised, at int64) bool {
	return a.open() && at >= a.first && at-a.first <= int64(c.quiet)
}

// counted says that the record was counted in before a restart.
func (c *change) counted(a *raised) bool {
	return c.partition == a.Partition && c.offset <= a.Offset
}

// single is a match of a rule of its own: it joins the latest alert that began
// within quiet of it, or raises one.
func (c *change) single() {
	for _, a := range slices.Backward(c.g.alerts) {
		if d := c.at - a.first; a.open() && d <= int64(c.quiet) && d >= -int64(c.quiet) {
			c.join(a)
			return
		}
	}
	a := c.alert(c.at)
	a.EventIDs = []string{c.m.EventID}
	a.Count = 1
	c.g.addAlert(a)
	c.Fold.alerts = append(c.Fold.alerts, a.Alert)
}

// settle brings the group's alerts in line with the events at which the
// condition holds, after the window's sightings from a place on were looked at.
//
// An alert is raised at the first such event that no other alert covers. It
// begins with the first event of that event's window and covers what follows for
// quiet. Since quiet is no shorter than the timespan and the lateness together,
// a late event can move the beginning of one alert only, and never past events
// that another was told of.
func (c *change) settle(from int) {
	w := &c.g.window
	joined := false
	for _, a := range slices.Backward(c.g.alerts) {
		switch {
		case !a.open():
		case a.fired > c.at || a.fired == c.at && !w.def.rising:
			c.anchor(a, from)
			joined = joined || c.covers(a, c.at)
		case !joined && c.covers(a, c.at):
			c.join(a)
			joined = true
		}
	}
	for i := from; i < len(w.items); i++ {
		if s := &w.items[i]; s.on && !slices.ContainsFunc(c.g.alerts, func(a *raised) bool { return c.covers(a, s.at) }) {
			c.raise(i)
		}
	}
}

// endBefore is the end of what earlier alerts cover: what an alert of that
// beginning counts comes after it.
func (c *change) endBefore(first int64) int64 {
	end := int64(never)
	for _, a := range c.g.alerts {
		if a.open() && a.first < first {
			end = max(end, a.first+int64(c.quiet))
		}
	}
	return end
}

// anchor finds out what a late event did to an alert that was raised by a newer
// one: it may begin earlier, or have no cause any more.
func (c *change) anchor(a *raised, from int) {
	if c.counted(a) {
		return
	}
	w := &c.g.window
	for from > w.head && from < len(w.items) && w.items[from-1].at == w.items[from].at {
		from--
	}
	end := c.endBefore(a.first)
	known := false
	for i := from; i < len(w.items); i++ {
		s := &w.items[i]
		known = known || s.at == a.fired
		if !s.on || s.at <= end {
			continue
		}
		if s.at != a.fired || c.at < a.first && c.at >= a.fired-w.def.span {
			c.recount(a, i, end)
			return
		}
		known = false
		break
	}
	switch {
	case known && !w.def.rising:
		a.Status, a.Reason = schemas.AlertClosed, Withdrawn
		c.touch(a)
	case c.covers(a, c.at):
		c.join(a)
	}
}

// joinOnly is a match that came too late to be counted.
func (c *change) joinOnly() {
	for _, a := range slices.Backward(c.g.alerts) {
		if c.covers(a, c.at) {
			c.join(a)
			return
		}
	}
}

// Withdrawn is the reason of an alert that a late event took the cause from.
const Withdrawn = "a late event came: the condition was not met / 迟到的事件表明条件并未满足"

// raise makes an alert of the window that ends with a sighting.
func (c *change) raise(i int) {
	w := &c.g.window
	a := c.alert(w.items[i].at)
	c.recount(a, i, c.endBefore(w.items[i].at))
	a.Version = 1
	c.g.addAlert(a)
}

// recount makes the alert one that the window ending with a sighting raised, of
// events after the end of earlier alerts. It looks through that window, once for
// each alert, and again when its beginning moves.
func (c *change) recount(a *raised, i int, end int64) {
	w := &c.g.window
	fired := w.items[i].at
	begin := i
	for begin > w.head && w.items[begin-1].at >= fired-w.def.span && w.items[begin-1].at > end {
		begin--
	}
	d := w.def
	a.first, a.fired = w.items[begin].at, fired
	a.First, a.Count, a.EventIDs = timeAt(a.first), 0, nil
	a.Correlation = &schemas.Reached{
		Type: d.Type, Condition: d.Text(), Timespan: d.Timespan, Field: d.Field, Percentile: d.Percentile,
		Value: w.reached, Fired: timeAt(fired),
	}
	var seen [256]uint64
	for k := begin; k < len(w.items) && w.items[k].at-a.first <= int64(c.quiet); k++ {
		s := &w.items[k]
		a.Last = timeAt(s.at)
		if s.more {
			continue
		}
		a.Count++
		seen[s.base]++
		a.addEvent(w.origins[k].eventID)
	}
	for k, r := range d.Rules {
		if seen[k] > 0 {
			a.Correlation.Rules = append(a.Correlation.Rules, schemas.BaseSeen{BaseRule: r, Events: seen[k]})
		}
	}
	c.touch(a)
}

// addEvent names an event in the alert; of several base rules that it met, once.
func (a *raised) addEvent(id string) {
	if n := len(a.EventIDs); n == 0 || a.EventIDs[n-1] != id {
		a.EventIDs = AppendBounded(a.EventIDs, id)
	}
}

// alert is a new one, of the match at hand.
func (c *change) alert(fired int64) *raised {
	m := c.m
	return &raised{first: c.at, fired: fired, Alert: &schemas.Alert{
		ID: alertID(m), Version: 1, Kind: schemas.AlertRule, Status: schemas.AlertOpen, Rule: m.Rule,
		Unit: m.Unit, Host: m.Host, Group: m.Group, First: timeAt(c.at), Last: timeAt(c.at), Raised: c.now, Updated: c.now,
		Received: m.Received, Satisfied: m.Satisfied, Summary: m.Summary, Drill: m.Drill, Partition: c.partition, Offset: c.offset,
	}}
}

// touch notes that the record changed the alert.
func (c *change) touch(a *raised) {
	a.Version++
	a.Partition, a.Offset, a.Updated = c.partition, c.offset, c.now
	c.Fold.alerts = append(c.Fold.alerts, a.Alert)
}

// join adds a match to an alert, unless its record is already counted in.
func (c *change) join(a *raised) {
	if c.counted(a) {
		return
	}
	a.Count++
	if c.at < a.first {
		a.first = c.at
		a.First = timeAt(c.at)
	}
	if at := timeAt(c.at); at.After(a.Last) {
		a.Last = at
	}
	a.addEvent(c.m.EventID)
	if r, w := a.Correlation, &c.g.window; r != nil && c.m.Correlation != nil {
		if n := len(w.items); n > 0 && w.items[n-1].on && w.items[n-1].at == c.at {
			r.Value = w.reached
		}
		c.meet(r)
	}
	c.touch(a)
}

// meet counts the base rule of the match in.
func (c *change) meet(r *schemas.Reached) {
	def := c.m.Correlation
	place := 0 // of the next of r.Rules that is found in def.Rules
	for k := range c.m.Base + 1 {
		if k >= len(def.Rules) {
			return
		}
		is := place < len(r.Rules) && r.Rules[place].Name == def.Rules[k].Name
		switch {
		case k == c.m.Base && is:
			r.Rules[place].Events++
		case k == c.m.Base:
			r.Rules = slices.Insert(r.Rules, min(place, len(r.Rules)), schemas.BaseSeen{BaseRule: def.Rules[k], Events: 1})
		case is:
			place++
		}
	}
}

// chain makes the matches of the correlations that refer to this one, for each
// event at which its condition came to hold. What asks whether it was met counts
// each of them; what asks how often counts one for as long as it holds again
// within a timespan.
func (c *change) chain(from int) {
	w := &c.g.window
	for i := from; i < len(w.items); i++ {
		s := &w.items[i]
		if !s.on || !s.leads || s.told {
			continue
		}
		s.told = true
		last := w.gone
		if i > w.head {
			last = w.items[i-1].fired
		}
		again := last >= s.at-w.def.span
		m := w.origins[i].match
		for _, n := range m.Next {
			if n.Correlation == nil || again && !n.Correlation.Type.IsTemporal() && n.Correlation.Type != schemas.ValueCount {
				continue
			}
			n.Kind, n.EventID, n.Time, n.Received, n.Unit, n.Host = m.Kind, m.EventID, m.Time, m.Received, m.Unit, m.Host
			n.Satisfied, n.Summary, n.Drill = m.Satisfied, m.Summary, m.Drill
			c.Fold.next = append(c.Fold.next, n)
		}
	}
}

func (g *group) addAlert(a *raised) {
	g.alerts = append(g.alerts, a)
	if len(g.alerts) > maxAlerts {
		g.alerts = slices.Delete(g.alerts, 0, len(g.alerts)-maxAlerts)
	}
}

// AppendBounded appends and keeps schemas.MaxAlertEvents: the first half stays,
// the newest replace one another in the second.
func AppendBounded[T any](s []T, v T) []T {
	if len(s) >= schemas.MaxAlertEvents {
		s = slices.Delete(s, schemas.MaxAlertEvents/2, schemas.MaxAlertEvents/2+1)
	}
	return append(s, v)
}

// alertID is made of what raised the alert, so that the same records raise the
// same alert again.
func alertID(m *schemas.Match) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q", []string{m.Key(), m.EventID})
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// SetWho writes into an alert who was behind its addresses, and returns it as
// Add does: nil if it is not held any more.
func (f *Fold) SetWho(found *schemas.Alert, now time.Time) *schemas.Alert {
	g := f.groups.get(hashesOf(matchOf(found)).key)
	if g == nil {
		return nil
	}
	for _, a := range g.alerts {
		if a.ID == found.ID {
			a.Who, a.Updated = found.Who, now
			a.Version++
			return a.Alert
		}
	}
	return nil
}
