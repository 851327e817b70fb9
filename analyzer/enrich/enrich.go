// Package enrich adds to an event what follows from what it says: where its
// addresses are and whose autonomous system they are of, what its user agent is,
// and the fingerprint of its flow. What a sender has said itself stays.
//
// It reads the files that tell of places, and follows them while they change; it
// never asks anybody else.
package enrich

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/analyzer/geo"
	"fengsui/analyzer/useragent"
	"fengsui/internal/communityid"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// Config is what events are enriched with.
type Config struct {
	// Databases are MaxMind DB files (.mmdb) of countries, cities and autonomous
	// systems: MaxMind's, DB-IP's or IPinfo's. The earlier goes before the later.
	Databases []string `koanf:"databases"`
	// Networks are tables (CSV) of networks and where they are, such as those of the
	// education network. They go before Databases.
	Networks []string `koanf:"networks"`
	// Language is that of the names of regions and cities: zh-CN or en.
	Language string `koanf:"language"`
	// MaxFileBytes bounds each of the files, which are held in memory; while one is
	// replaced, both it and its successor.
	MaxFileBytes int64 `koanf:"max_file_bytes"`
	// Rescan is how often the files are looked at for changes.
	Rescan time.Duration `koanf:"rescan"`
	// UserAgent says whether user agents are told apart.
	UserAgent bool `koanf:"user_agent"`
	// CommunityID says whether events with addresses and ports that have none get
	// the fingerprint of their flow.
	CommunityID bool `koanf:"community_id"`
}

// DefaultConfig knows no places: their files are the operator's.
func DefaultConfig() Config {
	return Config{Language: geo.Chinese, MaxFileBytes: 512 << 20, Rescan: 30 * time.Second, UserAgent: true, CommunityID: true}
}

// Validate checks the configuration. Whether the files are sound is said when
// they are read.
func (c Config) Validate() error {
	switch {
	case c.Language != geo.Chinese && c.Language != geo.English:
		return fmt.Errorf("language %q is neither %s nor %s", c.Language, geo.Chinese, geo.English)
	case c.MaxFileBytes < 1 || c.MaxFileBytes > 4<<30:
		return errors.New("max_file_bytes is not between 1 and 4 GiB")
	case c.Rescan < time.Second:
		return errors.New("rescan is below one second")
	}
	return nil
}

// Deps is what the enricher stands on.
type Deps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Enricher enriches events. It may be used at the same time.
type Enricher struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	files   []*file
	kick    chan struct{}
	atlas   atomic.Pointer[geo.Atlas]
	agents  [1 << 13]atomic.Pointer[agent] // by the text's hash; one takes another's place
	seed    maphash.Seed
}

// agent is a user agent that was met.
type agent struct {
	text string
	is   useragent.Agent
}

// maxKept is the longest user agent that is remembered: 8192 of them are 8 MB.
const maxKept = 512

// New reads the files. That one cannot be read is no error: it is said in the log
// and a metric, and read once it can be.
func New(cfg Config, deps Deps) (*Enricher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, err
	}
	e := &Enricher{cfg: cfg, log: deps.Log, metrics: m, kick: make(chan struct{}, 1), seed: maphash.MakeSeed()}
	for _, path := range cfg.Networks {
		e.files = append(e.files, &file{path: path, table: true})
	}
	for _, path := range cfg.Databases {
		e.files = append(e.files, &file{path: path})
	}
	e.load(time.Now(), true)
	return e, nil
}

// Problems are the files that New could not use, and why; it is asked before Run.
func (e *Enricher) Problems() []error {
	var out []error
	for _, f := range e.files {
		if f.err != nil {
			out = append(out, fmt.Errorf("%s: %w", f.path, f.err))
		}
	}
	return out
}

// side is one end of what an event tells of.
type side struct {
	ip, port, country, region, city, number, organization schemas.FieldID
}

var (
	source = side{
		schemas.FieldSourceIP, schemas.FieldSourcePort, schemas.FieldSourceGeoCountryISOCode, schemas.FieldSourceGeoRegionName,
		schemas.FieldSourceGeoCityName, schemas.FieldSourceASNumber, schemas.FieldSourceASOrganizationName,
	}
	destination = side{
		schemas.FieldDestinationIP, schemas.FieldDestinationPort, schemas.FieldDestinationGeoCountryISOCode, schemas.FieldDestinationGeoRegionName,
		schemas.FieldDestinationGeoCityName, schemas.FieldDestinationASNumber, schemas.FieldDestinationASOrganizationName,
	}
)

