package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fengsui/internal/config"
	"fengsui/internal/directory"
	"fengsui/internal/graph"
	"fengsui/schemas"
)

// maxVersions bounds what is shown of an asset's past.
const maxVersions = 1000

// clockSkew is how far a viewer's clock may be ahead of ours.
const clockSkew = 5 * time.Minute

// MomentInput asks for something as it was. It is exported because huma passes over
// embedded structures that are not.
type MomentInput struct {
	At string `query:"at" maxLength:"40" doc:"as it was then: a time (RFC 3339), or so long ago, such as 30m, 12h or 7d; empty is now" example:"2026-09-01T08:00:00+08:00"`
}

// moment is the time that is asked for, zero for now.
func (in *MomentInput) moment(now time.Time) (time.Time, *Problem) {
	if in.At == "" {
		return time.Time{}, nil
	}
	if age, err := config.ParseDuration(in.At); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	at, err := time.Parse(time.RFC3339, in.At)
	if err != nil {
		return at, mistake("at", "应为时间（如 2026-09-01T08:00:00+08:00）或多久以前（如 30m、12h、7d）", "write a time such as 2026-09-01T08:00:00+08:00, or an age such as 30m, 12h or 7d").problem()
	}
	if at.After(now.Add(clockSkew)) {
		return at, mistake("at", "尚未到来：只能查看过去的状态", "that is still to come: only the past can be shown").problem()
	}
	return at, nil
}

// assetInput names an asset. Keys hold slashes, so they are no part of a path.
type assetInput struct {
	Key string `query:"key" required:"true" minLength:"1" maxLength:"300" doc:"the asset's key" example:"service/192.0.2.1/tcp/443"`
	MomentInput
}

type assetOutput struct{ Body schemas.Asset }

type versionsOutput struct{ Body Page[schemas.AssetVersion] }

// graphInput asks for a part of the graph.
type graphInput struct {
	Around string `query:"around" required:"true" minLength:"1" maxLength:"300" doc:"where it begins: an asset's key, or certificate/SHA256, technology/NAME, unit/CODE, system/CODE, network/PREFIX" example:"domain/www.example.edu.cn"`
	Depth  int    `query:"depth" minimum:"1" maximum:"3" default:"1" doc:"how many steps it goes"`
	Limit  int    `query:"limit" minimum:"1" maximum:"2000" default:"300" doc:"things at most; the nearest are shown"`
	Past   bool   `query:"past" doc:"also what had ended by then"`
	MomentInput
}

type graphOutput struct{ Body graph.Graph }

func (c *Console) registerMap() {
	huma.Register(c.api, operation(http.MethodGet, "asset", "One asset, as it is or was", forUsers, http.StatusNotFound), c.getAsset)
	huma.Register(c.api, operation(http.MethodGet, "asset-history", "What one asset was, the latest first; the first without an end is what it is", forUsers, http.StatusNotFound), c.getAssetHistory)
	huma.Register(c.api, operation(http.MethodGet, "graph", "What is around a thing of the map, the nearest first, each edge with who saw it, when and how often", forUsers, http.StatusNotFound), c.getGraph)
}

func noAsset() *Problem {
	return problem(http.StatusNotFound, codeNotFound, "there is, or was then, no such thing in the map")
}

func (c *Console) getAsset(ctx context.Context, in *assetInput) (*assetOutput, error) {
	at, p := in.moment(time.Now())
	if p != nil {
		return nil, p
	}
	found, err := read(ctx, c, func(ctx context.Context) (map[string]schemas.Asset, error) {
		return c.deps.Store.AssetsAt(ctx, []string{in.Key}, at)
	})
	if err != nil {
		return nil, c.storeProblem(ctx, "asset", err)
	}
	a, ok := found[in.Key]
	if !ok || !viewerOf(ctx).sees(a.Unit) {
		return nil, noAsset()
	}
	return &assetOutput{a}, nil
}

// getAssetHistory shows what an asset was while it was the viewer's.
func (c *Console) getAssetHistory(ctx context.Context, in *struct {
	Key string `query:"key" required:"true" minLength:"1" maxLength:"300" doc:"the asset's key" example:"host/192.0.2.1"`
},
) (*versionsOutput, error) {
	found, err := read(ctx, c, func(ctx context.Context) ([]schemas.AssetVersion, error) {
		return c.deps.Store.AssetHistory(ctx, in.Key, maxVersions)
	})
	if err != nil {
		return nil, c.storeProblem(ctx, "asset history", err)
	}
	out := &versionsOutput{Page[schemas.AssetVersion]{[]schemas.AssetVersion{}}}
	for _, v := range found {
		if viewerOf(ctx).sees(v.Unit) {
			out.Body.Items = append(out.Body.Items, v)
		}
	}
	if len(out.Body.Items) == 0 {
		return nil, noAsset()
	}
	return out, nil
}

func (c *Console) getGraph(ctx context.Context, in *graphInput) (*graphOutput, error) {
	v, now := viewerOf(ctx), time.Now()
	at, p := in.moment(now)
	if p != nil {
		return nil, p
	}
	snap, err := c.directoryAt(ctx, v, at)
	if err != nil {
		return nil, c.internal("reading the registry", err)
	}
	if at.IsZero() {
		at = now
	}
	q := graph.Query{Key: in.Around, Depth: in.Depth, At: at, MaxNodes: in.Limit, Past: in.Past}
	if v.units != nil {
		q.Sees = v.sees
	}
	g, err := read(ctx, c, func(ctx context.Context) (*graph.Graph, error) { return graph.Around(ctx, c.deps.Store, snap, q) })
	switch {
	case errors.Is(err, graph.ErrNotFound):
		return nil, noAsset()
	case err != nil:
		return nil, c.storeProblem(ctx, "graph", err)
	}
	return &graphOutput{*g}, nil
}

// directoryAt is the registry as it was; a zero time is now.
func (c *Console) directoryAt(ctx context.Context, v *viewer, at time.Time) (*directory.Snapshot, error) {
	if at.IsZero() {
		return v.directory, nil
	}
	return c.deps.Registry.SnapshotAt(ctx, at)
}
