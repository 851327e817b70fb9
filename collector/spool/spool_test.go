package spool

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// With spoolDirEnv set, the test binary is the process that is killed.
const spoolDirEnv = "SPOOL_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(spoolDirEnv); dir != "" {
		fillUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// record makes the nth record, so that order and wholeness can be checked.
func record(n uint64, size int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, n)
	for len(b) < 8+size {
		b = append(b, byte(n))
	}
	return b
}

func checkRecord(t interface{ Fatalf(string, ...any) }, r []byte, n uint64) {
	if got := binary.LittleEndian.Uint64(r); got != n {
		t.Fatalf("record %d where %d was expected", got, n)
	}
	for _, b := range r[8:] {
		if b != byte(n) {
			t.Fatalf("record %d is damaged", n)
		}
	}
}

func open(t testing.TB, dir string, maxBytes int64) *Spool {
	t.Helper()
	s, err := Open(dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// frames are records as Append takes them.
func frames(records ...[]byte) *Frames {
	f := &Frames{}
	for _, r := range records {
		f.Add(func(b []byte) []byte { return append(b, r...) })
	}
	return f
}

// TestModel compares the spool with a plain slice under random appends, takes,
// commits, restarts and torn tails.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s, err := Open(dir, minMaxBytes)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		var head, next uint64
		reopen := func() {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(dir, minMaxBytes); err != nil {
				t.Fatal(err)
			}
		}
		take := func(commit bool) {
			if head == next {
				return
			}
			batch, err := s.Take(context.Background(), rapid.IntRange(0, 100_000).Draw(t, "maxBytes"))
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range batch.Records {
				checkRecord(t, r, head+uint64(i))
			}
			if commit {
				if err := s.Commit(batch); err != nil {
					t.Fatal(err)
				}
				head += uint64(len(batch.Records))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				var records [][]byte
				n := next
				for range rapid.IntRange(1, 20).Draw(t, "count") {
					records = append(records, record(n, rapid.IntRange(0, 20_000).Draw(t, "size")))
					n++
				}
				ctx, cancel := context.WithCancel(context.Background())
				cancel() // a full spool refuses at once
				switch err := s.Append(ctx, frames(records...)); {
				case err == nil:
					next = n
				case errors.Is(err, context.Canceled):
					next += s.Len() - (next - head) // the first group may have found room
				default:
					t.Fatal(err)
				}
			},
			"take":   func(*rapid.T) { take(false) },
			"commit": func(*rapid.T) { take(true) },
			"reopen": func(*rapid.T) { reopen() },
			"tear": func(t *rapid.T) {
				if firsts, _ := s.list(); len(firsts) > 0 {
					f, err := os.OpenFile(s.path(firsts[len(firsts)-1]), os.O_APPEND|os.O_WRONLY, 0)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = f.Write(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "torn"))
					_ = f.Close()
					reopen()
				}
			},
			"": func(t *rapid.T) {
				if s.Len() != next-head {
					t.Fatalf("%d records, want %d", s.Len(), next-head)
				}
				if s.Bytes() > minMaxBytes || s.Len() == 0 && s.Bytes() != 0 || s.Lost() != 0 {
					t.Fatalf("%d bytes with %d records, %d lost", s.Bytes(), s.Len(), s.Lost())
				}
			},
		})
		for head < next {
			take(true)
		}
		if files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix)); len(files) != 0 {
			t.Fatalf("a drained spool keeps %v", files)
		}
	})
}

// fillUntilKilled appends batches and says on standard output how far it is
// safe; now and then it takes some.
func fillUntilKilled(dir string) {
	s, err := Open(dir, 64<<20)
	if err != nil {
		panic(err)
	}
	n := s.next
	for {
		var batch [][]byte
		for range rand.IntN(50) + 1 {
			batch = append(batch, record(n, rand.IntN(3000)))
			n++
		}
		if err := s.Append(context.Background(), frames(batch...)); err != nil {
			panic(err)
		}
		if rand.IntN(3) == 0 && s.Len() > 500 {
			taken, err := s.Take(context.Background(), 100_000)
			if err != nil {
				panic(err)
			}
			fmt.Printf("took %d\n", taken.end.index)
			if err := s.Commit(taken); err != nil {
				panic(err)
			}
		}
		fmt.Printf("safe %d\n", n)
	}
}

// TestKill kills the writing process again and again: what it was told is safe
// is there, in order, and nothing is there twice but what was being taken.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	var safe, took uint64
	for range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), spoolDirEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		stopAt := 20 + rand.IntN(100)
		for i := 0; lines.Scan(); i++ {
			if i == stopAt {
				_ = cmd.Process.Kill()
			}
			word, number, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil {
				continue // the line that was being written
			}
			if word == "safe" {
				safe = n
			} else {
				took = n
			}
		}
		_ = cmd.Wait() // it was killed
		s, err := Open(dir, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		if s.next < safe || s.head.index > took {
			t.Fatalf("the spool holds %d to %d, but %d were safe and %d taken", s.head.index, s.next, safe, took)
		}
		n := s.head.index
		for s.Len() > 0 && n < s.head.index+2000 {
			batch, err := s.Take(context.Background(), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range batch.Records {
				checkRecord(t, r, n)
				n++
			}
			if err := s.Commit(batch); err != nil {
				t.Fatal(err)
			}
		}
		took = s.head.index
		safe = s.next
		if s.Lost() != 0 {
			t.Errorf("%d records lost", s.Lost())
		}
		_ = s.Close()
	}
	t.Logf("%d records over %d kills", safe, rounds)
}

