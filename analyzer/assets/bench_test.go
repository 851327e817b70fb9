package assets

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"fengsui/internal/graph"
	"fengsui/schemas"
)

// province is what a sweep of a province sees: hosts with some five services
// each, of which one in three is a web site with a page and a certificate of its
// own.
type province struct {
	hosts int
	r     *rand.Rand
	at    time.Time
	shard int
	queue []schemas.Observation
	next  int
}

func newProvince(hosts int) *province {
	return &province{hosts: hosts, r: rand.New(rand.NewPCG(1, 2)), at: t0}
}

var usual = []struct {
	port    int
	service schemas.Service
}{
	{22, schemas.Service{Name: "ssh", Product: "OpenSSH", Version: "9.2p1", OS: "Debian", Banner: "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3"}},
	{3306, schemas.Service{Name: "mysql", Product: "MySQL", Version: "8.0.36"}},
	{6379, schemas.Service{Name: "redis", Product: "Redis", Version: "7.0.15"}},
	{25, schemas.Service{Name: "smtp", Product: "Postfix", Banner: "220 mail.example.edu.cn ESMTP Postfix"}},
	{445, schemas.Service{Name: "microsoft-ds", OS: "Windows"}},
	{3389, schemas.Service{Name: "ms-wbt-server"}},
	{161, schemas.Service{Name: "snmp"}},
}

func site(host, port int) *schemas.Service {
	name := "www" + strconv.Itoa(host) + ".example.edu.cn"
	s := &schemas.Service{
		Name: "http", Product: "nginx", Version: "1.22.1", Technologies: []schemas.Technology{{Name: "Nginx", Version: "1.22.1"}, {Name: "PHP", Version: "8.2"}},
		HTTP: &schemas.HTTP{
			Status: 200, Title: "某大学" + strconv.Itoa(host) + "信息门户", Server: "nginx/1.22.1", IconHash: strconv.Itoa(host % 5000),
			Header: "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 28 Nov 2026 08:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\nX-Powered-By: PHP/8.2\r\n",
			Body:   fmt.Sprintf("<html><head><title>门户 %d</title></head><body>%0600d</body></html>", host, host),
		},
	}
	if port == 443 {
		s.Name = "https"
		s.TLS = &schemas.TLS{
			Version: "1.3", Versions: []string{"1.2", "1.3"}, Cipher: "TLS_AES_256_GCM_SHA384", Subject: "CN=" + name, Issuer: "CN=R11,O=Let's Encrypt,C=US",
			Names: []string{name, "example.edu.cn"}, NotBefore: t0, NotAfter: t0.AddDate(0, 3, 0), SHA256: fmt.Sprintf("%064x", host), Serial: fmt.Sprintf("%036x", host),
			Key: "ECDSA P-256", JARM: "29d29d15d29d29d00042d42d000000df6ee0a4e0dc8d4d8d8d8d8d8d8d8d8d",
			Chain: []schemas.Certificate{{Subject: "CN=R11", Issuer: "CN=ISRG Root X1", NotAfter: t0.AddDate(2, 0, 0), SHA256: fmt.Sprintf("%064x", 7)}},
		}
	}
	return s
}

func addressOf(host int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(host >> 16), byte(host >> 8), byte(host)})
}

// more is the next observation: host after host, and when all are done, all again
// an hour later.
func (p *province) more() *schemas.Observation {
	if len(p.queue) == 0 {
		p.fill()
	}
	o := &p.queue[0]
	p.queue = p.queue[1:]
	return o
}

