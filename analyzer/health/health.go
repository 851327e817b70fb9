// Package health watches the sources of logs: one that spoke regularly and falls
// silent, one that speaks far more than it used to, one whose records cannot be
// parsed. It is pure: time comes in with records or as an argument. It never
// looks at what a record says, and sends nothing: its findings are events, which
// the service turns into records of the topic logs, for ordinary rules to alert on.
//
// What is usual for a source is the second greatest daily extreme of the last two
// weeks: the second longest of each day's longest gaps, the second highest of
// each day's busiest hours; on a source's first day, the second longest gap of
// all. So what happens twice (a night, a weekend) is usual, and what happened once
// (an outage, a flood) is not learned.
package health

import (
	"container/list"
	"errors"
	"fmt"
	"time"
)

// Config bounds what is remembered and says what is reported.
type Config struct {
	// Silence is the shortest silence that is reported.
	Silence time.Duration `koanf:"silence"`
	// Factor times the usual longest gap must pass before silence is reported.
	Factor float64 `koanf:"factor"`
	// Learn is how long a source must have spoken before its silence means
	// anything: a file that is imported once never does.
	Learn time.Duration `koanf:"learn"`
	// Surge times the usual busiest hour is reported; SurgeAtLeast is the number
	// of records in an hour below which nothing is.
	Surge        float64 `koanf:"surge"`
	SurgeAtLeast uint64  `koanf:"surge_at_least"`
	// LettersAtLeast dead letters of a source in an hour, which are a tenth of its
	// records or more, are reported.
	LettersAtLeast uint64 `koanf:"letters_at_least"`
	// MaxSources bounds the sources remembered; the longest unheard goes first.
	MaxSources int `koanf:"max_sources"`
}

// DefaultConfig reports a source that is silent for a quarter of an hour and
// three times as long as usual, and one that sends twice as much as usual.
func DefaultConfig() Config {
	return Config{
		Silence: 15 * time.Minute, Factor: 3, Learn: time.Hour,
		Surge: 2, SurgeAtLeast: 10_000, LettersAtLeast: 100, MaxSources: 50_000,
	}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	switch {
	case c.Silence < time.Second || c.Silence > 7*24*time.Hour:
		return fmt.Errorf("silence %v is not between 1s and 168h", c.Silence)
	case c.Learn < 0:
		return errors.New("learn is below zero")
	case c.Factor < 1 || c.Surge < 1:
		return errors.New("factor and surge must be 1 or more")
	case c.SurgeAtLeast == 0 || c.LettersAtLeast == 0:
		return errors.New("surge_at_least and letters_at_least must be above zero")
	case c.MaxSources < 1:
		return errors.New("max_sources must be above zero")
	}
	return nil
}

// Source is who sends: an origin without what differs from record to record.
type Source struct {
	Unit   string
	Source string
	Input  string
	Format string
}

// Kind is what happened to a source. It is the event's event.action.
type Kind string

// The kinds.
const (
	Silent  Kind = "source_silent"       // it fell silent
	Resumed Kind = "source_resumed"      // it speaks again
	Surged  Kind = "source_surged"       // it sends far more than usual in an hour
	Letters Kind = "dead_letters_rising" // many of its records of an hour cannot be parsed
)

// Finding is one thing to report. Kind, Source and Mark are its identity: the
// same records lead to the same again.
type Finding struct {
	Kind   Kind
	Source Source
	Mark   time.Time // Silent: its newest record; Resumed: the first after the silence; else the hour
	At     time.Time // when it was found
	Since  time.Time // of silence: its newest record before

	// Silent: how long it is silent, what its longest gap usually is. Resumed: how
	// long it was silent.
	Gap   time.Duration
	Usual time.Duration
	// Surged: records of the hour so far, and of the busiest hour usually.
	// Letters: dead letters of the hour so far, and all its records.
	Count uint64
	Of    uint64
}

const (
	daysKept = 14
	day      = 24 * time.Hour
	// fewest records of a source before its silence means anything.
	fewest = 10
)

