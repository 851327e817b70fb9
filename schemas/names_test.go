package schemas

import "testing"

func TestNameInDNS(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := NameInDNS(name); got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
	f("WWW.Example.EDU.cn.", "www.example.edu.cn")
	f("_dmarc.example.edu.cn", "_dmarc.example.edu.cn")
	f("大学.公益", "xn--pss25c.xn--55qw42g")
	f("大学。公益", "xn--pss25c.xn--55qw42g")
	f("*.大学.公益", "*.xn--pss25c.xn--55qw42g")
	f("xn--pss25c.xn--55qw42g", "xn--pss25c.xn--55qw42g")
	f("ｗｗｗ.example.edu.cn", "www.example.edu.cn")
	f("大学..cn", "xn--pss25c..cn")
	f("大\u200d学.cn", "大\u200d学.cn") // not allowed in a name
	f("", "")
}
