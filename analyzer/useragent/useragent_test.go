package useragent

import (
	"flag"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write what is found as what is expected")

// TestAgents: the agents of campus logs, and those of attackers, are told.
func TestAgents(t *testing.T) {
	const name = "testdata/agents.txt"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "#") {
			continue
		}
		text, want, ok := strings.Cut(line, " => ")
		if !ok {
			t.Fatalf("%s:%d: no =>", name, i+1)
		}
		a := Parse(text)
		got := strings.Join([]string{a.Name, a.Version, a.OS, a.Device}, " | ")
		got = strings.TrimRight(strings.ReplaceAll(strings.ReplaceAll(" "+got, "  |", " |"), "  |", " |"), " ")[1:]
		if strings.HasPrefix(got, "|") {
			got = strings.TrimSpace(got)
		}
		if got != want {
			t.Errorf("%s:%d: %s\n got %q\nwant %q", name, i+1, text, got, want)
		}
		lines[i] = text + " => " + got
	}
	if *update {
		if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzParse: whatever a client says, the answer is short, is made of what it said
// or of what the tables say, and is the same for what lies beyond the bound.
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/agents.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		text, _, _ := strings.Cut(line, " => ")
		f.Add(text)
	}
	f.Add("v v/v (Android;;) Build Android; \xff")
	f.Add(strings.Repeat("a/1 ", 5000))
	kinds := map[string]bool{Spider: true, Scanner: true, Program: true}
	f.Fuzz(func(t *testing.T, text string) {
		a := Parse(text)
		for _, s := range []string{a.Name, a.Version, a.OS, a.Device} {
			if len(s) > 2*maxPart {
				t.Fatalf("%d bytes: %q", len(s), s)
			}
			if utf8.ValidString(text) && !utf8.ValidString(s) {
				t.Fatalf("%q of %q is cut within a letter", s, text)
			}
		}
		if a.Version != "" && !strings.Contains(text, a.Version) && a.Name != "IE" {
			t.Fatalf("version %q is not in %q", a.Version, text)
		}
		if a.Device != "" && !kinds[a.Device] && !strings.Contains(strings.ToLower(text), strings.ToLower(a.Device)) {
			t.Fatalf("device %q is not in %q", a.Device, text)
		}
		if len(text) >= maxText && Parse(text+"sqlmap/1") != a {
			t.Fatal("what is beyond the bound is read")
		}
	})
}

func BenchmarkParse(b *testing.B) {
	f := func(name, text string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				Parse(text)
			}
		})
	}
	f("browser", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.51")
	f("telephone", "Mozilla/5.0 (Linux; Android 13; SM-G991B Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36")
	f("scanner", "sqlmap/1.7.2#stable (https://sqlmap.org)")
	f("longest", strings.Repeat("a1/2 ", 400))
}
