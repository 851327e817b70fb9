package search

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fengsui/internal/clickhouse"
	"fengsui/internal/query"
	"fengsui/schemas"
)

// texts are short and of few letters, so that they meet; with what quotes,
// patterns, parameters and line ends could trip over.
var (
	oneText  = rapid.SampledFrom([]string{"", "a", "A", "ab", "Abc", "教务", "教务系统 Login", "100%_x", `it's \ "q"`, "{p0:String}", "a*b", "a?", "tab\there", "two\nlines", "nginx/1.22.1", "ÄÖ ä"})
	oneLine  = rapid.SampledFrom([]string{"a", "A", "ab", "Abc", "教务", "100%_x", `it's \ "q"`, "a*b", "nginx", "OpenSSH", "x y"})
	oneWord  = rapid.SampledFrom([]string{"", "http", "https", "SSH", "redis"})
	oneName  = rapid.SampledFrom([]string{"www.a.edu.cn", "a.edu.cn", "edu.cn", "x.www.a.edu.cn", "b.example", "aa.edu.cn", "localhost"})
	oddName  = rapid.OneOf(oneName, rapid.Just("o'dd\\046\t.edu.cn")) // no name, but one may be answered
	oneAddr  = rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.200", "192.0.3.1", "10.0.0.1", "2001:db8::1", "2001:db8:1::1", "::ffff:192.0.2.1", "255.255.255.255"})
	oneIcon  = rapid.SampledFrom([]string{"", "1", "-247388890"})
	oneUnit  = rapid.SampledFrom([]string{"", "u1", "u2", `u'3\`})
	oneDrift = rapid.SampledFrom(driftValues[2:])
)

func someOf(one *rapid.Generator[string]) *rapid.Generator[[]string] {
	return rapid.SliceOfNDistinct(one, 0, 3, rapid.ID)
}

// anyAsset draws a row as the analyzer writes it.
func anyAsset(t *rapid.T) schemas.NotedAsset {
	kind := rapid.SampledFrom([]schemas.AssetKind{schemas.AssetDomain, schemas.AssetHost, schemas.AssetService}).Draw(t, "kind")
	day := time.Duration(rapid.IntRange(0, 40).Draw(t, "day")) * 24 * time.Hour
	a := schemas.NotedAsset{Asset: schemas.Asset{Kind: kind, Unit: oneUnit.Draw(t, "unit"), Alive: rapid.Bool().Draw(t, "alive"), First: now.Add(-2 * day), Last: now.Add(-day)}}
	if kind == schemas.AssetDomain {
		a.Name = oddName.Draw(t, "name")
		a.Key, a.Notes.Names = schemas.DomainKey(a.Name), []string{a.Name}
	} else {
		a.IP = netip.MustParseAddr(oneAddr.Draw(t, "ip")).Unmap()
		a.Key, a.Notes.Names = schemas.HostKey(a.IP), someOf(oneName).Draw(t, "names")
	}
	if kind == schemas.AssetService {
		a.Port, a.Transport = rapid.SampledFrom([]int{22, 80, 443, 65535}).Draw(t, "port"), "tcp"
		a.Key = schemas.ServiceKey(a.IP, a.Transport, a.Port)
		a.Service = &schemas.Service{
			Name: oneWord.Draw(t, "protocol"), Product: oneLine.Draw(t, "product"), Version: oneText.Draw(t, "version"), OS: oneText.Draw(t, "os"), Banner: oneText.Draw(t, "banner"),
			HTTP: &schemas.HTTP{
				Status: rapid.SampledFrom([]int{0, 200, 404}).Draw(t, "status"), Title: oneText.Draw(t, "title"), Server: oneText.Draw(t, "server"),
				Header: oneText.Draw(t, "header"), Body: oneText.Draw(t, "body"), IconHash: oneIcon.Draw(t, "icon"),
			},
			TLS: &schemas.TLS{Subject: oneLine.Draw(t, "subject"), Names: someOf(oneName).Draw(t, "alt")},
		}
		for _, name := range someOf(oneLine).Draw(t, "apps") {
			a.Service.Technologies = append(a.Service.Technologies, schemas.Technology{Name: name})
		}
		if rapid.Bool().Draw(t, "exposed") {
			a.Service.Exposures = []schemas.Exposure{{Kind: schemas.ExposureNoAuth}}
		}
	}
	n := &a.Notes
	if a.Unit != "" {
		n.UnitIn = []string{a.Unit, "名 " + a.Unit, "p"}
	}
	n.City, n.County, n.School, n.System = someOf(oneLine).Draw(t, "city"), someOf(oneLine).Draw(t, "county"), someOf(oneLine).Draw(t, "school"), someOf(oneLine).Draw(t, "system")
	n.Level, n.Filed, n.Allowed = rapid.IntRange(0, 5).Draw(t, "level"), rapid.Bool().Draw(t, "filed"), rapid.Bool().Draw(t, "allowed")
	n.Drift = someOf(oneDrift).Draw(t, "drift")
	return a
}

// question is a query as text, and what it means: worked out from the asset
// itself, and not from a column.
type question struct {
	text  string
	holds func(*schemas.NotedAsset) bool
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// like is the plain meaning of a pattern.
func like(s, pattern string) bool {
	var match func(s, p []rune) bool
	match = func(s, p []rune) bool {
		switch {
		case len(p) == 0:
			return len(s) == 0
		case p[0] == '*':
			return match(s, p[1:]) || len(s) > 0 && match(s[1:], p)
		case p[0] == '\\' && len(p) > 1 && (p[1] == '*' || p[1] == '?'):
			return len(s) > 0 && s[0] == p[1] && match(s[1:], p[2:])
		}
		return len(s) > 0 && (p[0] == '?' || p[0] == s[0]) && match(s[1:], p[1:])
	}
	return match([]rune(lower(s)), []rune(lower(pattern)))
}

var textOf = map[string]func(*schemas.NotedAsset) string{
	"title": func(a *schemas.NotedAsset) string { return page(a).Title }, "header": func(a *schemas.NotedAsset) string { return page(a).Header },
	"body": func(a *schemas.NotedAsset) string { return page(a).Body }, "server": func(a *schemas.NotedAsset) string { return page(a).Server },
	"banner": func(a *schemas.NotedAsset) string { return service(a).Banner }, "os": func(a *schemas.NotedAsset) string { return service(a).OS },
	"product": func(a *schemas.NotedAsset) string { return service(a).Product }, "version": func(a *schemas.NotedAsset) string { return service(a).Version },
	"标题": func(a *schemas.NotedAsset) string { return page(a).Title },
}

var listsOf = map[string]func(*schemas.NotedAsset) []string{
	"host": func(a *schemas.NotedAsset) []string { return a.Notes.Names }, "city": func(a *schemas.NotedAsset) []string { return a.Notes.City },
	"county": func(a *schemas.NotedAsset) []string { return a.Notes.County }, "school": func(a *schemas.NotedAsset) []string { return a.Notes.School },
	"system": func(a *schemas.NotedAsset) []string { return a.Notes.System },
	"cert": func(a *schemas.NotedAsset) []string {
		if a.Service == nil {
			return nil
		}
		return append([]string{a.Service.TLS.Subject}, a.Service.TLS.Names...)
	},
	"app": func(a *schemas.NotedAsset) []string {
		if a.Service == nil {
			return nil
		}
		out := []string{a.Service.Product}
		for _, t := range a.Service.Technologies {
			if !slices.ContainsFunc(out, func(s string) bool { return s == t.Name }) {
				out = append(out, t.Name)
			}
		}
		return out
	},
}

var truthOf = map[string]func(*schemas.NotedAsset) bool{
	"alive": func(a *schemas.NotedAsset) bool { return a.Alive }, "registered": func(a *schemas.NotedAsset) bool { return a.Notes.Filed },
	"whitelisted": func(a *schemas.NotedAsset) bool { return a.Notes.Allowed }, "is_domain": func(a *schemas.NotedAsset) bool { return len(a.Notes.Names) > 0 },
	"is_ipv6": func(a *schemas.NotedAsset) bool { return a.IP.Is6() },
}

var numberOf = map[string]func(*schemas.NotedAsset) int{
	"port": func(a *schemas.NotedAsset) int { return a.Port }, "level": func(a *schemas.NotedAsset) int { return a.Notes.Level },
	"status": func(a *schemas.NotedAsset) int { return page(a).Status },
}

func service(a *schemas.NotedAsset) schemas.Service {
	if a.Service == nil {
		return schemas.Service{}
	}
	return *a.Service
}

func page(a *schemas.NotedAsset) schemas.HTTP {
	if a.Service == nil {
		return schemas.HTTP{}
	}
	return *a.Service.HTTP
}

func named[V any](m map[string]V) *rapid.Generator[string] {
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m)))
}

var onePattern = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"*", "?", "a", "b", "教", "%", `\`, `\*`, "_", "edu.cn", "."}), 1, 4).Draw(t, "pieces"), "")
})

// term draws one comparison. Of app only what does not depend on which of two
// spellings of a name is kept: it is contained, whatever the case.
func term(t *rapid.T) question {
	not := func(q question) question {
		if i := strings.Index(q.text, " = "); i > 0 && rapid.Bool().Draw(t, "not") {
			return question{q.text[:i] + " != " + q.text[i+3:], func(a *schemas.NotedAsset) bool { return !q.holds(a) }}
		}
		return q
	}
	switch rapid.IntRange(0, 9).Draw(t, "term") {
	case 0:
		name := named(textOf).Draw(t, "field")
		get := textOf[name]
		if rapid.Bool().Draw(t, "pattern") {
			p := onePattern.Draw(t, "pattern")
			return question{name + " *= " + quote(p), func(a *schemas.NotedAsset) bool { return like(get(a), p) }}
		}
		v := oneText.Draw(t, "value")
		if rapid.Bool().Draw(t, "exact") {
			return question{name + " == " + quote(v), func(a *schemas.NotedAsset) bool { return get(a) == v }}
		}
		return not(question{name + " = " + quote(v), func(a *schemas.NotedAsset) bool { return strings.Contains(lower(get(a)), lower(v)) }})
	case 1:
		name := named(listsOf).Draw(t, "field")
		get := listsOf[name]
		if rapid.Bool().Draw(t, "pattern") {
			p := onePattern.Draw(t, "pattern")
			return question{name + " *= " + quote(p), func(a *schemas.NotedAsset) bool {
				return slices.ContainsFunc(get(a), func(s string) bool { return like(s, p) })
			}}
		}
		v := rapid.OneOf(oneLine, oneName).Draw(t, "value")
		if name != "app" && rapid.Bool().Draw(t, "exact") {
			return question{name + " == " + quote(v), func(a *schemas.NotedAsset) bool { return slices.Contains(get(a), v) }}
		}
		return not(question{name + " = " + quote(v), func(a *schemas.NotedAsset) bool {
			return slices.ContainsFunc(get(a), func(s string) bool { return strings.Contains(lower(s), lower(v)) })
		}})
	case 2:
		name, v := named(truthOf).Draw(t, "field"), rapid.Bool().Draw(t, "value")
		get := truthOf[name]
		return not(question{fmt.Sprintf("%s = %v", name, v), func(a *schemas.NotedAsset) bool { return get(a) == v }})
	case 3:
		name, v := named(numberOf).Draw(t, "field"), rapid.SampledFrom([]int{0, 3, 80, 200, 255}).Draw(t, "value")
		get := numberOf[name]
		switch rapid.IntRange(0, 2).Draw(t, "op") {
		case 0:
			return question{fmt.Sprintf("%s >= %d", name, v), func(a *schemas.NotedAsset) bool { return get(a) >= v }}
		case 1:
			return question{fmt.Sprintf("%s<%d", name, v), func(a *schemas.NotedAsset) bool { return get(a) < v }}
		}
		return not(question{fmt.Sprintf("%s = %d", name, v), func(a *schemas.NotedAsset) bool { return get(a) == v }})
	case 4:
		p := netip.MustParsePrefix(rapid.SampledFrom([]string{"192.0.2.0/24", "192.0.2.0/25", "192.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8:1::/48", "::ffff:192.0.2.0/120", "192.0.2.1/32"}).Draw(t, "network"))
		plain := p
		if p.Addr().Is4In6() {
			plain = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return not(question{"ip = " + p.String(), func(a *schemas.NotedAsset) bool { return a.IP.IsValid() && plain.Contains(a.IP) }})
	case 5:
		ip := netip.MustParseAddr(oneAddr.Draw(t, "address"))
		return not(question{"ip = " + quote(ip.String()), func(a *schemas.NotedAsset) bool { return a.IP == ip.Unmap() }})
	case 6:
		v := oneName.Draw(t, "domain")
		if rapid.Bool().Draw(t, "exact") {
			return question{"domain == " + v, func(a *schemas.NotedAsset) bool { return slices.Contains(a.Notes.Names, v) }}
		}
		return not(question{"域名 = " + strings.ToUpper(v) + ".", func(a *schemas.NotedAsset) bool {
			return strings.Contains(v, ".") && slices.ContainsFunc(a.Notes.Names, func(n string) bool { return n == v || strings.HasSuffix(n, "."+v) })
		}})
	case 7:
		v := rapid.SampledFrom([]string{"u1", "u2", `u'3\`, "名 u1", "p", "u"}).Draw(t, "unit")
		return not(question{"unit = " + quote(v), func(a *schemas.NotedAsset) bool { return slices.Contains(a.Notes.UnitIn, v) }})
	case 8:
		v := rapid.SampledFrom(driftValues).Draw(t, "drift")
		return not(question{"drift = " + v, func(a *schemas.NotedAsset) bool {
			switch v {
			case anyValue:
				return len(a.Notes.Drift) > 0
			case noneValue:
				return len(a.Notes.Drift) == 0
			}
			return slices.Contains(a.Notes.Drift, v)
		}})
	}
	days := rapid.IntRange(0, 40).Draw(t, "days")
	at := now.AddDate(0, 0, -days)
	switch rapid.IntRange(0, 3).Draw(t, "op") {
	case 0:
		return question{"after = " + at.Format("2006-01-02T15:04"), func(a *schemas.NotedAsset) bool { return !a.Last.Before(at.Truncate(time.Minute)) }}
	case 1:
		return question{fmt.Sprintf("before = %dd", days), func(a *schemas.NotedAsset) bool { return a.Last.Before(at) }}
	case 2:
		icon := rapid.SampledFrom([]string{"1", "-247388890"}).Draw(t, "icon")
		return not(question{"icon_hash = " + quote(icon), func(a *schemas.NotedAsset) bool { return page(a).IconHash == icon }})
	}
	v := oneWord.Draw(t, "protocol")
	return not(question{"protocol = " + quote(v), func(a *schemas.NotedAsset) bool { return lower(service(a).Name) == lower(v) }})
}

func anyQuestion(t *rapid.T, depth int) question {
	if depth == 0 {
		return term(t)
	}
	a, b := anyQuestion(t, depth-1), anyQuestion(t, depth-1)
	switch rapid.IntRange(0, 4).Draw(t, "joined") {
	case 0:
		return question{"(" + a.text + " && " + b.text + ")", func(x *schemas.NotedAsset) bool { return a.holds(x) && b.holds(x) }}
	case 1:
		return question{"(" + a.text + " || " + b.text + ")", func(x *schemas.NotedAsset) bool { return a.holds(x) || b.holds(x) }}
	case 2:
		return question{"!(" + a.text + ")", func(x *schemas.NotedAsset) bool { return !a.holds(x) }}
	case 3:
		v := rapid.SampledFrom([]string{"教务", "edu.cn", "Ab", "192.0.2.1"}).Draw(t, "word")
		return question{"(" + v + " || " + a.text + ")", func(x *schemas.NotedAsset) bool {
			ip, err := netip.ParseAddr(v)
			has := func(s string) bool { return strings.Contains(lower(s), lower(v)) }
			return has(page(x).Title) || has(page(x).Server) || slices.ContainsFunc(listsOf["app"](x), has) || has(service(x).Banner) || slices.ContainsFunc(x.Notes.Names, has) || err == nil && x.IP == ip || a.holds(x)
		}}
	}
	return a
}

// The store's answer is that of a plain look at every asset: at first, when a
// large part lies beside newer rows, and when it has been merged.
func TestFoundIsWhatHolds(t *testing.T) {
	db := open(t)
	insert := func(t *rapid.T, rows []schemas.NotedAsset) {
		if err := db.InsertSearch(t.Context(), rows, ""); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if err := db.Exec(t.Context(), "TRUNCATE TABLE asset_search"); err != nil {
			t.Fatal(err)
		}
		there := map[string]schemas.NotedAsset{}
		write := func(name string, least, most int) {
			var rows []schemas.NotedAsset
			for range rapid.IntRange(least, most).Draw(t, name) {
				a := anyAsset(t)
				a.Version = there[a.Key].Version + uint64(rapid.IntRange(0, 1).Draw(t, "newer"))
				there[a.Key] = a
				rows = append(rows, a)
			}
			insert(t, rows)
		}
		write("first", 8, 12)
		if rapid.Bool().Draw(t, "merged") {
			if err := db.Exec(t.Context(), "OPTIMIZE TABLE asset_search FINAL SETTINGS optimize_throw_if_noop = 0"); err != nil {
				t.Fatal(err)
			}
		}
		write("later", 0, 4)
		write("last", 0, 3)
		for range 5 {
			ask(t, db, there, anyQuestion(t, rapid.IntRange(0, 2).Draw(t, "depth")))
		}
	})
}

