package enrich

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"fengsui/analyzer/parse"
	"fengsui/internal/directory"
	"fengsui/internal/testkit/mmdb"
	"fengsui/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func enricher(t testing.TB, cfg Config, log *strings.Builder) *Enricher {
	t.Helper()
	if log == nil {
		log = &strings.Builder{}
	}
	e, err := New(cfg, Deps{Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// files writes a table and two databases, and is the configuration with them.
func files(t testing.TB) Config {
	t.Helper()
	dir := t.TempDir()
	cfg := DefaultConfig()
	cfg.Networks = []string{filepath.Join(dir, "own.csv")}
	cfg.Databases = []string{filepath.Join(dir, "city.mmdb"), filepath.Join(dir, "asn.mmdb")}
	write(t, cfg.Networks[0], []byte("network,country,region,city,asn,organization\n203.0.113.128/25,CN,江苏,南京,4538,教育网\n"))
	write(t, cfg.Databases[0], mmdb.Write(t, "Test-City", map[string]mmdb.Map{"203.0.113.0/24": mmdb.Country("US", "Ohio", "Dayton"), "198.51.100.0/24": mmdb.Country("HK", "", "")}))
	write(t, cfg.Databases[1], mmdb.Write(t, "Test-ASN", map[string]mmdb.Map{"203.0.113.0/24": mmdb.AS(64511, "Example Ohio")}))
	return cfg
}

func event(t testing.TB, format, line string) *schemas.Event {
	t.Helper()
	ev := &schemas.Event{Original: line}
	ev.Format, ev.Received = format, time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	if err := parse.Parse(ev); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return ev
}

// TestEvent: what an event says, and nothing else, tells what is added to it.
func TestEvent(t *testing.T) {
	e := enricher(t, files(t), nil)
	snap, err := directory.NewSnapshot([]schemas.Unit{{Code: "1", Name: "university", Level: "university"}},
		[]schemas.Network{{Prefix: netip.MustParsePrefix("203.0.113.64/26"), Unit: "1"}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(line string, want ...string) {
		t.Helper()
		ev := event(t, "json", line)
		before := map[schemas.FieldID]bool{}
		ev.Each(func(id schemas.FieldID, _ schemas.Value) { before[id] = true })
		e.Event(snap, ev)
		var got []string
		ev.Each(func(id schemas.FieldID, v schemas.Value) {
			if !before[id] {
				got = append(got, id.String()+"="+v.Text())
			}
		})
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s\n got %q\nwant %q", line, got, want)
		}
	}
	f(`{"message":"nothing"}`)
	f(`{"source.ip":"203.0.113.7","destination.ip":"198.51.100.9"}`,
		"source.geo.country_iso_code=US", "source.geo.region_name=Ohio", "source.geo.city_name=Dayton", "source.as.number=64511", "source.as.organization.name=Example Ohio",
		"destination.geo.country_iso_code=HK")
	f(`{"source.ip":"203.0.113.200"}`,
		"source.geo.country_iso_code=CN", "source.geo.region_name=江苏", "source.geo.city_name=南京", "source.as.number=4538", "source.as.organization.name=教育网")
	f(`{"source.ip":"203.0.113.70","destination.ip":"10.0.0.1"}`) // ours, and private
	f(`{"source.ip":"203.0.113.7","source.geo.country_iso_code":"FR","source.as.number":7}`)
	f(`{"source.ip":"203.0.113.7","source.geo.city_name":"Dijon"}`, "source.as.number=64511", "source.as.organization.name=Example Ohio")

	// An example of the Community ID specification, and the way back.
	f(`{"source.ip":"192.168.1.52","source.port":54585,"destination.ip":"8.8.8.8","destination.port":53,"network.transport":"udp"}`, "network.community_id=1:d/FP5EW3wiY1vCndhwleRRKHowQ=")
	f(`{"source.ip":"8.8.8.8","source.port":53,"destination.ip":"192.168.1.52","destination.port":54585,"network.transport":"udp"}`, "network.community_id=1:d/FP5EW3wiY1vCndhwleRRKHowQ=")
	f(`{"source.ip":"10.0.0.1","source.port":1234,"destination.ip":"10.0.0.2","destination.port":80,"network.transport":"tcp","network.community_id":"1:x"}`)
	f(`{"source.ip":"10.0.0.1","source.port":1234,"destination.ip":"10.0.0.2","destination.port":80}`)
	f(`{"source.ip":"10.0.0.1","source.port":1234,"destination.ip":"10.0.0.2","network.transport":"tcp"}`)
	f(`{"source.ip":"10.0.0.1","source.port":70000,"destination.ip":"10.0.0.2","destination.port":80,"network.transport":"tcp"}`)
	f(`{"source.ip":"10.0.0.1","source.port":8,"destination.ip":"10.0.0.2","destination.port":0,"network.transport":"icmp"}`)
	f(`{"source.ip":"10.0.0.1","source.port":1,"destination.ip":"fd00::2","destination.port":2,"network.transport":"udp"}`)

	const sqlmap = `"user_agent.original":"sqlmap/1.7.2#stable (https://sqlmap.org)"`
	for range 2 { // the second from memory
		f(`{`+sqlmap+`}`, "user_agent.name=sqlmap", "user_agent.version=1.7.2", "user_agent.device.name=Scanner")
	}
	f(`{` + sqlmap + `,"user_agent.name":"said"}`)
	f(`{"user_agent.original":"` + strings.Repeat("x", 2000) + `"}`)
}

// TestSwitches: what is switched off is not added.
func TestSwitches(t *testing.T) {
	cfg := DefaultConfig()
	cfg.UserAgent, cfg.CommunityID = false, false
	ev := event(t, "json", `{"source.ip":"203.0.113.7","source.port":1,"destination.ip":"10.0.0.2","destination.port":2,"network.transport":"udp","user_agent.original":"curl/8"}`)
	n := 0
	enricher(t, cfg, nil).Event(nil, ev)
	for _, id := range []schemas.FieldID{schemas.FieldNetworkCommunityID, schemas.FieldUserAgentName, schemas.FieldSourceGeoCountryISOCode} {
		if !ev.Get(id).IsNone() {
			n++
		}
	}
	if n > 0 {
		t.Errorf("%d fields of what is off", n)
	}
	for _, bad := range []func(*Config){
		func(c *Config) { c.Language = "fr" }, func(c *Config) { c.MaxFileBytes = 0 }, func(c *Config) { c.Rescan = 0 },
	} {
		cfg := DefaultConfig()
		bad(&cfg)
		if cfg.Validate() == nil {
			t.Errorf("%+v is valid", cfg)
		}
	}
}

// TestFiles: a file that is replaced takes effect, a broken one changes nothing
// and is named once, one that comes later is read when it is there.
func TestFiles(t *testing.T) {
	cfg := files(t)
	var log strings.Builder
	late := filepath.Join(t.TempDir(), "late.mmdb")
	cfg.Databases = append([]string{late}, cfg.Databases...)
	e := enricher(t, cfg, &log)
	country := func(address string) string {
		ev := &schemas.Event{}
		ev.SetIP(schemas.FieldSourceIP, address)
		e.Event(nil, ev)
		return ev.Str(schemas.FieldSourceGeoCountryISOCode)
	}
	at := time.Now()
	look := func() { at = at.Add(time.Minute); e.load(at, false) }
	replace := func(path string, data []byte) {
		t.Helper()
		write(t, path+".new", data)
		when := at.Add(30 * time.Second) // each at another time
		if err := os.Chtimes(path+".new", when, when); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		look()
	}
	f := func(what, address, want string, broken float64, lines string) {
		t.Helper()
		if got := country(address); got != want {
			t.Errorf("%s: %s is in %q, want %q", what, address, got, want)
		}
		var m dto.Metric
		if err := e.metrics.broken.WithLabelValues(cfg.Databases[1]).Write(&m); err != nil || m.GetGauge().GetValue() != broken {
			t.Errorf("%s: broken %v %v, want %v", what, m.GetGauge().GetValue(), err, broken)
		}
		if lines != "" && strings.Count(log.String(), lines) != 1 {
			t.Errorf("%s: the log says %q %d times:\n%s", what, lines, strings.Count(log.String(), lines), log.String())
		}
	}
	f("at first", "203.0.113.7", "US", 0, "")
	if p := e.Problems(); len(p) != 1 || !strings.Contains(p[0].Error(), late) {
		t.Errorf("problems %v", p)
	}
	look()
	f("a file that is not there", "203.0.113.7", "US", 0, "a file of places cannot be used")

	sound := mmdb.Write(t, "Test-City", map[string]mmdb.Map{"203.0.113.0/24": mmdb.Country("RU", "", "")})
	replace(cfg.Databases[1], sound[:len(sound)/2])
	look()
	f("half a file", "203.0.113.7", "US", 1, "its former version works on")
	replace(cfg.Databases[1], sound)
	f("the whole of it", "203.0.113.7", "RU", 0, "")
	if err := os.Remove(cfg.Databases[1]); err != nil {
		t.Fatal(err)
	}
	look()
	f("removed", "203.0.113.7", "RU", 1, "")
	replace(cfg.Databases[1], sound)
	f("back", "203.0.113.7", "RU", 0, "")

	replace(late, mmdb.Write(t, "Test-Country", map[string]mmdb.Map{"203.0.113.0/24": mmdb.Country("BR", "", "")}))
	f("the one that came late, and is first", "203.0.113.7", "BR", 0, "kind=Test-Country")
	replace(cfg.Networks[0], []byte("network,country\n203.0.113.0/24,XX\n203.0.113.1/24,XX\n"))
	f("a mistake in the table", "203.0.113.7", "BR", 0, "line 3")
	f("what it said works on", "203.0.113.200", "CN", 0, "")
	replace(cfg.Networks[0], []byte("network,country\n203.0.113.0/24,MO\n"))
	f("the table put right", "203.0.113.7", "MO", 0, "")

	now := time.Now()
	if err := os.Chtimes(cfg.Networks[0], now, now); err != nil {
		t.Fatal(err)
	}
	write(t, cfg.Networks[0], []byte("network,country\n203.0.113.0/24,TW\n"))
	e.load(time.Now(), false)
	f("a file that is being written", "203.0.113.7", "MO", 0, "")
	e.load(time.Now().Add(settle), false)
	f("left alone", "203.0.113.7", "TW", 0, "")

	e.cfg.MaxFileBytes = 10
	replace(cfg.Networks[0], []byte("network,country\n203.0.113.0/24,JP\n"))
	f("too large", "203.0.113.7", "TW", 0, "more than max_file_bytes")
}

// TestRun: Run follows the files by itself.
func TestRun(t *testing.T) {
	cfg := files(t)
	e := enricher(t, cfg, nil)
	ctx, done := t.Context(), make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() { <-done }) // the context has ended before
	past := time.Now().Add(-time.Hour)
	write(t, cfg.Networks[0]+".new", []byte("network,country\n203.0.113.128/25,MO\n"))
	if err := os.Chtimes(cfg.Networks[0]+".new", past, past); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(cfg.Networks[0]+".new", cfg.Networks[0]); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		e.Ask()
		ev := event(t, "json", `{"source.ip":"203.0.113.200"}`)
		e.Event(nil, ev)
		if ev.Str(schemas.FieldSourceGeoCountryISOCode) == "MO" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the new table was not read")
		}
	}
}

