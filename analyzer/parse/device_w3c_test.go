package parse

import (
	"testing"

	"fengsui/schemas"
)

// TestW3CColumns: the columns are those of the file's own header lines, the last
// block's where a server wrote another; without them those of the device file.
func TestW3CColumns(t *testing.T) {
	f := func(preamble, line, path, agent, fault string) {
		t.Helper()
		for _, format := range []string{"microsoft-iis", "auto"} {
			if format == "auto" && preamble == "" {
				continue
			}
			ev := sampleEvent(format, line)
			ev.Preamble = preamble
			err := Parse(ev)
			if err != nil || fault != "" {
				if err == nil || err.Error() != "microsoft-iis: "+fault {
					t.Errorf("%s: %q: %v, want %q", format, line, err, fault)
				}
				continue
			}
			if got := ev.Str(schemas.FieldURLPath); got != path {
				t.Errorf("%s: %q: path %q, want %q", format, line, got, path)
			}
			if got := ev.Str(schemas.FieldUserAgentOriginal); got != agent {
				t.Errorf("%s: %q: agent %q, want %q", format, line, got, agent)
			}
		}
	}
	const software = "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n#Date: 2026-12-10 04:00:00\n"
	f("", "2026-12-10 04:00:00 192.0.2.10 GET /a - 443 - 203.0.113.9 Mozilla/5.0+(X11) - 200 0 0 15", "/a", "Mozilla/5.0 (X11)", "")
	f(software+"#Fields: date time cs-uri-stem c-ip sc-status", "2026-12-10 04:00:00 /b 203.0.113.9 200", "/b", "", "")
	f(software+"#Fields: date time c-ip\n"+software+"#Fields: date time c-ip cs-uri-stem cs(User-Agent)", "2026-12-10 04:00:00 203.0.113.9 /c curl/8", "/c", "curl/8", "")
	f(software+"#Fields: date time c-ip", "2026-12-10 04:00:00 203.0.113.9 /d", "", "", "4 columns, and 3 names of columns")
	f(software+"#Fields: date time cs-uri-stem", "2026-12-10", "", "", `no " " between columns`)
}
