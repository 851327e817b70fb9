package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fengsui/internal/testkit/mmdb"
	"fengsui/schemas"
)

const fromSomewhere = ` - - [22/Nov/2026:08:00:00 +0800] "GET /jwglxt/xtgl/index_initMenu.html HTTP/1.1" 200 5123 "-" "sqlmap/1.7.2#stable (https://sqlmap.org)"` + "\n"

// TestAbroad: a line of an access log raises an alert by where a database puts
// its client, and by another database once it has taken the first one's place.
func TestAbroad(t *testing.T) {
	dir := t.TempDir()
	database, log := filepath.Join(dir, "city.mmdb"), filepath.Join(dir, "access.log")
	put := func(country, city string) {
		t.Helper()
		write(t, database+".new", string(mmdb.Write(t, "Test-City", map[string]mmdb.Map{"203.0.113.0/24": mmdb.Country(country, "", city)})))
		past := time.Now().Add(-time.Hour) // nobody is writing it
		if err := os.Chtimes(database+".new", past, past); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(database+".new", database); err != nil {
			t.Fatal(err)
		}
	}
	put("CN", "Nanjing")
	write(t, log, "")
	s := newSystem(t, loopback+fmt.Sprintf(`
collector:
  inputs:
    - {name: portal, type: file, format: nginx-access, file: {paths: [%q]}}
analyzer:
  enrich: {databases: [%q]}
`, log, database))
	s.start()
	request := func(from string) {
		t.Helper()
		f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(from + fromSomewhere); err != nil {
			t.Fatal(err)
		}
	}
	stored := func(n int, from, country, city string) {
		t.Helper()
		request(from)
		var events []map[string]any
		s.eventually(30*time.Second, "the request from "+from, func() (err error) {
			events, err = tryFind[map[string]any](s, "events", "source.ip = "+from)
			if err == nil && len(events) != n {
				err = fmt.Errorf("%d events", len(events))
			}
			return err
		})
		if !slices.ContainsFunc(events, func(ev map[string]any) bool {
			return ev["source.geo.country_iso_code"] == country && ev["source.geo.city_name"] == city &&
				ev["user_agent.name"] == "sqlmap" && ev["user_agent.device.name"] == "Scanner"
		}) {
			t.Errorf("%s is in %s, %s: %v", from, country, city, events)
		}
	}
	stored(1, "203.0.113.7", "CN", "Nanjing")

	put("US", "Dayton")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.eventually(20*time.Second, "the new database is read", func() error {
		if n := strings.Count(s.log.tail(1<<20), "places read"); n != 2 {
			return fmt.Errorf("read %d times", n)
		}
		return nil
	})
	stored(2, "203.0.113.7", "US", "Dayton")
	var abroad []schemas.Alert
	s.eventually(30*time.Second, "the alert", func() error {
		all, err := tryFind[schemas.Alert](s, "alerts", "")
		if err != nil {
			return err
		}
		abroad = slices.DeleteFunc(all, func(a schemas.Alert) bool { return !strings.Contains(a.Rule.Title, "境外访问教务") })
		if len(abroad) == 0 {
			return fmt.Errorf("%d others", len(all))
		}
		return nil
	})
	if len(abroad) != 1 || abroad[0].Count != 1 || !slices.Contains(abroad[0].Group, schemas.GroupValue{Field: "source.geo.country_iso_code", Value: "US"}) {
		t.Errorf("%+v", abroad)
	}

	// The commands know the same places.
	var ev map[string]any
	out := s.run("parse", "--format", "nginx-access", "--enrich", log)
	first, _, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(first), &ev); err != nil || ev["source.geo.city_name"] != "Dayton" {
		t.Errorf("%v %v", err, out)
	}
	out = s.run("rules", "match", "--events", log, "--format", "nginx-access")
	if n := strings.Count(out, "e7b29cc1-741b-5ada-a3a2-2f3c348f7b0b"); n != 2 {
		t.Errorf("%d matches of 2 lines:\n%s", n, out)
	}
	s.stop()
}
