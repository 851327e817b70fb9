package file

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fengsui/collector/input"
	"fengsui/internal/testkit/corpus"
)

// With childEnv set, the test binary is the process that is killed. It joins lines
// to records where childStart is set.
const (
	childEnv   = "FILE_TEST_DIR"
	childStart = "FILE_TEST_START"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		followUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// sink keeps lines. While held it does not make them durable.
type sink struct {
	mu    sync.Mutex
	lines []input.Line
	held  bool
	dones []func()
}

func (s *sink) Put(_ context.Context, lines []input.Line, done func()) error {
	s.mu.Lock()
	s.lines = append(s.lines, lines...)
	held := s.held
	if held {
		s.dones = append(s.dones, done)
	}
	s.mu.Unlock()
	if !held {
		done()
	}
	return nil
}

func (s *sink) all() []input.Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

func (s *sink) text() string {
	var parts []string
	for _, l := range s.all() {
		parts = append(parts, string(l.Value))
	}
	return strings.Join(parts, "|")
}

func id(l input.Line) string { return fmt.Sprintf("%s-%d", l.Stream, l.Seq) }

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func wantText(t testing.TB, s *sink, want string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for s.text() != want && time.Now().Before(deadline) {
		time.Sleep(2 * time.Millisecond)
	}
	if got := s.text(); got != want {
		t.Fatalf("lines %q, want %q", got, want)
	}
}

// world is a directory of logs, and the input that follows them.
type world struct {
	t     testing.TB
	dir   string
	state string
	cfg   Config
	deps  Deps
}

func newWorld(t testing.TB, globs ...string) *world {
	w := &world{t: t, dir: t.TempDir(), state: t.TempDir()}
	for _, g := range globs {
		w.cfg.Paths = append(w.cfg.Paths, filepath.Join(w.dir, g))
	}
	w.cfg.Scan, w.cfg.Poll, w.cfg.Quiet = 20*time.Millisecond, 10*time.Millisecond, 100*time.Millisecond
	w.deps = Deps{Log: slog.New(slog.DiscardHandler), Name: "logs", StateDir: w.state}
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) append(name, text string) {
	w.t.Helper()
	f, err := os.OpenFile(w.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// follow runs the input until stop is called.
func (w *world) follow(s *sink) (stop func()) {
	w.t.Helper()
	in, err := New(w.cfg, w.deps)
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, s) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// once reads the given files to their end.
func (w *world) once(paths ...string) (*sink, error) {
	w.t.Helper()
	cfg := w.cfg
	cfg.Once, cfg.Paths = true, paths
	in, err := New(cfg, w.deps)
	w.must(err)
	s := &sink{}
	return s, in.Run(context.Background(), s)
}

func TestFollow(t *testing.T) {
	w := newWorld(t, "*.log")
	s := &sink{}
	w.append("a.log", "one\ntwo\r\n\nthr")
	stop := w.follow(s)
	wantText(t, s, "one|two|thr") // the last after a quiet time
	w.append("a.log", "ee\nfour\n")
	wantText(t, s, "one|two|thr|ee|four")
	w.append("b.log", "\x00\xff binary\n")
	wantText(t, s, "one|two|thr|ee|four|\x00\xff binary")
	w.append("c.txt", "not ours\n")
	stop()
	w.append("a.log", "five\n")
	w.follow(s)
	wantText(t, s, "one|two|thr|ee|four|\x00\xff binary|five")
	lines := s.all()
	var offsets []uint64
	for i, l := range lines {
		if i != 5 {
			offsets = append(offsets, l.Seq)
		}
		if l.Stream == "" || (l.Stream != lines[0].Stream) != (i == 5) || l.Source != w.path("a.log") && i != 5 || l.Received.IsZero() {
			t.Errorf("line %d: %+v", i, l)
		}
	}
	if !slices.Equal(offsets, []uint64{0, 4, 10, 13, 16, 21}) {
		t.Errorf("offsets %v", offsets)
	}
}

func TestRotationByRename(t *testing.T) {
	w := newWorld(t, "app.log")
	s := &sink{}
	w.append("app.log", "one\n")
	w.follow(s)
	wantText(t, s, "one")
	old, err := os.OpenFile(w.path("app.log"), os.O_APPEND|os.O_WRONLY, 0)
	w.must(err)
	defer old.Close()
	w.must(os.Rename(w.path("app.log"), w.path("app.log.1")))
	w.append("app.log", "three\n")
	_, err = old.WriteString("two\n") // the writer has not opened the new file yet
	w.must(err)
	eventually(t, "three lines", func() bool { return len(s.all()) == 3 })
	byText := map[string]input.Line{}
	for _, l := range s.all() {
		byText[string(l.Value)] = l
	}
	if byText["one"].Stream != byText["two"].Stream || byText["one"].Stream == byText["three"].Stream ||
		byText["two"].Seq != 4 || byText["two"].Source != w.path("app.log") {
		t.Errorf("%+v", byText)
	}
}

// TestTruncation truncates a log under its writer and writes again what begins
// alike: each of its lives has ids of its own, with and without a restart.
func TestTruncation(t *testing.T) {
	f := func(name string, restart bool, replace func(path, text string) error) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "app.log")
			s := &sink{}
			header := "date;level;message " + strings.Repeat("=", 300) + "\n"
			w.append("app.log", header+"one\ntwo\n")
			stop := w.follow(s)
			eventually(t, "three lines", func() bool { return len(s.all()) == 3 })
			if restart {
				stop()
			}
			w.must(replace(w.path("app.log"), header+"three\nfour and more than there was before\n"))
			if restart {
				w.follow(s)
			}
			eventually(t, "six lines", func() bool { return len(s.all()) == 6 })
			lines := s.all()
			if lines[0].Stream == lines[3].Stream || lines[3].Stream != lines[5].Stream || lines[3].Seq != 0 || string(lines[4].Value) != "three" {
				t.Errorf("%s %q, %s %q", id(lines[0]), lines[1].Value, id(lines[3]), lines[4].Value)
			}
		})
	}
	truncate := func(path, text string) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond) // or not: the input may see it empty, or only what follows
		_, err = f.WriteString(text)
		return errors.Join(err, f.Close())
	}
	overwrite := func(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }
	recreate := func(path, text string) error { // often gets the same inode again
		return errors.Join(os.Remove(path), os.WriteFile(path, []byte(text), 0o600))
	}
	for _, restart := range []bool{false, true} {
		f(fmt.Sprintf("truncate %v", restart), restart, truncate)
		f(fmt.Sprintf("overwrite %v", restart), restart, overwrite)
		f(fmt.Sprintf("recreate %v", restart), restart, recreate)
	}
}

