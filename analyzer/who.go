package analyzer

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"fengsui/analyzer/identity"
	"fengsui/analyzer/mining"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// How soon after it was raised or changed an alert's people are looked for: the
// event that raised it is stored a moment after its match, and the log of who had
// the address may be under way for longer. What of it lies within
// identity.refresh is done.
var askAfter = []time.Duration{
	700 * time.Millisecond, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour,
}

const (
	askEvery  = 250 * time.Millisecond // that long the look for what is due waits
	askAtOnce = 200                    // alerts, in one question to the store
	askAgain  = 30 * time.Second       // an alert that keeps changing is asked for so often
	maxAsking = 20_000                 // alerts that are looked after in one partition
	warnEvery = time.Minute

	writeWithin = 3 * time.Second
)

// whoHad looks after the alerts of one partition of matches: it finds out who
// was behind their addresses and writes that into them. It works beside the
// handler, so that no alert waits for it: an alert goes out at once, and again,
// as its next version, when somebody can be named.
type whoHad struct {
	*matches
	cancel context.CancelFunc
	ended  chan struct{}

	// mu keeps a batch of the handler, and what is written here, apart.
	mu        sync.Mutex
	unsettled bool // a batch failed: what the folds hold is not what is stored
	asking    map[string]*asking

	any    bool      // there is a sighting in the store
	warned time.Time // when a failure was last logged
	failed int       // since then
}

// asking is an alert whose people are looked for.
type asking struct {
	alert   schemas.Alert // what finds it again, and says what is asked
	changed time.Time
	asked   time.Time
	due     time.Time
	step    int // of askAfter, that comes next
}

func newWho(h *matches) *whoHad {
	return &whoHad{matches: h, asking: map[string]*asking{}, ended: make(chan struct{})}
}

func (w *whoHad) start() {
	run, cancel := context.WithCancel(context.Background()) // ended by close
	w.cancel = cancel
	go w.run(run)
}

// resume takes stored alerts that were still looked after before a restart.
func (w *whoHad) resume(alerts []schemas.Alert, now time.Time) {
	for i := range alerts {
		if now.Sub(alerts[i].Updated) < w.cfg.Identity.Refresh {
			w.note(alerts[i:i+1], now)
		}
	}
}

func (w *whoHad) close() {
	w.cancel()
	<-w.ended
}

// note takes alerts that were raised or changed. The handler holds mu.
func (w *whoHad) note(alerts []schemas.Alert, now time.Time) {
	for i := range alerts {
		a := &alerts[i]
		if len(a.EventIDs) == 0 || a.Status != schemas.AlertOpen {
			continue
		}
		x := w.asking[a.ID]
		if x == nil {
			if len(w.asking) >= maxAsking {
				w.metrics.whoDropped.Inc()
				continue
			}
			x = &asking{}
			w.asking[a.ID] = x
		}
		x.alert = schemas.Alert{
			ID: a.ID, Kind: a.Kind, Rule: a.Rule, Unit: a.Unit, Host: a.Host, Group: a.Group, First: a.First, Last: a.Last,
			EventIDs: []string{a.EventIDs[0], a.EventIDs[len(a.EventIDs)-1]}, Who: a.Who, Correlation: a.Correlation,
		}
		x.changed, x.step = now, 0
		x.due = now.Add(askAfter[0])
		if later := x.asked.Add(askAgain); !x.asked.IsZero() && later.After(x.due) {
			x.due = later
		}
	}
}

func (w *whoHad) run(ctx context.Context) {
	defer close(w.ended)
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if due := w.due(time.Now().UTC()); len(due) > 0 {
				w.look(ctx, due)
			}
		}
	}
}

// due takes those whose time has come: the longest due first.
func (w *whoHad) due(now time.Time) (due []schemas.Alert) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unsettled {
		return nil
	}
	var ready []*asking
	for _, x := range w.asking {
		if !x.due.After(now) {
			ready = append(ready, x)
		}
	}
	slices.SortFunc(ready, func(a, b *asking) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.alert.ID, b.alert.ID)) })
	for _, x := range ready[:min(len(ready), askAtOnce)] {
		due = append(due, x.alert)
		x.next(now, w.cfg.Identity.Refresh)
		if x.due.IsZero() {
			delete(w.asking, x.alert.ID)
		}
	}
	return due
}

// next sets when the alert is asked for again: zero is never.
func (x *asking) next(now time.Time, refresh time.Duration) {
	x.asked = now
	for x.due = (time.Time{}); x.due.IsZero() && x.step+1 < len(askAfter); {
		x.step++
		if after := askAfter[x.step]; after > refresh {
			return
		} else if at := x.changed.Add(after); at.After(now) {
			x.due = at
		}
	}
}

