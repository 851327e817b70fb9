package file

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/text/encoding/simplifiedchinese"

	"fengsui/collector/input"
	"fengsui/collector/input/listen/listentest"
)

// pack compresses with the real programs.
func pack(t testing.TB, program string, text string) []byte {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		listentest.Program(t, "/usr/bin/"+program)
	}
	cmd := exec.Command(path, "-c")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(program, err)
	}
	return out
}

// TestPackings reads archives of every kind, of one part and of two, whole and
// cut, once however they are moved and copied.
func TestPackings(t *testing.T) {
	text := noise(3000)
	f := func(program, ending string) {
		t.Helper()
		t.Run(program, func(t *testing.T) {
			w := newWorld(t, "*")
			whole := append(pack(t, program, text[:len(text)/2]), pack(t, program, text[len(text)/2:])...)
			w.must(os.WriteFile(w.path("a"+ending), whole, 0o600))
			w.must(os.WriteFile(w.path("cut"+ending), pack(t, program, text)[:len(text)/4], 0o600))
			s := &sink{}
			stop := w.follow(s)
			count := func() (good, bad int) {
				for _, l := range s.all() {
					switch {
					case l.Source == w.path("a"+ending) && l.Reject == "" && strings.HasPrefix(text[l.Seq:], string(l.Value)+"\n"):
						good++
					case l.Source == w.path("cut"+ending) && strings.HasPrefix(l.Reject, "damaged or truncated archive: "):
						bad++
					}
				}
				return good, bad
			}
			eventually(t, "all lines, and what is wrong with the other", func() bool { good, bad := count(); return good == 3000 && bad == 1 })
			w.must(os.Rename(w.path("a"+ending), w.path("b"+ending)))
			w.must(os.WriteFile(w.path("copy"+ending), whole, 0o600))
			before := len(s.all())
			time.Sleep(200 * time.Millisecond)
			stop()
			w.must(os.WriteFile(w.path("another copy"+ending), whole, 0o600))
			stop = w.follow(s)
			time.Sleep(200 * time.Millisecond)
			stop()
			if n := len(s.all()); n != before {
				t.Errorf("%d lines were read again", n-before)
			}
			once, err := w.once(w.path("b" + ending))
			w.must(err)
			if len(once.all()) != 3000 || id(once.all()[7]) != id(lineAt(s, once.all()[7].Seq, w.path("a"+ending))) {
				t.Errorf("%d lines at once, with other ids", len(once.all()))
			}
		})
	}
	f("gzip", ".gz")
	f("bzip2", ".bz2")
	f("xz", ".xz")
	f("zstd", ".zst")
}

func lineAt(s *sink, seq uint64, source string) (l input.Line) {
	for _, l := range s.all() {
		if l.Seq == seq && l.Source == source {
			return l
		}
	}
	return l
}

// TestUnpackMemory: an archive that asks for more memory than there is for one is
// a dead letter.
func TestUnpackMemory(t *testing.T) {
	w := newWorld(t)
	cmd := exec.Command("xz", "-c", "--lzma2=dict=512MiB")
	cmd.Stdin = strings.NewReader("one\n")
	raw, err := cmd.Output()
	if err != nil {
		listentest.Program(t, "/usr/bin/xz")
		t.Fatal(err)
	}
	w.must(os.WriteFile(w.path("a.xz"), raw, 0o600))
	s, err := w.once(w.path("a.xz"))
	w.must(err)
	if got := s.all(); len(got) != 1 || !strings.Contains(got[0].Reject, "exceeds max") {
		t.Errorf("%+v", got)
	}
}