// Event enriches one event. snap says which addresses are ours; nil is a registry
// without networks.
func (e *Enricher) Event(snap *directory.Snapshot, ev *schemas.Event) {
	atlas := e.atlas.Load()
	asks := e.cfg.CommunityID && asksForCommunityID(ev)
	if atlas != nil || asks {
		from, to := address(ev, source.ip), address(ev, destination.ip)
		if atlas != nil {
			e.locate(atlas, snap, ev, &source, from)
			e.locate(atlas, snap, ev, &destination, to)
		}
		if asks {
			setCommunityID(ev, from, to)
		}
	}
	if e.cfg.UserAgent {
		e.userAgent(ev)
	}
}

func address(ev *schemas.Event, id schemas.FieldID) netip.Addr {
	text := ev.Str(id)
	if text == "" {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap()
}

// locate says where an address is, and its autonomous system. Either is left to
// the sender where it has said any of it.
func (e *Enricher) locate(atlas *geo.Atlas, snap *directory.Snapshot, ev *schemas.Event, s *side, ip netip.Addr) {
	if !ip.IsValid() {
		return
	}
	p, err := atlas.Find(ip, snap != nil && snap.Internal(ip))
	if err != nil {
		e.metrics.failed.Inc() // the file was sound where it was tried
	}
	if p.Country != "" && ev.Get(s.country).IsNone() && ev.Get(s.region).IsNone() && ev.Get(s.city).IsNone() {
		ev.SetString(s.country, p.Country)
		ev.SetString(s.region, p.Region)
		ev.SetString(s.city, p.City)
	}
	if p.AS != 0 && ev.Get(s.number).IsNone() {
		ev.SetInt(s.number, p.AS)
		ev.SetString(s.organization, p.Organization)
	}
}

// The protocols with ports, by their numbers (IANA). ICMP is not among them: its
// fingerprint is of type and code, which few devices log.
var protocols = map[string]uint8{"tcp": 6, "udp": 17, "sctp": 132}

func asksForCommunityID(ev *schemas.Event) bool {
	return !ev.Get(schemas.FieldNetworkTransport).IsNone() && ev.Get(schemas.FieldNetworkCommunityID).IsNone() &&
		!ev.Get(schemas.FieldSourcePort).IsNone() && !ev.Get(schemas.FieldDestinationPort).IsNone()
}

func setCommunityID(ev *schemas.Event, from, to netip.Addr) {
	proto, ok := protocols[ev.Str(schemas.FieldNetworkTransport)]
	sport, dport := ev.Get(schemas.FieldSourcePort).Int(), ev.Get(schemas.FieldDestinationPort).Int()
	if !ok || !from.IsValid() || !to.IsValid() || from.Is4() != to.Is4() || sport != int64(uint16(sport)) || dport != int64(uint16(dport)) { //nolint:gosec // that is what is asked
		return
	}
	var buf [32]byte
	ev.SetString(schemas.FieldNetworkCommunityID, string(communityid.Append(buf[:0], from, to, proto, uint16(sport), uint16(dport)))) //nolint:gosec // asked above
}

// userAgent says what the user agent is. Each is read once, while it is
// remembered.
func (e *Enricher) userAgent(ev *schemas.Event) {
	text := ev.Str(schemas.FieldUserAgentOriginal)
	if text == "" || !ev.Get(schemas.FieldUserAgentName).IsNone() {
		return
	}
	var a useragent.Agent
	if len(text) > maxKept {
		a = useragent.Parse(text)
	} else {
		at := &e.agents[maphash.String(e.seed, text)%uint64(len(e.agents))]
		known := at.Load()
		if known == nil || known.text != text {
			text = strings.Clone(text) // it is part of a whole record
			known = &agent{text, useragent.Parse(text)}
			at.Store(known)
		}
		a = known.is
	}
	ev.SetString(schemas.FieldUserAgentName, a.Name)
	ev.SetString(schemas.FieldUserAgentVersion, a.Version)
	ev.SetString(schemas.FieldUserAgentOSName, a.OS)
	ev.SetString(schemas.FieldUserAgentDeviceName, a.Device)
}
