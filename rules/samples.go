package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"fengsui/schemas"
)

// Samples are the events beside a rule file: those that some rule of the file
// must match, and near misses that none may.
type Samples struct {
	Fires  []Sample
	Silent []Sample
}

// Sample is one event of a file of samples. Its id is the file's name and its
// number in it, and it has a time: a second after the one before it where the
// line does not say.
type Sample struct {
	Event *schemas.Event
	File  string
	Line  int
}

// MaxSamples bounds the events of one file of samples, repetitions included.
const MaxSamples = 10_000

// firstSample is when events happened of which no line says so.
var firstSample = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// LoadSamples reads what stands beside a rule file: for x.yml the events of
// x.fires.jsonl and x.silent.jsonl, one a line, as DecodeEvent reads them. A rule
// file without both is an error: nobody knows whether it works.
//
// What a correlation counts need not be written out: a line that also has
//
//	"repeat": {"times": 20, "every": "10s"}
//
// is so many events, each so much later than the one before, in which {n} within
// a text is the event's number among them, from 1.
func LoadSamples(fsys fs.FS, ruleFile string) (Samples, error) {
	base := strings.TrimSuffix(ruleFile, path.Ext(ruleFile))
	var s Samples
	var err error
	if s.Fires, err = readSamples(fsys, base+".fires.jsonl"); err != nil {
		return s, err
	}
	s.Silent, err = readSamples(fsys, base+".silent.jsonl")
	return s, err
}

func readSamples(fsys fs.FS, name string) ([]Sample, error) {
	data, err := readBounded(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: the rule has no such samples", name)
	}
	if err != nil {
		return nil, fmt.Errorf("samples: %w", err)
	}
	var out []Sample
	last := firstSample
	for i, line := range bytes.Split(data, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		events, err := readSample(line, last)
		if err == nil && len(out)+len(events) > MaxSamples {
			err = fmt.Errorf("more than %d events", MaxSamples)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		for _, ev := range events {
			ev.Stream, ev.Seq = name, uint64(len(out)+1)
			last = ev.Time()
			out = append(out, Sample{Event: ev, File: name, Line: i + 1})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: the file has no event", name)
	}
	return out, nil
}

// repeat is how often a line of samples happens.
type repeat struct {
	Times int    `json:"times"`
	Every string `json:"every"`
}

// readSample makes the events of one line. last is the time of the one before.
func readSample(line []byte, last time.Time) ([]*schemas.Event, error) {
	line, times, every, err := cutRepeat(line)
	if err != nil {
		return nil, err
	}
	var out []*schemas.Event
	for n := 1; n <= times; n++ {
		text := line
		if times > 1 {
			text = bytes.ReplaceAll(line, []byte("{n}"), []byte(strconv.Itoa(n)))
		}
		ev, err := DecodeEvent(text)
		if err != nil {
			return nil, err
		}
		at := ev.Time()
		switch {
		case at.IsZero() && n > 1:
			at = last.Add(every)
		case at.IsZero():
			at = last.Add(time.Second)
		default:
			at = at.Add(time.Duration(n-1) * every)
		}
		ev.SetTime(schemas.FieldTimestamp, at)
		ev.Received, last = at, at
		out = append(out, ev)
	}
	return out, nil
}

// cutRepeat takes "repeat" out of a line that has it.
func cutRepeat(line []byte) (rest []byte, times int, every time.Duration, err error) {
	if !bytes.Contains(line, []byte(`"repeat"`)) {
		return line, 1, 0, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return nil, 0, 0, fmt.Errorf("event: %w", err)
	}
	text, ok := fields["repeat"]
	if !ok { // it stands within a value
		return line, 1, 0, nil
	}
	var r repeat
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return nil, 0, 0, fmt.Errorf("repeat: %w", err)
	}
	if r.Times < 1 || r.Times > MaxSamples {
		return nil, 0, 0, fmt.Errorf("repeat: times %d is not between 1 and %d", r.Times, MaxSamples)
	}
	if every, err = time.ParseDuration(r.Every); err != nil || every < 0 {
		return nil, 0, 0, fmt.Errorf(`repeat: every %q is not a time such as "10s"`, r.Every)
	}
	delete(fields, "repeat")
	rest, err = json.Marshal(fields)
	return rest, r.Times, every, err
}
