package enrich

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/analyzer/geo"
)

// settle is how long a file must have been left alone before it is read: whoever
// writes over it takes a while.
const settle = 2 * time.Second

// file is one file of places, with its last sound content.
type file struct {
	path  string
	table bool // CSV, not mmdb

	seen     fs.FileInfo // as it was last read
	networks *geo.Networks
	database *geo.Database
	err      error // why it is not as it is on disk
}

// Ask has Run look at the files now, and returns at once.
func (e *Enricher) Ask() {
	select {
	case e.kick <- struct{}{}:
	default: // it is asked already
	}
}

// Run follows the files until ctx ends.
func (e *Enricher) Run(ctx context.Context) error {
	tick := time.NewTicker(e.cfg.Rescan)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.kick:
		case <-tick.C:
		}
		e.load(time.Now(), false)
	}
}

// load reads the files that have changed. What is broken leaves what was.
func (e *Enricher) load(now time.Time, first bool) {
	changed := first
	for _, f := range e.files {
		before := f.err
		read, err := f.read(now, first, e.cfg)
		f.err = err
		changed = changed || read
		e.tell(f, read, before)
	}
	if !changed {
		return
	}
	var own []*geo.Networks
	var world []*geo.Database
	for _, f := range e.files {
		if f.networks != nil {
			own = append(own, f.networks)
		}
		if f.database != nil {
			world = append(world, f.database)
		}
	}
	e.atlas.Store(geo.NewAtlas(own, world))
}

// tell says in log and metrics what has become of a file; what is as it was, is
// not said again.
func (e *Enricher) tell(f *file, read bool, before error) {
	broken := 0.0
	if f.err != nil {
		broken = 1
	}
	e.metrics.broken.WithLabelValues(f.path).Set(broken)
	if f.database != nil {
		e.metrics.built.WithLabelValues(f.path).Set(float64(f.database.Built().Unix()))
	}
	switch {
	case f.err != nil && (before == nil || before.Error() != f.err.Error()):
		what := "a file of places cannot be used"
		if f.networks != nil || f.database != nil {
			what = "a file of places is broken; its former version works on"
		}
		e.log.Error(what, "file", f.path, "error", f.err)
	case read && f.table:
		e.log.Info("places read", "file", f.path, "networks", f.networks.Len())
	case read:
		e.log.Info("places read", "file", f.path, "kind", f.database.Kind(), "built", f.database.Built().UTC())
	}
}

// read reads the file if it has changed and is left alone, and says whether it
// did. The error is why it is not used as it is; it stays until the file changes.
func (f *file) read(now time.Time, first bool, cfg Config) (bool, error) {
	info, err := os.Stat(f.path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		f.seen = nil
		return false, err
	}
	if same(info, f.seen) {
		return false, f.err
	}
	if age := now.Sub(info.ModTime()); !first && age >= 0 && age < settle {
		return false, f.err
	}
	data, err := readBounded(f.path, cfg.MaxFileBytes)
	if err != nil {
		f.seen = nil // it may be readable soon
		return false, err
	}
	f.seen = info
	if f.table {
		networks, err := geo.ReadCSV(data)
		if err != nil {
			return false, err
		}
		f.networks = networks
		return true, nil
	}
	database, err := geo.OpenMMDB(data, cfg.Language)
	if err != nil {
		return false, err
	}
	f.database = database
	return true, nil
}

func same(a, b fs.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// readBounded reads a whole file, and none of one that is too large.
func readBounded(path string, limit int64) ([]byte, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	info, err := r.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("it has %d bytes, more than max_file_bytes: %d", info.Size(), limit)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	return data, nil
}

// metrics tells of the files.
type metrics struct {
	broken *prometheus.GaugeVec
	built  *prometheus.GaugeVec
	failed prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "fengsui", Subsystem: "analyzer", Name: name, Help: help}, []string{"file"})
	}
	m := &metrics{
		broken: gauge("places_broken", "1 for a file of places that cannot be used as it is; a former version of it works on if there was one."),
		built:  gauge("places_built_timestamp_seconds", "When a database of places that works was made, as it says."),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "fengsui", Subsystem: "analyzer", Name: "places_failed_total", Help: "Addresses at which a database of places is damaged.",
		}),
	}
	for _, c := range []prometheus.Collector{m.broken, m.built, m.failed} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
