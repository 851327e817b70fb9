package scanner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	"fengsui/internal/testkit/lab"
	"fengsui/schemas"
)

// The tests put a scanner into a host of a lab as a process of its own: this
// test's binary, told by a variable to be that instead of running tests.

const insideVariable = "FENGSUI_TEST_SCANNER"

// inside is what such a process is to do, and what it says at its end.
type inside struct {
	Config    Config
	Units     []schemas.Unit
	Networks  []schemas.Network
	Domains   []schemas.Domain
	Whitelist []schemas.WhitelistEntry
	Tasks     []schemas.ScanTask
	Service   bool // through Kafka, instead of Look
	NoReady   bool // the registry is never published whole
	For       time.Duration
}

type said struct {
	Observations []schemas.Observation
	Errors       []string           // of each task, in order; of the service none
	Metrics      map[string]float64 // name{label="value"}
	Seconds      []float64
}

func TestMain(m *testing.M) {
	if path := os.Getenv(insideVariable); path != "" {
		os.Exit(beInside(path))
	}
	goleak.VerifyTestMain(m)
}

// runInside runs a scanner on a host and returns what it said.
func runInside(t *testing.T, h *lab.Host, in inside) said {
	t.Helper()
	path := writeInside(t, in)
	cmd := h.Command(os.Args[0])
	cmd.Env = append(os.Environ(), insideVariable+"="+path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the scanner on %s: %v\n%s", h.Name, err, out)
	}
	if testing.Verbose() {
		t.Logf("the scanner on %s:\n%s", h.Name, out)
	}
	return readSaid(t, path)
}

func writeInside(t *testing.T, in inside) (path string) {
	t.Helper()
	if in.Config.Sweep == "" {
		in.Config.Sweep = lab.SweepHelper(t)
	}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "inside.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readSaid(t *testing.T, path string) said {
	t.Helper()
	var s said
	b, err := os.ReadFile(path + ".said")
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func beInside(path string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var in inside
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &in)
	}
	if err == nil {
		var s said
		if in.Service {
			s, err = serve(ctx, in)
		} else {
			s, err = lookAtAll(ctx, in)
		}
		if err == nil {
			if b, err = json.Marshal(s); err == nil {
				err = os.WriteFile(path+".said", b, 0o600)
			}
		}
	}
	stop()
	err = errors.Join(err, goleak.Find(goleak.IgnoreTopFunction("os/signal.loop"),
		goleak.IgnoreTopFunction("os/signal.signal_recv")))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func logger() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }

func lookAtAll(ctx context.Context, in inside) (s said, err error) {
	snap, err := directory.NewSnapshot(in.Units, in.Networks, in.Domains, in.Whitelist)
	if err != nil {
		return s, err
	}
	reg := prometheus.NewRegistry()
	l, err := NewLooker(in.Config, Deps{Log: logger(), Metrics: reg})
	if err != nil {
		return s, err
	}
	for _, task := range in.Tasks {
		start := time.Now()
		err := l.Look(ctx, task, snap, func(o schemas.Observation) error {
			s.Observations = append(s.Observations, o)
			return nil
		})
		text := ""
		if err != nil {
			text = err.Error()
		}
		s.Errors = append(s.Errors, text)
		s.Seconds = append(s.Seconds, time.Since(start).Seconds())
	}
	s.Metrics = gather(reg)
	return s, nil
}

// serve runs the service with a broker of its own until every task is settled,
// or for the given time.
func serve(ctx context.Context, in inside) (s said, err error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		return s, err
	}
	defer cluster.Close()
	kc := kafka.DefaultConfig()
	kc.Brokers = cluster.ListenAddrs()
	if err := kafka.EnsureTopics(ctx, kc, schemas.Topics(), 1); err != nil {
		return s, err
	}
	dir := directory.New()
	publish := func(r schemas.RegistryRecord) error {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return dir.Apply(directory.RecordKey(r), b)
	}
	for i := range in.Units {
		err = errors.Join(err, publish(schemas.RegistryRecord{Unit: &in.Units[i]}))
	}
	for i := range in.Networks {
		err = errors.Join(err, publish(schemas.RegistryRecord{Network: &in.Networks[i]}))
	}
	for i := range in.Domains {
		err = errors.Join(err, publish(schemas.RegistryRecord{Domain: &in.Domains[i]}))
	}
	if !in.NoReady {
		err = errors.Join(err, publish(schemas.RegistryRecord{Ready: &schemas.RegistryReady{Version: 1}}))
		dir.CaughtUp()
	}
	if err != nil {
		return s, err
	}
	reg := prometheus.NewRegistry()
	producer, err := kafka.NewProducer(kc, kafka.Deps{Log: logger()})
	if err != nil {
		return s, err
	}
	defer func() { _ = producer.Close() }()
	var records []kafka.Record
	for _, task := range in.Tasks {
		b, err := json.Marshal(task)
		if err != nil {
			return s, err
		}
		records = append(records, kafka.Record{Key: []byte(task.Shard), Value: b})
	}
	if err := producer.Produce(ctx, schemas.TopicScanTasks, records); err != nil {
		return s, err
	}
	sc, err := New(in.Config, Deps{Log: logger(), Metrics: reg, Directory: dir, Kafka: kc, Producer: producer})
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	var runErr error
	running.Go(func() { runErr = sc.Run(ctx) })
	var mu sync.Mutex
	running.Go(func() {
		_ = kafka.Follow(ctx, kc, kafka.Deps{}, schemas.TopicObservations, func(r kafka.Record) error {
			var o schemas.Observation
			if err := json.Unmarshal(r.Value, &o); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			s.Observations = append(s.Observations, o)
			return nil
		}, nil)
	})
	limit := in.For
	if limit == 0 {
		limit = 2 * time.Minute
	}
	for deadline := time.Now().Add(limit); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		m := gather(reg)
		settled, made := 0.0, 0.0
		for name, v := range m {
			if strings.HasPrefix(name, "fengsui_scanner_shards_total") {
				settled += v
			}
			if strings.HasPrefix(name, "fengsui_scanner_observations_total") {
				made += v
			}
		}
		mu.Lock()
		got := float64(len(s.Observations))
		mu.Unlock()
		if settled >= float64(len(in.Tasks)) && got >= made {
			break
		}
	}
	s.Metrics = gather(reg)
	cancel()
	running.Wait()
	return s, runErr
}

func gather(reg *prometheus.Registry) map[string]float64 {
	out := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}
