package analyzer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/analyzer/assets"
	"fengsui/analyzer/identity"
	"fengsui/analyzer/marks"
	"fengsui/analyzer/mask"
	"fengsui/analyzer/match"
	"fengsui/analyzer/mining"
	"fengsui/analyzer/parse"
	"fengsui/analyzer/ruleset"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// lookBack is how many records before the committed offset are asked for the
// sequence numbers that are already stored. A producer repeats a batch within
// moments; a collector that died while its spool drained repeats some of it when
// it is started again, so this reaches far back.
const lookBack = 5_000_000

// A fact that logs tell of the asset map is passed on once an hour; this many
// facts are remembered in each partition.
const (
	recentSightings = 50_000
	sightingEvery   = time.Hour
)

// logs handles one partition of the topic logs: raw records in, events, dead
// letters, matches and passive observations out.
type logs struct {
	*Analyzer
	producer  *kafka.Producer
	found     *kafka.Producer // of matches
	partition int
	recent    *assets.Recent
	marks     *marks.Marks
	unmarked  uint64 // sightings of marks that were too many, as far as was counted
	sources   *sources
	formats   *parse.Detector
	mask      *mask.Scope
	owner     owner

	// The highest sequence number stored, by stream: a record at or below it is
	// a repetition. Events and dead letters are two tables that are written one
	// after the other, so each has its own.
	storedEvents  map[string]uint64
	storedLetters map[string]uint64

	// What one batch becomes; kept for their memory.
	events       *clickhouse.EventBatch
	ev           schemas.Event
	letters      []clickhouse.DeadLetter
	letterOut    []kafka.Record
	matches      []kafka.Record
	counts       map[schemas.MatchKind]prometheus.Counter
	encoder      schemas.MatchEncoder
	encoded      []byte // of matches
	observations []kafka.Record
	identity     schemas.Sighting
	identities   []schemas.Sighting
	fresh        map[string]uint64 // sequence numbers of events of this batch
	freshLetters map[string]uint64
}

func (a *Analyzer) openLogs(producer, found *kafka.Producer) kafka.OpenFunc {
	return func(ctx context.Context, _ string, partition int, committed int64) (kafka.Handler, int64, error) {
		h := &logs{
			Analyzer: a, producer: producer, found: found, partition: partition, events: clickhouse.NewEventBatch(),
			fresh: map[string]uint64{}, freshLetters: map[string]uint64{}, recent: assets.NewRecent(recentSightings, sightingEvery),
			formats: a.detector(), mask: a.masker.NewScope(),
		}
		h.counts = map[schemas.MatchKind]prometheus.Counter{}
		for _, kind := range []schemas.MatchKind{schemas.MatchRule, schemas.MatchMining} {
			h.counts[kind] = a.metrics.matches.WithLabelValues(string(kind))
		}
		var err error
		from := max(0, committed-lookBack)
		if h.storedEvents, err = a.deps.Store.HighWater(ctx, "events", partition, from); err != nil {
			return nil, 0, fmt.Errorf("asking which events are stored: %w", err)
		}
		if h.storedLetters, err = a.deps.Store.HighWater(ctx, "dead_letters", partition, from); err != nil {
			return nil, 0, fmt.Errorf("asking which dead letters are stored: %w", err)
		}
		if h.sources, err = a.openSources(ctx, producer, partition, committed); err != nil {
			return nil, 0, err
		}
		return h, kafka.Committed, nil
	}
}

// Close ends the watch for silent sources.
func (h *logs) Close() error {
	h.sources.close()
	return nil
}

// Handle stores one batch. The order makes redelivery harmless: matches and
// letters are acknowledged by Kafka before the rows that mark their records as
// done are in ClickHouse, so a crash in between repeats them and loses none,
// and whoever reads them knows a repetition by its id.
func (h *logs) Handle(ctx context.Context, records []kafka.Record) error {
	h.reset()
	h.sources.begin()
	defer func() { h.sources.end(records[len(records)-1].Offset + 1) }()
	snap, rules := h.registry.Snapshot(), h.rules.Current()
	matches := h.sendMatches(ctx)
	defer matches.end() //nolint:errcheck // asked for below, unless another came before
	for i := range records {
		h.take(snap, rules, &records[i])
		if len(h.matches)-matches.sent >= sendEvery {
			matches.send(h.matches)
		}
	}
	matches.send(h.matches)
	h.metrics.received.Add(float64(len(records)))
	h.masked.add(h.mask)
	h.metrics.unmarked.Add(float64(h.recent.Dropped() - h.unmarked))
	h.unmarked = h.recent.Dropped()
	for _, out := range []struct {
		topic   string
		records []kafka.Record
	}{
		{schemas.TopicObservations, h.observations},
		{schemas.TopicDeadLetters, h.letterOut},
		{schemas.TopicLogs, h.sources.found},
	} {
		if len(out.records) == 0 {
			continue
		}
		if err := h.producer.Produce(ctx, out.topic, out.records); err != nil {
			return fmt.Errorf("sending to %s: %w", out.topic, err)
		}
	}
	if err := matches.end(); err != nil {
		return fmt.Errorf("sending to %s: %w", schemas.TopicMatches, err)
	}
	return h.store(ctx, records)
}

