package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Status is what a running collector says of itself.
type Status struct {
	ID           string        `json:"id"`
	Since        time.Time     `json:"since"`
	SpoolAtStart uint64        `json:"spool_at_start"` // lines that an earlier run had left
	SpoolLines   uint64        `json:"spool_lines"`    // now
	SpoolBytes   int64         `json:"spool_bytes"`
	SpoolMax     int64         `json:"spool_max_bytes"`
	SpoolFull    time.Time     `json:"spool_full_since,omitzero"` // lines wait for room since then
	Inputs       []InputStatus `json:"inputs"`
	Sources      []Account     `json:"sources"`
}

// InputStatus is one input, with the sums of its sources.
type InputStatus struct {
	Account
	Type        string   `json:"type"`
	Format      string   `json:"format"`
	Listens     []string `json:"listens,omitempty"`
	Sources     int      `json:"sources"`
	KernelDrops *uint64  `json:"kernel_drops,omitempty"` // datagrams, where it receives such
	// Refused is what senders were told or could see that was not taken, by the
	// reason: requests over HTTP, connections of all. It is not in Received.
	Refused map[string]uint64 `json:"refused,omitempty"`
}

// StatusSocket is where the collector with this state directory answers.
func StatusSocket(stateDir string) string { return filepath.Join(stateDir, "collector.sock") }

// Status is what the collector says now.
func (c *Collector) Status() Status {
	s := Status{ID: c.cfg.ID, Since: c.since, SpoolAtStart: c.spoolAtStart, SpoolMax: c.cfg.Spool.MaxBytes, Sources: c.accounts.all()}
	if disk := c.metrics.spool.Load(); disk != nil {
		s.SpoolLines, s.SpoolBytes, s.SpoolFull = disk.Len(), disk.Bytes(), disk.FullSince().UTC()
	}
	var addrs map[string][]net.Addr
	select {
	case <-c.ready:
		addrs = c.Addrs()
	default:
	}
	for _, r := range c.inputs {
		in := InputStatus{Account: Account{Input: r.cfg.Name, Unit: r.cfg.Unit}, Type: r.cfg.Type, Format: r.cfg.Format}
		for _, a := range addrs[r.cfg.Name] {
			in.Listens = append(in.Listens, a.Network()+" "+a.String())
		}
		if d, ok := r.Input.(interface{ KernelDrops() uint64 }); ok {
			n := d.KernelDrops()
			in.KernelDrops = &n
		}
		if of, ok := r.Input.(interface{ Refusals() map[string]uint64 }); ok {
			in.Refused = of.Refusals()
		}
		for _, a := range s.Sources {
			if a.Input == r.cfg.Name {
				in.Sources++
				in.add(a)
			}
		}
		s.Inputs = append(s.Inputs, in)
	}
	return s
}

func (a *Account) add(o Account) {
	a.Received += o.Received
	a.Bytes += o.Bytes
	a.Rejected += o.Rejected
	a.Shipped += o.Shipped
	a.Spooled += o.Spooled
	a.Drained += o.Drained
	a.Queued += o.Queued
	a.Lost += o.Lost
	if a.First.IsZero() || !o.First.IsZero() && o.First.Before(a.First) {
		a.First = o.First
	}
	if o.Last.After(a.Last) {
		a.Last = o.Last
	}
}

// serveStatus answers on a socket in the state directory, for whoever may read
// that. A collector works without it.
func (c *Collector) serveStatus(ctx context.Context) {
	path := StatusSocket(c.cfg.StateDir)
	if err := os.MkdirAll(c.cfg.StateDir, 0o700); err != nil {
		c.log.Warn("no status can be asked for", "error", err)
		return
	}
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		c.log.Warn("no status can be asked for: another collector answers", "socket", path)
		return
	}
	_ = os.Remove(path) // of a collector that was killed
	ln, err := net.Listen("unix", path)
	if err != nil {
		c.log.Warn("no status can be asked for", "error", err)
		return
	}
	if err := os.Chmod(path, 0o600); err != nil {
		c.log.Warn("the status socket's mode could not be set", "error", err)
	}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(c.Status())
		}),
		ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		c.log.Warn("status can no longer be asked for", "error", err)
	}
}

// maxStatus bounds an answer: 50,000 sources take some 20 MB.
const maxStatus = 64 << 20

// AskStatus asks the collector that runs with a state directory.
func AskStatus(ctx context.Context, stateDir string) (Status, error) {
	var s Status
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", StatusSocket(stateDir))
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://collector/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, fmt.Errorf("no collector answers at %s: %w", StatusSocket(stateDir), err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxStatus)).Decode(&s); err != nil {
		return s, fmt.Errorf("the answer of the collector at %s: %w", StatusSocket(stateDir), err)
	}
	return s, nil
}