// However many assets are asked for, and however long their names are, all of them
// come, once and in order, those that were written anew too.
func TestManyLongNames(t *testing.T) {
	db := open(t)
	const n = 10_000
	odd := strings.Repeat(`\000'`, 40)
	write := func(step int, version uint64) {
		var rows []schemas.NotedAsset
		for i := 0; i < n; i += step {
			name := fmt.Sprintf("%05d.%s.example.edu.cn", i, odd)
			rows = append(rows, schemas.NotedAsset{Asset: schemas.Asset{Key: schemas.DomainKey(name), Kind: schemas.AssetDomain, Name: name, Version: version, First: now, Last: now}})
		}
		if err := db.InsertSearch(t.Context(), rows, ""); err != nil {
			t.Fatal(err)
		}
	}
	write(1, 1)
	write(7, 2)
	next := 0
	err := EachAsset(t.Context(), db, AssetQuery{Text: "kind = domain", Now: now, Limit: MaxExport}, func(f *Found) error {
		if want := fmt.Sprintf("domain/%05d.", next); !strings.HasPrefix(f.Key, want) {
			t.Fatalf("%s, want %s", f.Key, want)
		}
		next++
		return nil
	})
	if err != nil || next != n {
		t.Errorf("%d of %d, %v", next, n, err)
	}
}

