package scanner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"fengsui/internal/directory"
	"fengsui/scanner/discover"
	"fengsui/scanner/portset"
	"fengsui/scanner/resolve"
	"fengsui/scanner/sweep"
	"fengsui/schemas"
)

// The limits of one task.
const (
	MaxNames   = 10_000
	MaxTargets = 10_000
	maxText    = 256 // bytes of job, shard and the like
	maxReverse = 1 << 16
)

// ErrRefused says that a task was not carried out, and why: it is malformed,
// beyond the limits, or wholly outside what the registry authorises.
var ErrRefused = errors.New("scan task refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// Emit takes an observation over. Those about one address or name come one after
// the other: the host, its ports, and the sweep that closes them.
type Emit func(schemas.Observation) error

// Looker carries scan tasks out. It knows no topic.
type Looker struct {
	cfg       Config
	id        string
	resolvers []netip.AddrPort // nil: ask the system each time
	words     *discover.Words
	m         *metrics
	log       *seldom
}

// NewLooker checks the configuration and sends nothing.
func NewLooker(cfg Config, deps Deps) (*Looker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("scanner: %w", err)
	}
	l := &Looker{cfg: cfg, id: cfg.ID, m: newMetrics(deps.Metrics), log: &seldom{log: deps.log()}}
	if l.id == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("scanner: an id for this scanner: %w", err)
		}
		l.id = name
	}
	for _, r := range cfg.Resolvers {
		at, err := resolve.ParseServer(r)
		if err != nil {
			return nil, fmt.Errorf("scanner: %w", err)
		}
		l.resolvers = append(l.resolvers, at)
	}
	var err error
	if l.words, err = discover.LoadWords(cfg.Discover.WordList); err != nil {
		return nil, fmt.Errorf("scanner: %w", err)
	}
	return l, nil
}

// Look carries one task out, as far as the snapshot authorises it: what it does
// not is left out, counted and logged. An ErrRefused says that nothing was sent.
// After another error, or when ctx ends, what was emitted stands and the rest is
// unknown; the same task may be looked at again and repeats its ids.
func (l *Looker) Look(ctx context.Context, task schemas.ScanTask, snap *directory.Snapshot, emit Emit) error {
	if snap == nil {
		return refuse("no registry is known")
	}
	ports, udp, err := check(&task)
	if err != nil {
		return err
	}
	k := &look{Looker: l, task: &task, ports: ports, udp: udp, snap: snap, emit: emit}
	k.inScope()
	if len(k.targets) == 0 && len(k.names) == 0 {
		return refuse("none of its %d targets and %d names is authorised", len(task.Targets), len(task.Names))
	}
	if task.Kind == schemas.TaskDiscover {
		return k.discover(ctx)
	}
	if task.Kind == schemas.TaskNames || len(k.names) > 0 {
		if err := k.lookAtNames(ctx); err != nil {
			return fmt.Errorf("names of %s: %w", k.what(), err)
		}
	}
	if task.Kind != schemas.TaskNames && len(k.targets) > 0 {
		if err := k.lookAtPorts(ctx); err != nil {
			return fmt.Errorf("ports of %s: %w", k.what(), err)
		}
	}
	return nil
}

// check refuses what is no sensible task, whatever the scope. It says which
// ports are asked for.
func check(t *schemas.ScanTask) (ports, udp portset.Set, err error) {
	for what, text := range map[string]string{"job": t.Job, "shard": t.Shard} {
		if text == "" || len(text) > maxText {
			return ports, udp, refuse("%s is not 1 to %d bytes long", what, maxText)
		}
	}
	switch {
	case t.Kind != schemas.TaskNames && t.Kind != schemas.TaskSweep && t.Kind != schemas.TaskConfirm && t.Kind != schemas.TaskDiscover:
		return ports, udp, refuse("kind %.20q is not known", t.Kind)
	case len(t.Targets) > MaxTargets:
		return ports, udp, refuse("%d targets, at most %d", len(t.Targets), MaxTargets)
	case len(t.Names) > MaxNames:
		return ports, udp, refuse("%d names, at most %d", len(t.Names), MaxNames)
	case len(t.Targets)+len(t.Names) == 0:
		return ports, udp, refuse("neither targets nor names")
	case t.Kind == schemas.TaskDiscover && len(t.Targets) > 0:
		return ports, udp, refuse("a discovery of addresses")
	case t.Kind == schemas.TaskSweep && len(t.Names) > 0:
		return ports, udp, refuse("a sweep of names")
	case min(t.HostRate, t.NetworkRate) < 0:
		return ports, udp, refuse("a rate is below 0")
	case t.Rate < 0 || t.Rate > sweep.MaxRate:
		return ports, udp, refuse("rate %d is not 0 to %d", t.Rate, sweep.MaxRate)
	}
	each := maxReverse
	if t.Kind != schemas.TaskNames && len(t.Targets) > 0 {
		if ports, udp, err = portset.ParseBoth(t.Ports); err != nil {
			return ports, udp, refuse("%v", err)
		}
		each = sweep.MaxProbes / (ports.Len() + udp.Len())
	}
	addresses := 0
	for _, p := range t.Targets {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return ports, udp, refuse("target %q is not an address block", p)
		}
		free := p.Addr().BitLen() - p.Bits()
		if free > 20 {
			return ports, udp, refuse("target %s is too large", p)
		}
		if addresses += 1 << free; addresses > each {
			return ports, udp, refuse("more than %d addresses with %d ports each", each, ports.Len()+udp.Len())
		}
	}
	for _, n := range t.Names {
		if n != schemas.CanonicalName(n) || !discover.ValidName(n) {
			return ports, udp, refuse("%.80q is not a name in lower case without a final dot", n)
		}
	}
	return ports, udp, nil
}

