package analyzer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"fengsui/analyzer/assets"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/internal/graph"
	"fengsui/internal/kafka"
	"fengsui/internal/store/storetest"
	testkafka "fengsui/internal/testkit/kafka"
	"fengsui/schemas"
)

func TestMain(m *testing.M) {
	testkafka.Main()
	storetest.Main(m, nil)
}

// mapStore is a real store with the tables.
func mapStore(t testing.TB) *clickhouse.DB {
	t.Helper()
	cfg := clickhouse.DefaultConfig()
	cfg.Addr = storetest.Start(t).Config.Addr()
	db, err := clickhouse.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := clickhouse.Migrate(t.Context(), db, clickhouse.DefaultRetention()); err != nil {
		t.Fatal(err)
	}
	return db
}

// openMap starts the handler of observations on a store, as after a restart.
func openMap(t interface{ Fatal(...any) }, ctx context.Context, db *clickhouse.DB, cfg Config) *observations {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	a := &Analyzer{cfg: cfg, deps: Deps{Store: db}, log: slog.New(slog.DiscardHandler), registry: directory.New(), metrics: m}
	h, _, err := a.openObservations(nil)(ctx, schemas.TopicObservations, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return h.(*observations)
}

func recordsOf(t interface{ Fatal(...any) }, list []schemas.Observation) []kafka.Record {
	out := make([]kafka.Record, len(list))
	for i := range list {
		value, err := json.Marshal(&list[i])
		if err != nil {
			t.Fatal(err)
		}
		out[i] = kafka.Record{Value: value, Offset: int64(i)}
	}
	return out
}

var began = time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)

// apart is the time between two observations of a test: more than a restart
// makes a sweep doubt that what it did not see is closed.
const apart = 61 * time.Minute

// drawTopic draws observations in the order of their time. Sweeps are of shards
// of their own, for which shard saw a port open is what a restart forgets; and
// hosts come first, for of an address without one no row keeps the PTR record.
func drawTopic(t *rapid.T) []schemas.Observation {
	ips := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")}
	services := []*schemas.Service{
		nil,
		{Name: "ssh", Product: "OpenSSH", Version: "9.2", Banner: strings.Repeat("b", 200)},
		{
			Name: "https", Product: "nginx", Technologies: []schemas.Technology{{Name: "PHP"}},
			TLS:  &schemas.TLS{Version: "1.3", SHA256: "ab", Names: []string{"a.cn", "*.b.cn"}, Chain: []schemas.Certificate{{Subject: "CN=CA", SHA256: "cd"}}},
			HTTP: &schemas.HTTP{Status: 200, Title: "门户", Header: "Server: nginx", Body: "<p>"},
		},
		{Name: "http", HTTP: &schemas.HTTP{Status: 404, Header: "Date: x"}},
	}
	var out []schemas.Observation
	for i := range rapid.IntRange(1, 40).Draw(t, "observations") {
		o := schemas.Observation{ID: fmt.Sprint("o", i), Time: began.Add(time.Duration(i) * apart), Source: "scan", Job: "j", Unit: "u"}
		o.Shard = fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "shard"))
		if rapid.IntRange(0, 2).Draw(t, "passive") == 0 {
			o.Source, o.Job, o.Shard = "zeek.conn", "", ""
		}
		ip := rapid.SampledFrom(ips).Draw(t, "ip")
		kind := rapid.IntRange(0, 6).Draw(t, "kind")
		if i < len(ips) {
			ip, kind = ips[i], -1
		}
		switch kind {
		case -1:
			o.Kind, o.IP, o.Open = schemas.ObservedHost, ip, true
		case 0, 1, 2:
			o.Kind, o.IP, o.Transport, o.Port = schemas.ObservedPort, ip, "tcp", rapid.SampledFrom([]int{22, 80, 443}).Draw(t, "port")
			if o.Open = rapid.IntRange(0, 4).Draw(t, "open") > 0; o.Open {
				o.Service = rapid.SampledFrom(services).Draw(t, "service")
			}
		case 3:
			o.Kind, o.IP, o.Open = schemas.ObservedHost, ip, rapid.Bool().Draw(t, "up")
		case 4:
			o.Kind, o.IP, o.Ports, o.Shard = schemas.ObservedSweep, ip, "1-100", fmt.Sprint("sweep", i)
		default:
			o.Kind, o.RCode = schemas.ObservedName, "NOERROR"
			o.Name = rapid.SampledFrom([]string{"a.cn", "www.a.cn", "1.2.0.192.in-addr.arpa"}).Draw(t, "name")
			switch {
			case strings.HasSuffix(o.Name, "arpa"):
				o.RecordType, o.Values = "PTR", rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a.cn", "p.cn"}), 0, 2, rapid.ID).Draw(t, "names")
			case rapid.Bool().Draw(t, "mx"):
				o.RecordType, o.Values = "MX", rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"10 mx.a.cn", "20 mx.b.cn"}), 0, 2, rapid.ID).Draw(t, "mxs")
			default:
				o.RecordType, o.Values = "A", rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2"}), 0, 2, rapid.ID).Draw(t, "addresses")
			}
		}
		out = append(out, o)
	}
	return out
}