// TestNotDurableIsReadAgain stops while lines are not durable yet: they come
// again, with the ids that they had.
func TestNotDurableIsReadAgain(t *testing.T) {
	w := newWorld(t, "app.log")
	s := &sink{}
	w.append("app.log", "o") // the file is small when it is met, and grows
	stop := w.follow(s)
	wantText(t, s, "o")
	w.append("app.log", "ne\n")
	wantText(t, s, "o|ne")
	s.mu.Lock()
	s.held = true
	s.mu.Unlock()
	w.append("app.log", "two\nthree\n")
	wantText(t, s, "o|ne|two|three")
	stop()
	again := &sink{}
	w.append("app.log", strings.Repeat("four", 100)+"\n")
	stop = w.follow(again)
	wantText(t, again, "two|three|"+strings.Repeat("four", 100))
	stop()
	w.append("app.log", "five\n")
	w.follow(again)
	eventually(t, "five", func() bool { return strings.HasSuffix(again.text(), "|five") })
	first, second := s.all(), again.all()
	if id(first[2]) != id(second[0]) || id(first[3]) != id(second[1]) || len(second) != 4 || second[3].Stream != first[0].Stream {
		t.Errorf("%s %s, then %s %s", id(first[2]), id(first[3]), id(second[0]), id(second[1]))
	}
}

const zeekHead = "#separator \\x09\n#path\tconn\n#fields\tts\tuid"

