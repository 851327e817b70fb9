package main

import (
	"slices"
	"strings"
	"testing"

	"fengsui/internal/testkit/lab"
	"fengsui/schemas"
)

// What discovery finds is in the map: a name of the word list with the first scan,
// one that only a certificate shows with the second; and without it neither is.
func TestDiscoveryReachesTheMap(t *testing.T) {
	c := newCampus(t)
	c.web.Nginx(lab.Web{TLS: 443, Title: "示例大学", Name: "shown-by-certificate.u1.example"})
	c.bind(campusRecords + "jwgl A 10.60.1.10\nshown-by-certificate A 10.60.1.10\n")
	c.start()
	c.register(campusRegistry)
	names := func() (out []string) {
		for _, a := range find[schemas.Asset](c.system, "assets", "") {
			if a.Kind == schemas.AssetDomain {
				out = append(out, strings.TrimSuffix(a.Name, ".u1.example"))
			}
		}
		slices.Sort(out)
		return out
	}
	has := func(what string, word, certificate bool) {
		t.Helper()
		got := names()
		if slices.Contains(got, "jwgl") != word || slices.Contains(got, "shown-by-certificate") != certificate || !slices.Contains(got, "mail") {
			t.Errorf("%s: %q", what, got)
		}
	}
	c.run("scan", "--unit", "u1", "--ports", "443", "--discover=false", "--wait", "60s")
	has("without discovery", false, false)
	c.run("scan", "--unit", "u1", "--ports", "443", "--wait", "60s")
	has("with it", true, true)
}