// state is what makes an asset what it is.
func state(a schemas.Asset) string {
	service := ""
	if s := a.Service; s != nil {
		service = fmt.Sprint(s.Name, s.Product, s.Version, s.Technologies)
		if s.TLS != nil {
			service += s.TLS.SHA256 + fmt.Sprint(s.TLS.Names)
		}
		if s.HTTP != nil {
			service += fmt.Sprint(s.HTTP.Status, s.HTTP.Title)
		}
	}
	return fmt.Sprint(a.Alive, a.Unit, a.Names, a.Records, service)
}

// TestMapInStore: however the topic is cut into batches, however often it is
// delivered and wherever the process dies, the store holds the assets and the
// counts of edges of one plain pass, and at every past time the state that a
// fold of what had been observed by then has.
func TestMapInStore(t *testing.T) {
	db := mapStore(t)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		for _, table := range []string{"assets", "asset_versions", "edges", "observations"} {
			if err := db.Exec(ctx, "TRUNCATE TABLE "+table); err != nil {
				t.Fatal(err)
			}
		}
		list := drawTopic(t)
		records := recordsOf(t, list)
		h := openMap(t, ctx, db, DefaultConfig())
		crashes := 0
		for from := 0; from < len(records); {
			until := rapid.IntRange(from+1, len(records)).Draw(t, "batch's end")
			batch := records[from:until]
			from = until
			dies := crashes < 3 && rapid.IntRange(0, 3).Draw(t, "dies") == 0
			if dies && rapid.Bool().Draw(t, "in the midst") {
				writeHalf(t, ctx, h, batch)
			} else if err := h.Handle(ctx, batch); err != nil {
				t.Fatal(err)
			}
			if dies {
				crashes++
				if err := h.Close(); err != nil {
					t.Fatal(err)
				}
				h = openMap(t, ctx, db, DefaultConfig())
				from = rapid.IntRange(0, int(batch[0].Offset)).Draw(t, "delivered again from")
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		wantAssets, wantEdges := assets.NewMap(), graph.NewTally()
		for i := range list {
			wantAssets.Apply(&list[i], 0, int64(i))
			wantEdges.Add(graph.AppendEdges(nil, &list[i], int64(i)))
		}
		sameEdges(t, ctx, db, wantEdges.List())
		sameAssets(t, ctx, db, wantAssets)
		for range 4 {
			n := rapid.IntRange(0, len(list)).Draw(t, "observed by then")
			then := assets.NewMap()
			for i := range n {
				then.Apply(&list[i], 0, int64(i))
			}
			want := map[string]string{}
			for a := range then.All {
				want[a.Key] = state(a)
			}
			found, err := db.AssetsAt(ctx, slices.Collect(keysIn(wantAssets)), began.Add(time.Duration(n)*apart-time.Second))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for key, a := range found {
				got[key] = state(a)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("after %d observations: %s", n, d)
			}
		}
	})
}

