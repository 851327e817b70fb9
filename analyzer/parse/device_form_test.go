package parse

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fengsui/schemas"
)

// FuzzFormed has a device read lines again and again, as their forms are learned:
// the event, the order of its fields and the error are those of a reading that is
// explained, which takes every line as if it were the first.
func FuzzFormed(f *testing.F) {
	formats := theDevices().formats
	for i := range formats {
		lines := deviceSamples(f, formats[i].Name)
		for j := range lines {
			f.Add(lines[j], lines[(j+1)%len(lines)], lines[(j+2)%len(lines)], uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, one, two, three string, which uint8) {
		format := formats[int(which)%len(formats)].Name
		want := map[string]string{}
		for _, line := range []string{one, two, three} {
			ev := sampleEvent(format, line)
			_, err := Explain(ev)
			want[line] = inOrder(ev, err)
		}
		for i, line := range []string{one, one, two, two, one, two, three, three, one, two, three} {
			ev := sampleEvent(format, line)
			err := Parse(ev)
			if got := inOrder(ev, err); got != want[line] {
				t.Fatalf("%s, line %d, %q:\n%s, want\n%s", format, i, line, got, want[line])
			}
		}
	})
}

// inOrder is an event with its fields in the order they were set, or the error.
func inOrder(ev *schemas.Event, err error) string {
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	ev.Each(func(id schemas.FieldID, v schemas.Value) { fmt.Fprintf(&b, "%v %d %s\n", id, v.Kind(), v.Text()) })
	for _, o := range ev.Open() {
		fmt.Fprintf(&b, "%s %d %s\n", o.Name, o.Value.Kind(), o.Value.Text())
	}
	return b.String()
}

func deviceSamples(t testing.TB, device string) (lines []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "schemas", "devices", device+".log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestFormed: of the lines of devices that write key=value alone, the third on end
// is read by its form, but for those that must be looked at more closely.
func TestFormed(t *testing.T) {
	f := func(id, line string, want bool) {
		t.Helper()
		i := slices.IndexFunc(theDevices().finder.known, func(d detection) bool { return d.device.file.ID == id })
		d := theDevices().finder.known[i].device
		r := newDeviceReader(d)
		got := false
		for range 3 {
			h := header{priority: -1, content: line}
			r.ev = &schemas.Event{}
			if got = r.readForm(d, &h); got {
				continue
			}
			if strings.Join(r.values, "") != "" {
				t.Errorf("%s %q leaves values", id, line)
			}
			r.ev.Each(func(schemas.FieldID, schemas.Value) { t.Errorf("%s %q: the event is not as it was", id, line) })
			if _, _, err := r.open(d, &h); err != nil {
				t.Fatal(err)
			}
			r.learn(d)
			r.begin(d)
		}
		if got != want {
			t.Errorf("%s %q: by its form %v, want %v", id, line, got, want)
		}
	}
	f("topsec-ngfw", `id=tos time="2026-12-10 12:00:01" fw=TopsecOS pri=6 type=ac recorder=FW-NAT src=192.0.2.17`, true)
	f("topsec-ngfw", `id=tos time="2026-12-10 12:00:01" fw=TopsecOS pri=6 type=- other=1`, true)
	f("topsec-ngfw", `id=tos time=2026-12-10 12:00:01 fw=TopsecOS pri=6`, false)
	f("topsec-ngfw", `id=tos type=ac type=ac`, false)
	f("topsec-ngfw", `id=tos type=sv_netacc user=a`, false) // of a message with a structure of its own
	f("topsec-ngfw", `id=tos $host=a`, false)
	f("fortinet-fortigate", `date=2026-12-10 time=12:00:01 devid="FG" logid="0000000013" type="traffic" tz="+0800" own=x`, true)
	f("generic-cef", `CEF:0|a|b|c|d|e|5|src=192.0.2.1`, false)
}
