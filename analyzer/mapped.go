package analyzer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"fengsui/analyzer/assets"
	"fengsui/internal/clickhouse"
	"fengsui/internal/graph"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// seedPage is how many assets are put back into the map at once after a restart.
const seedPage = 10_000

// seedMap puts back the map as it was written, row by row: all of it at once
// would need its memory twice.
func (h *observations) seedMap(ctx context.Context) error {
	page := make([]schemas.Asset, 0, seedPage)
	put := func(a *schemas.Asset) {
		if a != nil {
			page = append(page, *a)
		}
		if len(page) == seedPage || a == nil {
			h.judge.SeedAssets(page)
			clear(page)
			page = page[:0]
		}
	}
	// Whether a host is up by itself depends on its services: the judge is told of
	// hosts last.
	type up struct {
		ip   netip.Addr
		last time.Time
	}
	var hosts []up
	err := clickhouse.ScanDocs(ctx, h.deps.Store, "assets", assetDecoder, func(a *schemas.Asset) error {
		h.assets.Put(a)
		switch {
		case a.Kind != schemas.AssetHost:
			put(a)
		case a.Alive:
			hosts = append(hosts, up{a.IP, a.Last})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("loading the asset map: %w", err)
	}
	put(nil)
	for _, u := range hosts {
		put(&schemas.Asset{Kind: schemas.AssetHost, IP: u.ip, Alive: true, Last: u.last})
	}
	put(nil)
	h.assets.Settle()
	h.metrics.assets.Set(float64(h.assets.Len()))
	if h.counted, err = h.deps.Store.EdgesCounted(ctx); err != nil {
		return err
	}
	return nil
}

// mapChanges is what one batch changes in the map beside its assets.
type mapChanges struct {
	versions []schemas.AssetVersion
	edges    *graph.Tally
	found    []schemas.Edge  // of one observation
	lean     map[string]bool // assets whose long texts have to be read
}

func newMapChanges() mapChanges {
	return mapChanges{edges: graph.NewTally(), lean: map[string]bool{}}
}

// foldMap takes an observation into the map. Edges are summed up in the store,
// so an observation that they have counted in is passed over.
func (h *observations) foldMap(o *schemas.Observation, r *kafka.Record, set *changeSet) {
	m := &set.mapped
	for _, c := range h.assets.Apply(o, r.Partition, r.Offset) {
		if c.Was != nil {
			m.versions = append(m.versions, *c.Was)
		}
		at, again := set.assets.at[c.Key]
		switch {
		case !c.Lean:
			delete(m.lean, c.Key)
		case again && !m.lean[c.Key]:
			assets.Fill(c.Service, set.assets.items[at].Service)
		default:
			m.lean[c.Key] = true
		}
		set.assets.add(&c.Asset)
	}
	if r.Offset > h.counted {
		m.found = graph.AppendEdges(m.found[:0], o, r.Offset)
		m.edges.Add(m.found)
	}
}

// writeMap begins to store what has become of the map, and returns what waits for
// the end. What assets were comes before what they are: it is only made while they
// become something else. All else may go at the same time.
func (h *observations) writeMap(ctx context.Context, set *changeSet, token string) (wait func() error, err error) {
	h.sayFull()
	changed, versions, edges := set.assets.list(), set.mapped.versions, set.mapped.edges.List()
	if len(changed) > 0 {
		if err := h.fill(ctx, set); err != nil {
			return nil, err
		}
	}
	h.metrics.assets.Set(float64(h.assets.Len()))
	var all sync.WaitGroup
	var ofAssets, ofEdges error
	all.Go(func() {
		if len(versions) > 0 {
			ofAssets = h.persist(ctx, "asset_versions", func(ctx context.Context) error { return h.deps.Store.InsertVersions(ctx, versions, token) })
		}
		if len(changed) > 0 && ofAssets == nil {
			ofAssets = h.persist(ctx, "assets", func(ctx context.Context) error { return h.deps.Store.InsertAssets(ctx, changed, token) })
		}
	})
	all.Go(func() {
		if len(edges) > 0 {
			ofEdges = h.persist(ctx, "edges", func(ctx context.Context) error { return h.deps.Store.InsertEdges(ctx, edges, token) })
		}
	})
	return func() error {
		all.Wait()
		if err := errors.Join(ofAssets, ofEdges); err != nil {
			return err
		}
		h.metrics.edges.Add(float64(len(edges)))
		return nil
	}, nil
}

// fill completes the services whose long texts the map does not hold.
func (h *observations) fill(ctx context.Context, set *changeSet) error {
	if len(set.mapped.lean) == 0 {
		return nil
	}
	keys := make([]string, 0, len(set.mapped.lean))
	for key := range set.mapped.lean {
		keys = append(keys, key)
	}
	return h.persist(ctx, "services", func(ctx context.Context) error {
		stored, err := h.deps.Store.ServicesOf(ctx, keys)
		if err != nil {
			return err
		}
		for _, key := range keys {
			assets.Fill(set.assets.items[set.assets.at[key]].Service, stored[key])
		}
		return nil
	})
}

// sayFull counts what found no room in the map, and says so once a minute.
func (h *observations) sayFull() {
	dropped := h.assets.Dropped()
	if dropped == h.full {
		return
	}
	h.metrics.assetsFull.Add(float64(dropped - h.full))
	h.full = dropped
	if now := time.Now(); now.Sub(h.fullSaid) >= time.Minute {
		h.fullSaid = now
		h.log.Warn("assets not taken in: the map or a host in it is full", "assets", h.assets.Len(), "max", h.cfg.Assets.Max, "dropped", dropped)
	}
}
