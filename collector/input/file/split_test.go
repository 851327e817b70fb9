package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"fengsui/collector/input"

	"pgregory.net/rapid"
)

// chopped gives a stream in pieces of the given sizes.
type chopped struct {
	b    []byte
	size func() int
}

func (c *chopped) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.size())], c.b)
	c.b = c.b[n:]
	return n, nil
}

func splitAll(t interface{ Fatalf(string, ...any) }, stream []byte, size func() int) (lines []line) {
	s := splitter{r: &chopped{stream, size}, maxLine: 1000}
	for {
		got, err := s.next()
		lines = append(lines, got...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
	}
	if l, ok := s.rest(); ok {
		lines = append(lines, l)
	}
	if s.at != int64(len(stream)) {
		t.Fatalf("ended at %d of %d", s.at, len(stream))
	}
	return lines
}

func TestSplit(t *testing.T) {
	f := func(stream string, want ...string) {
		t.Helper()
		for _, size := range []int{1, 3, 1000} {
			var got []string
			for _, l := range splitAll(t, []byte(stream), func() int { return size }) {
				got = append(got, fmt.Sprintf("%d:%d:%s", l.at, l.end, l.value))
			}
			if strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("%q in pieces of %d: %q, want %q", stream, size, got, want)
			}
		}
	}
	f("")
	f("\n\n\r\n")
	f("a\nbc\n", "0:2:a", "2:5:bc")
	f("a\r\n\nbc", "0:3:a", "4:6:bc")
	f("\x00\xff\n\xfe", "0:3:\x00\xff", "3:4:\xfe")
}

// TestSplitModel: whatever the pieces, the lines are those of a plain split, and
// each stands where it says.
func TestSplitModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		for range rapid.IntRange(0, 20).Draw(t, "lines") {
			n := rapid.OneOf(rapid.IntRange(0, 50), rapid.IntRange(900, 1100), rapid.IntRange(250_000, 600_000)).Draw(t, "length")
			stream = append(stream, bytes.Repeat([]byte{byte('a' + n%26)}, n)...)
			stream = append(stream, '\n')
		}
		if rapid.Bool().Draw(t, "cut") && len(stream) > 0 {
			stream = stream[:len(stream)-1]
		}
		var want [][]byte
		for l := range bytes.SplitSeq(stream, []byte("\n")) {
			if len(l) > 0 {
				want = append(want, l)
			}
		}
		got := splitAll(t, stream, func() int { return rapid.IntRange(1, 200_000).Draw(t, "piece") })
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d", len(got), len(want))
		}
		for i, l := range got {
			if !bytes.Equal(l.value, want[i]) || !bytes.Equal(stream[l.at:l.at+int64(len(l.value))], l.value) || (l.reject != "") != (len(l.value) > 1000) {
				t.Fatalf("line %d at %d has %d bytes, reject %q", i, l.at, len(l.value), l.reject)
			}
		}
	})
}

func TestSplitEndlessLine(t *testing.T) {
	stream := append(bytes.Repeat([]byte("x"), 20<<20), "\nafter\n"...)
	got := splitAll(t, stream, func() int { return 1 << 20 })
	if len(got) != 2 || len(got[0].value) != input.MaxValue || string(got[1].value) != "after" || got[1].at != 20<<20+1 {
		t.Fatalf("%d lines", len(got))
	}
	if want := fmt.Sprintf("line of 20971520 bytes cut to %d", input.MaxValue); got[0].reject != want {
		t.Errorf("reject %q, want %q", got[0].reject, want)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n"), byte(1))
	f.Add([]byte("\n"), byte(7))
	f.Fuzz(func(t *testing.T, stream []byte, size byte) {
		whole := splitAll(t, stream, func() int { return 1 << 20 })
		pieces := splitAll(t, stream, func() int { return int(size) + 1 })
		if fmt.Sprint(whole) != fmt.Sprint(pieces) {
			t.Fatalf("%q\nwhole  %v\npieces %v", stream, whole, pieces)
		}
	})
}