func ask(t *rapid.T, db *clickhouse.DB, there map[string]schemas.NotedAsset, q question) {
	var want []string
	byProtocol := map[string]uint64{}
	for key, a := range there {
		if q.holds(&a) {
			want = append(want, key)
			byProtocol[service(&a).Name]++
		}
	}
	slices.Sort(want)
	var got []string
	aq := AssetQuery{Text: q.text, Now: now, Limit: 3}
	for {
		p, err := FindAssets(t.Context(), db, aq)
		if err != nil {
			t.Fatalf("%s: %v", q.text, err)
		}
		for i := range p.Items {
			got = append(got, p.Items[i].Key)
		}
		if aq.After = p.Next; p.Next == "" {
			break
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %q\nwant %q", q.text, got, want)
	}
	counted, err := CountAssets(t.Context(), db, AssetQuery{Text: q.text, Now: now, Limit: 100}, "protocol")
	if err != nil {
		t.Fatalf("%s: %v", q.text, err)
	}
	sum := map[string]uint64{}
	for _, b := range counted.Buckets {
		sum[b.Value] = b.Count
	}
	if counted.Total != uint64(len(want)) || !maps.Equal(sum, byProtocol) || counted.Values != uint64(len(sum)) {
		t.Fatalf("%s: counted %+v, want %v", q.text, counted, byProtocol)
	}
}

// Every field can be counted by, and says the same as counting by hand.
func TestCountByEveryField(t *testing.T) {
	db := open(t)
	a := schemas.NotedAsset{
		Asset: schemas.Asset{
			Key: "service/192.0.2.1/tcp/80", Kind: schemas.AssetService, Unit: "u1", IP: netip.MustParseAddr("192.0.2.1"), Port: 80, Transport: "tcp", First: now, Last: now,
			Service: &schemas.Service{Name: "http", Product: "nginx", Technologies: []schemas.Technology{{Name: "PHP"}, {Name: "nginx"}}, HTTP: &schemas.HTTP{Title: "教务"}},
		},
		Notes: schemas.Notes{Names: []string{"www.a.edu.cn"}, City: []string{"郑州市", "4101"}, UnitIn: []string{"u1", "某校", "p", "省"}, Drift: []string{"listed_gone", "unlisted_port"}},
	}
	b := a
	b.Key, b.IP, b.Service, b.Notes.Names, b.Port = "host/2001:db8::1", netip.MustParseAddr("2001:db8::1"), nil, nil, 0
	b.Kind, b.Transport = schemas.AssetHost, ""
	must(t, db.InsertSearch(t.Context(), []schemas.NotedAsset{a, b}, ""))
	for _, f := range AssetFields() {
		got, err := CountAssets(t.Context(), db, AssetQuery{Now: now, Limit: 10}, f.Name)
		must(t, err)
		if got.Total != 2 || len(got.Buckets) == 0 || got.Values != uint64(len(got.Buckets)) {
			t.Errorf("%s: %+v", f.Name, got)
		}
	}
	f := func(by string, want ...Bucket) {
		t.Helper()
		got, err := CountAssets(t.Context(), db, AssetQuery{Now: now, Limit: 10}, by)
		must(t, err)
		if diff := cmp.Diff(want, got.Buckets); diff != "" {
			t.Errorf("%s (-want +got):\n%s", by, diff)
		}
	}
	f("app", Bucket{"", 1}, Bucket{"PHP", 1}, Bucket{"nginx", 1})
	for _, zone := range []int{0, 8, 13, -11} { // a day is one where the asker is, as in a query
		there := now.In(time.FixedZone("", zone*3600))
		day := there.Format(time.DateOnly)
		for _, by := range []string{"last", "before", "first"} {
			got, err := CountAssets(t.Context(), db, AssetQuery{Now: there, Limit: 10}, by)
			must(t, err)
			again, err := CountAssets(t.Context(), db, AssetQuery{Text: "last = " + day, Now: there, Limit: 10}, "")
			must(t, err)
			if len(got.Buckets) != 1 || got.Buckets[0] != (Bucket{day, 2}) || again.Total != 2 {
				t.Errorf("%d, %s: %+v; %+v", zone, by, got, again)
			}
		}
	}
	f("city", Bucket{"郑州市", 2})
	f("drift", Bucket{"listed_gone", 2}, Bucket{"unlisted_port", 2})
	f("domain", Bucket{"", 1}, Bucket{"a.edu.cn", 1}, Bucket{"edu.cn", 1}, Bucket{"www.a.edu.cn", 1})
	f("ip", Bucket{"192.0.2.1", 1}, Bucket{"2001:db8::1", 1})
	f("is_ipv6", Bucket{"false", 1}, Bucket{"true", 1})
	f("unit", Bucket{"u1", 2})
	f("port", Bucket{"0", 1}, Bucket{"80", 1})

	p, err := FindAssets(t.Context(), db, AssetQuery{Text: "port = 80", Now: now, Limit: 10, Long: []string{"cert", "body"}})
	must(t, err)
	want := Found{
		Key: a.Key, Kind: "service", IP: a.IP, Port: 80, Transport: "tcp", Host: []string{"www.a.edu.cn"}, Protocol: "http", Product: "nginx", App: []string{"nginx", "PHP"}, Title: "教务",
		Unit: "u1", UnitName: "某校", City: "郑州市", Drift: []string{"listed_gone", "unlisted_port"}, First: now, Last: now,
	}
	if diff := cmp.Diff([]Found{want}, p.Items, cmp.Comparer(func(a, b Found) bool { return fmt.Sprint(a) == fmt.Sprint(b) })); diff != "" {
		t.Errorf("(-want +got):\n%s\n%+v\n%+v", diff, want, p.Items)
	}
	// Only of the units that may be seen, whatever is asked.
	for _, units := range [][]string{{}, {"u2", `u'3\`}} {
		p, err := FindAssets(t.Context(), db, AssetQuery{Text: "x || !x", Units: units, Now: now, Limit: 10})
		must(t, err)
		n, err := CountAssets(t.Context(), db, AssetQuery{Text: "x || !x", Units: units, Now: now, Limit: 10}, "port")
		must(t, err)
		if len(p.Items) != 0 || n.Total != 0 {
			t.Errorf("units %q see %+v, %+v", units, p.Items, n)
		}
	}
	if _, err := FindAssets(t.Context(), db, AssetQuery{Now: now, Limit: 10, After: "nonsense"}); !errors.Is(err, ErrCursor) {
		t.Errorf("a cursor of nobody's: %v", err)
	}
}

func TestAssetMistakes(t *testing.T) {
	f := func(text, want string, at int) {
		t.Helper()
		_, err := (&AssetQuery{Text: text, Now: now}).where()
		e, ok := IsQueryError(err)
		if !ok || e.At != at || !strings.Contains(e.Msg, want) {
			t.Errorf("%s: %v, want %q at %d", text, err, want, at)
		}
	}
	f("tittle = x", `did you mean "title"`, 0)
	f(`ip = 192.0.2.0/24 && prot = 80`, `did you mean "port"`, 21)
	f("port = many", "is not a number", 7)
	f("port = 65536", "65535", 7)
	f("port *= 8", "not by *=", 8)
	f("alive = maybe", "true or = false", 8)
	f("icon_hash = x", "no hash", 12)
	f("ip = example.org", "neither an address nor a network", 5)
	f("after > 2026-01-01", "not by >", 8)
	f("after = soon", "is no time", 8)
	f("host = \"a\nb\"", "one line", 7)
	f("标题 = ", "a value is missing", 9)
}

// No value of a query is in the SQL, and nothing of it leaves the condition.
func FuzzAssetQuery(f *testing.F) {
	for _, s := range []string{`title = "x'; DROP TABLE events"`, "ip = 10.0.0.0/8 || !(port<1)", "domain *= *.cn 标题=登录 after=7d", `cert *= "a\\*b?[^\n]*"`, "drift = any level>=3 192.0.2.1", "unit==u1"} {
		f.Add(s)
	}
	var known []string
	for _, a := range assetFields {
		known = append(known, a.column)
	}
	known = append(known, "domain", "lower", "match", "has", "toIPv6", "LIKE", "AND", "NOT", "OR", "DateTime64(6, 'UTC')", "String", "UInt16", "UInt8", "unit_in", "host", "last",
		"'::ffff:0.0.0.0'", "'::ffff:255.255.255.255'", "'::'", "''")
	slices.SortFunc(known, func(a, b string) int { return len(b) - len(a) })
	parts := make([]string, len(known))
	for i, k := range known {
		parts[i] = regexp.QuoteMeta(k)
	}
	word := regexp.MustCompile(`\{p[0-9]+:|` + strings.Join(parts, "|"))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := query.Compile(text, assetSyntax{}, now)
		if err != nil {
			if e, ok := IsQueryError(err); !ok || e.At > len(text) || e.Caret() == "" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		rest := strings.Trim(strings.Map(func(r rune) rune {
			if strings.ContainsRune("(){}:,=<>! 01", r) {
				return -1
			}
			return r
		}, word.ReplaceAllString(c.SQL, "")), " ")
		if rest != "" {
			t.Fatalf("%q put %q into the SQL: %s", text, rest, c.SQL)
		}
	})
}

// The manual's table has every field with its names, operators and example, and
// no other; and every example is a query.
func TestManualHasTheFields(t *testing.T) {
	text, err := os.ReadFile("../../docs/manual/search.md")
	must(t, err)
	var want []string
	got := regexp.MustCompile("(?m)^\\| `[a-z0-9_]+` \\|.*$").FindAllString(string(text), -1)
	for _, f := range AssetFields() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s | `%s` | %s |", f.Name, strings.Join(f.Aliases, "、"), f.Type, "`"+strings.Join(f.Operators, " ")+"`", f.Example, f.Chinese+" / "+f.English))
		if _, err := (&AssetQuery{Text: f.Example, Now: now}).where(); err != nil {
			t.Errorf("the example of %s: %v", f.Name, err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/manual/search.md (-want +got):\n%s\nwant:\n%s", diff, strings.Join(want, "\n"))
	}
}

// TestNamesInAnyScript: a name is looked for as DNS has it, however it is written.
func TestNamesInAnyScript(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		c, err := query.Compile(text, assetSyntax{}, now)
		if err != nil || !slices.ContainsFunc(slices.Collect(maps.Values(c.Params)), func(v string) bool { return strings.Contains(v, want) }) {
			t.Errorf("%s: %v, %v", text, c.Params, err)
		}
	}
	f("domain = 大学.公益", "xn--pss25c.xn--55qw42g")
	f("domain == 大学.公益", "xn--pss25c.xn--55qw42g")
	f("host = 大学", "xn--pss25c")
	f("host = WWW.", "www.")
	f("domain = Example.edu.cn.", "example.edu.cn")
}