// TestLogIsCompressed rotates a log, has more written to it, stops, compresses it
// and starts again: the archive goes on where the log was left, with its ids.
func TestLogIsCompressed(t *testing.T) {
	f := func(name string, header string, between func(w *world)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "app.log*")
			s := &sink{}
			w.append("app.log", header+"one\ntwo\n")
			stop := w.follow(s)
			eventually(t, "what there is", func() bool { return strings.HasSuffix(s.text(), "one|two") })
			stop()
			w.append("app.log", "three\nfour\n")
			text, err := os.ReadFile(w.path("app.log"))
			w.must(err)
			w.must(os.WriteFile(w.path("app.log.1.gz"), gz(t, string(text)), 0o600))
			w.must(os.Remove(w.path("app.log")))
			between(w)
			first := len(s.all())
			stop = w.follow(s)
			eventually(t, "the rest", func() bool { return strings.Contains(s.text(), "three|four") })
			time.Sleep(200 * time.Millisecond)
			stop()
			rest := s.all()[first:]
			var archived []input.Line
			for _, l := range rest {
				if l.Stream == s.all()[0].Stream {
					archived = append(archived, l)
				}
			}
			if len(archived) != 2 || archived[0].Seq != uint64(len(header)+8) || archived[0].Source != w.path("app.log") || strings.Count(s.text(), "one") != 1 {
				t.Errorf("%+v\n%s", archived, s.text())
			}
		})
	}
	long := strings.Repeat("a header that is longer than what a file is told by; ", 10) + "\n"
	f("short", "", func(*world) {})
	f("long header", long, func(*world) {})
	f("a new log", long, func(w *world) { w.append("app.log", long+"another\n") })
}

// TestOtherArchive: an archive that only begins as the log does is read whole.
func TestOtherArchive(t *testing.T) {
	w := newWorld(t, "app.log*")
	s := &sink{}
	head := strings.Repeat("the same beginning\n", 20)
	w.append("app.log", head+"one\ntwo\n")
	w.follow(s)
	eventually(t, "22 lines", func() bool { return len(s.all()) == 22 })
	w.must(os.WriteFile(w.path("app.log.2.gz"), gz(t, head+"six\nnil\nmore\n"), 0o600))
	w.must(os.WriteFile(w.path("app.log.3.gz"), gz(t, head+"six\n"), 0o600))
	eventually(t, "66 lines", func() bool { return len(s.all()) == 22+23+21 })
	streams := map[string]int{}
	for _, l := range s.all() {
		streams[l.Stream]++
	}
	if len(streams) != 3 {
		t.Errorf("%v", streams)
	}
}

// TestEncodings follows a log of each encoding that grows by halves of characters,
// with a restart in the middle: its text arrives as UTF-8, at the places where it
// stands in the file.
func TestEncodings(t *testing.T) {
	wide := func(order func(u uint16) []byte, mark bool) func(string) []byte {
		return func(text string) (raw []byte) {
			if mark {
				raw = order(0xfeff)
			}
			for _, u := range utf16.Encode([]rune(text)) {
				raw = append(raw, order(u)...)
			}
			return raw
		}
	}
	little := func(u uint16) []byte { return []byte{byte(u), byte(u >> 8)} }
	big := func(u uint16) []byte { return []byte{byte(u >> 8), byte(u)} }
	gb := func(text string) []byte {
		raw, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	// U+0A0A and U+000A's halves in others: ਊ Ċ 上.
	lines := []string{"用户登录成功", "ਊĊ上਀", "plain", "𠀀 four bytes", "最后一行"}
	text := strings.Join(lines, "\r\n") + "\n"
	f := func(name, encoding string, encode func(string) []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "*.log")
			w.cfg.Encoding = encoding
			w.cfg.Quiet = time.Minute
			raw := encode(text)
			s := &sink{}
			half := len(raw)/2 | 1
			w.append("a.log", string(raw[:half]))
			stop := w.follow(s)
			eventually(t, "some lines", func() bool { return len(s.all()) > 0 })
			stop()
			stop = w.follow(s)
			w.append("a.log", string(raw[half:]))
			wantText(t, s, strings.Join(lines, "|"))
			stop()
			for i, l := range s.all() {
				if before := strings.Join(lines[:i], "\r\n"); i > 0 && int(l.Seq) != len(encode(before+"\r\n")) || l.Reject != "" {
					t.Errorf("line %d is at %d, reject %q", i, l.Seq, l.Reject)
				}
			}
			w.must(os.WriteFile(w.path("b.gz"), gz(t, string(raw)), 0o600))
			once, err := w.once(w.path("b.gz"))
			w.must(err)
			wantText(t, once, strings.Join(lines, "|"))
		})
	}
	f("UTF-8", "", func(s string) []byte { return []byte(s) })
	f("GB18030", "gb18030", gb)
	f("auto, GB18030", "auto", gb)
	f("auto, UTF-8", "auto", func(s string) []byte { return []byte(s) })
	f("UTF-16LE by its mark", "", wide(little, true))
	f("UTF-16BE by its mark", "", wide(big, true))
	f("UTF-16LE", "utf-16le", wide(little, false))
	f("UTF-16BE", "utf-16be", wide(big, false))
}

