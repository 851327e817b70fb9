package gm

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	othersm3 "github.com/emmansun/gmsm/sm3"
	othersm4 "github.com/emmansun/gmsm/sm4"
	"pgregory.net/rapid"

	"fengsui/internal/testkit/race"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSM4Standard: the examples of GB/T 32907-2016, appendix A.
func TestSM4Standard(t *testing.T) {
	key := unhex(t, "0123456789abcdeffedcba9876543210")
	c, err := NewSM4(key)
	if err != nil {
		t.Fatal(err)
	}
	f := func(times int, want string) {
		t.Helper()
		got := append([]byte(nil), key...)
		for range times {
			c.Encrypt(got, got)
		}
		if hex.EncodeToString(got) != want {
			t.Errorf("%d times: %x, want %s", times, got, want)
		}
		for range times {
			c.Decrypt(got, got)
		}
		if !bytes.Equal(got, key) {
			t.Errorf("%d times and back: %x", times, got)
		}
	}
	f(1, "681edf34d206965e86b3e94f536e4246")
	if !race.Enabled { // a minute of it
		f(1_000_000, "595298c7c6fd271f0402f804c33d3f66")
	}
	for _, n := range []int{0, 15, 17, 32} {
		if _, err := NewSM4(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes is taken", n)
		}
	}
}

// TestSM3Standard: the examples of GB/T 32905-2016, appendix A.
func TestSM3Standard(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := SumSM3([]byte(text)); hex.EncodeToString(got[:]) != want {
			t.Errorf("%q: %x, want %s", text, got, want)
		}
	}
	f("abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0")
	f(strings.Repeat("abcd", 16), "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732")
}

// TestBeside: SM4 in the standard library's modes, SM3 and HMAC are those of
// another implementation, whatever the key and the text and however it is cut.
func TestBeside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key")
		iv := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "iv")
		text := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "text")
		cut := rapid.IntRange(0, len(text)).Draw(t, "cut")
		ours, err := NewSM4(key)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := othersm4.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		a, b := make([]byte, len(text)), make([]byte, len(text))
		cipher.NewCTR(ours, iv).XORKeyStream(a, text)
		cipher.NewCTR(theirs, iv).XORKeyStream(b, text)
		if !bytes.Equal(a, b) {
			t.Fatalf("CTR: %x and %x", a, b)
		}
		whole := text[:len(text)/16*16]
		cipher.NewCBCEncrypter(ours, iv).CryptBlocks(a, whole)
		cipher.NewCBCEncrypter(theirs, iv).CryptBlocks(b, whole)
		if !bytes.Equal(a, b) {
			t.Fatalf("CBC: %x and %x", a, b)
		}
		cipher.NewCBCDecrypter(ours, iv).CryptBlocks(a[:len(whole)], a[:len(whole)])
		if !bytes.Equal(a[:len(whole)], whole) {
			t.Fatalf("CBC and back: %x of %x", a, whole)
		}
		d := NewSM3()
		_, _ = d.Write(text[:cut])
		d.Sum(nil) // changes nothing
		_, _ = d.Write(text[cut:])
		if want := othersm3.Sum(text); !bytes.Equal(d.Sum([]byte("x")), append([]byte("x"), want[:]...)) {
			t.Fatal("SM3 differs")
		}
		m, want := NewHMAC(key), hmac.New(othersm3.New, key)
		for range 2 { // and again after Reset
			m.Reset()
			want.Reset()
			_, _ = m.Write(text)
			_, _ = want.Write(text)
			if !bytes.Equal(m.Sum(nil), want.Sum(nil)) {
				t.Fatal("HMAC differs")
			}
		}
	})
}

// TestBesideOpenSSL: the same bytes as `openssl enc -sm4-…` and `openssl dgst -sm3`.
func TestBesideOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	key, iv := unhex(t, "000102030405060708090a0b0c0d0e0f"), unhex(t, "fffffffffffffffffffffffffffffffe") // the counter runs over
	text := []byte(strings.Repeat("某中学 410105 138 ", 40))
	text = text[:len(text)/16*16]
	c, err := NewSM4(key)
	if err != nil {
		t.Fatal(err)
	}
	openssl := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl %v: %v", args, err)
		}
		return out
	}
	f := func(mode string, crypt func(dst []byte)) {
		t.Helper()
		got := make([]byte, len(text))
		crypt(got)
		want := openssl("enc", "-sm4-"+mode, "-nopad", "-K", hex.EncodeToString(key), "-iv", hex.EncodeToString(iv))
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x, openssl %x", mode, got[:32], want[:32])
		}
	}
	f("ctr", func(dst []byte) { cipher.NewCTR(c, iv).XORKeyStream(dst, text) })
	f("cbc", func(dst []byte) { cipher.NewCBCEncrypter(c, iv).CryptBlocks(dst, text) })
	f("ecb", func(dst []byte) {
		for i := 0; i < len(text); i += 16 {
			c.Encrypt(dst[i:], text[i:])
		}
	})
	sum := SumSM3(text)
	if got := openssl("dgst", "-sm3", "-binary"); !bytes.Equal(got, sum[:]) {
		t.Errorf("SM3 %x, openssl %x", sum, got)
	}
	m := NewHMAC(key)
	_, _ = m.Write(text)
	if got := openssl("dgst", "-sm3", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(key), "-binary"); !bytes.Equal(got, m.Sum(nil)) {
		t.Errorf("HMAC %x, openssl %x", m.Sum(nil), got)
	}
}

// TestConcurrent: one cipher for several goroutines, as gmsm's is not.
func TestConcurrent(t *testing.T) {
	c, err := NewSM4(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			in, got := bytes.Repeat([]byte{byte(i)}, 16), make([]byte, 16)
			want := make([]byte, 16)
			c.Encrypt(want, in)
			for range 5000 {
				c.Encrypt(got, in)
				if !bytes.Equal(got, want) {
					t.Errorf("goroutine %d: %x, want %x", i, got, want)
					return
				}
				c.Decrypt(got, got)
				if !bytes.Equal(got, in) {
					t.Errorf("goroutine %d: back to %x", i, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestShortBlockPanics(t *testing.T) {
	c, err := NewSM4(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "less than a block") {
			t.Errorf("recovered %v", r)
		}
	}()
	c.Encrypt(make([]byte, 16), make([]byte, 15))
}

func BenchmarkSM4Block(b *testing.B) {
	c, err := NewSM4(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 16)
	b.SetBytes(16)
	for b.Loop() {
		c.Encrypt(buf, buf)
	}
}
