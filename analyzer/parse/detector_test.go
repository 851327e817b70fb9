package parse

import (
	"fmt"
	"testing"

	"fengsui/schemas"
)

// send has a detector parse a line of a source.
func send(t *testing.T, d *Detector, source, format, line string) *schemas.Event {
	t.Helper()
	ev := &schemas.Event{Original: line, Origin: schemas.Origin{Format: format, Source: source, Input: "edge", Unit: "jyt", Received: received}}
	if err := d.Parse(ev); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return ev
}

const (
	combinedLine = `192.0.2.7 - - [10/Dec/2026:13:55:36 +0800] "GET /index.html HTTP/1.1" 200 2326 "-" "curl/8.0"`
	sshdLine     = "<86>Dec 10 12:00:00 gw1 sshd[1201]: Failed password for root from 192.0.2.7 port 40022 ssh2"
	asaLine      = "<166>Dec 10 2026 12:00:04 asa1 : %ASA-4-106023: Deny tcp src outside:203.0.113.99/40022 dst inside:192.0.2.10/445"
)

// TestDetector: a source is decided once its lines agree, and what is decided can
// be seen, is taken back when it does not hold, and yields to the configuration.
func TestDetector(t *testing.T) {
	var told []string
	d := NewDetector([]SourceFormat{{Source: "192.0.2.99", Format: "syslog"}}, func(x Decision) {
		told = append(told, fmt.Sprintf("%s %s %q %d", x.Source, x.Format, x.Device, x.Lines))
	})
	for range agreeing {
		send(t, d, "192.0.2.1", "auto", combinedLine)
		send(t, d, "192.0.2.2", "auto", asaLine)
	}
	send(t, d, "192.0.2.3", "auto", asaLine) // too few
	for i := range agreeing {                // a relay: one format, several programs and devices
		send(t, d, "192.0.2.4", "", []string{sshdLine, asaLine}[i%2])
	}
	for range agreeing {
		send(t, d, "192.0.2.98", "syslog", asaLine) // configured: nothing to decide
		if ev := send(t, d, "192.0.2.99", "auto", combinedLine); ev.Str(schemas.FieldEventModule) != "system" {
			t.Errorf("what is fixed was not parsed so: %s", ev.AppendJSON(nil))
		}
	}
	want := []string{`192.0.2.1 apache-access "" 16`, `192.0.2.2 syslog "cisco-asa" 16`, `192.0.2.4 syslog "" 16`}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("decided %v, want %v", told, want)
	}
	if got := d.Decisions(); len(got) != 3 || got[1].Device != "cisco-asa" || got[1].Confidence != 1 || !got[1].Since.Equal(received) {
		t.Errorf("shown %+v", got)
	}
	// A line of another format is parsed all the same, and does not change the decision.
	if ev := send(t, d, "192.0.2.1", "auto", sshdLine); ev.Str(schemas.FieldEventAction) != "ssh_login" {
		t.Errorf("another format's line: %s", ev.AppendJSON(nil))
	}
	// The source is now another device: it is decided anew.
	for range 2 * agreeing {
		send(t, d, "192.0.2.1", "auto", sshdLine)
	}
	if got := d.Decisions()[0]; got.Format != "syslog" {
		t.Errorf("still decided as %q", got.Format)
	}
}

// TestDetectorMixed: a source that mixes formats stays auto.
func TestDetectorMixed(t *testing.T) {
	d := NewDetector(nil, nil)
	for i := range undecided {
		send(t, d, "192.0.2.1", "auto", []string{sshdLine, combinedLine, `{"a":1}`}[i%3])
	}
	if got := d.Decisions(); len(got) != 1 || got[0].Format != Mixed {
		t.Errorf("decided %+v", got)
	}
	for i := range 40 * agreeing { // long stretches of each
		send(t, d, "192.0.2.2", "auto", []string{sshdLine, combinedLine}[i/(3*agreeing)%2])
	}
	if got := d.Decisions(); len(got) != 2 || got[1].Format != Mixed {
		t.Errorf("decided %+v", got)
	}
}

// TestDetectorBounded: more sources than can be remembered are parsed as before.
func TestDetectorBounded(t *testing.T) {
	d := NewDetector(nil, nil)
	for i := range maxSources + 10 {
		send(t, d, fmt.Sprint("s", i), "auto", "plain text")
	}
	if len(d.sources) != maxSources {
		t.Errorf("%d sources are remembered", len(d.sources))
	}
}
