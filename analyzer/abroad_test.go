package analyzer

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/analyzer/enrich"
	"fengsui/analyzer/match"
	"fengsui/analyzer/parse"
	"fengsui/internal/testkit/mmdb"
	"fengsui/rules"
	"fengsui/schemas"
)

// TestAbroad: the shipped rules on access from abroad go by where the database
// puts an address, and by what the installation calls home.
func TestAbroad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "country.mmdb")
	data := mmdb.Write(t, "Test-Country", map[string]mmdb.Map{
		"203.0.113.0/25": mmdb.Country("US", "", ""), "203.0.113.128/25": mmdb.Country("CN", "", ""), "198.51.100.0/24": mmdb.Country("HK", "", ""),
	})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := enrich.DefaultConfig()
	cfg.Databases = []string{path}
	e, err := enrich.New(cfg, enrich.Deps{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	engine := func(opt match.Options) *match.Engine {
		rs, errs := rules.Shipped()
		if len(errs) > 0 {
			t.Fatal(errs[0])
		}
		var abroad []*rules.Rule
		for _, r := range rs {
			if strings.HasSuffix(r.File, "_from_abroad.yml") {
				abroad = append(abroad, r)
			}
		}
		e, problems := match.Compile(abroad, opt)
		if len(abroad) != 2 || len(problems) > 0 {
			t.Fatalf("%d rules, problems %v", len(abroad), problems)
		}
		return e
	}
	usual, other := engine(match.Options{}), engine(match.Options{Placeholders: map[string][]string{"home_countries": {"US"}}})
	f := func(format, line string, want, wantOther int) {
		t.Helper()
		ev := &schemas.Event{Original: line}
		ev.Format, ev.Received = format, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
		if err := parse.Parse(ev); err != nil {
			t.Fatal(err)
		}
		settle(ev)
		e.Event(nil, ev)
		got, gotOther := 0, 0
		usual.Match(ev, func(match.Hit) { got++ })
		other.Match(ev, func(match.Hit) { gotOther++ })
		if got != want || gotOther != wantOther {
			t.Errorf("%s: %d and %d matches, want %d and %d", line, got, gotOther, want, wantOther)
		}
	}
	const access = ` - - [22/Nov/2026:08:00:00 +0800] "GET /jwglxt/xtgl/index_initMenu.html HTTP/1.1" 200 5123 "-" "Mozilla/5.0"`
	f("nginx-access", "203.0.113.7"+access, 1, 0)
	f("nginx-access", "203.0.113.200"+access, 0, 1)
	f("nginx-access", "198.51.100.9"+access, 0, 1)
	f("nginx-access", "192.0.2.1"+access, 0, 0) // nobody knows where
	f("nginx-access", "10.1.2.3"+access, 0, 0)
	f("syslog", "<38>Nov 22 08:00:00 web1 sshd[42]: Accepted password for li from 203.0.113.7 port 50022 ssh2", 1, 0)
	f("syslog", "<38>Nov 22 08:00:00 web1 sshd[42]: Accepted password for li from 203.0.113.200 port 50022 ssh2", 0, 1)
	f("syslog", "<38>Nov 22 08:00:00 web1 sshd[42]: Failed password for li from 203.0.113.7 port 50022 ssh2", 0, 0)
}
