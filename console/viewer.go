package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fengsui/internal/directory"
	"fengsui/registry"
	"fengsui/schemas"
)

// viewer is who asks, with what they may see.
type viewer struct {
	registry.User
	directory *directory.Snapshot
	units     []string        // nil is every unit
	inScope   map[string]bool // the same
}

type viewerKey struct{}

func viewerOf(ctx context.Context) *viewer {
	v, _ := ctx.Value(viewerKey{}).(*viewer)
	return v
}

// sees says whether a unit is the viewer's own or below it. What belongs to no
// unit is for those who see everything.
func (v *viewer) sees(unit string) bool { return v.units == nil || v.inScope[unit] }

// unitsIn is what the viewer sees of a unit and those below it.
func (v *viewer) unitsIn(unit string) []string {
	out := []string{}
	for _, u := range v.directory.Units() {
		if v.sees(u.Code) && v.directory.Under(u.Code, unit) {
			out = append(out, u.Code)
		}
	}
	return out
}

// mayList says why the viewer may not put an entry on the whitelist, or take it
// away: it is not theirs, or it would speak for the addresses or names of others, or
// take the place of an entry of theirs.
func (v *viewer) mayList(w *schemas.WhitelistEntry) error {
	if v.units == nil {
		return nil
	}
	if err := v.mayOwn(w.Unit); err != nil {
		return err
	}
	field, err := "host", error(nil)
	if w.Kind == schemas.WhitelistDomain {
		field, err = "domain", v.mayListName(schemas.CanonicalName(strings.TrimPrefix(w.Domain, "*.")), strings.HasPrefix(w.Domain, "*."))
	} else {
		err = v.mayListPrefix(w.Host)
	}
	if there, ok := listed(v, w.Key()); err == nil && ok && !v.sees(there.Unit) {
		return ofOthers(field)
	}
	return err
}

func (v *viewer) mayListName(name string, below bool) error {
	if d, ok := v.directory.DomainOf(name); !ok || !v.sees(d.Unit) {
		return mistake("domain", "不在您单位的域名之下", "the name is not below a domain of your units")
	}
	for _, u := range v.directory.Units() {
		for _, d := range v.directory.Domains(u.Code, false) {
			if below && !v.sees(d.Unit) && strings.HasSuffix(d.Name, "."+name) {
				return mistake("domain", "其下有其他单位的域名", "a domain below the name is not of your units")
			}
		}
	}
	return nil
}

func (v *viewer) mayListPrefix(p netip.Prefix) error {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if n, ok := v.directory.NetworkOf(p.Addr()); !ok || !v.sees(n.Unit) || n.Prefix.Bits() > p.Bits() {
		return mistake("host", "不在您单位的网段内", "the address block is not within a network of your units")
	}
	for _, n := range v.directory.AllNetworks() {
		if !v.sees(n.Unit) && n.Prefix.Bits() >= p.Bits() && n.Prefix.Overlaps(p) {
			return mistake("host", "其中有其他单位的网段", "a network within the address block is not of your units")
		}
	}
	return nil
}

// directories keeps the registry for a moment, so that a request does not read
// all of it. A change by another process shows after directoryAge.
type directories struct {
	mu       sync.Mutex
	snapshot *directory.Snapshot
	at       time.Time
}

const directoryAge = time.Second

func (c *Console) directory(ctx context.Context) (*directory.Snapshot, error) {
	d := &c.directories
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.snapshot != nil && time.Since(d.at) < directoryAge {
		return d.snapshot, nil
	}
	now := time.Now() // before the reading: what is written meanwhile is not in it
	s, err := c.deps.Registry.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	d.snapshot, d.at = s, now
	return s, nil
}

// forgetDirectory makes the next request see what was just written.
func (c *Console) forgetDirectory() {
	c.directories.mu.Lock()
	defer c.directories.mu.Unlock()
	c.directories.snapshot = nil
}

// viewer finds out who a session belongs to, as they are now. An
// registry.ErrNotFound is a user who is no more.
func (c *Console) viewer(ctx context.Context, name string) (*viewer, error) {
	user, err := c.deps.Registry.User(ctx, name)
	if err != nil {
		return nil, err
	}
	v := &viewer{User: user}
	if v.directory, err = c.directory(ctx); err != nil {
		return nil, err
	}
	if user.Unit == "" {
		return v, nil
	}
	v.units, v.inScope = []string{user.Unit}, map[string]bool{user.Unit: true}
	for i := 0; i < len(v.units); i++ { // it grows
		for _, child := range v.directory.Children(v.units[i]) {
			if !v.inScope[child.Code] {
				v.inScope[child.Code] = true
				v.units = append(v.units, child.Code)
			}
		}
	}
	slices.Sort(v.units)
	return v, nil
}

// access is who may call an operation.
type access int

const (
	forUsers   access = iota // whoever is logged in with a password of their own
	forOneTime               // also who has yet to change a one-time password
	forAdmins
	forAll
)

const accessKey = "fengsui.access"

// authorise lets through who may call the operation, and tells the handler who
// it is. An operation that says nothing is for users.
func (c *Console) authorise(hc huma.Context, next func(huma.Context)) {
	op := hc.Operation()
	need, _ := op.Metadata[accessKey].(access)
	if need == forAll {
		next(hc)
		return
	}
	v, p := c.identify(hc.Context(), c.sessions.GetString(hc.Context(), nameKey))
	switch {
	case p != nil:
	case v.OneTime && need != forOneTime:
		p = problem(http.StatusForbidden, codeOneTime, "change the one-time password first")
	case need == forAdmins && v.Role != registry.RoleAdmin:
		p = forbidden(mistake("", "仅管理员可以", "only an administrator may do this"))
	}
	if p != nil {
		_ = huma.WriteErr(c.api, hc, p.Status, p.Detail, p) // huma has said so itself
		return
	}
	next(huma.WithValue(hc, viewerKey{}, v))
}

// identify is the viewer of the name that a session holds.
func (c *Console) identify(ctx context.Context, name string) (*viewer, *Problem) {
	if name == "" {
		return nil, problem(http.StatusUnauthorized, codeLogin, "log in first")
	}
	v, err := c.viewer(ctx, name)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, problem(http.StatusUnauthorized, codeLogin, "log in first")
	}
	if err != nil {
		return nil, c.internal("looking up a user", err)
	}
	return v, nil
}
