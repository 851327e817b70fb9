package syslog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"fengsui/collector/input"

	"pgregory.net/rapid"
)

// frameAll frames a stream that arrives in pieces of the given sizes, then ends.
func frameAll(stream []byte, sizes func() int, memory int) (lines []message, left int) {
	left = memory
	f := newFramer(1000, func(n int) bool {
		if left < n {
			return false
		}
		left -= n
		return true
	}, func(n int) { left += n })
	for len(stream) > 0 {
		n := copy(f.space()[:min(sizes(), len(f.space()))], stream)
		stream = stream[n:]
		f.fed(n)
		lines = append(lines, f.take()...)
		f.settle()
	}
	if f.partial() {
		f.end("")
	}
	lines = append(lines, f.take()...)
	f.settle()
	f.close()
	return lines, left
}

func TestFraming(t *testing.T) {
	f := func(stream string, want ...string) {
		t.Helper()
		for _, size := range []int{1, 2, 3, 7, 1 << 20} {
			lines, _ := frameAll([]byte(stream), func() int { return size }, 1<<20)
			var got []string
			for _, l := range lines {
				s := string(l.value)
				if l.reject != "" {
					s += " !" + l.reject
				}
				got = append(got, s)
			}
			if strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("%q in pieces of %d: %q, want %q", stream, size, got, want)
			}
		}
	}
	f("")
	f("\n\r\n\n")
	f("<1>a\n<2>b\n", "<1>a", "<2>b")
	f("<1>a\r\n<2>b", "<1>a", "<2>b")
	f("4 <1>a4 <2>b", "<1>a", "<2>b")
	f("4 <1>a\n4 <2>b\n", "<1>a", "<2>b")
	f("7 <1>a\nbc4 <2>b", "<1>a\nbc", "<2>b")
	f("4 <1>a<2>line\n5 <3>bc", "<1>a", "<2>line", "<3>bc")
	f("5 <1>a\n4 <2>b", "<1>a", "<2>b")
	f("4 <1>a3 xyz", "<1>a", "xyz")
	f("3 xyz\n", "3 xyz")
	f("2026-11-22 a line that begins with digits\n", "2026-11-22 a line that begins with digits")
	f("10 packets lost\n", "10 packets lost")
	f("0 <1>a\n", "0 <1>a")
	f("12345678901 <1>a\n", "12345678901 <1>a")
	f("123", "123")
	f("10 <1>a", "<1>a !4 of 10 bytes: the connection ended")
	f("<1>a\x00<2>b\x00<3>c\x00", "<1>a", "<2>b", "<3>c\x00")
	f("<1>a\x00<b\x00\x00<2>c\n4 <3>d", "<1>a\x00<b\x00", "<2>c", "<3>d")
	f("<1>a\x00\n<2>b\x00<", "<1>a\x00", "<2>b\x00<")
	f("\xff\x00\xfe\n<1>\n", "\xff\x00\xfe", "<1>")
	f("x"+strings.Repeat("y", 1000)+"\n<1>a\n", "x"+strings.Repeat("y", 1000)+" !message of 1001 bytes: longer than 1000", "<1>a")
}

// TestFramingModel frames random messages in random framings and pieces: out
// come the messages that went in.
func TestFramingModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream bytes.Buffer
		var want []string
		for range rapid.IntRange(0, 30).Draw(t, "messages") {
			size := rapid.OneOf(rapid.IntRange(1, 300), rapid.IntRange(900, 1100), rapid.IntRange(60_000, 300_000)).Draw(t, "size")
			m := "<1>" + strings.Repeat(string(rune('a'+size%26)), size)
			if rapid.Bool().Draw(t, "octets") {
				fmt.Fprintf(&stream, "%d %s", len(m), m)
			} else {
				stream.WriteString(m + "\n")
			}
			want = append(want, m)
		}
		lines, left := frameAll(stream.Bytes(), func() int { return rapid.IntRange(1, 100_000).Draw(t, "piece") }, 1<<20)
		if len(lines) != len(want) || left != 1<<20 {
			t.Fatalf("%d messages, want %d; %d bytes of memory left", len(lines), len(want), left)
		}
		for i, l := range lines {
			if string(l.value) != want[i] || (l.reject != "") != (len(want[i]) > 1000) {
				t.Fatalf("message %d is %d bytes with reject %q, want %d", i, len(l.value), l.reject, len(want[i]))
			}
		}
	})
}

// FuzzFraming: the pieces in which a stream arrives do not matter, and no more
// comes out than went in.
func FuzzFraming(f *testing.F) {
	f.Add([]byte("<1>a\n5 <1>ab\n"), byte(1))
	f.Add([]byte("999999999 <1>a"), byte(3))
	f.Add([]byte("4 <1>a3 xyz\n\n\r\n0"), byte(2))
	f.Fuzz(func(t *testing.T, stream []byte, size byte) {
		whole, left := frameAll(stream, func() int { return 1 << 20 }, 1<<20)
		pieces, _ := frameAll(stream, func() int { return int(size)%64 + 1 }, 1<<20)
		if fmt.Sprint(whole) != fmt.Sprint(pieces) || left != 1<<20 {
			t.Fatalf("%q\nwhole  %q\npieces %q", stream, whole, pieces)
		}
		n := 0
		for _, m := range whole {
			n += len(m.value)
			if len(m.value) > input.MaxValue {
				t.Fatal("too long")
			}
		}
		if n > len(stream) {
			t.Fatalf("%d bytes out of %d", n, len(stream))
		}
	})
}