// look asks for those alerts and writes what is new of them.
func (w *whoHad) look(ctx context.Context, due []schemas.Alert) {
	ask, cancel := context.WithTimeout(ctx, w.cfg.Identity.Timeout)
	defer cancel()
	changed, err := w.find(ask, due)
	if err == nil && len(changed) > 0 {
		err = w.write(ctx, changed)
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	w.metrics.whoFailed.Inc()
	w.failed += len(due)
	if now := time.Now(); now.Sub(w.warned) >= warnEvery {
		w.log.Warn("who was behind the addresses of alerts could not be found out; asked again later", "partition", w.partition, "alerts", w.failed, "error", err)
		w.warned, w.failed = now, 0
	}
}

// find returns the alerts whose Who changes.
func (w *whoHad) find(ctx context.Context, due []schemas.Alert) ([]schemas.Alert, error) {
	if !w.any {
		var err error
		if w.any, err = w.deps.Store.HasIdentities(ctx); err != nil || !w.any {
			return nil, err
		}
	}
	places, err := w.places(ctx, due)
	if err != nil {
		return nil, err
	}
	var (
		snap      = w.registry.Snapshot()
		questions []identity.Question
		of        []int // which alert each is of
	)
	for i := range due {
		for _, q := range questionsOf(&due[i], places, snap) {
			questions, of = append(questions, q), append(of, i)
		}
	}
	answers, err := w.cfg.Identity.Ask(ctx, snap, questions, w.deps.Store.Identities)
	if err != nil {
		return nil, err
	}
	named := make([][]schemas.Identity, len(due))
	for i, answer := range answers {
		named[of[i]] = append(named[of[i]], answer...)
	}
	var changed []schemas.Alert
	for i := range due {
		a := &due[i]
		if who := identity.Merge(a.Who, named[i], []time.Time{a.First, a.Last}); !reflect.DeepEqual(who, a.Who) {
			a.Who = who
			changed = append(changed, *a)
		}
	}
	return changed, nil
}

// places are those of the first and the newest event of alerts, by event id.
func (w *whoHad) places(ctx context.Context, due []schemas.Alert) (map[string]*clickhouse.EventPlace, error) {
	var (
		ids   []string
		times []time.Time
	)
	for i := range due {
		ids = append(ids, due[i].EventIDs...)
		times = append(times, due[i].First, due[i].Last)
	}
	found, err := w.deps.Store.EventPlaces(ctx, ids, times)
	if err != nil {
		return nil, err
	}
	places := make(map[string]*clickhouse.EventPlace, len(found))
	for i := range found {
		places[found[i].ID] = &found[i]
	}
	return places, nil
}

// questionsOf asks who had the alert's addresses at its first and last event: as
// the events have them, and where one is not found as the alert has them.
func questionsOf(a *schemas.Alert, places map[string]*clickhouse.EventPlace, snap *directory.Snapshot) (questions []identity.Question) {
	for i, at := range []time.Time{a.First, a.Last} {
		if i > 0 && at.Equal(a.First) && a.EventIDs[0] == a.EventIDs[i] {
			break
		}
		p := places[a.EventIDs[i]]
		if p == nil {
			p = placeOf(a)
		}
		for _, q := range questionsAt(p, snap) {
			q.At = at
			questions = append(questions, q)
		}
	}
	return questions
}

// placeOf is what an alert says itself of where it happened.
func placeOf(a *schemas.Alert) *clickhouse.EventPlace {
	p := &clickhouse.EventPlace{Unit: a.Unit}
	for _, g := range a.Group {
		switch g.Field {
		case schemas.FieldSourceIP.String():
			p.SourceIP = g.Value
		case schemas.FieldDestinationIP.String():
			p.DestinationIP = g.Value
		}
	}
	p.HostIPs = []string{a.Host}
	return p
}

// maxHostAddresses bounds the addresses of one host that are asked for.
const maxHostAddresses = 2

func questionsAt(p *clickhouse.EventPlace, snap *directory.Snapshot) (questions []identity.Question) {
	ask := func(role, address string, port int, peer string) {
		ip, err := netip.ParseAddr(address)
		if err != nil || ip.IsLoopback() || slices.ContainsFunc(questions, func(q identity.Question) bool { return q.Address == address }) {
			return
		}
		unit := p.Unit
		if identity.Public(ip) { // there is one of it, whoever saw it
			unit = cmp.Or(snap.UnitOf(ip), unit)
		}
		questions = append(questions, identity.Question{Role: role, Unit: unit, Address: address, Port: port, Transport: p.Transport, Peer: peer})
	}
	ask("source", p.SourceIP, p.SourcePort, p.DestinationIP)
	if ip, err := netip.ParseAddr(p.DestinationIP); err == nil && snap.Internal(ip) {
		ask("destination", p.DestinationIP, 0, "")
	}
	for _, address := range p.HostIPs[:min(len(p.HostIPs), maxHostAddresses)] {
		ask("host", address, 0, "")
	}
	return questions
}

// write puts what was found into the folds, so that it stays in the alerts' next
// versions, and sends and stores these.
func (w *whoHad) write(ctx context.Context, found []schemas.Alert) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unsettled {
		return nil // whoever reads the partition next begins with the stored alerts
	}
	var (
		now         = time.Now().UTC()
		rules, snap = w.rules.Current(), w.registry.Snapshot()
		alerts      []schemas.Alert
		detections  []schemas.MiningDetection
	)
	for i := range found {
		a := &found[i]
		if a.Kind == schemas.AlertMining {
			if d := w.mining.SetWho(a.Unit, a.Host, a.ID, a.Who, now); d != nil {
				detections, alerts = append(detections, *d), append(alerts, mining.ToAlert(d))
			}
			continue
		}
		if changed := w.alerts.SetWho(a, now); changed != nil {
			if out := w.pass(rules, snap, changed); out != nil {
				alerts = append(alerts, *out)
			}
		}
	}
	// The handler waits meanwhile. What could not be written is in the folds, and
	// goes out with the alert's next change, or when it is asked for again.
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	token := fmt.Sprintf("who/%d/%d", w.partition, now.UnixNano())
	if err := w.writeAlerts(ctx, w.producer, alerts, token); err != nil {
		return err
	}
	if err := w.writeDetections(ctx, detections, token); err != nil {
		return err
	}
	for i := range found {
		if x := w.asking[found[i].ID]; x != nil {
			x.alert.Who = found[i].Who
		}
	}
	w.metrics.whoNamed.Add(float64(len(alerts)))
	return nil
}
