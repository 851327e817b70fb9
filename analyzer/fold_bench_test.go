package analyzer

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/analyzer/assets"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	"fengsui/internal/memory"
	"fengsui/internal/store/storetest"
	testkafka "fengsui/internal/testkit/kafka"
	"fengsui/schemas"
)

var (
	foldHosts  = flag.Int("fold-hosts", 0, "measure the folding of what a sweep of this many hosts sees, some seven observations each")
	startHosts = flag.Int("start-hosts", 0, "measure the start of an analyzer whose map holds what a sweep of this many hosts sees, some six assets each")
)

// foldUsual are services that hosts have, as a scan sees them.
var foldUsual = []struct {
	port    int
	service schemas.Service
}{
	{22, schemas.Service{Name: "ssh", Product: "OpenSSH", Version: "9.2p1", OS: "Debian", Banner: "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3"}},
	{3306, schemas.Service{Name: "mysql", Product: "MySQL", Version: "8.4.3"}},
	{6379, schemas.Service{Name: "redis", Product: "Redis", Version: "7.2.4"}},
	{25, schemas.Service{Name: "smtp", Product: "Postfix", Banner: "220 mail.example.edu.cn ESMTP Postfix"}},
	{445, schemas.Service{Name: "microsoft-ds", OS: "Windows"}},
	{3389, schemas.Service{Name: "ms-wbt-server"}},
	{161, schemas.Service{Name: "snmp"}},
}

// foldSweep is what one scan sees of one host: half of the usual services, for
// every second host two sites with a page of their own (one with a certificate),
// what was looked at, and for every fourth a name.
func foldSweep(scan, host int, at time.Time) []schemas.Observation {
	ip := netip.AddrFrom4([4]byte{10, byte(host >> 16), byte(host >> 8), byte(host)})
	like := schemas.Observation{Time: at, Source: "scan", Job: fmt.Sprint("nightly-", scan), Shard: strconv.Itoa(host >> 8), Scanner: "scanner-1", Unit: fmt.Sprint("u", host>>8), IP: ip, Transport: "tcp", Method: "connect"}
	var out []schemas.Observation
	add := func(kind schemas.ObservationKind, change func(*schemas.Observation)) {
		o := like
		o.Kind = kind
		change(&o)
		o.ID = fmt.Sprint(o.Job, "/", o.Shard, "/", kind, "/", o.Key(), "/", o.Port)
		out = append(out, o)
	}
	open := func(port int, s schemas.Service) {
		add(schemas.ObservedPort, func(o *schemas.Observation) { o.Port, o.Open, o.Service = port, true, &s })
	}
	add(schemas.ObservedHost, func(o *schemas.Observation) { o.Open = true })
	for i, u := range foldUsual {
		if (host+i)%2 == 0 {
			open(u.port, u.service)
		}
	}
	if host%2 == 0 {
		name := fmt.Sprint("www", host, ".example.edu.cn")
		page := schemas.HTTP{
			Status: 200, Title: fmt.Sprint("第", host, "学院信息门户"), Server: "nginx/1.30.1", IconHash: strconv.Itoa(host % 5000),
			Header: "HTTP/1.1 200 OK\r\nServer: nginx/1.30.1\r\nDate: " + at.Format(time.RFC1123) + "\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n",
			Body:   fmt.Sprintf("<html><head><title>门户 %d</title></head><body>%0600d</body></html>", host, host),
		}
		site := schemas.Service{Name: "http", Product: "nginx", Version: "1.30.1", HTTP: &page, Technologies: []schemas.Technology{{Name: "Nginx", Version: "1.30.1"}, {Name: "PHP", Version: "8.4"}}}
		open(80, site)
		site.Name, site.TLS = "https", &schemas.TLS{
			Version: "1.3", Versions: []string{"1.2", "1.3"}, Cipher: "TLS_AES_256_GCM_SHA384", Subject: "CN=" + name, Issuer: "CN=R11,O=Let's Encrypt,C=US",
			Names: []string{name}, NotBefore: began, NotAfter: began.AddDate(0, 3, 0), SHA256: fmt.Sprintf("%064x", host), Serial: fmt.Sprintf("%036x", host), Key: "ECDSA P-256",
			Chain: []schemas.Certificate{{Subject: "CN=R11", Issuer: "CN=ISRG Root X1", NotAfter: began.AddDate(2, 0, 0), SHA256: fmt.Sprintf("%064x", 7)}},
		}
		open(443, site)
	}
	add(schemas.ObservedSweep, func(o *schemas.Observation) { o.Ports = "1-1024,3306,3389,6379,8080" })
	if host%4 == 0 {
		add(schemas.ObservedName, func(o *schemas.Observation) {
			o.IP, o.Transport, o.Method = netip.Addr{}, "", ""
			o.Name, o.RecordType, o.RCode, o.Values = fmt.Sprint("www", host, ".example.edu.cn"), "A", "NOERROR", []string{ip.String()}
		})
	}
	return out
}

