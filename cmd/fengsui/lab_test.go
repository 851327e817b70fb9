package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fengsui/internal/testkit/lab"
	"fengsui/schemas"
)

// A university's registry. Of its names only old is asked for because it is listed;
// the others are found by following records, too.
const campusRegistry = `
units:
  - {code: edu, name: 省教育厅, level: province}
  - {code: u1, name: 示例大学, level: university, parent: edu}
networks:
  - {prefix: 10.60.1.0/27, unit: u1, name: 服务器区, scan: true}
  - {prefix: "fd00:60::/64", unit: u1, name: 服务器区 IPv6, scan: true}
domains:
  - {name: u1.example, unit: u1, scan: true}
whitelist:
  - {kind: domain, domain: u1.example, unit: u1}
  - {kind: domain, domain: www.u1.example, unit: u1}
  - {kind: domain, domain: mail.u1.example, unit: u1}
  - {kind: domain, domain: ns.u1.example, unit: u1}
  - {kind: domain, domain: old.u1.example, unit: u1}
`

const (
	campusRecords = "www IN A 10.60.1.10\nwww IN AAAA fd00:60::10\n@ IN MX 10 mail\nmail IN A 10.60.1.20\nmail IN AAAA fd00:60::20\nold IN CNAME www\n"
	// A second mail server that nobody has registered.
	campusBackup = campusRecords + "@ IN MX 20 backup\nbackup IN A 10.60.1.30\nbackup IN AAAA fd00:60::30\n"
)

// whitelistPort is a whitelist entry as people write it.
func whitelistPort(ip string, port int, service string) string {
	return whitelistOver("tcp", ip, port, service)
}

func whitelistOver(transport, ip string, port int, service string) string {
	return fmt.Sprintf("  - {kind: port, host: %q, port: %d, transport: %s, service: %q, unit: u1}\n",
		ip+map[bool]string{true: "/128", false: "/32"}[strings.Contains(ip, ":")], port, transport, service)
}

// campus is a system on a scanner of its own, and the hosts around it.
type campus struct {
	*system
	lab                *lab.Lab
	scanner, web, data *lab.Host
}

func newCampus(t *testing.T) *campus { return newCampusWith(t, "") }

// newCampusWith is newCampus with more words in the scanner's configuration.
func newCampusWith(t *testing.T, scanning string) *campus {
	t.Helper()
	lab.Require(t, "nginx", "redis-server", "sshd", "named")
	s := newSystem(t, loopback+fmt.Sprintf("scanner: {sweep: %q, resolvers: [10.60.1.20]%s}\n", lab.SweepHelper(t), scanning))
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "fd00:50::2")
	s.wrap = []string{"ip", "netns", "exec", scanner.NS}
	return &campus{system: s, lab: l, scanner: scanner, web: l.Host("web", "10.60.1.10", "fd00:60::10"), data: l.Host("data", "10.60.1.20", "fd00:60::20")}
}

func (c *campus) bind(records string) *lab.Service {
	c.t.Helper()
	return c.data.Bind(
		lab.Zone{Name: "u1.example", Records: records},
		lab.Reverse(map[string]string{"10.60.1.10": "www.u1.example", "10.60.1.20": "mail.u1.example"}),
		lab.Reverse(map[string]string{"fd00:60::10": "www.u1.example"}))
}

// register imports a registry file.
func (c *campus) register(text string) {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "台账.yaml")
	write(c.t, path, text)
	c.run("registry", "import", path)
}

// scan scans the university and waits for it.
func (c *campus) scan() {
	c.t.Helper()
	begin := time.Now()
	c.run("scan", "--unit", "u1", "--wait", "60s")
	c.t.Logf("a scan took %.1f s; fengsui assets:\n%s", time.Since(begin).Seconds(), c.run("assets"))
}

