package parse

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fengsui/schemas/devices"
)

// FuzzDevices has every device read any line, starting from the samples of all:
// an error that says something, or an event with typed fields that comes out the
// same again.
func FuzzDevices(f *testing.F) {
	files, err := filepath.Glob("../../schemas/devices/*.log")
	if err != nil || len(files) == 0 {
		f.Fatal("no samples", err)
	}
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			f.Add(strings.TrimSuffix(line, "\n"), uint8(i))
		}
	}
	formats := append([]Format{{Name: "auto"}}, theDevices().formats...)
	f.Fuzz(func(t *testing.T, line string, which uint8) {
		format := formats[int(which)%len(formats)].Name
		ev, again := sampleEvent(format, line), sampleEvent(format, line)
		err, err2 := Parse(ev), Parse(again)
		if (err == nil) != (err2 == nil) || err != nil && (err.Error() == "" || err.Error() != err2.Error()) {
			t.Fatalf("errors differ: %v, %v", err, err2)
		}
		if err != nil {
			return
		}
		text := eventText(ev)
		if !json.Valid([]byte(text)) || text != eventText(again) {
			t.Fatalf("not the same again:\n%s\n%s", text, eventText(again))
		}
		checkTypes(t, ev)
		explained := sampleEvent(format, line)
		if _, err := Explain(explained); err != nil || eventText(explained) != text {
			t.Fatalf("explained otherwise (%v):\n%s\n%s", err, text, eventText(explained))
		}
	})
}

// FuzzW3C reads lines under any header lines: an error that says something, or an
// event that comes out the same again, whatever columns were known before.
func FuzzW3C(f *testing.F) {
	f.Add("#Fields: date time s-ip cs-method cs(User-Agent) sc-status", "2026-12-10 04:00:01 192.0.2.10 GET Mozilla/5.0+(X11) 200", true)
	f.Add("#Software: x\n#Fields:\n#Fields: a b", "1 2", false)
	f.Add("#Fields: date-time,client-ip,source", "2026-12-10T04:00:01Z,192.0.2.1,\"a, \"\"b\"", false)
	f.Add("", "", true)
	f.Fuzz(func(t *testing.T, preamble, line string, iis bool) {
		format := "microsoft-exchange"
		if iis {
			format = "microsoft-iis"
		}
		read := func(preamble string) (string, error) {
			ev := sampleEvent(format, line)
			ev.Preamble = preamble
			err := Parse(ev)
			return eventText(ev), err
		}
		text, err := read(preamble)
		if err != nil && err.Error() == "" {
			t.Fatal("an error that says nothing")
		}
		_, _ = read("#Fields: x y z")
		again, err2 := read(preamble)
		if (err == nil) != (err2 == nil) || err == nil && (again != text || !json.Valid([]byte(text))) {
			t.Fatalf("not the same again: %v, %v\n%s\n%s", err, err2, text, again)
		}
	})
}

// FuzzTimeFormat reads any text by any pattern: a time that can be stored, or
// none.
func FuzzTimeFormat(f *testing.F) {
	f.Add("%Y-%m-%d %H:%M:%S", "2026-12-10 12:00:01.5 +0800")
	f.Add("%Y年%m月%d日 %p%I时%M分%S秒", "2026年1月2日 下午3时4分5秒")
	f.Add("auto", "20261210120000")
	f.Add("epoch", "1796875201123456789")
	f.Add("%d/%b/%y:%H:%M:%S %z %Z %f%%", "10/Dec/26:12:00:01 +08:00 UTC 5%")
	f.Fuzz(func(t *testing.T, format, text string) {
		if devices.CheckTimeFormat(format) != nil {
			return
		}
		at, ok := timeFormat(format, text, received)
		if ok && checkYear(at.Year()) != nil {
			t.Fatalf("%q by %q is %v", text, format, at)
		}
	})
}