func TestPreamble(t *testing.T) {
	w := newWorld(t, "*.log")
	w.deps.Format = "auto"
	s := &sink{}
	w.append("conn.log", zeekHead+"\n1\tC1\n2\tC2\n")
	w.append("other.log", "# a comment\nx\n")
	stop := w.follow(s)
	eventually(t, "four lines", func() bool { return len(s.all()) == 4 })
	stop()
	w.append("conn.log", "3\tC3\n#close\t2026\n")
	stop = w.follow(s)
	eventually(t, "five lines", func() bool { return len(s.all()) == 5 })
	w.append("conn.log", "#separator \\x09\n#fields\tother\n4\n")
	eventually(t, "six lines", func() bool { return len(s.all()) == 6 })
	stop()
	w.append("conn.log", "5\n")
	w.follow(s)
	eventually(t, "seven lines", func() bool { return len(s.all()) == 7 })
	want := map[string]string{
		"1\tC1": zeekHead, "2\tC2": zeekHead, "3\tC3": zeekHead,
		"4": "#separator \\x09\n#fields\tother", "5": "#separator \\x09\n#fields\tother",
		"# a comment": "", "x": "",
	}
	for _, l := range s.all() {
		if p, ok := want[string(l.Value)]; !ok || p != l.Preamble {
			t.Errorf("line %q has preamble %q, want %q", l.Value, l.Preamble, p)
		}
	}
}

// TestPreambleChanges has blocks of header lines that are read in one piece: each
// belongs to the lines below it alone.
func TestPreambleChanges(t *testing.T) {
	w := newWorld(t)
	w.deps.Format = "microsoft-iis"
	w.append("ex.log", "#Software: IIS\n#Fields: a b\n1 2\n3 4\n#Fields: b a c\n5 6 7\n")
	s, err := w.once(w.path("ex.log"))
	w.must(err)
	var got []string
	for _, l := range s.all() {
		got = append(got, string(l.Value)+" under "+l.Preamble)
	}
	want := []string{"1 2 under #Software: IIS\n#Fields: a b", "3 4 under #Software: IIS\n#Fields: a b", "5 6 7 under #Fields: b a c"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func gz(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// noise does not compress well, so that a cut archive still gives many lines.
func noise(lines int) string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, "%d %x\n", i, r.Uint64())
	}
	return b.String()
}

func TestArchives(t *testing.T) {
	text := noise(5000)
	whole := gz(t, text)
	f := func(name string, raw []byte, wantLines int, wantRejects ...string) {
		t.Helper()
		w := newWorld(t, "*")
		path := w.path("log.gz")
		w.must(os.WriteFile(path, raw, 0o600))
		check := func(how string, s *sink) {
			t.Helper()
			lines := s.all()
			var rejects []string
			ids := map[string]bool{}
			good := 0
			for _, l := range lines {
				if l.Reject != "" {
					rejects = append(rejects, l.Reject)
				} else if good++; !strings.HasPrefix(text[l.Seq:], string(l.Value)+"\n") {
					t.Errorf("%s, %s: line at %d is %q", name, how, l.Seq, l.Value)
				}
				if ids[id(l)] {
					t.Errorf("%s, %s: id %s twice", name, how, id(l))
				}
				ids[id(l)] = true
			}
			if wantLines >= 0 && good != wantLines || wantLines < 0 && (good < 1000 || good >= 5000) || fmt.Sprint(rejects) != fmt.Sprint(wantRejects) {
				t.Errorf("%s, %s: %d lines, rejects %q", name, how, good, rejects)
			}
		}
		s, err := w.once(path)
		w.must(err)
		check("once", s)
		followed := &sink{}
		stop := w.follow(followed)
		eventually(t, "all is read", func() bool { return len(followed.all()) == len(s.all()) })
		stop()
		check("followed", followed)
		stop = w.follow(followed) // it is read only once
		time.Sleep(150 * time.Millisecond)
		stop()
		check("followed again", followed)
		onceRead := s.all()
		for i, l := range followed.all() {
			if id(l) != id(onceRead[i]) {
				t.Errorf("%s: %s followed, %s once", name, id(l), id(onceRead[i]))
			}
		}
	}
	f("whole", whole, 5000)
	f("two members", append(bytes.Clone(gz(t, text[:len(text)/2])), gz(t, text[len(text)/2:])...), 5000)
	f("cut", whole[:len(whole)/2], -1, "line cut off by a damaged archive", "damaged or truncated archive: unexpected EOF")
	f("without checksum", whole[:len(whole)-8], 5000, "damaged or truncated archive: unexpected EOF")
	f("wrong checksum", append(bytes.Clone(whole[:len(whole)-8]), make([]byte, 8)...), 5000, "damaged or truncated archive: gzip: invalid checksum")
	f("no gzip", []byte("just text\n"), 0, "damaged or truncated archive: reading the header: gzip: invalid header")
	f("without last newline", gz(t, strings.TrimSuffix(text, "\n")), 5000)
}