// extreme is what was greatest in one day.
type extreme struct {
	day  int64 // days since 1970
	gap  time.Duration
	next time.Duration // the second longest gap
	peak uint64        // records of the busiest hour
}

type source struct {
	id      Source
	first   time.Time // its oldest record
	last    time.Time // its newest
	heard   time.Time // when we last heard of it, or began to listen
	records uint64
	days    [daysKept]extreme
	hour    time.Time
	inHour  uint64
	letters uint64 // of the hour
	silent  bool   // and reported
	surged  bool   // in the hour, and reported
	broken  bool   // likewise, its letters
}

// Watch is what is known of sources. It is not safe for concurrent use.
type Watch struct {
	cfg     Config
	sources map[Source]*list.Element // of *source
	order   *list.List               // the longest unheard first
	evicted uint64
}

// New makes a watch that knows no source.
func New(cfg Config) *Watch {
	return &Watch{cfg: cfg, sources: map[Source]*list.Element{}, order: list.New()}
}

// Len is the number of sources known, Evicted how many were forgotten to stay
// within MaxSources.
func (w *Watch) Len() int { return len(w.sources) }

// Evicted counts the sources that were forgotten to stay within MaxSources: their
// silence is not noticed until they have been learned again.
func (w *Watch) Evicted() uint64 { return w.evicted }

// Seed tells of records from before: so many of a source, from first to last,
// with no gap among them that matters. Calls for one source come in order of
// time. began is when we began to listen: silence is counted from there.
func (w *Watch) Seed(id Source, first, last time.Time, records uint64, began time.Time) {
	s := w.find(id, first)
	w.gap(s, first)
	s.count(first, records)
	s.last, s.heard = later(s.last, last), later(s.heard, began)
}

// Note takes a record: when the collector accepted it, and when it came to us.
// letter says that it could not be parsed.
func (w *Watch) Note(id Source, received, heard time.Time, letter bool) []Finding {
	s := w.find(id, received)
	var out []Finding
	gap, usual := received.Sub(s.last), s.usualGap(received)
	if s.silent || gap > w.limit(usual) && w.regular(s) {
		out = append(out, Finding{Kind: Resumed, Source: id, Mark: received, At: heard, Since: s.last, Gap: max(gap, 0), Usual: usual})
	}
	s.silent = false
	w.gap(s, received)
	s.count(received, 1)
	s.last, s.heard = later(s.last, received), later(s.heard, heard)
	if letter && received.Truncate(time.Hour).Equal(s.hour) {
		s.letters++
	}
	return append(out, w.loud(s, heard)...)
}

// Silent returns the sources that are silent too long at a time. Each silence is
// returned once: the caller makes sure that it is not lost.
func (w *Watch) Silent(now time.Time) []Finding {
	var out []Finding
	for e := w.order.Front(); e != nil; e = e.Next() {
		s := e.Value.(*source)
		if now.Sub(s.heard) <= w.cfg.Silence {
			break // those after it were heard later
		}
		usual := s.usualGap(now)
		if s.silent || !w.regular(s) || now.Sub(s.heard) <= w.limit(usual) {
			continue
		}
		s.silent = true
		out = append(out, Finding{Kind: Silent, Source: s.id, Mark: s.last, At: now, Since: s.last, Gap: now.Sub(s.last), Usual: usual})
	}
	return out
}

// Deaf says that until now we may have missed what sources said: silence is
// counted from now on.
func (w *Watch) Deaf(now time.Time) {
	for e := w.order.Front(); e != nil; e = e.Next() {
		s := e.Value.(*source)
		s.heard = later(s.heard, now)
	}
}

// find finds a source and marks it as the latest heard, or makes it.
func (w *Watch) find(id Source, at time.Time) *source {
	if e, ok := w.sources[id]; ok {
		w.order.MoveToBack(e)
		return e.Value.(*source)
	}
	if len(w.sources) >= w.cfg.MaxSources {
		e := w.order.Front()
		delete(w.sources, w.order.Remove(e).(*source).id)
		w.evicted++
	}
	s := &source{id: id, first: at, last: at, hour: at.Truncate(time.Hour)}
	w.sources[id] = w.order.PushBack(s)
	return s
}

