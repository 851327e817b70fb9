package parse

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

// TestRFC5424AgainstGoSyslog generates messages by the RFC's grammar and reads
// them with another parser too: both must see the same.
func TestRFC5424AgainstGoSyslog(t *testing.T) {
	machine := rfc5424.NewParser()
	rapid.Check(t, func(t *rapid.T) {
		line := draw5424(t)
		want, err := machine.Parse([]byte(line))
		if err != nil {
			t.Fatalf("the oracle refuses %q: %v", line, err)
		}
		m := want.(*rfc5424.SyslogMessage)
		ev, err := parsed("syslog", line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		text := func(s *string) string {
			if s == nil {
				return ""
			}
			return *s
		}
		same := func(id schemas.FieldID, want string) {
			if got := ev.Get(id).Text(); got != want {
				t.Fatalf("%s = %q, want %q in %q", id, got, want, line)
			}
		}
		same(schemas.FieldLogSyslogPriority, fmt.Sprint(*m.Priority))
		same(schemas.FieldLogSyslogFacilityCode, fmt.Sprint(*m.Facility))
		same(schemas.FieldLogSyslogSeverityCode, fmt.Sprint(*m.Severity))
		same(schemas.FieldLogSyslogVersion, fmt.Sprint(m.Version))
		same(schemas.FieldLogSyslogHostname, text(m.Hostname))
		same(schemas.FieldLogSyslogAppname, text(m.Appname))
		same(schemas.FieldLogSyslogProcid, text(m.ProcID))
		same(schemas.FieldLogSyslogMsgid, text(m.MsgID))
		same(schemas.FieldMessage, strings.TrimPrefix(text(m.Message), bom))
		at := received.UTC()
		if m.Timestamp != nil {
			at = m.Timestamp.UTC()
		}
		if !ev.Time().Equal(at) {
			t.Fatalf("time %v, want %v in %q", ev.Time(), at, line)
		}
		sameData(t, ev.Str(schemas.FieldLogSyslogStructuredData), m.StructuredData, line)
	})
}

func sameData(t *rapid.T, text string, want *map[string]map[string]string, line string) {
	if want == nil {
		if text != "" {
			t.Fatalf("structured data %s, want none in %q", text, line)
		}
		return
	}
	var got map[string]map[string]string
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("structured data %s: %v in %q", text, err, line)
	}
	if len(got) != len(*want) {
		t.Fatalf("%d elements, want %d in %q", len(got), len(*want), line)
	}
	for id, params := range *want {
		for name, value := range params {
			// The oracle leaves the escapes of some values as written.
			value = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\]`, `]`).Replace(value)
			if got[id][name] != value || len(got[id]) != len(params) {
				t.Fatalf("%s %s = %q, want %q in %q", id, name, got[id][name], value, line)
			}
		}
	}
}

func draw5424(t *rapid.T) string {
	word := func(name string, most int) string {
		if rapid.Bool().Draw(t, name+" nil") {
			return "-"
		}
		return rapid.StringMatching(fmt.Sprintf(`[!-,.-~][!-~]{0,%d}`, most-1)).Draw(t, name)
	}
	at := "-"
	if rapid.Bool().Draw(t, "has time") {
		when := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), rapid.Int64Range(0, 999999).Draw(t, "micros")*1000)
		zone := rapid.IntRange(-12*60, 14*60).Draw(t, "zone")
		layout := rapid.SampledFrom([]string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05.999999Z07:00", "2006-01-02T15:04:05.000Z07:00"}).Draw(t, "layout")
		at = when.In(time.FixedZone("", zone*60)).Format(layout)
	}
	line := fmt.Sprintf("<%d>1 %s %s %s %s %s %s", rapid.IntRange(0, 191).Draw(t, "pri"), at,
		word("host", 40), word("app", 48), word("proc", 20), word("id", 32), drawData(t))
	if rapid.Bool().Draw(t, "has message") {
		line += " " + rapid.StringMatching(`(\x{feff})?[ -~]{0,20}(中文|é)?[!-~]`).Draw(t, "message")
	}
	return line
}

func drawData(t *rapid.T) string {
	ids := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z][a-zA-Z0-9]{0,6}(@[0-9]{1,5})?`), 0, 3, rapid.ID[string]).Draw(t, "ids")
	if len(ids) == 0 {
		return "-"
	}
	var b strings.Builder
	for _, id := range ids {
		b.WriteString("[" + id)
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z]{1,8}`), 0, 3, rapid.ID[string]).Draw(t, "names")
		slices.Sort(names)
		for _, name := range names {
			value := rapid.StringMatching(`([ -!#-\[^-~]|\\"|\\\]|中|é){0,12}`).Draw(t, "value")
			value = strings.ReplaceAll(value, `\`, ``) // only the escapes below
			value = strings.NewReplacer(`"`, `\"`, `]`, `\]`).Replace(value)
			b.WriteString(" " + name + `="` + value + `"`)
		}
		b.WriteString("]")
	}
	return b.String()
}

// TestYear resolves the year that RFC 3164 leaves out.
func TestYear(t *testing.T) {
	f := func(received, line, want string) {
		t.Helper()
		at, err := time.Parse(time.RFC3339, received)
		if err != nil {
			t.Fatal(err)
		}
		ev := &schemas.Event{Original: "<13>" + line + " host app: x", Origin: schemas.Origin{Format: "syslog", Received: at}}
		err = Parse(ev)
		got := ev.Time().In(at.Location()).Format("2006-01-02T15:04:05")
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q received %s is %s, want %s (%v)", line, received, got, want, err)
		}
	}
	f("2027-01-01T00:00:01+08:00", "Dec 31 23:59:59", "2026-12-31T23:59:59")
	f("2026-12-31T23:59:59+08:00", "Jan  1 00:00:01", "2027-01-01T00:00:01") // its clock is ahead
	f("2026-12-31T23:59:59+08:00", "Jan  2 12:00:00", "2026-01-02T12:00:00") // that far ahead is not believed
	f("2026-06-15T12:00:00+08:00", "Jun 15 12:00:00", "2026-06-15T12:00:00")
	f("2026-06-15T12:00:00+08:00", "Jun 17 12:00:00", "2025-06-17T12:00:00")
	f("2028-03-01T00:00:00+08:00", "Feb 29 12:00:00", "2028-02-29T12:00:00")
	f("2027-03-01T00:00:00+08:00", "Feb 29 12:00:00", "2024-02-29T12:00:00")
	f("2103-03-01T00:00:00+08:00", "Feb 29 12:00:00", "2096-02-29T12:00:00") // 2100 is no leap year
	f("2026-06-15T12:00:00+08:00", "Feb 30 12:00:00", "error")
	f("2026-06-15T12:00:00+08:00", "Jun  0 12:00:00", "error")
	f("2026-06-15T12:00:00+08:00", "Jun 15 24:00:00", "error")
	f("2026-06-15T00:30:00Z", "Jun 15 08:30:00", "2026-06-15T08:30:00") // without a zone: the receiver's
	f("0001-01-01T00:00:00Z", "Jun 15 12:00:00", "error")
}

// TestISO holds the time reader to the library's for RFC 3339.
func TestISO(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		when := time.Unix(rapid.Int64Range(-2e9, 9e9).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		text := when.In(time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "zone"))).Format(time.RFC3339Nano)
		want, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := isoWhole(text, time.UTC)
		if err != nil || !got.Equal(want) {
			t.Fatalf("%s read as %v (%v)", text, got, err)
		}
	})
}
