package assets

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

// kept is what a store holds of a map.
type kept struct {
	now  map[string]schemas.Asset
	then map[string]schemas.AssetVersion // by key and version
}

func newKept() *kept {
	return &kept{map[string]schemas.Asset{}, map[string]schemas.AssetVersion{}}
}

func (k *kept) put(changes []Change) {
	for _, c := range changes {
		if c.Was != nil {
			k.then[fmt.Sprint(c.Was.Key, c.Was.Version)] = *c.Was
		}
		k.now[c.Key] = c.Asset
	}
}

// at is what there was at a time, in words.
func (k *kept) at(t time.Time) map[string]string {
	out, version := map[string]string{}, map[string]uint64{}
	for key, a := range k.now {
		if !a.Since.After(t) {
			out[key], version[key] = words(&a), a.Version
		}
	}
	for _, v := range k.then {
		if !v.Since.After(t) && v.Until.After(t) && v.Version > version[v.Key] {
			out[v.Key], version[v.Key] = words(&v.Asset), v.Version
		}
	}
	return out
}

func words(a *schemas.Asset) string {
	service := ""
	if s := a.Service; s != nil {
		service = s.Name + " " + s.Product
	}
	return fmt.Sprint(a.Alive, a.Unit, a.Name, a.MAC, a.Names, a.Records, service)
}

// genHistory draws observations in the order of their time, so far apart that a
// restart leaves no doubt which sweep closed what. Hosts come first: the PTR
// record of an address where no host was seen yet is kept by nobody.
func genHistory(t *rapid.T) []schemas.Observation {
	var out []schemas.Observation
	for i := range rapid.IntRange(1, 40).Draw(t, "observations") {
		o := schemas.Observation{Time: minute(61 * i), Source: SourceScan, Job: "j", Shard: fmt.Sprint(i), Unit: rapid.SampledFrom([]string{"U", "U", "V"}).Draw(t, "unit")}
		ip := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"}).Draw(t, "ip")
		kind := rapid.IntRange(0, 5).Draw(t, "kind")
		if i < 2 {
			ip, kind = []string{"10.0.0.1", "10.0.0.2"}[i], -1
		}
		switch kind {
		case -1:
			o.Kind, o.IP, o.Open = schemas.ObservedHost, netip.MustParseAddr(ip), true
		case 0:
			o.Kind, o.IP, o.Port, o.Transport = schemas.ObservedPort, netip.MustParseAddr(ip), rapid.IntRange(1, 2).Draw(t, "port"), "tcp"
			if o.Open = rapid.IntRange(0, 3).Draw(t, "open") > 0; o.Open {
				o.Service = rapid.SampledFrom([]*schemas.Service{nil, {Name: "ssh"}, {Name: "http", HTTP: &schemas.HTTP{Body: "x"}}}).Draw(t, "service")
			}
		case 1:
			o.Kind, o.IP, o.Open, o.Name = schemas.ObservedHost, netip.MustParseAddr(ip), rapid.Bool().Draw(t, "up"), rapid.SampledFrom([]string{"", "pc"}).Draw(t, "own name")
		case 2:
			o.Kind, o.IP, o.Ports = schemas.ObservedSweep, netip.MustParseAddr(ip), "1-2"
		case 3:
			o = name(61*i, "1.0.0.10.in-addr.arpa", "PTR", "NOERROR", rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a.cn", "p.cn"}), 0, 2, rapid.ID).Draw(t, "names")...)
		default:
			o = name(61*i, rapid.SampledFrom([]string{"a.cn", "b.cn"}).Draw(t, "name"), "A", "NOERROR", rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"}), 0, 2, rapid.ID).Draw(t, "addresses")...)
		}
		out = append(out, o)
	}
	return out
}

// What is kept says of every past time what a fold of all that had been observed
// by then says, whatever is delivered again after restarts.
func TestPastIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := genHistory(t)
		m, store := NewMap(), newKept()
		for i, restarts := 0, 0; i < len(list); i++ {
			store.put(m.Apply(&list[i], 0, int64(i)))
			if restarts < 4 && rapid.IntRange(0, 6).Draw(t, "restart?") == 0 {
				restarts++
				i = rapid.IntRange(-1, i).Draw(t, "delivered again after")
				m = NewMap()
				var rows []schemas.Asset
				for _, a := range store.now {
					rows = append(rows, a)
				}
				m.Seed(rows)
			}
		}
		plain := NewMap()
		for i := range list {
			plain.Apply(&list[i], 0, int64(i))
			want := map[string]string{}
			for a := range plain.All {
				want[a.Key] = words(&a)
			}
			if diff := cmp.Diff(want, store.at(list[i].Time)); diff != "" {
				t.Fatalf("after %d of %d: %s", i+1, len(list), diff)
			}
		}
	})
}
