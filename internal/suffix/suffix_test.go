package suffix

import "testing"

func TestRegistered(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got, ok := Registered(name); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", name, got, ok, want)
		}
	}
	f("www.lab.X.edu.cn.", "x.edu.cn")
	f("a.b.com", "b.com")
	f("b.com", "b.com")
	f("x.github.io", "x.github.io")
	f("edu.cn", "")
	f("com", "")
	f("", "")
	f("..", "")
	f("printer.local", "")
	f("10.0.0.1", "")
	f("::1", "")
}