// TestArchiveGoesOn stops within an archive, after some of it is durable.
func TestArchiveGoesOn(t *testing.T) {
	w := newWorld(t, "*.gz")
	w.cfg.Rate = 20_000
	text := noise(20_000)
	w.must(os.WriteFile(w.path("log.gz"), gz(t, zeekHead+"\n"+text), 0o600))
	w.deps.Format = "zeek"
	first, second := &sink{}, &sink{}
	stop := w.follow(first)
	eventually(t, "some lines", func() bool { return len(first.all()) > 8000 })
	stop()
	w.follow(second)
	want := strings.Count(text, "\n")
	ids := map[string]string{}
	eventually(t, "all lines", func() bool {
		clear(ids)
		for _, l := range append(first.all(), second.all()...) {
			ids[id(l)] = string(l.Value)
		}
		return len(ids) >= want
	})
	if len(ids) != want || len(second.all()) == want {
		t.Errorf("%d ids of %d lines; %d read the second time", len(ids), want, len(second.all()))
	}
	for _, l := range second.all() {
		if l.Preamble != zeekHead || !strings.HasPrefix(text[int(l.Seq)-len(zeekHead)-1:], string(l.Value)+"\n") {
			t.Fatalf("line %d is %q", l.Seq, l.Value)
		}
	}
}

func TestOnce(t *testing.T) {
	w := newWorld(t)
	w.append("a.log", "one\ntwo")
	w.append("b[1].log", "three\n")
	w.append("empty.log", "")
	var last Progress
	w.deps.Progress = func(p Progress) { last = p }
	s, err := w.once(w.path("a.log"), w.path("b[1].log"), w.path("empty.log"))
	w.must(err)
	wantText(t, s, "one|two|three")
	if last.Lines != 3 || last.Path != w.path("empty.log") {
		t.Errorf("progress %+v", last)
	}
	again, err := w.once(w.path("a.log"))
	w.must(err)
	if id(again.all()[1]) != id(s.all()[1]) {
		t.Error("the same line has another id")
	}
	// The same inode with other content that begins alike is another file: its
	// lines are no repetitions.
	beginning := strings.Repeat("the same beginning\n", 20)
	w.append("c.log", beginning+"before\n")
	before, err := w.once(w.path("c.log"))
	w.must(err)
	w.must(os.WriteFile(w.path("c.log"), []byte(beginning+"after!\n"), 0o600))
	after, err := w.once(w.path("c.log"))
	w.must(err)
	if id(before.all()[20]) == id(after.all()[20]) {
		t.Error("another line has the same id")
	}
	s, err = w.once(w.path("missing.log"), w.path("a.log"))
	if !errors.Is(err, os.ErrNotExist) || s.text() != "one|two" {
		t.Errorf("%q, %v", s.text(), err)
	}
	w.cfg.Rate = 100
	w.append("slow.log", noise(50))
	start := time.Now()
	_, err = w.once(w.path("slow.log"))
	w.must(err)
	if took := time.Since(start); took < 400*time.Millisecond {
		t.Errorf("50 lines at 100 a second took %v", took)
	}
}

// A pipe can neither be measured nor read twice; its lines are read all the same.
func TestOnceFromPipe(t *testing.T) {
	w := newWorld(t)
	w.deps.Format = "auto"
	f := func(name string, content []byte, want, reject string) {
		t.Helper()
		if err := syscall.Mkfifo(w.path(name), 0o600); err != nil {
			t.Fatal(err)
		}
		go func() { _ = os.WriteFile(w.path(name), content, 0o600) }() // what is missing then is seen below
		s, err := w.once(w.path(name))
		w.must(err)
		wantText(t, s, want)
		for i, l := range s.all() {
			if (l.Reject != "") != (reject != "" && i == len(s.all())-1) || !strings.Contains(l.Reject, reject) && l.Reject != "" || l.Stream != "" {
				t.Errorf("%s: line %d: stream %q, reject %q", name, i, l.Stream, l.Reject)
			}
		}
	}
	f("plain", []byte("one\n\ntwo"), "one|two", "")
	f("empty", nil, "", "")
	f("zipped", gz(t, "one\ntwo\n"), "one|two", "")
	f("zeek", []byte("#separator \\x09\n#fields\ta\none\n"), "one", "")
	cut := gz(t, "one\ntwo\n")
	f("cut", cut[:len(cut)-4], "one|two|"+w.path("cut")+": after 8 bytes of text", "truncated archive")
}

