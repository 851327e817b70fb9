package enrich

import (
	"fmt"
	"testing"

	"fengsui/internal/testkit/mmdb"
	"fengsui/schemas"
)

// BenchmarkEvent is what each enrichment costs an event, and all of them beside
// reading the line.
func BenchmarkEvent(b *testing.B) {
	const access = `203.0.113.7 - - [22/Nov/2026:08:00:00 +0800] "GET /jwglxt/xtgl/index_initMenu.html HTTP/1.1" 200 5123 "-" "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"`
	const flow = `{"source.ip":"203.0.113.7","source.port":50022,"destination.ip":"198.51.100.9","destination.port":443,"network.transport":"tcp"}`
	records := map[string]mmdb.Map{"203.0.113.0/24": mmdb.Country("US", "Ohio", "Dayton"), "198.51.100.0/24": mmdb.Country("HK", "", "")}
	for i := range 5000 { // others around them
		records[fmt.Sprintf("198.%d.%d.0/24", 18+i/256, i%256)] = mmdb.Country("US", "", fmt.Sprint("City ", i))
	}
	cfg := files(b)
	write(b, cfg.Databases[0], mmdb.Write(b, "Test-City", records))
	none := DefaultConfig()
	none.UserAgent, none.CommunityID = false, false
	f := func(name, format, line string, change func(*Config)) {
		b.Run(name, func(b *testing.B) {
			c := none
			if change != nil {
				change(&c)
			}
			e := enricher(b, c, nil)
			ev := event(b, format, line)
			var set []schemas.FieldID
			var values []schemas.Value
			ev.Each(func(id schemas.FieldID, v schemas.Value) { set, values = append(set, id), append(values, v) })
			b.ReportAllocs()
			for b.Loop() {
				ev.Reset()
				for i, id := range set {
					ev.Set(id, values[i])
				}
				e.Event(nil, ev)
			}
		})
	}
	geography := func(c *Config) { c.Databases, c.Networks = cfg.Databases, cfg.Networks }
	agents := func(c *Config) { c.UserAgent = true }
	community := func(c *Config) { c.CommunityID = true }
	f("access line, fields alone", "nginx-access", access, nil)
	f("access line, places", "nginx-access", access, geography)
	f("access line, user agent", "nginx-access", access, agents)
	f("access line, all", "nginx-access", access, func(c *Config) { geography(c); agents(c); community(c) })
	f("flow, fields alone", "json", flow, nil)
	f("flow, places", "json", flow, geography)
	f("flow, community id", "json", flow, community)
	f("flow, all", "json", flow, func(c *Config) { geography(c); agents(c); community(c) })
	for _, line := range []struct{ format, text string }{{"nginx-access", access}, {"json", flow}} {
		b.Run("reading the line, "+line.format, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				event(b, line.format, line.text)
			}
		})
	}
}