// TestDeviceLimits: more keys than a line may have are an error, and what a
// device writes wrongly is its message all the same when it was only recognised.
func TestDeviceLimits(t *testing.T) {
	f := func(format, line, want string) {
		t.Helper()
		_, err := parsed(format, line)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s %.60q: %q, want %q", format, line, got, want)
		}
	}
	f("key-value", strings.Repeat("k=1 ", 1025), "key-value: more than 1024 keys")
	f("key-value", "no pair", "key-value: no key with a value")
	f("cisco-asa", "<13>Dec 10 12:00:00 host1 app: text", "cisco-asa: no header of the device's")
	f("generic-cef", "CEF:0|a|b", "generic-cef: no CEF header of seven fields")
	f("auto", "<13>Dec 10 12:00:00 host1 CEF:0|a|b", "")
	f("auto", "%ASA-x-y", "")
	f("auto", "id=tos nothing", "")
}

// TestTimeFormats reads times as devices write them.
func TestTimeFormats(t *testing.T) {
	f := func(format, text, want string) {
		t.Helper()
		got := "none"
		if at, ok := timeFormat(format, text, received); ok {
			got = at.Format("2006-01-02T15:04:05.999999999Z07:00")
		}
		if got != want {
			t.Errorf("%q by %s: %s, want %s", text, format, got, want)
		}
	}
	const at = "2026-12-10T04:00:01Z" // noon in China
	f("auto", "2026-12-10 12:00:01", at)
	f("auto", "2026-12-10T04:00:01Z", at)
	f("auto", "2026/12/10 12:00:01", at)
	f("auto", "2026年12月10日 12时00分01秒", at)
	f("auto", "2026年12月10日12:00:01", at)
	f("auto", "2026年12月10日 下午12:00:01", at)
	f("auto", "20261210120001", at)
	f("auto", "1796875201", at)
	f("auto", "1796875201000", at)
	f("auto", "1796875201000000", at)
	f("auto", "1796875201000000000", at)
	f("auto", "1796875201.5", "2026-12-10T04:00:01.5Z")
	f("auto", "Dec 10 12:00:01", at)
	f("auto", "Dec 10 2026 12:00:01", at)
	f("auto", "2026-1-2 3:04:05", "2026-01-01T19:04:05Z")
	f("auto", "10/Dec/2026 12:00:01 +0800", at)
	f("auto", "yesterday", "none")
	f("auto", "2026-13-10 12:00:01", "none")
	f("%m/%d/%Y %I:%M:%S %p", "12/10/2026 12:00:01 PM", at)
	f("%d.%m.%y %H:%M:%S", "10.12.26 12:00:01", at)
	f("%b %e %H:%M:%S", "Dec 10 12:00:01", at)
	f("%Y-%m-%d %H:%M:%S %z", "2026-12-10 04:00:01 +00:00", at)
	f("epoch_ms", "1796875201000", at)
	f("iso", "1796875201", "none")
}

// TestHostileLines sends long lines of what makes readers look far ahead
// or back: none may take more than a small part of a second.
func TestHostileLines(t *testing.T) {
	prefixes := []string{"", "<13>Dec 10 12:00:00 h ", "CEF:0|a|b|c|d|e|5|", "LEEF:1.0|a|b|c|d|", "%ASA-6-302013: ", "%%10A/5/B: ", "%%01A/5/CMDRECORD(l): x (", "id=tos ", "Traffic@FLOW: SESSION: "}
	parts := []string{`a='`, `a="`, `="`, `a="b" c `, ` =`, `\`, `\"`, `"`, `,`, "：", "a：", "x ", "(", "a=1 ", "devid=", "a=\\= ", "cs1Label=x ", "Built inbound ", ".1"}
	for _, prefix := range prefixes {
		for _, part := range parts {
			line := prefix + strings.Repeat(part, MaxRecord/4/len(part))
			for _, format := range append([]Format{{Name: "auto"}}, theDevices().formats...) {
				if prefix != "" && format.Name != "auto" && !strings.Contains("cisco-asa h3c-comware huawei-usg", format.Name) {
					continue
				}
				began := time.Now()
				_ = Parse(sampleEvent(format.Name, line))
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("%s takes %v for %.40q…", format.Name, took, line)
				}
			}
		}
	}
}
