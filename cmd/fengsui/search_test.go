package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fengsui/console/search"
)

const searchRegistry = `
units:
  - {code: "41", name: 河南省, level: province, division: "410000"}
  - {code: "4101", name: 郑州市, level: city, parent: "41", division: "410100"}
  - {code: "10001", name: 示例大学, level: university, parent: "41", division: "410105"}
networks:
  - {prefix: 192.0.2.0/24, unit: "10001", name: 服务器区, scan: false}
`

const searchAllowed = searchRegistry + `
whitelist:
  - {kind: port, host: 192.0.2.10/32, port: 22, transport: tcp, unit: "10001", reason: 运维}
`

// A service that a sensor saw is found by what the registry says of it, at once
// and when the registry changes, after a restart too.
func TestSearch(t *testing.T) {
	s := newSystem(t, loopback)
	s.start()
	registry, log := filepath.Join(t.TempDir(), "registry.yaml"), filepath.Join(t.TempDir(), "zeek.log")
	write(t, registry, searchRegistry)
	s.run("registry", "import", registry)
	s.eventually(30*time.Second, "the analyzer knows the registry", func() error {
		write(t, log, fmt.Sprintf(`{"_path":"conn","ts":%q,"uid":"C%d","id.orig_h":"203.0.113.5","id.orig_p":40001,"id.resp_h":"192.0.2.10","id.resp_p":22,"proto":"tcp","service":"ssh","conn_state":"SF"}`+"\n",
			time.Now().UTC().Format(time.RFC3339Nano), time.Now().UnixNano()))
		replayed(t, s, log, "zeek", "10001")
		_, err := foundOne(s, "ip = 192.0.2.0/24 && port = 22")
		return err
	})
	f := func(query string) {
		t.Helper()
		s.eventually(60*time.Second, query, func() error {
			a, err := foundOne(s, query)
			if err == nil && (a.Key != "service/192.0.2.10/tcp/22" || a.City != "郑州市" || a.UnitName != "示例大学") {
				return fmt.Errorf("%+v", a)
			}
			return err
		})
	}
	f("protocol = ssh && 城市 = 郑州 && unit = 41 && whitelisted = false")
	write(t, registry, searchAllowed)
	s.run("registry", "import", registry)
	f("protocol = ssh && whitelisted = true && school = 示例")
	s.stop()
	s.start()
	f("protocol = ssh && whitelisted = true && drift = none")

	counts := s.run("search", "port = 22", "--agg", "city")
	if !strings.Contains(counts, "1      郑州市") || !strings.Contains(counts, "1 assets") {
		t.Errorf("counted:\n%s", counts)
	}
	file := filepath.Join(t.TempDir(), "assets.csv")
	s.run("search", "port = 22", "--export", file, "--fields", "ip,port,city")
	text, err := os.ReadFile(file)
	if err != nil || string(text) != "\ufeff地址,端口,地市\n192.0.2.10,22,郑州市\n" {
		t.Errorf("%v: %q", err, text)
	}
	if _, err := s.try("search", "prot = 22"); err == nil || !strings.Contains(err.Error(), "\nprot = 22\n^") || !strings.Contains(err.Error(), `did you mean "port"?`) {
		t.Errorf("a mistyped field: %v", err)
	}
	s.stop()
}

func foundOne(s *system, query string) (a search.Found, err error) {
	out, err := s.try("search", "--json", query)
	if err != nil {
		return a, err
	}
	if n := strings.Count(out, "\n"); n != 1 {
		return a, fmt.Errorf("%d assets", n)
	}
	return a, json.Unmarshal([]byte(out), &a)
}