// assetLine is an asset in one line.
func assetLine(a *schemas.Asset) string {
	line := a.Key + " " + a.Unit
	if !a.Alive {
		line += " gone"
	}
	if len(a.Names) > 0 {
		line += " " + strings.Join(a.Names, ",")
	}
	for _, r := range a.Records {
		line += " " + r.Type + "=" + strings.Join(r.Values, ",")
	}
	if s := a.Service; s != nil {
		line += " " + s.Name + "/" + s.Product
		if s.TLS != nil {
			line += " " + s.TLS.Version + " " + strings.Join(s.TLS.Names, ",")
		}
		if s.HTTP != nil {
			line += fmt.Sprintf(" %d %s", s.HTTP.Status, s.HTTP.Title)
		}
	}
	return line
}

// assets checks that the asset map is exactly this, at once: a scan that was
// waited for has been folded in.
func (c *campus) assets(want ...string) {
	c.t.Helper()
	rows := find[schemas.Asset](c.system, "assets", "")
	var got []string
	for i := range rows {
		got = append(got, assetLine(&rows[i]))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("assets (-want +got):\n%s", diff)
	}
}

// drifts checks that the drifts are these, "kind asset status reason", and that
// each has exactly one alert of the same status: all of it in the end, and
// nothing of it twice. Exposures are left out (see exposed): which versions are
// too old depends on the day.
func (c *campus) drifts(want ...string) {
	c.t.Helper()
	c.driftsOf("kind != exposure", `kind = drift && rule != "drift.exposure"`, want...)
}

// exposed checks the drifts of the exposures that Redis without a password is.
func (c *campus) exposed(want ...string) {
	c.t.Helper()
	c.driftsOf("kind = exposure && detail = no_auth", `rule = "drift.exposure" && summary = no_auth`, want...)
}

func (c *campus) driftsOf(those, theirAlerts string, want ...string) {
	c.t.Helper()
	slices.Sort(want)
	begin := time.Now()
	var drifts []schemas.Drift
	c.eventually(30*time.Second, "the drifts and their alerts", func() (err error) {
		if drifts, err = tryFind[schemas.Drift](c.system, "drift", those); err != nil {
			return err
		}
		var got []string
		for _, d := range drifts {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", d.Kind, d.Asset, d.Status, d.Reason)))
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("drifts (-want +got):\n%s", diff)
		}
		alerts, err := tryFind[schemas.Alert](c.system, "alerts", theirAlerts)
		if err != nil {
			return err
		}
		return sameAsAlerts(drifts, alerts)
	})
	c.t.Logf("%d drifts after %.1f s; fengsui drift:\n%s", len(drifts), time.Since(begin).Seconds(), c.run("drift"))
	for i := range drifts {
		c.confirmed(&drifts[i])
	}
}

func sameAsAlerts(drifts []schemas.Drift, alerts []schemas.Alert) error {
	if len(drifts) != len(alerts) {
		return fmt.Errorf("%d alerts of %d drifts", len(alerts), len(drifts))
	}
	for _, d := range drifts {
		i := slices.IndexFunc(alerts, func(a schemas.Alert) bool { return a.ID == d.ID })
		if i < 0 {
			return fmt.Errorf("no alert for %s %s", d.Kind, d.Asset)
		}
		a := &alerts[i]
		if string(a.Status) != string(d.Status) || a.Reason != d.Reason || a.Rule.ID != "drift."+string(d.Kind) || !a.Raised.Equal(d.Confirmed) || a.Count != 1 {
			return fmt.Errorf("alert %+v of drift %+v", a, d)
		}
	}
	return nil
}