func (p *province) fill() {
	host := p.next % p.hosts
	if p.next%256 == 0 {
		p.shard++
	}
	p.next++
	p.at = p.at.Add(time.Millisecond)
	ip := addressOf(host)
	like := schemas.Observation{Time: p.at, Source: SourceScan, Job: "nightly", Shard: strconv.Itoa(p.shard), Scanner: "scanner-1", Unit: strconv.Itoa(10000 + host>>8), IP: ip, Transport: "tcp", Method: "connect"}
	add := func(kind schemas.ObservationKind, change func(*schemas.Observation)) {
		o := like
		o.Kind = kind
		change(&o)
		o.ID = o.Job + "/" + o.Shard + "/" + string(kind) + "/" + ip.String() + "/" + strconv.Itoa(o.Port)
		p.queue = append(p.queue, o)
	}
	p.queue = make([]schemas.Observation, 0, 10)
	add(schemas.ObservedHost, func(o *schemas.Observation) { o.Open = true })
	for i, u := range usual {
		if (host+i)%2 == 0 {
			add(schemas.ObservedPort, func(o *schemas.Observation) {
				s := u.service
				s.Version += strconv.Itoa(host % 7)
				o.Port, o.Open, o.Service = u.port, true, &s
			})
		}
	}
	if host%2 == 0 {
		add(schemas.ObservedPort, func(o *schemas.Observation) { o.Port, o.Open, o.Service = 80, true, site(host, 80) })
		add(schemas.ObservedPort, func(o *schemas.Observation) { o.Port, o.Open, o.Service = 443, true, site(host, 443) })
	}
	add(schemas.ObservedSweep, func(o *schemas.Observation) { o.Ports = "1-1024,3306,3389,6379,8080" })
	if host%4 == 0 {
		add(schemas.ObservedName, func(o *schemas.Observation) {
			*o = schemas.Observation{Kind: o.Kind, Time: o.Time, Source: o.Source, Job: o.Job, Shard: o.Shard, Unit: o.Unit, Name: "www" + strconv.Itoa(host) + ".example.edu.cn", RecordType: "A", RCode: "NOERROR", Values: []string{ip.String()}}
		})
	}
}

// cpu is the time that the processor has spent on this process so far. Wall
// clocks say little on a machine with other work.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkApply is one observation taken into the map of 100,000 hosts that was
// scanned before.
func BenchmarkApply(b *testing.B) {
	p := newProvince(100_000)
	m := NewMap()
	offset := int64(0)
	apply := func(o *schemas.Observation) {
		offset++
		m.Apply(o, 0, offset)
	}
	for p.next < p.hosts {
		apply(p.more())
	}
	list := make([]*schemas.Observation, 0, 200_000)
	for len(list) < cap(list) {
		list = append(list, p.more())
	}
	b.ReportAllocs()
	runtime.GC()
	i, began := 0, cpu(b)
	for b.Loop() {
		o := list[i%len(list)]
		if i++; i%len(list) == 0 {
			for _, o := range list {
				o.Time = o.Time.Add(time.Hour)
			}
		}
		apply(o)
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
}

// BenchmarkApplyWhole is the same with reading its JSON and working out its edges.
func BenchmarkApplyWhole(b *testing.B) {
	p := newProvince(100_000)
	m := NewMap()
	var list [][]byte
	for range 200_000 {
		text, err := json.Marshal(p.more())
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, text)
	}
	b.ReportAllocs()
	var edges []schemas.Edge
	runtime.GC()
	i, began := 0, cpu(b)
	for b.Loop() {
		var o schemas.Observation
		if err := json.Unmarshal(list[i%len(list)], &o); err != nil {
			b.Fatal(err)
		}
		i++
		m.Apply(&o, 0, int64(i))
		edges = graph.AppendEdges(edges[:0], &o, int64(i))
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
}

// BenchmarkMemory fills a map and says how many bytes an asset takes. It makes
// FENGSUI_MAP_HOSTS hosts, 200,000 without.
func BenchmarkMemory(b *testing.B) {
	hosts := 200_000
	if text := os.Getenv("FENGSUI_MAP_HOSTS"); text != "" {
		var err error
		if hosts, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		m, p := NewMap(), newProvince(hosts)
		begin, n := cpu(b), int64(0)
		for p.next < hosts {
			n++
			o := p.more()
			// As from JSON: every text is its own.
			m.Apply(o, 0, n)
		}
		took := cpu(b) - begin
		p.queue = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		services := 0
		for a := range m.All {
			if a.Kind == schemas.AssetService {
				services++
			}
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(m.Len()), "B/asset")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		b.ReportMetric(float64(services), "services")
		b.ReportMetric(float64(m.Len()), "assets")
		b.ReportMetric(float64(n)/took.Seconds(), "observations/cpu-s")
		runtime.KeepAlive(m)
	}
}