// TestCorpus reads real Zeek logs.
func TestCorpus(t *testing.T) {
	paths, _ := filepath.Glob(filepath.Join(corpus.Path(t, "zeek"), "*.gz"))
	w := newWorld(t)
	w.deps.Format = "auto"
	for _, path := range paths {
		s, err := w.once(path)
		w.must(err)
		f, err := os.Open(path)
		w.must(err)
		z, err := gzip.NewReader(f)
		w.must(err)
		want := 0
		for lines := bufio.NewScanner(z); lines.Scan(); {
			if !bytes.HasPrefix(lines.Bytes(), []byte("#")) {
				want++
			}
		}
		w.must(f.Close())
		lines := s.all()
		if len(lines) != want || strings.Contains(lines[0].Preamble, "#fields") != strings.HasSuffix(path, ".log.gz") {
			t.Errorf("%s: %d lines, want %d; preamble %q", path, len(lines), want, lines[0].Preamble)
		}
	}
}

// childSink writes each line with its id to a file, and calls done with some
// delay, as Kafka does.
type childSink struct {
	out   *os.File
	dones chan func()
}

func (c *childSink) Put(_ context.Context, lines []input.Line, done func()) error {
	var b bytes.Buffer
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %s\n", id(l), strings.ReplaceAll(string(l.Value), "\n", `\n`))
	}
	if _, err := c.out.Write(b.Bytes()); err != nil {
		return err
	}
	c.dones <- done
	return nil
}