// writeHalf folds a batch and dies when either its assets or its edges are written:
// they go at the same time.
func writeHalf(t *rapid.T, ctx context.Context, h *observations, batch []kafka.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	set := &changeSet{
		assets: newChanges(func(a *schemas.Asset) string { return a.Key }), mapped: newMapChanges(),
		drifts: newChanges(func(d *schemas.Drift) string { return d.ID }),
	}
	all, _ := decodeAll(batch)
	for i := range batch {
		h.fold(h.registry.Snapshot(), &batch[i], &all[i], time.Now(), set)
	}
	if rapid.Bool().Draw(t, "edges first") {
		if err := h.deps.Store.InsertEdges(ctx, set.mapped.edges.List(), ""); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := h.fill(ctx, set); err != nil {
		t.Fatal(err)
	}
	if err := h.deps.Store.InsertVersions(ctx, set.mapped.versions, ""); err != nil {
		t.Fatal(err)
	}
	if err := h.deps.Store.InsertAssets(ctx, set.assets.list(), ""); err != nil {
		t.Fatal(err)
	}
}

func keysIn(m *assets.Map) func(func(string) bool) {
	return func(yield func(string) bool) {
		for a := range m.All {
			if !yield(a.Key) {
				return
			}
		}
	}
}

func sameEdges(t *rapid.T, ctx context.Context, db *clickhouse.DB, want []schemas.Edge) {
	nodes := map[string]bool{"nothing": true}
	for i := range want {
		nodes[want[i].From], nodes[want[i].To] = true, true
		want[i].Offset = 0
	}
	all, err := db.Edges(ctx, slices.Collect(maps.Keys(nodes)), began.Add(100*time.Hour), 1000)
	if err != nil {
		t.Fatal(err)
	}
	order := func(a, b schemas.Edge) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	slices.SortFunc(want, order)
	slices.SortFunc(all, order)
	twice := slices.Clone(all)
	all = slices.Compact(all)
	if 2*len(all) != len(twice) {
		t.Fatalf("%d edges are found from %d ends", len(all), len(twice))
	}
	if d := cmp.Diff(want, all, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("edges: %s", d)
	}
}

// sameAssets compares rows with a fold. The store's are whole: their long texts
// are those of the observation that a service was told by.
func sameAssets(t *rapid.T, ctx context.Context, db *clickhouse.DB, want *assets.Map) {
	wants, gots := map[string]schemas.Asset{}, map[string]schemas.Asset{}
	add := func(to map[string]schemas.Asset, a schemas.Asset) {
		to[a.Key] = a
	}
	for a := range want.All {
		add(wants, a)
	}
	err := clickhouse.ScanDocs(ctx, db, "assets", assetDecoder, func(a *schemas.Asset) error {
		s := a.Service
		if s != nil && s.Name == "https" && (s.HTTP == nil || s.HTTP.Body != "<p>" || s.TLS == nil || len(s.TLS.Chain) != 1) {
			t.Fatalf("long texts of %s are lost: %+v", a.Key, s)
		}
		if s != nil && s.Name == "ssh" && len(s.Banner) != 200 {
			t.Fatalf("the banner of %s is lost: %+v", a.Key, s)
		}
		if s != nil {
			if len(s.Banner) > 128 {
				s.Banner = ""
			}
			if s.TLS != nil {
				s.TLS.Chain = nil
			}
			if s.HTTP != nil {
				s.HTTP.Header, s.HTTP.Body = "", ""
			}
		}
		add(gots, *a)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wants, gots, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("assets: %s", d)
	}
}

// valueOf is a metric's number.
func valueOf(t *testing.T, c prometheus.Collector) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil || len(families) != 1 {
		t.Fatal(families, err)
	}
	m := families[0].GetMetric()[0]
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

// TestFullMapIsCounted: what finds no room is counted, and said.
func TestFullMapIsCounted(t *testing.T) {
	db := mapStore(t)
	cfg := DefaultConfig()
	cfg.Assets.Max = 3
	h := openMap(t, t.Context(), db, cfg)
	var list []schemas.Observation
	for port := 1; port <= 10; port++ {
		list = append(list, schemas.Observation{ID: fmt.Sprint(port), Kind: schemas.ObservedPort, Time: began, Source: "scan", IP: netip.MustParseAddr("192.0.2.1"), Port: port, Transport: "tcp", Open: true})
	}
	if err := h.Handle(t.Context(), recordsOf(t, list)); err != nil {
		t.Fatal(err)
	}
	if n := valueOf(t, h.metrics.assets); n != 3 {
		t.Errorf("%v assets", n)
	}
	if n := valueOf(t, h.metrics.assetsFull); n != 8 {
		t.Errorf("%v dropped", n)
	}
	if n := valueOf(t, h.metrics.edges); n != 10 {
		t.Errorf("%v edges: what there was no room for was still seen", n)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}