// foldRegistry is a province whose blocks are whitelisted port by port, but for
// one service in every fiftieth block, and whose names are.
func foldRegistry(t *testing.T, blocks int) *directory.Directory {
	dir := directory.New()
	put := func(r schemas.RegistryRecord) {
		value, err := json.Marshal(r)
		if err == nil {
			err = dir.Apply(directory.RecordKey(r), value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(schemas.RegistryRecord{Unit: &schemas.Unit{Code: "p", Name: "某省", Level: schemas.Province}})
	put(schemas.RegistryRecord{Domain: &schemas.Domain{Name: "example.edu.cn", Unit: "p"}})
	put(schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistDomain, Domain: "*.example.edu.cn", Unit: "p"}})
	for b := range blocks {
		unit, block := fmt.Sprint("u", b), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(b >> 8), byte(b)}), 24)
		put(schemas.RegistryRecord{Unit: &schemas.Unit{Code: unit, Name: fmt.Sprint("第", b, "大学"), Level: schemas.University, Parent: "p"}})
		put(schemas.RegistryRecord{Network: &schemas.Network{Prefix: block, Unit: unit}})
		for _, port := range []int{22, 25, 80, 161, 443, 445, 3306, 3389, 6379} {
			if b%50 == 0 && port == 6379 {
				continue
			}
			put(schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistPort, Host: block, Port: port, Transport: "tcp", Unit: unit}})
		}
	}
	put(schemas.RegistryRecord{Ready: &schemas.RegistryReady{}})
	dir.CaughtUp()
	return dir
}

// processTime is what a process has used of the processors: it says the same on a
// busy machine.
func processTime(t *testing.T, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // from field 3 on: proc(5)
	user, err := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return time.Duration(user+system) * time.Second / 100
}

func ownTime(t *testing.T) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestMeasureFold is no test of what is right: it says how long the whole way from
// the topic into the store takes, and what it costs whom.
func TestMeasureFold(t *testing.T) {
	if *foldHosts == 0 {
		t.Skip("not asked to measure: analyzer/fold.sh does")
	}
	m := newFoldMeasure(t, *foldHosts)
	for scan, what := range []string{"all is new", "all was seen before", "all was seen before"} {
		m.send(scan)
		m.fold(what)
	}
	m.restart()
	for _, table := range []string{"observations", "assets", "asset_search", "asset_versions", "edges", "drift"} {
		var rows uint64
		if err := m.db.QueryRow(t.Context(), "SELECT count() FROM "+table).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d rows", table, rows)
	}
}

// TestMeasureStart likewise says how long a start with many assets takes. They are
// written as folding them would write them.
func TestMeasureStart(t *testing.T) {
	if *startHosts == 0 {
		t.Skip("-start-hosts is not given, with which this measures: analyzer/fold.sh start gives it")
	}
	m := newFoldMeasure(t, *startHosts)
	const page = 4000 // hosts
	begin, written, offset := time.Now(), 0, int64(0)
	for from := 0; from < *startHosts; from += page {
		set, known := newChanges(func(a *schemas.Asset) string { return a.Key }), assets.NewMapWith(assets.DefaultConfig())
		for host := from; host < min(from+page, *startHosts); host++ {
			for _, o := range foldSweep(0, host, began.Add(time.Duration(host)*time.Millisecond)) {
				offset++
				for _, c := range known.Apply(&o, 0, offset) {
					set.add(&c.Asset)
				}
			}
		}
		made := set.list()
		if err := m.db.InsertAssets(t.Context(), made, fmt.Sprint("start/", from)); err != nil {
			t.Fatal(err)
		}
		written += len(made)
	}
	t.Logf("%d assets written in %v", written, time.Since(begin).Round(time.Second))
	m.restart()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	t.Logf("this process, analyzer and what wrote the assets, has held %d MiB", used.Maxrss>>10)
}

type foldMeasure struct {
	t                   *testing.T
	db                  *clickhouse.DB
	kafka               kafka.Config
	dir                 *directory.Directory
	storePID, brokerPID int
	sent                int
}