// TestUndecodable: a line that is not of its encoding is a dead letter whole, and
// counted; the others are not touched.
func TestUndecodable(t *testing.T) {
	w := newWorld(t)
	w.cfg.Encoding = "gb18030"
	w.append("a.log", "\xb5\xc7\xc2\xbc\nbroken \xff\xff\n\xb5\xc7\xc2\xbc\n")
	cfg := w.cfg
	cfg.Once, cfg.Paths = true, []string{w.path("a.log")}
	in, err := New(cfg, w.deps)
	w.must(err)
	s := &sink{}
	w.must(in.Run(t.Context(), s))
	got := s.all()
	if len(got) != 3 || string(got[0].Value) != "登录" || string(got[1].Value) != "broken \xff\xff" || got[1].Reject != "not GB18030" || got[2].Reject != "" {
		t.Errorf("%+v", got)
	}
	var counted dto.Metric
	w.must(in.undecodable.Write(&counted))
	if n := counted.GetCounter().GetValue(); n != 1 {
		t.Errorf("%v counted", n)
	}
}

const javaTrace = `2026-11-22 10:00:00 ERROR 登录失败
java.lang.IllegalStateException: no session
	at cn.edu.example.Login.check(Login.java:42)
	at cn.edu.example.Main.main(Main.java:7)
Caused by: java.io.IOException: closed
	... 2 more
2026-11-22 10:00:01 INFO ok
`

func TestMultiline(t *testing.T) {
	f := func(m Multiline, text string, want ...string) {
		t.Helper()
		w := newWorld(t)
		w.cfg.Multiline = m
		w.append("a.log", text)
		s, err := w.once(w.path("a.log"))
		w.must(err)
		var got []string
		for _, l := range s.all() {
			if got = append(got, string(l.Value)); !strings.HasPrefix(text[l.Seq:], strings.Split(string(l.Value), "\n")[0]) {
				t.Errorf("%q is not at %d", l.Value, l.Seq)
			}
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%+v %q\n got %q\nwant %q", m, text, got, want)
		}
	}
	trace := strings.Split(strings.TrimSuffix(javaTrace, "\n"), "\n")
	f(Multiline{Start: `^\d{4}-`}, javaTrace, strings.Join(trace[:6], "\n"), trace[6])
	f(Multiline{Next: `^(\s|Caused by: |[\w.$]+(Exception|Error)\b)`}, javaTrace, strings.Join(trace[:6], "\n"), trace[6])
	f(Multiline{Indented: true}, javaTrace, trace[0], strings.Join(trace[1:4], "\n"), strings.Join(trace[4:6], "\n"), trace[6])
	f(Multiline{Indented: true}, " a\n b\r\n\nc\n", " a\n b", "c")
	f(Multiline{Indented: true}, "a\n b", "a\n b")
	f(Multiline{Indented: true, MaxLines: 2}, "a\n b\n c\n d\ne\n", "a\n b", " c\n d", "e")
	long := strings.Repeat("x", 300)
	f(Multiline{Indented: true, MaxBytes: 480}, long+"\n "+long+"\n c\n", long, " "+long+"\n c")
	f(Multiline{Start: `^A`}, "before\nA\nb\n", "before", "A\nb")
}

