package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fengsui/registry"
	"fengsui/schemas"
)

// Listed is a whitelist entry with its key.
type Listed struct {
	Key string `json:"key" doc:"what DELETE takes" example:"port/192.0.2.10/32/tcp/443"`
	schemas.WhitelistEntry
}

type whitelistOutput struct{ Body Page[Listed] }

type putWhitelistInput struct{ Body schemas.WhitelistEntry }

type putWhitelistOutput struct{ Body Listed }

type deleteWhitelistInput struct {
	Key string `query:"key" required:"true" minLength:"1" maxLength:"400" example:"port/192.0.2.10/32/tcp/443"`
}

func (c *Console) registerWhitelist() {
	huma.Register(c.api, operation(http.MethodGet, "whitelist", "The whitelist of the units that the user sees", forUsers), c.getWhitelist)
	huma.Register(c.api, operation(http.MethodPut, "whitelist", "Put an entry on the whitelist, or change it; drift that it explains closes by itself", forAdmins), c.putWhitelist)
	huma.Register(c.api, operation(http.MethodDelete, "whitelist", "Take an entry from the whitelist", forAdmins, http.StatusNotFound), c.deleteWhitelist)
}

type whitelistInput struct {
	AtInput
	Within string `query:"within" maxLength:"20" doc:"only entries that end within this time from now, the nearest end first" example:"30d"`
}

func (c *Console) getWhitelist(ctx context.Context, in *whitelistInput) (*whitelistOutput, error) {
	v, out := viewerOf(ctx), &whitelistOutput{Page[Listed]{[]Listed{}}}
	entries, err := c.whitelistOf(ctx, v, in)
	if err != nil {
		return nil, err
	}
	for _, w := range entries {
		if in.shows(v, w.Unit) {
			out.Body.Items = append(out.Body.Items, Listed{w.Key(), w})
		}
	}
	return out, nil
}

func (c *Console) whitelistOf(ctx context.Context, v *viewer, in *whitelistInput) ([]schemas.WhitelistEntry, error) {
	if in.Within != "" {
		d, p := within(in.Within)
		if p != nil {
			return nil, p
		}
		return v.directory.Expiring(time.Now(), d), nil
	}
	at, p := in.moment()
	if p != nil {
		return nil, p
	}
	if at.IsZero() {
		return v.directory.Whitelist(), nil
	}
	content, err := c.deps.Registry.Read(ctx, registry.Query{At: at, Kind: "whitelist"})
	if err != nil {
		return nil, c.internal("reading the registry", err)
	}
	return content.Whitelist, nil
}

func (c *Console) putWhitelist(ctx context.Context, in *putWhitelistInput) (*putWhitelistOutput, error) {
	v := viewerOf(ctx)
	content := &registry.Content{Whitelist: []schemas.WhitelistEntry{in.Body}}
	if err := registry.Check(content); err != nil { // brings it into the one form that has a key
		return nil, invalidEntry(err)
	}
	entry := &content.Whitelist[0]
	if err := v.mayList(entry); err != nil {
		return nil, forbidden(err)
	}
	there, ok := listed(v, entry.Key())
	// Nobody names others: one person alone has both asked and approved, unless
	// nothing changes.
	if entry.AskedBy, entry.ApprovedBy = there.AskedBy, there.ApprovedBy; !ok || !sameEntry(entry, &there) {
		entry.AskedBy, entry.ApprovedBy = v.Name, v.Name
	}
	changed, err := c.deps.Registry.Put(ctx, v.Name, content)
	c.forgetDirectory()
	if errors.Is(err, registry.ErrInvalid) {
		return nil, invalidEntry(err)
	}
	if err != nil {
		return nil, c.internal("writing the whitelist", err)
	}
	c.deps.Log.Info("whitelist entry put", "audit", "whitelist", "user", v.Name, "key", entry.Key(), "unit", entry.Unit, "reason", entry.Reason, "changed", changed > 0)
	return &putWhitelistOutput{Listed{entry.Key(), *entry}}, nil
}

func sameEntry(a, b *schemas.WhitelistEntry) bool {
	x, y := *a, *b
	from, until := x.From.Equal(y.From), x.Until.Equal(y.Until)
	x.From, x.Until, y.From, y.Until = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return x == y && from && until
}

func invalidEntry(err error) *Problem {
	p := problem(http.StatusUnprocessableEntity, codeInvalid, plainly(err))
	for _, f := range registry.FieldErrors(err) {
		p.Fields = append(p.Fields, Mistake{f.Field, f.Zh, f.En})
	}
	return p
}

func listed(v *viewer, key string) (schemas.WhitelistEntry, bool) {
	for _, w := range v.directory.Whitelist() {
		if w.Key() == key {
			return w, true
		}
	}
	return schemas.WhitelistEntry{}, false
}

func (c *Console) deleteWhitelist(ctx context.Context, in *deleteWhitelistInput) (*struct{}, error) {
	v := viewerOf(ctx)
	gone := problem(http.StatusNotFound, codeNotFound, fmt.Sprintf("%q is not on the whitelist", in.Key))
	entry, ok := listed(v, in.Key)
	if !ok || !v.sees(entry.Unit) { // those of others are not told of
		return nil, gone
	}
	if err := v.mayList(&entry); err != nil {
		return nil, forbidden(err)
	}
	err := c.deps.Registry.Delete(ctx, v.Name, "whitelist/"+in.Key)
	c.forgetDirectory()
	if errors.Is(err, registry.ErrNotFound) {
		return nil, gone
	}
	if err != nil {
		return nil, c.internal("writing the whitelist", err)
	}
	c.deps.Log.Info("whitelist entry deleted", "audit", "whitelist", "user", v.Name, "key", in.Key, "unit", entry.Unit)
	return nil, nil
}
