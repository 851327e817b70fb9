package collector

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fengsui/internal/config"
)

// TestYAML reads a configuration with an input of each type and makes a
// collector of it.
func TestYAML(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fengsui.yaml")
	load := func(text string) (Config, error) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := DefaultConfig()
		return cfg, config.Load(path, &cfg)
	}
	const text = `
id: zhengzhou-1
state_dir: /var/lib/fengsui/collector
spool: {dir: /var/lib/fengsui/spool, max_bytes: 8589934592}
inputs:
  - name: syslog
    type: syslog
    unit: "410100"
    syslog: {udp: ":514", tcp: ":514", idle_timeout: 10m}
  - name: zeek
    type: file
    unit: "410100"
    format: zeek
    file: {paths: [/var/log/zeek/current/*.log], exclude: ["*.gz"]}
  - name: mirror
    type: packet
    unit: "410100"
    packet: {interface: eth1}
  - name: shippers
    type: http
    http:
      listen: ":9200"
      tls: {cert: /c, key: /k, client_ca: /ca, clients: [{name: school.example, unit: "410117"}]}
      tokens: [{unit: "410118", secret: 0123456789abcdef}, {secret_file: /token}]
      max_per_address: 5
  - name: beats
    type: beats
    beats: {listen: ":5044", tls: {cert: /c, key: /k}, keep_alive: 3s}
  - name: secure
    type: syslog
    syslog: {tls: {listen: ":6514", cert: /c, key: /k, client_ca: /ca}, max_connections: 7}
`
	cfg, err := load(text)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.QueueBytes != DefaultConfig().QueueBytes || cfg.Inputs[0].Syslog.IdleTimeout.Minutes() != 10 || cfg.Inputs[1].File.Exclude[0] != "*.gz" {
		t.Errorf("%+v", cfg)
	}
	if http := cfg.Inputs[3].HTTP; http.TLS.Clients[0].Unit != "410117" || http.Tokens[1].SecretFile != "/token" || http.Limits.MaxPerAddress != 5 {
		t.Errorf("%+v", http)
	}
	if secure := cfg.Inputs[5].Syslog; secure.TLS.Listen != ":6514" || secure.TLS.ClientCA != "/ca" || secure.Limits.MaxConnections != 7 {
		t.Errorf("%+v", secure)
	}
	if _, err := New(cfg, Deps{}); err != nil {
		t.Error(err)
	}
	dump, err := config.Dump(cfg)
	if err != nil || strings.Contains(string(dump), "0123456789abcdef") {
		t.Errorf("the dump tells a token, or %v", err)
	}
	if _, err := load(strings.Replace(text, "udp:", "upd:", 1)); err == nil || !strings.Contains(err.Error(), "upd") {
		t.Errorf("an unknown key: %v", err)
	}
}