func followUntilKilled(dir string) {
	out, err := os.OpenFile(filepath.Join(dir, "out"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	s := &childSink{out, make(chan func(), 5)}
	go func() {
		for done := range s.dones {
			time.Sleep(5 * time.Millisecond)
			done()
		}
	}()
	cfg := Config{Paths: []string{filepath.Join(dir, "logs", "*.log*")}, Scan: 10 * time.Millisecond, Poll: 10 * time.Millisecond}
	if rule := os.Getenv(childStart); rule != "" {
		cfg.Multiline.Start = rule
	}
	in, err := New(cfg, Deps{Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Name: "logs", StateDir: filepath.Join(dir, "state")})
	if err != nil {
		panic(err)
	}
	panic(in.Run(context.Background(), s))
}

// TestKill kills the reading process while a log grows and is rotated: no line
// is missing, and each line has one id, however often it was read.
func TestKill(t *testing.T) {
	w := newWorld(t)
	w.must(os.Mkdir(w.path("logs"), 0o700))
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	n, rotated := 0, 0
	write := func() {
		var b strings.Builder
		for range rand.IntN(200) {
			fmt.Fprintf(&b, "line %d %s\n", n, strings.Repeat("x", rand.IntN(100)))
			n++
		}
		w.append("logs/app.log", b.String())
	}
	read := func() (texts map[string]string, repeated int) {
		raw, _ := os.ReadFile(w.path("out"))
		texts = make(map[string]string) // by id
		for l := range strings.Lines(string(raw)) {
			if !strings.HasSuffix(l, "\n") {
				break
			}
			id, text, _ := strings.Cut(l, " ")
			if before, ok := texts[id]; ok {
				repeated++
				if before != text {
					t.Fatalf("%s is %q and %q", id, before, text)
				}
			}
			texts[id] = text
		}
		return texts, repeated
	}
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+w.dir)
		cmd.Stderr = os.Stderr
		w.must(cmd.Start())
		for range 20 + rand.IntN(30) {
			write()
			if rand.IntN(12) == 0 {
				rotated++
				w.must(os.Rename(w.path("logs/app.log"), w.path(fmt.Sprintf("logs/app.log.%d", rotated))))
			}
			time.Sleep(5 * time.Millisecond)
		}
		if round == rounds-1 {
			eventually(t, "all lines are read", func() bool { texts, _ := read(); return len(texts) >= n })
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		// The line that was being written to the output when it died.
		if raw, err := os.ReadFile(w.path("out")); err == nil && len(raw) > 0 {
			w.must(os.Truncate(w.path("out"), int64(bytes.LastIndexByte(raw, '\n')+1)))
		}
	}
	texts, repeated := read()
	seen := make(map[string]bool)
	for _, text := range texts {
		seen[text] = true
	}
	if len(texts) != n || len(seen) != n {
		t.Errorf("%d ids and %d texts of %d lines", len(texts), len(seen), n)
	}
	t.Logf("%d lines, %d rotations, %d kills, %d read again", n, rotated, rounds, repeated)
}

// TestKillWithinRecord kills the reading process while a record of several lines
// is half written: read again, the record is whole and has one id.
func TestKillWithinRecord(t *testing.T) {
	w := newWorld(t)
	w.must(os.Mkdir(w.path("logs"), 0o700))
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	var want []string // the last one is open for ever
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+w.dir, childStart+`=^\d`)
		cmd.Stderr = os.Stderr
		w.must(cmd.Start())
		return cmd
	}
	read := func() map[string]string {
		raw, _ := os.ReadFile(w.path("out"))
		texts := make(map[string]string) // by id
		for l := range strings.Lines(string(raw)) {
			if id, text, ok := strings.Cut(strings.TrimSuffix(l, "\n"), " "); ok && strings.HasSuffix(l, "\n") {
				if before, again := texts[id]; again && before != text {
					t.Fatalf("%s is %q and %q", id, before, text)
				}
				texts[id] = text
			}
		}
		return texts
	}
	for range rounds {
		cmd := start()
		for range 10 {
			record := fmt.Sprintf("%d failed\nat a\n%sat b", len(want), strings.Repeat("x", rand.IntN(100)))
			want = append(want, strings.ReplaceAll(record, "\n", `\n`))
			raw := record + "\n"
			cut := rand.IntN(len(raw)) // anywhere, the middle of a line too
			w.append("logs/app.log", raw[:cut])
			time.Sleep(time.Duration(rand.IntN(12)) * time.Millisecond)
			if len(want)%10 == 5 {
				_ = cmd.Process.Kill()
				_ = cmd.Wait() // it was killed
				if raw, err := os.ReadFile(w.path("out")); err == nil && len(raw) > 0 {
					w.must(os.Truncate(w.path("out"), int64(bytes.LastIndexByte(raw, '\n')+1)))
				}
				cmd = start()
			}
			w.append("logs/app.log", raw[cut:])
		}
		eventually(t, "all records but the open one are read", func() bool { return len(read()) >= len(want)-1 })
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // likewise
		if raw, err := os.ReadFile(w.path("out")); err == nil {
			w.must(os.Truncate(w.path("out"), int64(bytes.LastIndexByte(raw, '\n')+1)))
		}
	}
	seen := make(map[string]bool)
	texts := read()
	for _, text := range texts {
		seen[text] = true
	}
	for _, record := range want[:len(want)-1] {
		if !seen[record] {
			t.Errorf("no %q", record)
		}
	}
	if n := len(want); len(texts) < n-1 || len(texts) > n {
		t.Errorf("%d records of %d", len(texts), n)
	}
}

func TestValidate(t *testing.T) {
	f := func(cfg Config, want string) {
		t.Helper()
		if got := fmt.Sprint(cfg.Validate()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(Config{Paths: []string{"/var/log/*.log"}}, "<nil>")
	f(Config{}, "paths: at least one is needed")
	f(Config{Paths: []string{"a[", ""}, Exclude: []string{"["}}, "paths: \"a[\" is no glob\npaths: \"\" is no glob\nexclude: \"[\" is no glob")
	f(Config{Paths: []string{"a"}, MaxLine: 1, Poll: 1}, "max_line: 1 is not between 480 and 8126464\npoll: 1ns is not between 10ms and 1h")
}

type dropSink struct{}

func (dropSink) Put(_ context.Context, _ []input.Line, done func()) error {
	done()
	return nil
}

func BenchmarkOnce(b *testing.B) {
	w := newWorld(b)
	line := strings.Repeat("0123456789", 25) + "abc\n"
	const n = 100_000
	w.append("a.log", strings.Repeat(line, n))
	w.must(os.WriteFile(w.path("a.log.gz"), gz(b, strings.Repeat(line, n)), 0o600))
	for _, name := range []string{"a.log", "a.log.gz"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(line)) * n)
			for b.Loop() {
				cfg := w.cfg
				cfg.Once, cfg.Paths = true, []string{w.path(name)}
				in, err := New(cfg, w.deps)
				w.must(err)
				w.must(in.Run(context.Background(), dropSink{}))
			}
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