// sendEvery is how many matches are sent while others are still looked for: the
// broker's disk takes its time.
const sendEvery = 4096

// sending sends matches in the background, in their order.
type sending struct {
	sent  int
	queue chan<- []kafka.Record
	end   func() error // waits until everything is acknowledged; asked again it says the same
}

func (h *logs) sendMatches(ctx context.Context) *sending {
	queue, done := make(chan []kafka.Record, 1), make(chan error, 1)
	go func() {
		var err error
		for records := range queue {
			if err == nil {
				err = h.found.Produce(ctx, schemas.TopicMatches, records)
			}
		}
		done <- err
	}()
	return &sending{queue: queue, end: sync.OnceValue(func() error {
		close(queue)
		return <-done
	})}
}

// send sends those of all that were not sent yet.
func (s *sending) send(all []kafka.Record) {
	if s.sent < len(all) {
		s.queue <- all[s.sent:]
		s.sent = len(all)
	}
}

func (h *logs) reset() {
	h.events.Reset()
	h.letters, h.letterOut = h.letters[:0], h.letterOut[:0]
	h.matches, h.encoded, h.observations = h.matches[:0], h.encoded[:0], h.observations[:0]
	h.identities = h.identities[:0]
	clear(h.fresh)
	clear(h.freshLetters)
}

func (h *logs) store(ctx context.Context, records []kafka.Record) error {
	ingested := time.Now().UTC()
	token := fmt.Sprintf("%s/%d/%d-%d", schemas.TopicLogs, h.partition, records[0].Offset, records[len(records)-1].Offset)
	if len(h.letters) > 0 {
		err := h.persist(ctx, "dead_letters", func(ctx context.Context) error {
			return h.deps.Store.InsertDeadLetters(ctx, h.letters, ingested, token)
		})
		if err != nil {
			return err
		}
		h.metrics.deadLettered.Add(float64(len(h.letters)))
		raise(h.storedLetters, h.freshLetters)
	}
	if err := h.storeIdentities(ctx, ingested, token); err != nil { // before the events, which mark the records as done
		return err
	}
	if n := h.events.Len(); n > 0 {
		err := h.persist(ctx, "events", func(ctx context.Context) error {
			return h.deps.Store.InsertEvents(ctx, h.events, ingested, token)
		})
		if err != nil {
			return err
		}
		h.metrics.stored.Add(float64(n))
		h.metrics.misfits.Add(float64(h.events.Misfits()))
		raise(h.storedEvents, h.fresh)
	}
	return nil
}

// storeIdentities stores what the batch tells of who has an address. In another
// batch, after a crash, it replaces itself.
func (h *logs) storeIdentities(ctx context.Context, ingested time.Time, token string) error {
	if len(h.identities) == 0 {
		return nil
	}
	err := h.persist(ctx, "identities", func(ctx context.Context) error {
		return h.deps.Store.InsertIdentities(ctx, h.identities, ingested, token)
	})
	if err == nil {
		h.metrics.sightings.Add(float64(len(h.identities)))
	}
	return err
}

func raise(stored, fresh map[string]uint64) {
	for stream, seq := range fresh {
		stored[stream] = seq
	}
}

// known says whether the table holds the stream up to this record, or will with
// this batch.
func known(o *schemas.Origin, stored, fresh map[string]uint64) bool {
	if seq, ok := fresh[o.Stream]; ok {
		return o.Seq <= seq
	}
	seq, ok := stored[o.Stream]
	return ok && o.Seq <= seq
}