// TestFullWaits fills the spool: Append waits, and goes on when room is made.
func TestFullWaits(t *testing.T) {
	s := open(t, t.TempDir(), minMaxBytes)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var n uint64
	for {
		err := s.Append(ctx, frames(record(n, 10_000)))
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if s.Bytes() > minMaxBytes || s.Bytes() < minMaxBytes/2 {
		t.Errorf("full at %d bytes of %d", s.Bytes(), minMaxBytes)
	}
	if !s.FullSince().IsZero() || s.HasRoom(20_000) || !s.HasRoom(1) {
		t.Error("nobody waits for room, or there is some")
	}
	appended := make(chan error)
	go func() { appended <- s.Append(context.Background(), frames(record(n, 10_000))) }()
	for start := time.Now(); s.FullSince().IsZero(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatal("an Append should wait, and nothing says so")
		}
	}
	var got uint64
	for got <= n {
		batch, err := s.Take(context.Background(), 50_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range batch.Records {
			checkRecord(t, r, got)
			got++
		}
		if err := s.Commit(batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	if since := s.FullSince(); !since.IsZero() {
		t.Errorf("full since %v, while nobody waits", since)
	}
	if err := s.Append(context.Background(), frames(make([]byte, minMaxBytes))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a record of the spool's whole size: %v", err)
	}
}

// TestDamage flips a bit in a segment's middle: what follows in that segment is
// counted as lost and kept aside, and the next segments are whole.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, minMaxBytes)
	for n := range uint64(60) {
		if err := s.Append(context.Background(), frames(record(n, 10_000))); err != nil {
			t.Fatal(err)
		}
	}
	first := s.segments[0]
	raw, err := os.ReadFile(s.path(first.first))
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(s.path(first.first), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for s.Len() > 0 {
		batch, err := s.Take(context.Background(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range batch.Records {
			got = append(got, binary.LittleEndian.Uint64(r))
		}
		if err := s.Commit(batch); err != nil {
			t.Fatal(err)
		}
	}
	if uint64(len(got))+s.Lost() != 60 || s.Lost() == 0 || got[len(got)-1] != 59 {
		t.Errorf("got %v, %d lost", got, s.Lost())
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "*"+corruptMark)); len(kept) != 1 {
		t.Errorf("kept %v", kept)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, minMaxBytes)
	if _, err := Open(dir, minMaxBytes); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("got %v", err)
	}
}

// FuzzSegment opens whatever a disk may hold: it never fails nor makes records up.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(bytes.Repeat([]byte{0}, 100), []byte("position"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}, make([]byte, 28))
	f.Fuzz(func(t *testing.T, segment, position []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "00000000000000000007"+suffix), segment, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, positionName), position, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, minMaxBytes)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Append(context.Background(), frames([]byte("after"))); err != nil {
			t.Fatal(err)
		}
		var last []byte
		for s.Len() > 0 {
			batch, err := s.Take(context.Background(), 1000)
			if err != nil {
				t.Fatal(err)
			}
			last = batch.Records[len(batch.Records)-1]
			if err := s.Commit(batch); err != nil {
				t.Fatal(err)
			}
		}
		if string(last) != "after" {
			t.Fatalf("last record %q", last)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), 1<<30)
	batch := make([][]byte, 2000)
	for i := range batch {
		batch[i] = record(uint64(i), 400)
	}
	b.SetBytes(2000 * 408)
	var f Frames
	for b.Loop() {
		f.Reset()
		for _, r := range batch {
			f.Add(func(b []byte) []byte { return append(b, r...) })
		}
		if err := s.Append(context.Background(), &f); err != nil {
			b.Fatal(err)
		}
		if s.Bytes() > 1<<29 {
			b.StopTimer()
			for s.Len() > 0 {
				taken, err := s.Take(context.Background(), 4<<20)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Commit(taken); err != nil {
					b.Fatal(err)
				}
			}
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(b.N)*2000/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkTake(b *testing.B) {
	s := open(b, b.TempDir(), 1<<30)
	batch := make([][]byte, 2000)
	for i := range batch {
		batch[i] = record(uint64(i), 400)
	}
	for range 100 {
		if err := s.Append(context.Background(), frames(batch...)); err != nil {
			b.Fatal(err)
		}
	}
	size := int64(0)
	for b.Loop() {
		taken, err := s.Take(context.Background(), 4<<20) // without Commit: the same again
		if err != nil {
			b.Fatal(err)
		}
		size = int64(len(taken.Records)) * 416
	}
	b.SetBytes(size)
}