// newFoldMeasure starts a store and a broker, for what is seen of some hosts.
func newFoldMeasure(t *testing.T, hosts int) *foldMeasure {
	if err := memory.Apply(memory.DefaultConfig()); err != nil { // as a service does
		t.Fatal(err)
	}
	store := storetest.Start(t)
	cfg := clickhouse.DefaultConfig()
	cfg.Addr = store.Config.Addr()
	db, err := clickhouse.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := clickhouse.Migrate(t.Context(), db, clickhouse.DefaultRetention()); err != nil {
		t.Fatal(err)
	}
	broker := testkafka.Start(t)
	kc := kafka.DefaultConfig()
	kc.Brokers = []string{broker.Addr}
	topics := schemas.Topics()
	for i := range topics {
		topics[i].RetentionBytes = 16 << 30 // all of it is to be there when it is measured
	}
	if err := kafka.EnsureTopics(t.Context(), kc, topics, 1); err != nil {
		t.Fatal(err)
	}
	return &foldMeasure{t: t, db: db, kafka: kc, dir: foldRegistry(t, (hosts+255)/256), storePID: store.PID(), brokerPID: broker.PID()}
}

// send puts what one scan sees into the topic, before anybody reads it.
func (m *foldMeasure) send(scan int) {
	p, err := kafka.NewProducer(m.kafka, kafka.Deps{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		m.t.Fatal(err)
	}
	defer p.Close()
	var batch []kafka.Record
	bytes, n := 0, 0
	flush := func() {
		if err := p.Produce(m.t.Context(), schemas.TopicObservations, batch); err != nil {
			m.t.Fatal(err)
		}
		n += len(batch)
		batch = batch[:0]
	}
	at := began.Add(time.Duration(scan) * 24 * time.Hour)
	for host := range *foldHosts {
		for _, o := range foldSweep(scan, host, at.Add(time.Duration(host)*time.Millisecond)) {
			r := observationRecord(&o)
			bytes += len(r.Value)
			batch = append(batch, r)
		}
		if len(batch) >= 10_000 {
			flush()
		}
	}
	flush()
	m.sent += n
	m.t.Logf("scan %d: %d observations of %d bytes", scan, n, bytes/n)
}

// run runs an analyzer until what it is waited for is true.
func (m *foldMeasure) run(until func(*Analyzer) bool) {
	cfg := DefaultConfig()
	cfg.Passive = false
	a, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Kafka: m.kafka, Store: m.db, Directory: m.dir})
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for !until(a) {
		select {
		case err := <-done:
			m.t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	stop()
	if err := <-done; err != nil {
		m.t.Fatal(err)
	}
}

func (m *foldMeasure) stored() int {
	var n uint64
	if err := m.db.QueryRow(m.t.Context(), "SELECT count() FROM observations").Scan(&n); err != nil {
		m.t.Fatal(err)
	}
	return int(n) //nolint:gosec // of a few millions
}

func (m *foldMeasure) fold(what string) {
	m.t.Helper()
	from := m.stored()
	var begin time.Time
	var own, store, broker time.Duration
	m.run(func(a *Analyzer) bool {
		if begin.IsZero() {
			if valueOf(m.t, a.metrics.observations) == 0 {
				return false
			}
			begin, own, store, broker = time.Now(), ownTime(m.t), processTime(m.t, m.storePID), processTime(m.t, m.brokerPID)
		}
		return m.stored() == m.sent
	})
	took, n := time.Since(begin), float64(m.sent-from)
	own, store, broker = ownTime(m.t)-own, processTime(m.t, m.storePID)-store, processTime(m.t, m.brokerPID)-broker
	m.t.Logf("%s: %.0f observations in %v: %.0f/s; processor time: analyzer %v (%.1f µs each), store with merges %v (%.1f µs each), broker %v",
		what, n, took.Round(time.Second), n/took.Seconds(), own.Round(time.Second), float64(own.Microseconds())/n, store.Round(time.Second), float64(store.Microseconds())/n, broker.Round(time.Second))
}

// restart says how long an analyzer takes until it has its map again.
func (m *foldMeasure) restart() {
	var want uint64
	if err := m.db.QueryRow(m.t.Context(), "SELECT count() FROM assets FINAL").Scan(&want); err != nil {
		m.t.Fatal(err)
	}
	runtime.GC()
	begin, own, store := time.Now(), ownTime(m.t), processTime(m.t, m.storePID)
	m.run(func(a *Analyzer) bool { return valueOf(m.t, a.metrics.assets) == float64(want) })
	m.t.Logf("a start with %d assets took %v; processor time: analyzer %v, store %v", want, time.Since(begin).Round(100*time.Millisecond), (ownTime(m.t) - own).Round(100*time.Millisecond), (processTime(m.t, m.storePID) - store).Round(100*time.Millisecond))
}