// confirmed checks that a drift was suspected by one look of the scan and opened
// by another one, of a job or shard of its own: mostly that which the judge asked
// for because of it, or because of another drift of the same host.
func (c *campus) confirmed(d *schemas.Drift) {
	c.t.Helper()
	if !d.Confirmed.After(d.First) || len(d.Evidence) < 2 {
		c.t.Errorf("%s %s: first %v, confirmed %v, evidence %v", d.Kind, d.Asset, d.First, d.Confirmed, d.Evidence)
		return
	}
	rows, err := c.db().Query(c.t.Context(), "SELECT id, job, shard FROM observations WHERE id IN (?)", d.Evidence[:2])
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	looks := map[string]string{}
	for rows.Next() {
		var id, job, shard string
		if err := rows.Scan(&id, &job, &shard); err != nil {
			c.t.Fatal(err)
		}
		looks[id] = job + "/" + shard
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
	first, second := looks[d.Evidence[0]], looks[d.Evidence[1]]
	if first == "" || strings.HasPrefix(first, "drift-") || second == "" || second == first {
		c.t.Errorf("%s %s: suspected by look %q, confirmed by look %q", d.Kind, d.Asset, first, second)
	}
}

// serve opens a web server on one address of a host.
func serve(t *testing.T, h *lab.Host, address string) {
	t.Helper()
	var listener net.Listener
	err := h.In(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<title>临时服务</title>")
		}),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the web server at %s: %v", address, err)
		}
	})
}

