package parse

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fengsui/schemas"
	"fengsui/schemas/devices"
)

// TestDevices reads the samples beside every device file, schemas/devices/
// <id>.log, a line a record, lines that begin with # being remarks, and compares
// the events with <id>.golden.jsonl (-update writes it anew). Each sample is read
// as its device's, and, where the device is recognised, gives the same event when
// only its syslog is known. What no sample exercises is a fault.
func TestDevices(t *testing.T) {
	for _, f := range theDevices().formats {
		t.Run(f.Name, func(t *testing.T) {
			base := filepath.Join("..", "..", "schemas", "devices", f.Name)
			data, err := os.ReadFile(base + ".log")
			if err != nil {
				t.Fatal("a device has samples: ", err)
			}
			d, err := devices.Read(f.Name+".yaml", mustRead(t, base+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			seen := newCoverage()
			var out []byte
			for line := range strings.Lines(string(data)) {
				line = strings.TrimSuffix(line, "\n")
				if strings.HasPrefix(line, "#Fields:") { // of the lines that follow
					seen.preamble = line
				}
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				out = append(append(out, seen.sample(t, d, line)...), '\n')
			}
			seen.check(t, d)
			golden := base + ".golden.jsonl"
			if *update {
				if err := os.WriteFile(golden, out, 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			compareLines(t, out, mustRead(t, golden))
		})
	}
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// coverage is what the samples of a device exercise.
type coverage struct {
	preamble string
	fields   map[string]bool
	when     map[int]bool
	messages map[string]bool
	headers  map[int]bool
	patterns map[string]bool
	ignored  map[string]bool
	detect   map[int]bool
}

func newCoverage() *coverage {
	return &coverage{"", map[string]bool{}, map[int]bool{}, map[string]bool{}, map[int]bool{}, map[string]bool{}, map[string]bool{}, map[int]bool{}}
}

func sampleEvent(format, line string) *schemas.Event {
	return &schemas.Event{Original: line, Origin: schemas.Origin{Format: format, Received: received, Source: "192.0.2.250", Unit: "jyt"}}
}

func (c *coverage) event(format, line string) *schemas.Event {
	ev := sampleEvent(format, line)
	ev.Preamble = c.preamble
	return ev
}

func eventText(ev *schemas.Event) string {
	ev.Original = ""
	return string(ev.AppendJSON(nil))
}

// sample parses one line and returns the event.
func (c *coverage) sample(t *testing.T, d *devices.Device, line string) string {
	t.Helper()
	ev := c.event(d.ID, line)
	x, err := Explain(ev)
	if err != nil {
		t.Errorf("%v: %s", err, line)
		return ""
	}
	checkTypes(t, ev)
	text := eventText(ev)
	again := c.event(d.ID, line)
	if err := Parse(again); err != nil || eventText(again) != text {
		t.Errorf("explained otherwise than parsed (%v):\n%s\n%s", err, text, eventText(again))
	}
	for _, p := range x.Left {
		if _, known := schemas.LookupField(p.Key); known && strings.Contains(p.Key, ".") {
			t.Errorf("%s=%q could not be read as that field: %s", p.Key, p.Value, line)
		}
	}
	c.note(&x)
	if len(d.Detect) > 0 {
		c.recognised(t, d, line, text)
	}
	return text
}

func (c *coverage) note(x *Explanation) {
	c.messages[x.Message] = true
	c.headers[x.header] = true
	for _, f := range x.Fields {
		c.fields[fieldKey(f.line, f.Key)] = true
	}
	for _, line := range x.when {
		c.when[line] = true
	}
	for _, p := range x.patterns {
		c.patterns[p] = true
	}
	for _, p := range x.Ignored {
		c.ignored[p.Key] = true
	}
}

// recognised holds the line to be found without its format's name.
func (c *coverage) recognised(t *testing.T, d *devices.Device, line, want string) {
	t.Helper()
	ev := c.event("auto", line)
	x, err := Explain(ev)
	switch {
	case err != nil:
		t.Errorf("auto: %v: %s", err, line)
	case x.Device != d.ID:
		t.Errorf("auto: recognised as %q (format %s): %s", x.Device, x.Format, line)
	case eventText(ev) != want:
		t.Errorf("auto gives another event:\n got %s\nwant %s", eventText(ev), want)
	}
	for _, line := range x.detect {
		c.detect[line] = true
	}
}

func fieldKey(line int, key string) string { return fmt.Sprintf("%d %s", line, key) }

// check names what no sample exercised.
func (c *coverage) check(t *testing.T, d *devices.Device) {
	t.Helper()
	at := func(line int, format string, args ...any) {
		t.Helper()
		t.Errorf("%s:%d: no sample exercises "+format, append([]any{d.File, line}, args...)...)
	}
	layer := func(l *devices.Layer, line int) {
		for _, f := range l.Fields {
			for _, target := range f.Targets {
				if key := strings.Join(f.Keys, " + "); !c.fields[fieldKey(target.Line, key)] {
					at(target.Line, "%s: %s", key, target.To)
				}
			}
		}
		for _, w := range l.When {
			if !c.when[w.Line] {
				at(w.Line, "this condition")
			}
		}
		for _, key := range l.Ignore {
			if prefix, ok := strings.CutSuffix(key, "*"); ok && anyKey(c.ignored, prefix) || c.ignored[key] {
				continue
			}
			at(line, "ignore: %s", key)
		}
		if l.Structure != nil {
			for _, p := range l.Structure.Patterns {
				if !c.patterns[p] {
					at(l.Structure.Line, "the pattern %q", p)
				}
			}
		}
	}
	layer(&d.Layer, 1)
	for i := range d.Header {
		if !c.headers[i] {
			at(1, "the header %q", d.Header[i])
		}
	}
	for i := range d.Messages {
		m := &d.Messages[i]
		if !c.messages[m.Name] {
			at(m.Line, "the message %q", m.Name)
		}
		layer(&m.Layer, m.Line)
	}
	for _, detect := range d.Detect {
		if !c.detect[detect.Line] {
			at(detect.Line, "this way to recognise the device")
		}
	}
}

func anyKey(keys map[string]bool, prefix string) bool {
	return slices.ContainsFunc(sortedKeys(keys), func(k string) bool { return strings.HasPrefix(k, prefix) })
}

// TestDeviceFilesAlone: every sample belongs to a device.
func TestDeviceFilesAlone(t *testing.T) {
	files, err := filepath.Glob("../../schemas/devices/*.log")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples", err)
	}
	for _, file := range files {
		id := strings.TrimSuffix(filepath.Base(file), ".log")
		if _, ok := theDevices().byName[id]; !ok {
			t.Errorf("%s has samples but no file", id)
		}
	}
}