// look is one task at work.
type look struct {
	*Looker
	task  *schemas.ScanTask
	ports portset.Set // TCP
	udp   portset.Set
	snap  *directory.Snapshot
	emit  Emit

	targets []netip.Prefix // authorised, in order, none inside another
	single  []netip.Addr   // those that were given one by one
	names   []string       // authorised
	paces   paces

	everywhere portset.Set // ports that nearly every address of the task answers on (see doubts)
}

func (k *look) what() string { return "shard " + k.task.Job + "/" + k.task.Shard }

// inScope keeps what the registry authorises.
func (k *look) inScope() {
	for _, p := range k.task.Targets {
		if err := k.snap.MayScanPrefix(p); err != nil {
			k.refused("target", err)
			continue
		}
		k.targets = append(k.targets, p)
		if p.IsSingleIP() {
			k.single = append(k.single, p.Addr())
		}
	}
	k.targets = disjoint(k.targets)
	for _, n := range k.task.Names {
		if err := k.snap.MayResolve(n); err != nil {
			k.refused("name", err)
			continue
		}
		k.names = append(k.names, n)
	}
}

// disjoint sorts blocks and leaves out those that are inside another.
func disjoint(blocks []netip.Prefix) []netip.Prefix {
	slices.SortFunc(blocks, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var out []netip.Prefix
	for _, p := range blocks {
		if n := len(out); n == 0 || !out[n-1].Contains(p.Addr()) {
			out = append(out, p)
		}
	}
	return out
}

func (k *look) refused(what string, err error) {
	k.m.refused.WithLabelValues(what).Inc()
	k.log.warn("refused: nothing is sent outside the registry's scope", "what", what, "job", k.task.Job,
		"shard", k.task.Shard, "by", k.task.By, "error", err)
}

// send stamps an observation and gives it away. Its id is from job, shard, kind
// and what it is about, so that a shard looked at again repeats its ids.
func (k *look) send(o schemas.Observation) error {
	o.Time = time.Now().UTC()
	o.Source = "scan"
	o.Job, o.Shard, o.Scanner = k.task.Job, k.task.Shard, k.id
	about := o.Key()
	switch o.Kind {
	case schemas.ObservedName:
		about += "/" + o.RecordType
		o.Unit = k.task.Unit
		if d, ok := k.snap.DomainOf(o.Name); ok {
			o.Unit = d.Unit
		}
	case schemas.ObservedPort:
		about += "/" + o.Transport + "/" + strconv.Itoa(o.Port)
	}
	if o.Kind != schemas.ObservedName {
		o.Unit = k.snap.UnitOf(o.IP)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{o.Job, o.Shard, string(o.Kind), about}, "\x00")))
	o.ID = hex.EncodeToString(sum[:16])
	k.m.observations.WithLabelValues(string(o.Kind)).Inc()
	return k.emit(o)
}

// rate is the packets a second that this task may send: the least of what the
// scanner, the task, its network and its hosts together allow.
func (k *look) rate() int {
	rate := k.cfg.Rate
	for _, r := range []int{k.task.Rate, k.task.NetworkRate, k.task.HostRate * k.addresses()} {
		if r > 0 {
			rate = min(rate, r)
		}
	}
	return rate
}

// hostRate is the probes a second to one address: the lesser of what the scanner
// and the task allow; 0 is no bound.
func (k *look) hostRate() int {
	if k.task.HostRate > 0 && (k.cfg.HostRate == 0 || k.task.HostRate < k.cfg.HostRate) {
		return k.task.HostRate
	}
	return k.cfg.HostRate
}