// take turns one record into an event with its matches, or into a dead letter.
//
// Letters are written before events, so a stream that stands in events up to a
// record has everything up to it in its place. The reverse does not hold: a
// crash in between leaves letters ahead of events, so what letters hold is only
// asked of a record that is one.
func (h *logs) take(snap *directory.Snapshot, rules *ruleset.Current, r *kafka.Record) {
	origin, err := schemas.ParseOrigin(r.Headers, r.Topic, r.Partition, r.Offset, r.Time)
	if known(&origin, h.storedEvents, h.fresh) {
		h.metrics.repeated.Inc()
		return
	}
	ev := &h.ev
	ev.Reset()
	origin.Received = origin.Received.In(h.zone) // a line without a zone is in this one
	ev.Origin, ev.Original = origin, string(r.Value)
	if err == nil && origin.Reject != "" {
		err = errors.New(origin.Reject)
	}
	if err == nil {
		err = h.formats.Parse(ev)
	}
	h.sources.note(r, &origin, err != nil)
	if err != nil {
		h.deadLetter(r, &origin, err.Error())
		return
	}
	settle(ev)
	h.enricher.Event(snap, ev)
	h.enrich(snap, ev)
	// Rules judge what was logged; all that leaves here is masked, and so is what
	// is made of it.
	h.mask.Begin(ev)
	h.judge(snap, rules, ev)
	h.mask.Event(ev)
	if identity.FromEvent(ev, &h.identity) {
		h.identities = append(h.identities, h.identity)
	}
	if h.cfg.Passive {
		for _, o := range assets.FromEvent(ev, snap.Internal, h.recent) {
			h.observations = append(h.observations, observationRecord(&o))
		}
		for _, o := range assets.Abroad(ev, snap.Internal, h.marksOf(snap), h.recent) {
			h.observations = append(h.observations, observationRecord(&o))
		}
	}
	h.fresh[origin.Stream] = origin.Seq
	h.events.Add(ev, r.Partition, r.Offset)
}

// marksOf are the marks of the registry's units.
func (h *logs) marksOf(snap *directory.Snapshot) *marks.Marks {
	if !h.marks.For(snap) {
		h.marks = marks.New(snap)
	}
	return h.marks
}

// deadLetter keeps a record whole but for what is masked, in the topic and in the
// table.
func (h *logs) deadLetter(r *kafka.Record, o *schemas.Origin, reason string) {
	if known(o, h.storedLetters, h.freshLetters) {
		h.metrics.repeated.Inc()
		return
	}
	h.freshLetters[o.Stream] = o.Seq
	h.mask.Begin(nil)
	raw := []byte(h.mask.Text(string(r.Value)))
	reason, o.Reject = h.mask.Text(reason), h.mask.Text(o.Reject)
	h.letters = append(h.letters, clickhouse.DeadLetter{
		Origin: *o, Partition: r.Partition, Offset: r.Offset, Reason: reason, Raw: raw,
	})
	h.letterOut = append(h.letterOut, kafka.Record{
		Key: r.Key, Value: raw, Headers: append(o.Headers(), schemas.Header{Key: schemas.HeaderReason, Value: []byte(reason)}),
	})
}

// settle gives the event the time that it is stored with: to the microsecond, and
// that of its receipt where it has none. So rules see it now as they would in a
// backtest.
func settle(ev *schemas.Event) {
	at := ev.Time()
	if at.IsZero() {
		at = ev.Received
	}
	ev.SetTime(schemas.FieldTimestamp, at.Truncate(time.Microsecond))
}

// enrich says whose event it is, and what the registry knows of its addresses.
func (h *logs) enrich(snap *directory.Snapshot, ev *schemas.Event) {
	h.firstMet(ev)
	if tags := tagsOf(snap, ev); len(tags) > 0 {
		ev.Set(schemas.FieldFengsuiAssetTags, schemas.Strings(tags...))
	}
	setDirection(snap, ev)
	h.owner.set(snap, ev)
	unit := unitOf(snap, ev)
	if unit == "" {
		return
	}
	ev.SetString(schemas.FieldOrganizationID, unit)
	path := []string{unit}
	if u, ok := snap.Unit(unit); ok {
		ev.SetString(schemas.FieldOrganizationName, u.Name)
		path = snap.Path(unit)
	}
	ev.Set(schemas.FieldFengsuiUnitPath, schemas.Strings(path...))
}

