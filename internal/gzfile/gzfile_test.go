package gzfile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestOpen(t *testing.T) {
	f := func(name string, content []byte, want string, wantErr error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if string(got) != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte("a line\n"))
	_ = w.Close()
	f("plain", []byte("a line\n"), "a line\n", nil)
	f("empty", nil, "", nil)
	f("short", []byte("\x1f"), "\x1f", nil)
	f("packed.gz", b.Bytes(), "a line\n", nil)
	f("packed, and not named so", b.Bytes(), "a line\n", nil)
	f("two members", append(bytes.Clone(b.Bytes()), b.Bytes()...), "a line\na line\n", nil)
	f("cut", b.Bytes()[:b.Len()-6], "a line\n", io.ErrUnexpectedEOF)
}