// TestCampus is the life of an asset map: a network is scanned, and what comes,
// goes and is allowed shows as drift, each once and only when seen twice.
func TestCampus(t *testing.T) {
	c := newCampus(t)
	c.web.Nginx(lab.Web{Port: 80, TLS: 443, Title: "示例大学 & 首页", Name: "www.u1.example"})
	c.web.SSHD()
	redis := c.data.Redis()
	bind := c.bind(campusRecords)
	c.start()

	listed := campusRegistry
	var services []string
	for _, ip := range []string{"10.60.1.10", "fd00:60::10"} {
		listed += whitelistPort(ip, 22, "ssh") + whitelistPort(ip, 80, "http") + whitelistPort(ip, 443, "https")
		services = append(services, "host/"+ip+" u1 old.u1.example,www.u1.example",
			"service/"+ip+"/tcp/22 u1 ssh/OpenSSH",
			"service/"+ip+"/tcp/80 u1 http/nginx 200 示例大学 & 首页",
			"service/"+ip+"/tcp/443 u1 https/nginx TLSv1.3 www.u1.example 200 示例大学 & 首页")
	}
	for _, ip := range []string{"10.60.1.20", "fd00:60::20"} {
		listed += whitelistPort(ip, 53, "domain") + whitelistOver("udp", ip, 53, "domain") + whitelistPort(ip, 6379, "redis")
		services = append(services, "host/"+ip+" u1 mail.u1.example,ns.u1.example",
			"service/"+ip+"/tcp/53 u1 domain/BIND", "service/"+ip+"/udp/53 u1 domain/BIND")
	}
	redisUp := []string{"service/10.60.1.20/tcp/6379 u1 redis/Redis", "service/fd00:60::20/tcp/6379 u1 redis/Redis"}
	redisGone := []string{"service/10.60.1.20/tcp/6379 u1 gone redis/Redis", "service/fd00:60::20/tcp/6379 u1 gone redis/Redis"}
	names := []string{
		"domain/www.u1.example u1 A=10.60.1.10 AAAA=fd00:60::10",
		"domain/mail.u1.example u1 A=10.60.1.20 AAAA=fd00:60::20",
		"domain/ns.u1.example u1 A=10.60.1.20 AAAA=fd00:60::20",
		"domain/old.u1.example u1 A=10.60.1.10 AAAA=fd00:60::10 CNAME=www.u1.example",
	}
	soa := " SOA=ns.u1.example hostmaster.u1.example 1 3600 600 86400 60"
	apex := "domain/u1.example u1 MX=10 mail.u1.example NS=ns.u1.example" + soa

	// The map is exactly what runs there, and all of it is whitelisted.
	c.register(listed)
	c.scan()
	c.assets(slices.Concat(services, redisUp, names, []string{apex})...)
	c.drifts()
	c.exposed("exposure service/10.60.1.20/tcp/6379 open", "exposure service/fd00:60::20/tcp/6379 open")

	// A port opens: one alert, of one port, and a restart keeps it.
	serve(t, c.web, "10.60.1.10:8080")
	c.scan()
	c.drifts("unlisted_port service/10.60.1.10/tcp/8080 open")
	newService := "service/10.60.1.10/tcp/8080 u1 http/ 200 临时服务"
	c.stop()
	c.start()
	c.assets(slices.Concat(services, redisUp, names, []string{apex, newService})...)
	c.drifts("unlisted_port service/10.60.1.10/tcp/8080 open")

	// The administrator allows it: the alert closes by itself.
	c.register("whitelist:\n" + whitelistPort("10.60.1.10", 8080, "http"))
	allowed := "unlisted_port service/10.60.1.10/tcp/8080 closed whitelisted"
	c.drifts(allowed)

	// Redis ends, a host comes that nobody knows, and the zone has a name for it.
	redis.Stop()
	bind.Stop()
	bind = c.bind(campusBackup)
	backup := c.lab.Host("backup", "10.60.1.30", "fd00:60::30")
	backup.SSHD()
	c.scan()
	c.drifts(allowed,
		"listed_gone port/10.60.1.20/32/tcp/6379 open", "listed_gone port/fd00:60::20/128/tcp/6379 open",
		"unlisted_host host/10.60.1.30 open", "unlisted_domain domain/backup.u1.example open")
	backupUp := []string{
		newService, "domain/u1.example u1 MX=10 mail.u1.example,20 backup.u1.example NS=ns.u1.example" + soa,
		"domain/backup.u1.example u1 A=10.60.1.30 AAAA=fd00:60::30",
		"host/10.60.1.30 u1 backup.u1.example", "service/10.60.1.30/tcp/22 u1 ssh/OpenSSH",
	}
	c.assets(slices.Concat(services, redisGone, names, backupUp)...)

	// Redis is back. The new name has told of an IPv6 address, too.
	c.data.Redis()
	c.scan()
	c.drifts(allowed,
		"listed_gone port/10.60.1.20/32/tcp/6379 closed back", "listed_gone port/fd00:60::20/128/tcp/6379 closed back",
		"unlisted_host host/10.60.1.30 open", "unlisted_domain domain/backup.u1.example open", "unlisted_host host/fd00:60::30 open")
	c.assets(slices.Concat(services, redisUp, names, backupUp, []string{
		"host/fd00:60::30 u1 backup.u1.example", "service/fd00:60::30/tcp/22 u1 ssh/OpenSSH",
	})...)

	// The host is switched off and its name taken away.
	if out, err := backup.Command("ip", "link", "set", "eth0", "down").CombinedOutput(); err != nil {
		t.Fatalf("switching the host off: %v: %s", err, out)
	}
	bind.Stop()
	c.bind(campusRecords)
	c.scan()
	c.drifts(allowed,
		"listed_gone port/10.60.1.20/32/tcp/6379 closed back", "listed_gone port/fd00:60::20/128/tcp/6379 closed back",
		"unlisted_host host/10.60.1.30 closed gone", "unlisted_domain domain/backup.u1.example closed gone", "unlisted_host host/fd00:60::30 closed gone")
	c.assets(slices.Concat(services, redisUp, names, []string{
		apex, newService, "domain/backup.u1.example u1 gone",
		"host/10.60.1.30 u1 gone", "service/10.60.1.30/tcp/22 u1 gone ssh/OpenSSH",
		"host/fd00:60::30 u1 gone", "service/fd00:60::30/tcp/22 u1 gone ssh/OpenSSH",
	})...)
	c.stop()
}

// What the map knows goes into the next plan: addresses of hosts and of names,
// and the names.
func TestKnown(t *testing.T) {
	addresses, names := known([]schemas.Asset{
		{Kind: schemas.AssetHost, IP: netip.MustParseAddr("10.60.1.10")},
		{Kind: schemas.AssetService, IP: netip.MustParseAddr("10.60.1.11")},
		{Kind: schemas.AssetDomain, Name: "www.u1.example", Addresses: []string{"10.60.1.10", "fd00:60::10", "?"}},
		{Kind: schemas.AssetDomain, Name: "u1.example"},
	})
	if got := fmt.Sprint(addresses, names); got != "[10.60.1.10 10.60.1.10 fd00:60::10] [www.u1.example u1.example]" {
		t.Error(got)
	}
}
