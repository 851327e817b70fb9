// Package discover finds the names of a zone: by asking its servers for all of
// it, along NSEC records, by a list of words, in certificates, and in the records
// of what was found, again and again until nothing new comes.
//
// It asks about names that the registry authorises and about no others: a foreign
// name is seen in the answer to a question for one of ours, and never asked for.
// It sends to the resolvers it was given and, for zone transfers, to name servers
// whose addresses the registry authorises to be scanned. What a wildcard answers
// it does not take for a name. It never judges what it finds.
package discover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"fengsui/scanner/resolve"
	"fengsui/schemas"
)

const (
	maxSet     = 256    // values of one record set
	maxParents = 10_000 // names below which names are looked for
	maxLeads   = 200_000
	maxZones   = 1000
	dnsPort    = 53
)

// Config is how names are looked for.
type Config struct {
	WordList string `koanf:"wordlist"`  // a file of words that go before the shipped ones; empty: these alone
	MaxNames int    `koanf:"max_names"` // of one registered domain; more are not looked for
	Depth    int    `koanf:"depth"`     // how many labels below a registered domain words are tried
	Rate     int    `koanf:"rate"`      // DNS questions a second, where the task's rate is not lower
}

// DefaultConfig is gentle to a resolver that serves people too.
func DefaultConfig() Config { return Config{MaxNames: 20_000, Depth: 2, Rate: 1000} }

// Validate says what is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.MaxNames < 1 || c.MaxNames > 1_000_000 {
		errs = append(errs, fmt.Errorf("max_names: %d is not between 1 and 1000000", c.MaxNames))
	}
	if c.Depth < 0 || c.Depth > 8 {
		errs = append(errs, fmt.Errorf("depth: %d is not between 0 and 8", c.Depth))
	}
	if c.Rate < 1 || c.Rate > 100_000 {
		errs = append(errs, fmt.Errorf("rate: %d is not between 1 and 100000", c.Rate))
	}
	return errors.Join(errs...)
}

// zoneTypes is what is asked for below the beginning of a zone besides.
var zoneTypes = []uint16{dns.TypeSOA, dns.TypeCAA, dns.TypeNSEC3PARAM}

// recordTypes is what every name that was found is asked for.
var recordTypes = append(append([]uint16(nil), NameTypes...), dns.TypeTXT)

// services is where SRV and TXT records usually are: RFC 2782, 6186, 6764, 7208,
// 7489, 8552 and what directories and telephones use.
var services = []string{
	"_dmarc", "_mta-sts", "_smtp._tls", "_domainkey", "_acme-challenge",
	"_ldap._tcp", "_ldap._tcp.dc._msdcs", "_kerberos._tcp", "_kerberos._udp", "_kpasswd._tcp", "_gc._tcp", "_autodiscover._tcp",
	"_sip._tcp", "_sip._udp", "_sips._tcp", "_sipfederationtls._tcp", "_h323cs._tcp", "_h323ls._udp", "_xmpp-server._tcp", "_xmpp-client._tcp",
	"_imap._tcp", "_imaps._tcp", "_pop3s._tcp", "_submission._tcp", "_caldav._tcp", "_caldavs._tcp", "_carddavs._tcp",
	"_stun._udp", "_turn._udp", "_ntp._udp", "_nfsv4._tcp", "_vlmcs._tcp", "_minecraft._tcp", "_matrix._tcp", "_radsec._tcp", "_x-eduroam._tcp",
}

// Deps is what a discovery stands on.
type Deps struct {
	Asker
	Words       *Words
	MayDial     func(netip.Addr) error        // nil when packets may be sent to an address at this moment
	Transferred func(how string)              // counts transfers: open, refused, failed
	Found       func(method string)           // counts names
	Say         func(msg string, args ...any) // what is worth knowing and no trouble
}

// explorer looks for the names of one zone. It is for one goroutine.
type explorer struct {
	Deps
	cfg  Config
	zone string
	of   string // the registered domain that the zone is in
	port uint16 // of name servers

	known   map[string]bool // found and told, or about to be
	tried   map[string]bool // leads that were followed
	told    map[string]bool // known names that were asked for every type
	fresh   []Lead          // found, to be recorded
	leads   []Lead          // perhaps there
	parents []place         // to go through with words
	cuts    []string        // zones below, to be looked at
	opened  map[string]bool // zones that were
	gone    map[string]bool // parents that were
	signed  map[string]bool // zones that are
	wilds   map[string]*wildcard
	full    bool
}

// place is a name below which words are tried.
type place struct {
	name string
	all  bool // every word, or the few likeliest
}

// Explore finds the names of a zone, with certificates' names to begin with, and
// emits what is under each. A zone that does not answer is an error.
func Explore(ctx context.Context, cfg Config, deps Deps, zone string, certificates []string) error {
	return explore(ctx, cfg, deps, zone, certificates, dnsPort)
}

