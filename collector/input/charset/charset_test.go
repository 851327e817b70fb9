package charset

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
	"pgregory.net/rapid"
)

func TestDecode(t *testing.T) {
	f := func(name, raw, want, wantErr string) {
		t.Helper()
		c, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Decode([]byte(raw))
		said := ""
		if err != nil {
			said = err.Error()
		}
		if string(got) != want || said != wantErr {
			t.Errorf("%s %q: %q, %q; want %q, %q", name, raw, got, said, want, wantErr)
		}
	}
	f("", "\xff\xfeany", "\xff\xfeany", "")
	f("utf-8", "登录", "登录", "")
	f("utf-8", "ab\xb5\xc7", "", "not UTF-8 at byte 2")
	f("gb18030", "user \xb5\xc7\xc2\xbc", "user 登录", "")
	f("gbk", "\xb5\xc7\xc2\xbc", "登录", "")
	f("gb18030", "\x84\x31\xa4\x37 is the replacement itself", "\ufffd is the replacement itself", "")
	f("gb18030", "\x95\x32\x82\x36", "𠀀", "") // four bytes
	f("gb18030", "\xb5\xc7\xc2", "", "not GB18030")
	f("gb18030", "a\xff", "", "not GB18030")
	f("auto", "登录", "登录", "")
	f("auto", "\xb5\xc7\xc2\xbc", "登录", "")
	f("auto", "ab\xff\xff", "", "neither UTF-8 (at byte 2) nor GB18030")
	f("utf-16le", "\xff\xfe{v\x55\x5f", "登录", "")
	f("utf-16be", "v{\x5f\x55", "登录", "")
	f("utf-16be", "\xd8\x40\xdc\x00", "𠀀", "")
	f("utf-16be", "\xd8\x40", "", "not UTF-16: half of a character at byte 0")
	f("utf-16be", "\x00a\xdc\x00\x00b", "", "not UTF-16: half of a character at byte 2")
	f("utf-16le", "abc", "", "not UTF-16: 3 bytes are no whole characters")
	if _, err := Named("latin1"); err == nil || !strings.Contains(err.Error(), "gb18030") {
		t.Error(err)
	}
}

// TestRoundTrip encodes any text and reads it again.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 50, -1).Draw(t, "text")
		if !utf8.ValidString(text) || strings.HasPrefix(text, "\ufeff") {
			return
		}
		check := func(c Charset, raw []byte) {
			if got, err := c.Decode(raw); err != nil || string(got) != text {
				t.Fatalf("%d: %q is %q, %v", c, text, got, err)
			}
		}
		private := strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Co, r) }) // the encoder errs there
		if raw, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(text)); err == nil && !private {
			check(GB18030, raw)
		}
		var little, big []byte
		for _, u := range utf16.Encode([]rune(text)) {
			little = append(little, byte(u), byte(u>>8))
			big = append(big, byte(u>>8), byte(u))
		}
		check(UTF16LE, little)
		check(UTF16BE, big)
		check(Auto, []byte(text))
	})
}

// FuzzDecode: what is decoded is UTF-8, whatever the bytes.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\xb5\xc7\xc2\xbc"))
	f.Add([]byte("\xff\xfe{v\x55\x5f"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, c := range []Charset{Auto, UTF8, GB18030, UTF16LE, UTF16BE} {
			if text, err := c.Decode(raw); err == nil && !utf8.Valid(text) {
				t.Fatalf("%d: %q is %q", c, raw, text)
			}
		}
	})
}
