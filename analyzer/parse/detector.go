package parse

import (
	"cmp"
	"slices"
	"time"

	"fengsui/schemas"
)

// What a Detector decides by.
const (
	agreeing   = 16  // lines in a row of one format decide it
	undecided  = 512 // lines without a decision: the source mixes formats
	forgiven   = 8   // one line in so many may be of another format before the decision is taken back
	decisions  = 3   // taken back so often, a source mixes formats
	maxSources = 10_000
)

// Mixed is what a source is said to send that mixes formats: each of its lines is
// recognised by itself.
const Mixed = "auto"

// SourceFormat says which format a source's lines, or an input's, have. An empty
// Source or Input is any.
type SourceFormat struct {
	Source string `koanf:"source"`
	Input  string `koanf:"input"`
	Format string `koanf:"format"`
}

// Decision is what was decided of a source.
type Decision struct {
	Unit, Input, Source string
	Format              string    // or Mixed
	Device              string    // whose lines they all were, "" where they were of several or of none
	Since               time.Time // when its last line before the decision was received
	Lines               int       // that it took
	Confidence          float64   // share of the lines read so far that were of the format
}

// Detector decides the format of each source that has none configured, once some
// of its lines agree. It is not safe for concurrent use: each partition has its
// own, since a source's records are in one.
type Detector struct {
	fixed   []SourceFormat
	sources map[sourceID]*source
	onNew   func(Decision)
}

type sourceID struct{ unit, input, source string }

// source is what is known of one source.
type source struct {
	decided    bool
	decision   Decision
	lines      int // since the last decision, or since there is none
	others     int // of them, those of another format
	agreed     int // in a row
	format     string
	device     string
	takenBack  int
	recognised Parser
}

// NewDetector makes a detector. What is fixed outweighs what is detected and what
// the input says. onNew, if not nil, is told each decision.
func NewDetector(fixed []SourceFormat, onNew func(Decision)) *Detector {
	return &Detector{fixed: fixed, sources: map[sourceID]*source{}, onNew: onNew}
}

// Parse parses the event's record by the format its origin names, or else by the
// one decided for its source.
func (d *Detector) Parse(ev *schemas.Event) error {
	for i := range d.fixed {
		if f := &d.fixed[i]; (f.Source == "" || f.Source == ev.Source) && (f.Input == "" || f.Input == ev.Input) {
			ev.Format = f.Format
			return Parse(ev)
		}
	}
	if ev.Format != "auto" && ev.Format != "" {
		return Parse(ev)
	}
	ev.Format = "auto"
	s := d.of(ev)
	if s == nil {
		return Parse(ev)
	}
	if s.decided {
		return d.known(ev, s)
	}
	return d.learn(ev, s)
}

// of is what is known of the event's source; nil where no more can be remembered.
func (d *Detector) of(ev *schemas.Event) *source {
	id := sourceID{ev.Unit, ev.Input, ev.Source}
	s := d.sources[id]
	if s == nil && len(d.sources) < maxSources {
		s = &source{}
		d.sources[id] = s
	}
	return s
}

// known parses a line of a source whose format is decided. A line that is none of
// the format is recognised by itself; too many such lines take the decision back.
func (d *Detector) known(ev *schemas.Event, s *source) error {
	if s.decision.Format == Mixed {
		return Parse(ev)
	}
	s.lines++
	if s.fits(ev) {
		if err := s.recognised(ev); err == nil {
			return nil
		}
		begin(ev)
	}
	s.others++
	if s.lines >= agreeing && s.others*forgiven > s.lines {
		d.takeBack(ev, s)
	}
	return Parse(ev)
}

// fits says that the line may be parsed by the format that was decided. Formats
// that accept nearly everything are held to what the line looks like.
func (s *source) fits(ev *schemas.Event) bool {
	format := s.decision.Format
	if _, device := theDevices().byName[format]; !device && format != "syslog" && format != "json" {
		return true
	}
	line := trimLine(ev.Original)
	return line == "" || recognise(ev, line, nil) == format
}

// takeBack has the source decided anew, unless that happened too often.
func (d *Detector) takeBack(ev *schemas.Event, s *source) {
	s.takenBack++
	back := s.takenBack
	*s = source{takenBack: back}
	if back >= decisions {
		d.decide(ev, s, Mixed, "")
	}
}

// learn recognises a line by itself and counts what it is.
func (d *Detector) learn(ev *schemas.Event, s *source) error {
	x, err := Explain(ev)
	s.lines++
	if err == nil {
		if x.Format != s.format {
			s.format, s.device, s.agreed = x.Format, x.Device, 0
		}
		if x.Device != s.device {
			s.device = ""
		}
		s.agreed++
	}
	switch {
	case s.agreed >= agreeing:
		d.decide(ev, s, s.format, s.device)
	case s.lines >= undecided:
		d.decide(ev, s, Mixed, "")
	}
	return err
}

func (d *Detector) decide(ev *schemas.Event, s *source, format, device string) {
	p, err := Lookup(format)
	if err != nil { // a format that was just recognised
		return
	}
	s.decision = Decision{
		Unit: ev.Unit, Input: ev.Input, Source: ev.Source, Format: format, Device: device, Since: ev.Received, Lines: s.lines, Confidence: s.share(),
	}
	s.decided, s.recognised, s.lines, s.others = true, p, 0, 0
	if d.onNew != nil {
		d.onNew(s.decision)
	}
}

// share is how many of the lines are of the format.
func (s *source) share() float64 {
	switch {
	case s.lines == 0:
		return 1
	case s.decided:
		return float64(s.lines-s.others) / float64(s.lines)
	}
	return float64(s.agreed) / float64(s.lines)
}

// Decisions are what was decided so far, by unit, input and source.
func (d *Detector) Decisions() []Decision {
	var out []Decision
	for _, s := range d.sources {
		if s.decided {
			one := s.decision
			one.Confidence = s.share()
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b Decision) int {
		return cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Input, b.Input), cmp.Compare(a.Source, b.Source))
	})
	return out
}