// TestTogether: partitions enrich at the same time, while files are replaced; an
// event never has half of one version and half of another.
func TestTogether(t *testing.T) {
	cfg := files(t)
	e := enricher(t, cfg, nil)
	versions := [][]byte{
		mmdb.Write(t, "Test-City", map[string]mmdb.Map{"203.0.113.0/24": mmdb.Country("US", "Ohio", "Dayton")}),
		mmdb.Write(t, "Test-City", map[string]mmdb.Map{"203.0.113.0/24": mmdb.Country("BR", "Bahia", "Ilhéus")}),
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ev := &schemas.Event{}
			for i := range 2000 {
				ev.Reset()
				ev.SetString(schemas.FieldSourceIP, fmt.Sprintf("203.0.113.%d", i%128))
				ev.SetString(schemas.FieldUserAgentOriginal, fmt.Sprintf("sqlmap/1.%d", i%50))
				e.Event(nil, ev)
				place := ev.Str(schemas.FieldSourceGeoCountryISOCode) + ev.Str(schemas.FieldSourceGeoRegionName) + ev.Str(schemas.FieldSourceGeoCityName)
				if place != "USOhioDayton" && place != "BRBahiaIlhéus" || ev.Str(schemas.FieldUserAgentVersion) != fmt.Sprintf("1.%d", i%50) {
					t.Errorf("%s, %s", place, ev.Str(schemas.FieldUserAgentVersion))
					return
				}
			}
		})
	}
	for i := range 20 {
		write(t, cfg.Databases[0], versions[i%2])
		e.load(time.Now().Add(time.Duration(i+1)*time.Minute), false)
	}
	wg.Wait()
}