func explore(ctx context.Context, cfg Config, deps Deps, zone string, certificates []string, port uint16) error {
	e := &explorer{
		Deps: deps, cfg: cfg, zone: zone, port: port,
		known: map[string]bool{}, tried: map[string]bool{}, told: map[string]bool{}, opened: map[string]bool{}, gone: map[string]bool{},
		signed: map[string]bool{}, wilds: map[string]*wildcard{},
	}
	d, _ := e.Snap.DomainOf(zone)
	e.of = d.Name
	for _, c := range certificates {
		e.lead(Lead{schemas.CanonicalName(strings.TrimPrefix(c, "*.")), "certificate", zone})
	}
	e.cuts = append(e.cuts, zone)
	for {
		var err error
		switch {
		case len(e.fresh) > 0:
			err = e.record(ctx)
		case len(e.leads) > 0:
			err = e.follow(ctx)
		case len(e.cuts) > 0:
			next := e.cuts[0]
			e.cuts = e.cuts[1:]
			err = e.open(ctx, next)
		case len(e.parents) > 0:
			next := e.parents[0]
			e.parents = e.parents[1:]
			err = e.try(ctx, next)
		default:
			if e.asked > 100 && e.unanswered*10 > e.asked {
				return fmt.Errorf("looking for names in %s: %d of %d questions: %w", zone, e.unanswered, e.asked, resolve.ErrNoAnswer)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking for names in %s: %w", zone, err)
		}
	}
}

// depth is how many labels a name is below the registered domain.
func (e *explorer) depth(name string) int {
	return strings.Count(name, ".") - strings.Count(e.zone, ".")
}

// ours says whether a name is this domain's to look at: it is authorised, and no
// registered domain below has it, whose own discovery that is.
func (e *explorer) ours(name string) bool {
	d, _ := e.Snap.DomainOf(name)
	return d.Name == e.of && resolve.Within(name, e.zone) && ValidName(name) && e.Snap.MayResolve(name) == nil
}

// lead notes a name that may be there.
func (e *explorer) lead(l Lead) {
	if e.known[l.Name] || e.tried[l.Name] || len(e.tried) >= maxLeads || !e.ours(l.Name) {
		return
	}
	e.tried[l.Name] = true
	e.leads = append(e.leads, l)
}

func (e *explorer) mine(s RecordSet) {
	for _, l := range Leads([]RecordSet{s}) {
		e.lead(l)
	}
}

// know notes a name that is there. It says whether it may be told.
func (e *explorer) know(l Lead) bool {
	if e.known[l.Name] {
		return true
	}
	if len(e.known) >= e.cfg.MaxNames {
		if !e.full {
			e.full = true
			e.Warn("a domain has more names than are looked for", "domain", e.zone, "max_names", e.cfg.MaxNames)
		}
		return false
	}
	e.known[l.Name] = true
	e.Found(l.Method)
	return true
}

// cut notes a zone below.
func (e *explorer) cut(zone string) {
	if !e.opened[zone] && len(e.opened) < maxZones && e.ours(zone) {
		e.opened[zone] = true
		e.cuts = append(e.cuts, zone)
	}
}

// open looks at a zone as a whole: is it there, is it signed, will its servers
// give it away, can it be walked through. What is left is for words.
func (e *explorer) open(ctx context.Context, zone string) error {
	e.opened[zone] = true
	soa, err := e.one(ctx, resolve.Question{Name: zone, Type: dns.TypeSOA, Signed: true})
	if zone != e.zone && errors.Is(err, resolve.ErrNoAnswer) {
		return nil // said already; the registered domain itself must answer
	}
	if err != nil {
		return err
	}
	if !soa.Settled() {
		e.Warn("a zone's servers fail or refuse: no names are looked for in it", "zone", zone, "rcode", soa.RCode)
		return nil
	}
	lead := Lead{zone, "record", parent(zone)}
	if zone == e.zone {
		lead = Lead{Name: zone}
	}
	if soa.RCode == "NXDOMAIN" {
		e.Say("a zone does not exist", "zone", zone)
		_, err := e.Names(ctx, []Lead{lead}, NameTypes[:1], true)
		return err
	}
	e.signed[zone] = soa.Exact
	whole, err := e.transfer(ctx, zone)
	if err != nil || whole {
		return err
	}
	e.fresh = append(e.fresh, lead)
	sets, err := e.Names(ctx, []Lead{lead}, zoneTypes, false)
	if err != nil && !errors.Is(err, resolve.ErrNoAnswer) {
		return err
	}
	for _, s := range sets {
		e.mine(s)
		if s.Type == dns.TypeNSEC3PARAM {
			e.Say("a zone is signed with NSEC3: its names are hashed, and are not cracked", "zone", zone)
		}
	}
	if e.signed[zone] {
		if whole, err = e.walk(ctx, zone); err != nil || whole {
			return err
		}
	}
	e.place(zone, true)
	return e.services(ctx, zone)
}

// services asks where services are usually told.
func (e *explorer) services(ctx context.Context, zone string) error {
	var leads []Lead
	for _, s := range services {
		if l := (Lead{s + "." + zone, "words", zone}); !e.told[l.Name] {
			e.told[l.Name] = true
			leads = append(leads, l)
		}
	}
	sets, err := e.Names(ctx, leads, []uint16{dns.TypeSRV, dns.TypeTXT}, false)
	if err != nil && !errors.Is(err, resolve.ErrNoAnswer) {
		return err
	}
	for _, s := range sets {
		e.know(s.Lead)
		e.mine(s)
	}
	return nil
}

// place notes a name below which words are tried.
func (e *explorer) place(name string, all bool) {
	if e.gone[name] || len(e.gone) >= maxParents || e.depth(name) >= e.cfg.Depth || strings.HasPrefix(name, "*.") || strings.Contains("."+name, "._") {
		return
	}
	e.gone[name] = true
	e.parents = append(e.parents, place{name, all})
}

// signedAt says whether the zone that a name is in is signed.
func (e *explorer) signedAt(name string) bool {
	for ; resolve.Within(name, e.zone); name = parent(name) {
		if signed, is := e.signed[name]; is {
			return signed
		}
	}
	return false
}

// record asks for what there is under the names that were found.
func (e *explorer) record(ctx context.Context) error {
	var leads, special []Lead
	for _, l := range e.fresh {
		if e.told[l.Name] || !ValidName(l.Name) || !e.know(l) {
			continue
		}
		e.told[l.Name] = true
		leads = append(leads, l)
		if strings.HasPrefix(l.Name, "_") {
			special = append(special, l)
		}
	}
	e.fresh = nil
	sets, err := e.Names(ctx, leads, recordTypes, false)
	if err != nil && !errors.Is(err, resolve.ErrNoAnswer) {
		return err
	}
	services, err := e.Names(ctx, special, []uint16{dns.TypeSRV}, false)
	if err != nil && !errors.Is(err, resolve.ErrNoAnswer) {
		return err
	}
	sets = append(sets, services...)
	has := map[string]uint16{} // the type that says most
	for _, s := range sets {
		e.mine(s)
		if s.Type == dns.TypeNS && s.Name != e.zone {
			e.cut(s.Name)
		}
		if was, is := has[s.Name]; !is || was != dns.TypeCNAME {
			has[s.Name] = s.Type
		}
	}
	for _, l := range leads {
		t, is := has[l.Name]
		if t != dns.TypeCNAME && !e.opened[l.Name] {
			e.place(l.Name, !is) // what is there without a record has names below
		}
	}
	return nil
}

// follow looks which of the leads are there.
func (e *explorer) follow(ctx context.Context) error {
	leads := e.leads
	e.leads = nil
	return e.look(ctx, func(yield func(Lead) bool) {
		for _, l := range leads {
			if !yield(l) {
				return
			}
		}
	}, leads)
}

// try goes through the words below a name.
func (e *explorer) try(ctx context.Context, p place) error {
	if e.full {
		return nil
	}
	w, err := e.wild(ctx, p.name)
	if err != nil || w.unknown {
		return err // said already
	}
	if w.there { // its parent is there itself, so it stands right below
		e.fresh = append(e.fresh, Lead{"*." + p.name, "words", p.name})
	}
	words := e.Words.first(few)
	if p.all {
		words = e.Words.all
	}
	return e.look(ctx, func(yield func(Lead) bool) {
		for _, word := range words {
			l := Lead{word + "." + p.name, "words", p.name}
			if !e.known[l.Name] && e.ours(l.Name) && !yield(l) {
				return
			}
		}
	}, nil)
}

// look asks about names and notes those that are there.
func (e *explorer) look(ctx context.Context, names func(func(Lead) bool), given []Lead) error {
	by := make(map[string]Lead, len(given))
	for _, l := range given {
		by[l.Name] = l
	}
	var hits []hit
	refused := 0
	questions := func(yield func(resolve.Question) bool) {
		for l := range names {
			if !yield(resolve.Question{Name: l.Name, Type: dns.TypeA, Signed: e.signedAt(l.Name)}) {
				return
			}
		}
	}
	err := e.ask(ctx, questions, func(q resolve.Question, a resolve.Answer) error {
		switch {
		case !a.Settled():
			refused++
		case exists(a) && (a.Referral == "" || a.Referral == q.Name):
			l, is := by[q.Name]
			if !is {
				l = Lead{q.Name, "words", parent(q.Name)}
			}
			hits = append(hits, hit{l, a})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if refused > 0 {
		e.Warn("servers failed or refused: whether names are there is not known", "domain", e.zone, "names", refused)
	}
	found, err := e.genuine(ctx, hits)
	e.fresh = append(e.fresh, found...)
	return err
}
