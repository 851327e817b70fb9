// Package graph is the asset map as a graph: units, systems, networks, domains,
// hosts, services, certificates and technologies, and what leads from one to
// another. What an observation shows becomes edges; what an asset is says which
// of them hold; what the registry says is added when the graph is asked for.
//
// It is pure: stored edges and assets come from whoever is a Store, the registry
// is a snapshot, and time is an argument. It never judges, and shows nobody what
// is not theirs.
package graph

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// The bounds of one answer.
const (
	MaxDepth     = 3
	MaxNodes     = 2000
	DefaultNodes = 300

	perKind = 200  // edges of one node, direction and kind that are looked at
	maxAsk  = 5000 // things that are looked at in one step
)

// ErrNotFound says that there was no such thing, or not for who asks.
var ErrNotFound = errors.New("there is no such thing in the map")

// Store is where edges and assets are kept.
type Store interface {
	// Edges returns edges from and to things, first seen at or before a time, at
	// most so many of each thing, direction and kind.
	Edges(ctx context.Context, nodes []string, at time.Time, perKind int) ([]schemas.Edge, error)
	// AssetsAt returns assets as they were at a time, by key.
	AssetsAt(ctx context.Context, keys []string, at time.Time) (map[string]schemas.Asset, error)
}

// Query asks for what is around a thing.
type Query struct {
	Key      string
	Depth    int                    // steps, 1 to MaxDepth
	At       time.Time              // must be set
	MaxNodes int                    // 1 to MaxNodes
	Sees     func(unit string) bool // nil is every unit
	Past     bool                   // also edges that had ended by then
}

// Node is a thing.
type Node struct {
	Key   string         `json:"key"`
	Kind  string         `json:"kind"` // unit, system, network, domain, host, service, certificate, technology
	Unit  string         `json:"unit,omitempty"`
	Title string         `json:"title,omitempty"` // of a unit, system or network: its name
	Depth int            `json:"depth"`           // steps from where the graph begins
	Asset *schemas.Asset `json:"asset,omitempty"` // as it was then; none of what is named and was not itself seen
}

// Evidence is how one source saw an edge, all in all.
type Evidence struct {
	Source string    `json:"source"`
	First  time.Time `json:"first,omitzero"`
	Last   time.Time `json:"last,omitzero"`
	Count  uint64    `json:"count,omitempty"`
}

// Link is an edge with its evidence.
type Link struct {
	From     string           `json:"from"`
	Kind     schemas.EdgeKind `json:"kind"`
	To       string           `json:"to"`
	Current  bool             `json:"current"` // it held then
	Evidence []Evidence       `json:"evidence" nullable:"false"`
}

// Graph is an answer.
type Graph struct {
	Root  string    `json:"root"`
	At    time.Time `json:"at"`
	Nodes []Node    `json:"nodes" nullable:"false"` // the nearest first
	Links []Link    `json:"links" nullable:"false"`
	// More is how many neighbours are not shown because there are too many.
	More int `json:"more"`
}

// SourceRegistry is the source of what the registry says.
const SourceRegistry = "registry"

// Around returns what is around a thing, nearest first.
func Around(ctx context.Context, store Store, snap *directory.Snapshot, q Query) (*Graph, error) {
	if q.Depth < 1 || q.Depth > MaxDepth {
		return nil, fmt.Errorf("depth %d is not between 1 and %d", q.Depth, MaxDepth)
	}
	if q.MaxNodes < 1 || q.MaxNodes > MaxNodes {
		return nil, fmt.Errorf("%d nodes are not between 1 and %d", q.MaxNodes, MaxNodes)
	}
	w := walk{store: store, snap: snap, q: q, nodes: map[string]*Node{}, assets: map[string]schemas.Asset{}, links: map[linkKey]*Link{}}
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	frontier := []string{q.Key}
	for depth := 1; depth <= q.Depth && len(frontier) > 0; depth++ {
		var err error
		if frontier, err = w.step(ctx, frontier, depth); err != nil {
			return nil, err
		}
	}
	return w.graph(), nil
}

