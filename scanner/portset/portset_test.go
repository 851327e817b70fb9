package portset

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	f := func(text, want string, count int) {
		t.Helper()
		s, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			return
		}
		if s.String() != want || s.Len() != count {
			t.Errorf("%q: got %q with %d ports, want %q with %d", text, s.String(), s.Len(), want, count)
		}
	}
	f("80", "80", 1)
	f("443,80,80", "80,443", 2)
	f(" 22, 80-82 ", "22,80-82", 4)
	f("1,2,3,5", "1-3,5", 4)
	f("1-65535", "1-65535", 65535)
	f("all", "1-65535", 65535)
	f("65534,65535", "65534-65535", 2)
	f("63-65,128", "63-65,128", 4)
}

func TestParseRefuses(t *testing.T) {
	f := func(text, reason string) {
		t.Helper()
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.40q: got %v, want an error with %q", text, err, reason)
		}
	}
	f("", "no ports")
	f("0", "not a port")
	f("65536", "not a port")
	f("-1", "not a port")
	f("+80", "not a port")
	f("80-", "not a port")
	f("90-80", "backwards")
	f("80,,81", "not a port")
	f("http", "not a port")
	f("99999999999999999999", "not a port")
	f(strings.Repeat("1,", 300<<10), "bytes of text")
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ports := rapid.SliceOfN(rapid.IntRange(1, Last), 1, 200).Draw(t, "ports")
		s := Of(ports...)
		again, err := Parse(s.String())
		if err != nil {
			t.Fatal(err)
		}
		if again != s {
			t.Fatalf("%q reads back as %q", s.String(), again.String())
		}
		for _, p := range ports {
			if !s.Contains(p) {
				t.Fatalf("%d is missing", p)
			}
		}
	})
}

func TestParseBoth(t *testing.T) {
	f := func(text, tcp, udp, again string) {
		t.Helper()
		a, b, err := ParseBoth(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			return
		}
		if a.String() != tcp || b.String() != udp || Both(a, b) != again {
			t.Errorf("%q: %q and %q, %q; want %q and %q, %q", text, a.String(), b.String(), Both(a, b), tcp, udp, again)
		}
	}
	f("80", "80", "", "80")
	f("u:53", "", "53", "u:53")
	f("22,80,u:53,161-162", "22,80", "53,161-162", "22,80,u:53,161-162")
	f("u:53,t:80,81,u:69", "80-81", "53,69", "80-81,u:53,69")
	f("all,u:53", "1-65535", "53", "1-65535,u:53")
	for text, reason := range map[string]string{
		"": "no ports", "u:": "no ports", "x:53": "neither", "80,u:0": "not a port", "u:53,,54": "not a port", "u:u:53": "not a port",
		strings.Repeat("u:1,", 200<<10): "bytes of text",
	} {
		if _, _, err := ParseBoth(text); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.40q: got %v, want an error with %q", text, err, reason)
		}
	}
}

func FuzzParseBoth(f *testing.F) {
	for _, seed := range []string{"22,u:53", "u:1-65535", "t:80,u:80", "u:", ":", "u:t:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tcp, udp, err := ParseBoth(text)
		if err != nil {
			return
		}
		a, b, err := ParseBoth(Both(tcp, udp))
		if err != nil || a != tcp || b != udp {
			t.Fatalf("%q: %v, %q", text, err, Both(tcp, udp))
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"22,80,1000-2000", "all", "1-65535", "0", "-", ",", "80-79"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(s.String())
		if err != nil || again != s {
			t.Fatalf("%q: %v, %q", text, err, s.String())
		}
	})
}
