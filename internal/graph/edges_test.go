package graph

import "testing"

func TestReverseAddr(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		got, ok := ReverseAddr(name)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: %s %v", name, got, ok)
		}
	}
	f("4.3.2.1.in-addr.arpa", "1.2.3.4")
	f("b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::567:89ab")
	f("3.2.1.in-addr.arpa", "")
	f("x.ip6.arpa", "")
	f("www.a.cn", "")
}