// gap notes the time since the record before.
func (w *Watch) gap(s *source, at time.Time) {
	d := s.day(at)
	switch gap := at.Sub(s.last); {
	case gap > d.gap:
		d.gap, d.next = gap, d.gap
	case gap > d.next:
		d.next = gap
	}
}

// regular says whether the silence of a source means anything.
func (w *Watch) regular(s *source) bool {
	return s.records >= fewest && s.last.Sub(s.first) >= w.cfg.Learn
}

// limit is the silence after which a source with such a usual gap is reported.
func (w *Watch) limit(usual time.Duration) time.Duration {
	return max(w.cfg.Silence, time.Duration(w.cfg.Factor*float64(usual)))
}

// loud finds what an hour has too much of, once.
func (w *Watch) loud(s *source, heard time.Time) (out []Finding) {
	if !s.broken && s.letters >= w.cfg.LettersAtLeast && s.letters >= s.inHour/10 {
		s.broken = true
		out = append(out, Finding{Kind: Letters, Source: s.id, Mark: s.hour, At: heard, Count: s.letters, Of: s.inHour})
	}
	if s.surged || s.inHour < w.cfg.SurgeAtLeast {
		return out
	}
	if usual, known := s.usualPeak(s.hour); known && float64(s.inHour) > w.cfg.Surge*float64(usual) {
		s.surged = true
		out = append(out, Finding{Kind: Surged, Source: s.id, Mark: s.hour, At: heard, Count: s.inHour, Of: usual})
	}
	return out
}

// count counts records in their hour. What comes late, in an hour that is over,
// is no surge of this one: a collector that empties its spool sends the past.
func (s *source) count(at time.Time, records uint64) {
	s.records += records
	hour := at.Truncate(time.Hour)
	if hour.Before(s.hour) {
		return
	}
	if hour.After(s.hour) {
		s.hour, s.inHour, s.letters, s.surged, s.broken = hour, 0, 0, false, false
	}
	s.inHour += records
	d := s.day(hour)
	d.peak = max(d.peak, s.inHour)
}

// day is the extremes of the day that a time is in.
func (s *source) day(at time.Time) *extreme {
	n := at.Unix() / int64(day/time.Second)
	d := &s.days[((n%daysKept)+daysKept)%daysKept]
	if d.day != n {
		*d = extreme{day: n}
	}
	return d
}

// usualGap is the second longest of the days' longest gaps, or of the gaps of a
// single day.
func (s *source) usualGap(at time.Time) time.Duration {
	usual, days := second(s, at, 1, func(d extreme) int64 { return int64(d.gap) })
	if days == 1 {
		usual, _ = second(s, at, 1, func(d extreme) int64 { return int64(d.next) })
	}
	return time.Duration(usual)
}

// usualPeak is the second highest of the busiest hours of the days before, or the
// highest when there is but one. known is false on the first day.
func (s *source) usualPeak(at time.Time) (usual uint64, known bool) {
	peak, days := second(s, at, 0, func(d extreme) int64 { return int64(d.peak) }) //nolint:gosec // no source sends 2^63 records an hour
	return uint64(peak), days > 0                                                  //nolint:gosec // peaks are not negative
}

// second is the second greatest value of the days kept, up to at and, with today
// 1, with its own day; of a single day it is that day's.
func second(s *source, at time.Time, today int64, of func(extreme) int64) (value int64, days int) {
	n := at.Unix() / int64(day/time.Second)
	var first, next int64
	for _, d := range s.days {
		if d.day <= n-daysKept || d.day >= n+today || d.day == 0 {
			continue
		}
		days++
		switch v := of(d); {
		case days == 1:
			first, next = v, v
		case v > first:
			first, next = v, first
		case days == 2 || v > next:
			next = v
		}
	}
	return next, days
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