// setDirection says which way traffic goes between us and others, where its sender
// has not: NetFlow does not know, nor does a sensor that was not told the
// networks. A campus with public addresses, and anyone's IPv6, would look like the
// internet to itself. Of two addresses that are nobody's nothing is known.
func setDirection(snap *directory.Snapshot, ev *schemas.Event) {
	if !ev.Get(schemas.FieldNetworkDirection).IsNone() {
		return
	}
	from, err1 := netip.ParseAddr(ev.Str(schemas.FieldSourceIP))
	to, err2 := netip.ParseAddr(ev.Str(schemas.FieldDestinationIP))
	if err1 != nil || err2 != nil {
		return
	}
	switch fromUs, toUs := local(snap, from), local(snap, to); {
	case fromUs && toUs:
		ev.SetString(schemas.FieldNetworkDirection, "internal")
	case fromUs:
		ev.SetString(schemas.FieldNetworkDirection, "outbound")
	case toUs:
		ev.SetString(schemas.FieldNetworkDirection, "inbound")
	}
}

// local says that traffic with the address stays with us: it is ours, or no
// router of the internet forwards it.
func local(snap *directory.Snapshot, ip netip.Addr) bool {
	return !identity.Public(ip.Unmap()) || snap.Internal(ip)
}

// tagsOf are the tags of the event's addresses, each once.
func tagsOf(snap *directory.Snapshot, ev *schemas.Event) []string {
	var out []string
	for _, address := range addressesOf(ev) {
		ip, err := netip.ParseAddr(address)
		if err != nil {
			continue
		}
		for _, tag := range snap.TagsOf(ip) {
			if !slices.Contains(out, tag) {
				out = append(out, tag)
			}
		}
	}
	return out
}

// addressesOf are those that tell whose an event is. The internal side of the
// traffic tells most, then the host that it happened on, and the sender least:
// it may be a relay.
func addressesOf(ev *schemas.Event) [4]string {
	host := ""
	if ips := ev.Get(schemas.FieldHostIP).List(); len(ips) > 0 {
		host = ips[0].Str()
	}
	return [...]string{ev.Str(schemas.FieldSourceIP), ev.Str(schemas.FieldDestinationIP), host, ev.Source}
}

// unitOf is the input's unit, or one below it that owns an address of the event.
func unitOf(snap *directory.Snapshot, ev *schemas.Event) string {
	for _, address := range addressesOf(ev) {
		if owner := ownerOf(snap, address); owner != "" && (ev.Unit == "" || snap.Under(owner, ev.Unit)) {
			return owner
		}
	}
	return ev.Unit
}

func ownerOf(snap *directory.Snapshot, address string) string {
	if address == "" {
		return ""
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	return snap.UnitOf(ip)
}

// judge sends on what the rules and the mining detector have to say about the
// event.
func (h *logs) judge(snap *directory.Snapshot, rules *ruleset.Current, ev *schemas.Event) {
	rules.Engine.Match(ev, func(hit match.Hit) {
		m := hit.ToMatch(ev)
		if x := rules.Tuner.Excepted(hit, &m, ev, snap); x != nil {
			h.metrics.suppressed.WithLabelValues("exception", m.Rule.ID, x.Name).Inc()
			return
		}
		h.mask.Match(&m)
		h.send(&m, rules.Tuner.RecordKey(&m))
	})
	evidence := h.mining.Examine(ev)
	if len(evidence) > 0 {
		host := mining.Host(ev, snap.Internal)
		for i := range evidence {
			m := schemas.Match{
				Kind: schemas.MatchMining, EventID: ev.EventID(), Time: ev.Time(), Received: ev.Received,
				Unit: unitOfHost(snap, host, ev), Host: host, Drill: ev.Drill, Mining: &evidence[i],
			}
			h.mask.Match(&m)
			h.send(&m, m.Key())
		}
	}
}

// unitOfHost is the owner of the host's address, else of the event.
func unitOfHost(snap *directory.Snapshot, host string, ev *schemas.Event) string {
	if owner := ownerOf(snap, host); owner != "" {
		return owner
	}
	return ev.Str(schemas.FieldOrganizationID)
}

func (h *logs) send(m *schemas.Match, key string) {
	start := len(h.encoded)
	var err error
	if h.encoded, err = h.encoder.Append(h.encoded, m); err != nil { // a year that no clock shows
		h.metrics.badRecords.WithLabelValues(schemas.TopicMatches).Inc()
		h.log.Error("encoding a match", "rule", m.Rule.ID, "event", m.EventID, "error", err)
		return
	}
	h.counts[m.Kind].Inc()
	h.matches = append(h.matches, kafka.Record{Key: []byte(key), Value: h.encoded[start:len(h.encoded):len(h.encoded)]})
}

func observationRecord(o *schemas.Observation) kafka.Record {
	value, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("analyzer: encoding an observation: %v", err)) // strings, numbers, times and addresses only
	}
	return kafka.Record{Key: []byte(strings.ToLower(o.Key())), Value: value}
}
