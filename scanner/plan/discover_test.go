package plan

import (
	"strings"
	"testing"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

func TestDiscoveriesAreOfAuthorisedDomains(t *testing.T) {
	snap, err := directory.NewSnapshot(
		[]schemas.Unit{{Code: "a", Name: "a", Level: schemas.University}, {Code: "a1", Name: "a1", Level: schemas.School, Parent: "a"}, {Code: "b", Name: "b", Level: schemas.University}},
		nil,
		[]schemas.Domain{
			{Name: "a.example", Unit: "a", Scan: true},
			{Name: "x.a.example", Unit: "a1", Scan: true},
			{Name: "secret.a.example", Unit: "a"},
			{Name: "b.example", Unit: "b", Scan: true},
		}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(unit string, discover bool, want string) {
		t.Helper()
		tasks, err := Plan(snap, Request{
			Unit: unit, By: "test", Now: now, Discover: discover, Rate: 700,
			Certificates: []string{"*.A.example.", "www.a.example", "WWW.a.example", "a.example", "*.lab.a.example", "y.x.a.example", "w.secret.a.example", "w.b.example", "foreign.test", ""},
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range tasks {
			if k.Kind == schemas.TaskDiscover {
				got = append(got, strings.Join(k.Names, " "))
				if len(k.Targets) > 0 || k.Rate != 700 || k.Shard == "" {
					t.Errorf("badly stamped: %+v", k)
				}
			}
		}
		if text := strings.Join(got, "; "); text != want {
			t.Errorf("%s: %s, want %s", unit, text, want)
		}
	}
	f("a", true, "a.example lab.a.example www.a.example; x.a.example y.x.a.example")
	f("a1", true, "x.a.example y.x.a.example")
	f("b", true, "b.example w.b.example")
	f("b", false, "")
}