type linkKey struct {
	from, to string
	kind     schemas.EdgeKind
}

// walk is the working out of one answer.
type walk struct {
	store  Store
	snap   *directory.Snapshot
	q      Query
	nodes  map[string]*Node
	order  []string
	assets map[string]schemas.Asset // every one that was looked at
	links  map[linkKey]*Link
	more   int
}

func (w *walk) begin(ctx context.Context) error {
	if err := w.look(ctx, []string{w.q.Key}); err != nil {
		return err
	}
	n, ok := w.node(w.q.Key)
	if !ok {
		return ErrNotFound
	}
	if n.Asset == nil {
		// A name or an address that was only spoken of, a certificate or a technology
		// is there if anything leads to it; of the registry's things it is known.
		switch n.Kind {
		case "unit", "system", "network":
		default:
			found, err := w.store.Edges(ctx, []string{n.Key}, w.q.At, 1)
			if err != nil {
				return err
			}
			if len(found) == 0 && len(w.registered(n.Key)) == 0 {
				return ErrNotFound
			}
		}
	}
	w.put(n, 0)
	return nil
}

func (w *walk) put(n Node, depth int) {
	n.Depth = depth
	w.nodes[n.Key] = &n
	w.order = append(w.order, n.Key)
}

// look reads assets that were not looked at yet.
func (w *walk) look(ctx context.Context, keys []string) error {
	var ask []string
	for _, key := range keys {
		if _, known := w.assets[key]; !known && isAsset(key) {
			ask = append(ask, key)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	found, err := w.store.AssetsAt(ctx, ask, w.q.At)
	if err != nil {
		return err
	}
	for _, key := range ask {
		w.assets[key] = found[key]
	}
	return nil
}

func isAsset(key string) bool {
	return strings.HasPrefix(key, "host/") || strings.HasPrefix(key, "service/") || strings.HasPrefix(key, "domain/")
}

// node is a thing, unless it is not for who asks.
func (w *walk) node(key string) (n Node, ok bool) {
	kind, name, _ := strings.Cut(key, "/")
	n = Node{Key: key, Kind: kind}
	switch kind {
	case "certificate", "technology":
		return n, name != ""
	case "unit":
		u, known := w.snap.Unit(name)
		n.Unit, n.Title = u.Code, u.Name
		return n, known && w.sees(u.Code)
	case "system":
		s, known := w.snap.System(name)
		n.Unit, n.Title = s.Unit, s.Name
		return n, known && w.sees(s.Unit)
	case "network":
		for _, p := range w.snap.AllNetworks() {
			if p.Prefix.String() == name {
				n.Unit, n.Title = p.Unit, p.Name
				return n, w.sees(p.Unit)
			}
		}
		return n, strings.Contains(name, "/") && w.q.Sees == nil // a system's block that is no registered network
	case "domain", "host", "service":
	default:
		return n, false
	}
	if a := w.assets[key]; a.Key != "" {
		n.Asset, n.Unit = brief(a), a.Unit
		return n, w.sees(a.Unit)
	}
	// What is only spoken of belongs to whom the registry says, or to nobody of ours.
	n.Unit = w.unitOf(kind, name)
	return n, name != "" && (n.Unit == "" || w.sees(n.Unit))
}

// brief is an asset without the page that it answers with: it is asked for by
// itself.
func brief(a schemas.Asset) *schemas.Asset {
	if a.Service != nil && a.Service.HTTP != nil {
		s, h := *a.Service, *a.Service.HTTP
		h.Header, h.Body = "", ""
		s.HTTP, a.Service = &h, &s
	}
	return &a
}

func (w *walk) unitOf(kind, name string) string {
	if kind == "domain" {
		d, _ := w.snap.DomainOf(strings.TrimPrefix(name, "*."))
		return d.Unit
	}
	address, _, _ := strings.Cut(name, "/")
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	return w.snap.UnitOf(ip)
}

func (w *walk) sees(unit string) bool { return w.q.Sees == nil || w.q.Sees(unit) }

// step goes on from the things that were reached last.
func (w *walk) step(ctx context.Context, frontier []string, depth int) (next []string, err error) {
	frontier = slices.DeleteFunc(slices.Clone(frontier), func(key string) bool { return depth > 1 && isHub(key) })
	found, err := w.store.Edges(ctx, frontier, w.q.At, perKind)
	if err != nil {
		return nil, err
	}
	for _, key := range frontier {
		found = append(found, w.held(key)...)
		found = append(found, w.registered(key)...)
	}
	reached := map[string]bool{}
	for i := range found {
		reached[found[i].From], reached[found[i].To] = true, true
	}
	keys := make([]string, 0, len(reached))
	for key := range reached {
		if w.nodes[key] == nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if len(keys) > maxAsk {
		w.more += len(keys) - maxAsk
		keys = keys[:maxAsk]
	}
	if err := w.look(ctx, keys); err != nil {
		return nil, err
	}
	// What stands at one end of an edge says whether it holds.
	holds := map[linkKey]bool{}
	for key := range reached {
		for _, e := range EdgesOf(w.asset(key)) {
			holds[linkKey{e.From, e.To, e.Kind}] = true
		}
	}
	leads := map[string]bool{}
	for i := range found {
		e := &found[i]
		current := e.Source == SourceRegistry || holds[linkKey{e.From, e.To, e.Kind}]
		if !current && !w.q.Past {
			continue
		}
		w.link(e, current)
		leads[e.From], leads[e.To] = true, true
	}
	for _, key := range keys {
		if !leads[key] {
			continue
		}
		n, ok := w.node(key)
		switch {
		case !ok:
		case len(w.nodes) >= w.q.MaxNodes:
			w.more++
		default:
			w.put(n, depth)
			next = append(next, key)
		}
	}
	return next, nil
}

// isHub says of things that half the map leads to: one does not go on through them.
func isHub(key string) bool {
	return strings.HasPrefix(key, "technology/") || strings.HasPrefix(key, "unit/") || strings.HasPrefix(key, "network/")
}

func (w *walk) asset(key string) *schemas.Asset {
	a := w.assets[key]
	return &a
}

// held is the edges that an asset has by what it is; with whom it is seen by
// name only, evidence must say.
func (w *walk) held(key string) []schemas.Edge {
	return slices.DeleteFunc(EdgesOf(w.asset(key)), func(e schemas.Edge) bool { return e.Kind == schemas.EdgePTR })
}

func (w *walk) link(e *schemas.Edge, current bool) {
	key := linkKey{e.From, e.To, e.Kind}
	l := w.links[key]
	if l == nil {
		l = &Link{From: e.From, Kind: e.Kind, To: e.To, Evidence: []Evidence{}}
		w.links[key] = l
	}
	l.Current = l.Current || current
	if e.Source == "" || slices.ContainsFunc(l.Evidence, func(old Evidence) bool { return old.Source == e.Source }) {
		return // nothing but what the asset is, or seen from the other end too
	}
	l.Evidence = append(l.Evidence, Evidence{e.Source, e.First, e.Last, e.Count})
}

func (w *walk) graph() *Graph {
	g := &Graph{Root: w.q.Key, At: w.q.At.UTC(), Nodes: make([]Node, 0, len(w.order)), Links: []Link{}, More: w.more}
	for _, key := range w.order {
		g.Nodes = append(g.Nodes, *w.nodes[key])
	}
	for _, l := range w.links {
		if w.nodes[l.From] != nil && w.nodes[l.To] != nil {
			slices.SortFunc(l.Evidence, func(a, b Evidence) int { return strings.Compare(a.Source, b.Source) })
			g.Links = append(g.Links, *l)
		}
	}
	slices.SortFunc(g.Links, func(a, b Link) int {
		return compareEdges(&schemas.Edge{From: a.From, Kind: a.Kind, To: a.To}, &schemas.Edge{From: b.From, Kind: b.Kind, To: b.To})
	})
	return g
}

// registered is the edges of a thing that the registry says.
func (w *walk) registered(key string) []schemas.Edge {
	e := edges{like: schemas.Edge{Source: SourceRegistry}}
	kind, name, _ := strings.Cut(key, "/")
	owned := func(unit string) {
		if unit != "" {
			e.add(schemas.UnitKey(unit), schemas.EdgeOwns, key)
		}
	}
	switch kind {
	case "unit":
		w.ofUnit(&e, name)
	case "system":
		if s, ok := w.snap.System(name); ok {
			ofSystem(&e, &s)
		}
	case "network":
		for _, n := range w.snap.AllNetworks() {
			if n.Prefix.String() == name {
				owned(n.Unit)
			}
		}
	case "domain":
		if s, ok := w.snap.SystemOfName(name); ok {
			e.add(schemas.SystemKey(s.Code), schemas.EdgeRegistered, key)
		}
		if d, ok := w.snap.DomainOf(name); ok && d.Name == name {
			owned(d.Unit)
		} else {
			owned(w.asset(key).Unit)
		}
	case "host":
		ip, err := netip.ParseAddr(name)
		if err != nil {
			break
		}
		for _, s := range w.snap.SystemsAt(ip) {
			e.add(schemas.SystemKey(s.Code), schemas.EdgeRegistered, key)
		}
		if n, ok := w.snap.NetworkOf(ip); ok {
			e.add(schemas.NetworkKey(n.Prefix), schemas.EdgeContains, key)
		}
		owned(w.asset(key).Unit)
	case "service":
		address, rest, _ := strings.Cut(name, "/")
		transport, number, _ := strings.Cut(rest, "/")
		ip, err := netip.ParseAddr(address)
		port, _ := strconv.Atoi(number) // 0 is no system's
		if err == nil {
			if s, ok := w.snap.SystemOfPort(ip, transport, port); ok {
				e.add(schemas.SystemKey(s.Code), schemas.EdgeRegistered, key)
			}
		}
	}
	return e.list
}

func (w *walk) ofUnit(e *edges, code string) {
	key := schemas.UnitKey(code)
	if u, ok := w.snap.Unit(code); ok && u.Parent != "" {
		e.add(schemas.UnitKey(u.Parent), schemas.EdgeParent, key)
	}
	for _, u := range w.snap.Children(code) {
		e.add(key, schemas.EdgeParent, schemas.UnitKey(u.Code))
	}
	for _, n := range w.snap.Networks(code, false) {
		e.add(key, schemas.EdgeOwns, schemas.NetworkKey(n.Prefix))
	}
	for _, d := range w.snap.Domains(code, false) {
		e.add(key, schemas.EdgeOwns, schemas.DomainKey(d.Name))
	}
	for _, s := range w.snap.Systems() {
		if s.Unit == code {
			e.add(key, schemas.EdgeOperates, schemas.SystemKey(s.Code))
		}
	}
}

func ofSystem(e *edges, s *schemas.System) {
	key := schemas.SystemKey(s.Code)
	if s.Unit != "" {
		e.add(schemas.UnitKey(s.Unit), schemas.EdgeOperates, key)
	}
	for _, name := range s.Domains {
		e.add(key, schemas.EdgeRegistered, schemas.DomainKey(name))
	}
	for _, p := range s.Addresses {
		if !p.IsSingleIP() {
			e.add(key, schemas.EdgeRegistered, schemas.NetworkKey(p))
			continue
		}
		e.add(key, schemas.EdgeRegistered, schemas.HostKey(p.Addr()))
		for _, port := range s.Ports {
			e.add(key, schemas.EdgeRegistered, schemas.ServiceKey(p.Addr(), port.Transport, port.Port))
		}
	}
}