// TestMultilineGrows has records that are not whole when the log pauses, the input
// stops, the log is truncated or rotated.
func TestMultilineGrows(t *testing.T) {
	w := newWorld(t, "*.log")
	w.cfg.Multiline = Multiline{Indented: true}
	w.cfg.Quiet = 10 * time.Second
	s := &sink{}
	w.append("a.log", "one\n 1\n")
	stop := w.follow(s)
	time.Sleep(50 * time.Millisecond)
	w.append("a.log", " 2\n")
	time.Sleep(50 * time.Millisecond)
	stop()
	wantText(t, s, "") // it may go on
	stop = w.follow(s)
	w.append("a.log", " 3\ntwo\n")
	wantText(t, s, "one\n 1\n 2\n 3")
	stop()
	w.cfg.Multiline.Wait = 50 * time.Millisecond
	stop = w.follow(s)
	wantText(t, s, "one\n 1\n 2\n 3|two") // nothing came for so long
	lines := s.all()
	if lines[0].Seq != 0 || lines[1].Seq != 13 || lines[0].Stream != lines[1].Stream {
		t.Errorf("%+v", lines)
	}
	stop()
	w.cfg.Multiline.Wait = 10 * time.Second
	w.append("a.log", "three\n 1\n")
	stop = w.follow(s)
	time.Sleep(60 * time.Millisecond)
	w.must(os.Truncate(w.path("a.log"), 0))
	wantText(t, s, "one\n 1\n 2\n 3|two|three\n 1") // it cannot go on
	stop()
}

// TestMultilineKilled reads the same log with stops at any place: the records are
// whole, and have one id each.
func TestMultilineKilled(t *testing.T) {
	w := newWorld(t, "*.log")
	w.cfg.Multiline = Multiline{Start: `^\d`}
	s := &sink{}
	var want []string
	for i := range 30 {
		record := fmt.Sprintf("%d a\nb\nc %s", i, strings.Repeat("d", i))
		want = append(want, record)
		raw := record + "\n"
		cut := i % len(raw)
		w.cfg.Quiet = time.Minute
		stop := w.follow(s)
		w.append("a.log", raw[:cut])
		time.Sleep(3 * time.Millisecond)
		stop()
		w.append("a.log", raw[cut:])
	}
	w.cfg.Quiet = 50 * time.Millisecond
	w.follow(s)
	texts := map[string]string{}
	eventually(t, "all records", func() bool {
		for _, l := range s.all() {
			texts[id(l)] = string(l.Value)
		}
		return len(texts) >= len(want)
	})
	seen := map[string]bool{}
	for _, text := range texts {
		seen[text] = true
	}
	for _, record := range want {
		if !seen[record] {
			t.Errorf("no %q", record)
		}
	}
	if len(texts) != len(want) {
		t.Errorf("%d records of %d", len(texts), len(want))
	}
}

// TestExample starts what README.md shows.
func TestExample(t *testing.T) {
	w := newWorld(t)
	w.append("app.log", javaTrace)
	cfg := listentest.Example[Config](t, "file", "/var/log/tomcat", w.dir)
	w.cfg = cfg
	w.cfg.Quiet, w.cfg.Multiline.Wait = 100*time.Millisecond, 50*time.Millisecond
	s := &sink{}
	w.follow(s)
	eventually(t, "two records", func() bool { return len(s.all()) == 2 })
	if got := s.all()[0].Value; bytes.Count(got, []byte("\n")) != 5 {
		t.Errorf("%q", got)
	}
}
