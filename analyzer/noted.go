package analyzer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fengsui/analyzer/annotate"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// noted is what assets are searched by, beside what they are themselves. A row is
// written with its asset; what changes otherwise, the registry above all, is
// found by comparing the rows' marks with what they would be today.
type noted struct {
	annotator *annotate.Annotator
	drifts    annotate.Drifts
	stopped   chan struct{}
}

const (
	notedPage = 2000 // assets that are looked at, or written, at once
	// The rows are compared when the registry has changed, and this often even
	// without it: entries begin and end with time, and names come to hosts.
	notedAnyway = 10 * time.Minute
	notedEvery  = time.Second
	// The comparing may take this part of all time.
	notedShare = 10
)

func (n *noted) seed(drifts []schemas.Drift) {
	n.stopped = make(chan struct{})
	for i := range drifts {
		n.drifts.Put(&drifts[i])
	}
}

// of are an asset's notes; the caller holds mu.
func (h *observations) notesOf(snap *directory.Snapshot, a *schemas.Asset, now time.Time) schemas.Notes {
	n := &h.noted
	if n.annotator == nil || n.annotator.Snapshot() != snap {
		n.annotator = annotate.New(snap)
	}
	names := a.Names
	if a.Kind == schemas.AssetService {
		host, _ := h.assets.Get(schemas.HostKey(a.IP))
		names = host.Names
	}
	return n.annotator.Note(a, names, n.drifts.Of(a.Key), now)
}

// note writes the rows of assets that have changed, and of those whose drifts
// have; the caller holds mu.
func (h *observations) note(ctx context.Context, snap *directory.Snapshot, changed []schemas.Asset, drifts []schemas.Drift, now time.Time, token string) error {
	written := make(map[string]bool, len(changed))
	for i := range changed {
		written[changed[i].Key] = true
	}
	var others []string
	for i := range drifts {
		d := &drifts[i]
		h.noted.drifts.Put(d)
		if !written[d.Asset] {
			written[d.Asset] = true
			others = append(others, d.Asset)
		}
	}
	if err := h.writeNoted(ctx, snap, changed, now, token); err != nil {
		return err
	}
	return h.renote(ctx, snap, others, now)
}

// renote writes the rows of assets as they are stored.
func (h *observations) renote(ctx context.Context, snap *directory.Snapshot, keys []string, now time.Time) error {
	for page := range slices.Chunk(keys, notedPage) {
		stored, err := clickhouse.LoadDocs[schemas.Asset](ctx, h.deps.Store, "assets", "key IN (?)", page)
		if err != nil {
			return err
		}
		if err := h.writeNoted(ctx, snap, stored, now, ""); err != nil {
			return err
		}
	}
	return nil
}

func (h *observations) writeNoted(ctx context.Context, snap *directory.Snapshot, list []schemas.Asset, now time.Time, token string) error {
	if len(list) == 0 {
		return nil
	}
	rows := make([]schemas.NotedAsset, len(list))
	for i := range list {
		notes := h.notesOf(snap, &list[i], now)
		rows[i] = schemas.NotedAsset{Asset: list[i], Notes: notes, Mark: annotate.Mark(list[i].Version, &notes)}
	}
	return h.persist(ctx, "asset_search", func(ctx context.Context) error {
		return h.deps.Store.InsertSearch(ctx, rows, token)
	})
}

// keepNoted brings the rows up to date with the registry, at first and whenever
// it has changed, in pieces between the batches.
func (h *observations) keepNoted(ctx context.Context) {
	defer close(h.noted.stopped)
	var (
		compared *directory.Snapshot
		at       time.Time
		took     time.Duration
	)
	tick := time.NewTicker(notedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			snap := h.registry.Snapshot()
			if since := now.Sub(at); since < notedShare*took || snap == compared && since < notedAnyway {
				continue
			}
			n, err := h.compareNoted(ctx)
			if err != nil {
				if ctx.Err() == nil {
					h.metrics.retries.WithLabelValues("asset_search").Inc()
					h.log.Warn("comparing what assets are searched by", "error", err)
				}
				continue
			}
			compared, at, took = snap, time.Now(), time.Since(now)
			if n > 0 {
				h.log.Info("assets are noted anew", "assets", n, "took", took)
			}
		}
	}
}

// compareNoted writes the rows that are not what they would be today, and those
// that are missing, and says how many.
func (h *observations) compareNoted(ctx context.Context) (written int, err error) {
	var page []string
	look := func(keys []string, marks []uint64) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		snap, now := h.registry.Snapshot(), time.Now().UTC()
		var stale []string
		for i, key := range keys {
			a, known := h.assets.Get(key)
			if !known {
				continue
			}
			notes := h.notesOf(snap, &a, now)
			if marks == nil || annotate.Mark(a.Version, &notes) != marks[i] {
				stale = append(stale, key)
			}
		}
		written += len(stale)
		return h.renote(ctx, snap, stale, now)
	}
	var marks []uint64
	flush := func(missing bool) error {
		m := marks
		if missing {
			m = nil
		}
		err := look(page, m)
		page, marks = page[:0], marks[:0]
		return err
	}
	err = h.deps.Store.SearchMarks(ctx, func(key string, mark uint64) error {
		page, marks = append(page, key), append(marks, mark)
		if len(page) < notedPage {
			return nil
		}
		return flush(false)
	})
	if err == nil {
		err = flush(false)
	}
	if err != nil {
		return written, err
	}
	err = h.deps.Store.Unsearched(ctx, func(key string) error {
		if page = append(page, key); len(page) < notedPage {
			return nil
		}
		return flush(true)
	})
	if err == nil {
		err = flush(true)
	}
	if err != nil {
		return written, fmt.Errorf("writing what is missing: %w", err)
	}
	return written, nil
}
