package console

import (
	"context"
	"net/http"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/danielgtaylor/huma/v2"

	"fengsui/console/search"
	"fengsui/internal/clickhouse"
	"fengsui/internal/config"
	"fengsui/internal/hours"
)

const (
	prefix      = "/api/v1/"
	maxBody     = 16 << 10         // bytes of a request
	readTimeout = 30 * time.Second // of one answer from the store
	maxAnswer   = 64 << 20         // bytes of one answer from the store
	maxSearches = 4                // at once; more would starve what the analyzer writes
)

func apiConfig(cookie string) huma.Config {
	cfg := huma.DefaultConfig("Fengsui", "1")
	cfg.Info.Description = "What the console shows and does. Log in by POST /api/v1/login; the session is a cookie. Every error is a Problem."
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath, cfg.CreateHooks = "", "", "", nil
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"session": {Type: "apiKey", In: "cookie", Name: cookie}}
	return cfg
}

// describe registers every operation.
func (c *Console) describe(api huma.API) {
	c.api = api
	api.UseMiddleware(c.count, c.authorise)
	c.registerLogin()
	c.registerReads()
	c.registerMap()
	c.registerWhitelist()
	c.registerRegistry()
	c.registerRegistryFiles()
	c.registerScans()
	c.registerSearch()
	c.registerDrift()
	c.registerStream()
	c.noteBodies()
}

// operation describes one operation under the prefix.
func operation(method, path, summary string, who access, errors ...int) huma.Operation {
	op := huma.Operation{
		OperationID: operationID(method, path), Method: method, Path: prefix + path, Summary: summary,
		Metadata: map[string]any{accessKey: who}, MaxBodyBytes: maxBody,
		Errors: append([]int{http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusInternalServerError, http.StatusServiceUnavailable}, errors...),
	}
	if who != forAll {
		op.Security = []map[string][]string{{"session": {}}}
	}
	op.Errors = append(op.Errors, http.StatusUnauthorized)
	return op
}

func operationID(method, path string) string {
	path = strings.ReplaceAll(path, "/", "-")
	switch method {
	case http.MethodGet:
		return "get-" + path
	case http.MethodPut:
		return "put-" + path
	case http.MethodDelete:
		return "delete-" + path
	}
	return path
}

// listInput asks for rows.
type listInput struct {
	Query string `query:"query" maxLength:"16384" doc:"in the search language; empty is everything" example:"source.ip = 192.0.2.0/24 && event.outcome = failure"`
	Since string `query:"since" maxLength:"40" doc:"only what happened since: an age such as 30m, 12h or 7d, or a time (RFC 3339)" example:"24h"`
	Unit  string `query:"unit" maxLength:"64" doc:"only of this unit and those below it"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"rows at most"`
}

// Page is the rows of an answer.
type Page[T any] struct {
	Items []T `json:"items" nullable:"false"`
}

type listOutput[T any] struct{ Body Page[T] }

// query is the search that in asks for, within what the viewer may see.
func (in *listInput) query(v *viewer) (search.Query, *Problem) {
	q := search.Query{Text: in.Query, Limit: in.Limit, Units: v.units, Now: time.Now().In(hours.Zone)}
	if in.Unit != "" {
		q.Units = v.unitsIn(in.Unit)
	}
	if in.Since == "" {
		return q, nil
	}
	if age, err := config.ParseDuration(in.Since); err == nil && age > 0 {
		q.Since = q.Now.Add(-age)
		return q, nil
	}
	at, err := time.Parse(time.RFC3339, in.Since)
	if err != nil {
		return q, problem(http.StatusUnprocessableEntity, codeInvalid, "since: write an age such as 30m, 12h or 7d, or a time such as 2026-09-01T08:00:00+08:00")
	}
	q.Since = at
	return q, nil
}

type find[T any] func(context.Context, *clickhouse.DB, search.Query) ([]T, error)

// list serves a search of one kind of rows.
func list[T, R any](c *Console, path, summary string, find find[T], as func([]T) []R) {
	huma.Register(c.api, operation(http.MethodGet, path, summary, forUsers), func(ctx context.Context, in *listInput) (*listOutput[R], error) {
		q, p := in.query(viewerOf(ctx))
		if p != nil {
			return nil, p
		}
		items, err := read(ctx, c, func(ctx context.Context) ([]T, error) { return find(ctx, c.deps.Store, q) })
		if err != nil {
			return nil, c.storeProblem(ctx, path, err)
		}
		return &listOutput[R]{Page[R]{as(items)}}, nil
	})
}

// read asks the store, within bounds of time, size and number.
func read[T any](ctx context.Context, c *Console, ask func(context.Context) (T, error)) (out T, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	select {
	case c.searching <- struct{}{}:
		defer func() { <-c.searching }()
	case <-ctx.Done():
		return out, ctx.Err()
	}
	return ask(ch.Context(ctx, ch.WithSettings(ch.Settings{"max_result_bytes": maxAnswer, "result_overflow_mode": "throw"})))
}

// same gives rows as they are, and never null.
func same[T any](rows []T) []T { return append([]T{}, rows...) }

func (c *Console) registerReads() {
	list(c, "alerts", "Alerts, the newest first", search.Alerts, same)
	list(c, "mining", "Mining detections, the newest first", search.Detections, same)
	list(c, "assets", "Assets, by kind, address, port and name", search.Assets, same)
	list(c, "drift", "Drift, the newest first", search.Drift, same)
	list(c, "events", "Events, the newest first", search.Events, func(events []search.Event) []event {
		out := make([]event, len(events))
		for i := range events {
			out[i] = event{events[i]}
		}
		return out
	})
	huma.Register(c.api, operation(http.MethodGet, "counts", "Counts, and the same by unit", forUsers), c.getCounts)
}

// event is an event in an answer.
type event struct{ search.Event }

// Schema implements huma.SchemaProvider: the fields are those of the catalogue.
func (event) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true,
		Description: "an event: its fields by their ECS names; event.id is its id, event.original the line as it arrived",
	}
}
