package console

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2/sse"

	"fengsui/console/search"
	"fengsui/schemas"
)

const (
	streamEvery  = 2 * time.Second
	streamAlerts = 20  // alerts in one message
	maxStreams   = 500 // at once
)

// LiveCounts is a message of the stream: the counts as they are now.
type LiveCounts struct {
	At    time.Time `json:"at"`
	Total Counts    `json:"total"`
}

// LiveAlerts is a message of the stream: the newest alerts, whenever they are
// not those of the message before.
type LiveAlerts struct {
	Items []schemas.Alert `json:"items" nullable:"false"`
}

func (c *Console) registerStream() {
	op := operation(http.MethodGet, "stream", "Counts every 2 s and the newest alerts, as Server-Sent Events", forUsers)
	sse.Register(c.api, op, map[string]any{"counts": LiveCounts{}, "alerts": LiveAlerts{}, "trouble": Problem{}}, c.stream)
}

// stream sends until the client goes, the session ends or the console stops. A
// user who may see less from now on sees less at the next message.
func (c *Console) stream(ctx context.Context, _ *struct{}, send sse.Sender) {
	if c.streams.Add(1) > maxStreams {
		c.streams.Add(-1)
		_ = send.Data(problem(http.StatusServiceUnavailable, codeTooMany, "too many pages are open")) // it may be gone
		return
	}
	defer c.streams.Add(-1)
	var sent []schemas.Alert
	tick := time.NewTicker(streamEvery)
	defer tick.Stop()
	for {
		if err := c.sendLive(ctx, send, &sent); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sendLive sends what there is now. An error ends the stream.
func (c *Console) sendLive(ctx context.Context, send sse.Sender, sent *[]schemas.Alert) error {
	v, p := c.stillThere(ctx)
	if p != nil {
		return p
	}
	all, err := c.countsFor(ctx, v)
	if err != nil {
		return send.Data(*c.storeProblem(ctx, "stream", err))
	}
	if err := send.Data(LiveCounts{all.At, all.Total}); err != nil {
		return err
	}
	alerts, err := c.newestAlerts(ctx, v)
	if err != nil {
		return send.Data(*c.storeProblem(ctx, "stream", err))
	}
	same := func(a, b schemas.Alert) bool { return a.ID == b.ID && a.Version == b.Version }
	if *sent != nil && slices.EqualFunc(*sent, alerts, same) {
		return nil
	}
	*sent = alerts
	return send.Data(LiveAlerts{alerts})
}

// stillThere is the viewer of a session that may have ended since the request.
func (c *Console) stillThere(ctx context.Context) (*viewer, *Problem) {
	again, err := c.sessions.Load(context.Background(), c.sessions.Token(ctx)) // from ctx it would be what it was
	if err != nil {
		return nil, c.internal("keeping a session", err)
	}
	v, p := c.identify(ctx, c.sessions.GetString(again, nameKey))
	if p == nil && v.OneTime {
		p = problem(http.StatusForbidden, codeOneTime, "change the one-time password first")
	}
	return v, p
}

// newestAlerts is shared by all who see the same units.
func (c *Console) newestAlerts(ctx context.Context, v *viewer) ([]schemas.Alert, error) {
	c.newestMu.Lock()
	r := c.newest[v.Unit]
	if r == nil {
		r = newReading[[]schemas.Alert]()
		c.newest[v.Unit] = r
	}
	c.newestMu.Unlock()
	alerts, _, err := r.get(ctx, c, func(ctx context.Context) ([]schemas.Alert, error) {
		q := search.Query{Limit: streamAlerts, Units: v.units, Now: time.Now()}
		alerts, err := search.Alerts(ctx, c.deps.Store, q)
		return same(alerts), err
	})
	return alerts, err
}
