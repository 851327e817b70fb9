package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fengsui/console/search"
	"fengsui/internal/hours"
)

func (c *Console) registerSearch() {
	huma.Register(c.api, operation(http.MethodGet, "search", "Assets that meet a query in FOFA's syntax, by address", forUsers), c.getSearch)
	huma.Register(c.api, operation(http.MethodGet, "search/aggregate", "How many assets there are of each value of a field", forUsers), c.getAggregate)
	huma.Register(c.api, operation(http.MethodGet, "search/fields", "The fields of the search, for those who write queries", forUsers), c.getFields)
	huma.Register(c.api, operation(http.MethodGet, "search/export", "The assets that meet a query, as a file", forUsers), c.getSearchExport)
}

// SearchText asks for assets.
type SearchText struct {
	Query string `query:"query" maxLength:"16384" doc:"in FOFA's syntax; empty is everything" example:"title = \"教务\" && city = 郑州 && port = 443"`
}

// asked is the search that a person asks for, within the units that are theirs.
func (in *SearchText) asked(ctx context.Context, limit int) search.AssetQuery {
	return search.AssetQuery{Text: in.Query, Units: viewerOf(ctx).units, Now: time.Now().In(hours.Zone), Limit: limit}
}

type searchInput struct {
	SearchText
	Limit int      `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"rows at most"`
	After string   `query:"after" maxLength:"2000" doc:"next of the page before"`
	Long  []string `query:"long" maxItems:"4" enum:"banner,cert,header,body" doc:"long fields to give as well"`
}

// FoundPage is a page of a search.
type FoundPage struct {
	Items []search.Found `json:"items" nullable:"false"`
	Next  string         `json:"next,omitempty" doc:"after of the next page; none when this is the last"`
}

func (c *Console) getSearch(ctx context.Context, in *searchInput) (*bodyOf[FoundPage], error) {
	q := in.asked(ctx, in.Limit)
	q.After, q.Long = in.After, in.Long
	page, err := read(ctx, c, func(ctx context.Context) (search.AssetPage, error) { return search.FindAssets(ctx, c.deps.Store, q) })
	if errors.Is(err, search.ErrCursor) {
		return nil, problem(http.StatusUnprocessableEntity, codeInvalid, "after: it is not what a page has given")
	}
	if err != nil {
		return nil, c.storeProblem(ctx, "search", err)
	}
	return &bodyOf[FoundPage]{FoundPage{page.Items, page.Next}}, nil
}

type aggregateInput struct {
	SearchText
	By    string `query:"by" maxLength:"40" doc:"a field; none only counts" example:"city"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"20" doc:"values at most, the most frequent first"`
}

func (c *Console) getAggregate(ctx context.Context, in *aggregateInput) (*bodyOf[search.Aggregation], error) {
	if in.By != "" {
		if _, err := search.AssetFieldNamed(in.By); err != nil {
			return nil, problem(http.StatusUnprocessableEntity, codeInvalid, "by: "+err.Error())
		}
	}
	q := in.asked(ctx, in.Limit)
	found, err := read(ctx, c, func(ctx context.Context) (search.Aggregation, error) {
		return search.CountAssets(ctx, c.deps.Store, q, in.By)
	})
	if err != nil {
		return nil, c.storeProblem(ctx, "search/aggregate", err)
	}
	return &bodyOf[search.Aggregation]{found}, nil
}

func (c *Console) getFields(context.Context, *struct{}) (*listOutput[*search.AssetField], error) {
	return &listOutput[*search.AssetField]{Page[*search.AssetField]{search.AssetFields()}}, nil
}

type searchExportInput struct {
	SearchText
	Format string `query:"format" enum:"csv,xlsx" default:"xlsx"`
	Fields string `query:"fields" maxLength:"400" doc:"columns, joined by commas; none is every one but banner, cert, header and body" example:"ip,port,title,unit"`
	Limit  int    `query:"limit" minimum:"1" maximum:"100000" default:"100000" doc:"rows at most"`
}

// exportTimeout is longer than that of other answers: a file has many rows.
const exportTimeout = 80 * time.Second

// getSearchExport writes the file while it reads. Once it has begun an error can
// only end it: a browser says then that the download broke off.
func (c *Console) getSearchExport(ctx context.Context, in *searchExportInput) (*huma.StreamResponse, error) {
	names := search.EveryColumn()
	if in.Fields != "" {
		names = strings.Split(in.Fields, ",")
	}
	shown, err := search.Columns(names)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, codeInvalid, "fields: "+err.Error())
	}
	q, v := in.asked(ctx, in.Limit), viewerOf(ctx)
	if err := q.Check(); err != nil { // before the file begins
		return nil, c.storeProblem(ctx, "search/export", err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", contentTypes[in.Format])
		hc.SetHeader("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape("资产."+in.Format))
		ctx, cancel := context.WithTimeout(hc.Context(), exportTimeout)
		defer cancel()
		select {
		case c.searching <- struct{}{}:
			defer func() { <-c.searching }()
		case <-ctx.Done():
			panic(http.ErrAbortHandler)
		}
		n, err := search.Export(ctx, c.deps.Store, q, shown, in.Format, hc.BodyWriter())
		c.deps.Log.Info("assets exported", "audit", "search", "user", v.Name, "query", q.Text, "rows", n, "format", in.Format)
		if err != nil {
			c.deps.Log.Error("exporting assets failed", "error", err)
			panic(http.ErrAbortHandler) // ends the connection, not the file
		}
	}}, nil
}
