package scanner

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fengsui/internal/testkit/lab"
	"fengsui/scanner/sweep"
	"fengsui/schemas"
)

// dnsLab is a resolver (bind9) before servers of ours (bind9, NSD) and of others
// (NSD), and a scanner that may send to ours.
type dnsLab struct {
	scanner, resolver, second, bind, nsd, foreign *lab.Host
	resolving                                     []*lab.Service
	in                                            inside
}

const (
	campusZone = `
www A 10.60.1.10
jwc A 10.60.1.11
lib AAAA fd00:60::12
oa A 10.60.1.13
www.oa A 10.60.1.14
tsg TXT "only a text"
@ MX 10 post-1
@ MX 20 mx.other.example.
post-1 A 10.60.1.15
@ TXT "v=spf1 a:sender-7.u1.example/24 include:spf.other.example ~all"
sender-7 A 10.60.1.16
@ CAA 0 iodef "https://caa-9.u1.example/report"
caa-9 A 10.60.1.17
_ldap._tcp SRV 0 0 389 tree-3
tree-3 A 10.60.1.18
hidden-certificate A 10.60.1.19
hidden-for-ever A 10.60.1.20
old CNAME gone
mx CNAME chain-1
chain-1 CNAME www
pay CNAME vanished.other.example.
shop CNAME live.other.example.
www.secret A 10.60.1.21
wiki A 10.60.1.30
*.wiki A 10.60.1.99
www.wiki A 10.60.1.31
lib.wiki A 10.60.1.99
vpn.wiki AAAA fd00:60::31
oa.wiki TXT "no address: the wildcard's does not apply"
m.wiki CNAME www
cs NS ns.cs
ns.cs A 10.60.1.54
`
	collegeZone = `
*  A 10.60.1.98
www A 10.60.1.40
jwc CNAME www
mail A 10.60.1.98
`
	signedZone = `
www A 10.61.2.1
strange-name-1 A 10.60.2.2
zebra-quagga AAAA fd00:60:2::3
*.stars A 10.60.2.9
same.stars A 10.60.2.9
middle NS ns.middle
ns.middle A 10.60.1.54
`
)

func newDNSLab(t *testing.T) *dnsLab {
	t.Helper()
	lab.Require(t, "named", "nsd", "dnssec-signzone")
	l := lab.New(t)
	d := &dnsLab{
		scanner:  l.Host("scanner", "10.50.0.2", "fd00:50::2"),
		resolver: l.Host("resolver", "10.70.0.53", "fd00:70::53"),
		second:   l.Host("second", "10.70.0.54", ""),
		bind:     l.Host("bind", "10.60.1.53", "fd00:60::53"),
		nsd:      l.Host("nsd", "10.60.1.54", ""),
		foreign:  l.Host("foreign", "10.80.0.53", ""),
	}
	d.bind.Bind(
		lab.Zone{Name: "u1.example", Records: campusZone},
		lab.Zone{Name: "open.example", Transfer: true, Records: "unguessable-1 A 10.60.1.61\nunguessable-2 CNAME unguessable-1\nlost CNAME nothing\n*.any A 10.60.1.62\nb.c TXT \"deep\"\n@ MX 5 unguessable-3\nunguessable-3 A 10.60.1.63\n"},
		lab.Zone{Name: "signed.example", Signed: true, Records: signedZone},
		lab.Zone{Name: "third.example", NSEC3: true, Records: "www A 10.60.1.70\nunguessable A 10.60.1.71\n"},
	)
	d.nsd.NSD(
		lab.Zone{Name: "cs.u1.example", Records: collegeZone},
		lab.Zone{Name: "middle.signed.example", Records: "lib A 10.60.1.80\n"},
		lab.Zone{Name: "given.example", Transfer: true, Records: "unguessable A 10.60.1.81\n"},
		lab.Zone{Name: "walked.example", Signed: true, Records: "unguessable A 10.60.1.82\nzz A 10.60.1.83\n"},
	)
	d.foreign.NSD(
		lab.Zone{Name: "other.example", Transfer: true, Records: "live A 10.80.0.1\nmx A 10.80.0.2\nspf TXT \"v=spf1 -all\"\n"},
		lab.Zone{Name: "far.example", Transfer: true, Records: "www A 10.80.0.3\nunguessable A 10.80.0.4\n"},
	)
	at := func(h *lab.Host) []netip.Addr { return []netip.Addr{h.IP4} }
	zones := map[string][]netip.Addr{
		"u1.example": at(d.bind), "open.example": at(d.bind), "signed.example": at(d.bind), "third.example": at(d.bind),
		"given.example": at(d.nsd), "walked.example": at(d.nsd), "other.example": at(d.foreign), "far.example": at(d.foreign),
	}
	d.resolving = []*lab.Service{d.resolver.Resolver(zones), d.second.Resolver(zones)}
	d.in = inside{
		Units:    units,
		Networks: []schemas.Network{network("10.60.1.0/24", "u1", true), network("fd00:60::/64", "u1", true), network("10.80.0.0/24", "u1", false)},
		Config:   config(sweep.Connect),
	}
	d.in.Config.Resolvers = []string{d.resolver.IP4.String(), d.second.IP4.String()}
	for _, name := range []string{"u1.example", "open.example", "signed.example", "third.example", "given.example", "walked.example", "far.example"} {
		d.in.Domains = append(d.in.Domains, schemas.Domain{Name: name, Unit: "u1", Scan: true})
	}
	d.in.Domains = append(d.in.Domains, schemas.Domain{Name: "secret.u1.example", Unit: "u1"})
	return d
}

func discoverTask(shard string, names ...string) schemas.ScanTask {
	return schemas.ScanTask{
		Job: "j", Shard: shard, Shards: 1, Kind: schemas.TaskDiscover, Unit: "u1", Names: names, By: "test", Rate: 5000,
		Created: time.Now(), Expires: time.Now().Add(time.Hour),
	}
}

// Exactly the names that are there are found, each by the way that leads to it;
// what a wildcard answers is none; and nobody is asked but the resolver, and for
// transfers the servers that the registry authorises.
func TestDiscoveryFindsExactlyTheNames(t *testing.T) {
	d := newDNSLab(t)
	sniffer := d.scanner.Sniff()
	in := d.in
	in.Config.Discover.Rate = 5000
	zones := map[string][]string{
		"u1.example": { // by their type, values, and how they were found
			"_ldap._tcp.u1.example SRV 0 0 389 tree-3.u1.example words",
			"caa-9.u1.example A 10.60.1.17 record",
			"chain-1.u1.example CNAME www.u1.example record", "chain-1.u1.example A 10.60.1.10 record",
			"*.cs.u1.example A 10.60.1.98 words", "cs.u1.example NS ns.cs.u1.example words",
			"cs.u1.example SOA ns.cs.u1.example hostmaster.cs.u1.example 1 3600 600 86400 60 record",
			"cs.u1.example AXFR REFUSED axfr", "jwc.cs.u1.example CNAME www.cs.u1.example words", "jwc.cs.u1.example A 10.60.1.40 words",
			"ns.cs.u1.example A 10.60.1.54 record", "www.cs.u1.example A 10.60.1.40 words",
			"hidden-certificate.u1.example A 10.60.1.19 certificate",
			"jwc.u1.example A 10.60.1.11 words", "lib.u1.example AAAA fd00:60::12 words",
			"mx.u1.example CNAME chain-1.u1.example words", "mx.u1.example A 10.60.1.10 words",
			"ns.u1.example A 10.60.1.53 record", "ns.u1.example AAAA fd00:60::53 record",
			"oa.u1.example A 10.60.1.13 words", "www.oa.u1.example A 10.60.1.14 words",
			"old.u1.example CNAME gone.u1.example NXDOMAIN words",
			"pay.u1.example CNAME vanished.other.example NXDOMAIN words",
			"post-1.u1.example A 10.60.1.15 record", "sender-7.u1.example A 10.60.1.16 record",
			"shop.u1.example CNAME live.other.example words", "shop.u1.example A 10.80.0.1 words",
			"tree-3.u1.example A 10.60.1.18 record", "tsg.u1.example TXT only a text words",
			"u1.example AXFR REFUSED axfr", "u1.example CAA 0 iodef \"https://caa-9.u1.example/report\"",
			"u1.example MX 10 post-1.u1.example,20 mx.other.example", "u1.example NS ns.u1.example",
			"u1.example SOA ns.u1.example hostmaster.u1.example 1 3600 600 86400 60",
			"u1.example TXT v=spf1 a:sender-7.u1.example/24 include:spf.other.example ~all",
			"wiki.u1.example A 10.60.1.30 words", "*.wiki.u1.example A 10.60.1.99 words",
			"www.wiki.u1.example A 10.60.1.31 words", "vpn.wiki.u1.example AAAA fd00:60::31 words",
			"oa.wiki.u1.example TXT no address: the wildcard's does not apply words",
			"m.wiki.u1.example CNAME www.u1.example words", "m.wiki.u1.example A 10.60.1.10 words",
			"www.u1.example A 10.60.1.10 words",
		},
		"open.example": {
			"open.example AXFR 10.60.1.53,fd00:60::53 axfr", "open.example MX 5 unguessable-3.open.example axfr", "open.example NS ns.open.example axfr",
			"open.example SOA ns.open.example hostmaster.open.example 1 3600 600 86400 60 axfr",
			"ns.open.example A 10.60.1.53 axfr", "ns.open.example AAAA fd00:60::53 axfr",
			"unguessable-1.open.example A 10.60.1.61 axfr", "unguessable-2.open.example CNAME unguessable-1.open.example axfr",
			"unguessable-2.open.example A 10.60.1.61 axfr", "unguessable-3.open.example A 10.60.1.63 axfr",
			"lost.open.example CNAME nothing.open.example NXDOMAIN axfr", "*.any.open.example A 10.60.1.62 axfr", "b.c.open.example TXT deep axfr",
		},
		"signed.example": {
			"signed.example AXFR REFUSED axfr", "signed.example NS ns.signed.example",
			"signed.example SOA ns.signed.example hostmaster.signed.example 1 3600 600 86400 60",
			"ns.signed.example A 10.60.1.53 nsec", "ns.signed.example AAAA fd00:60::53 nsec",
			"www.signed.example A 10.61.2.1 nsec", "strange-name-1.signed.example A 10.60.2.2 nsec", "zebra-quagga.signed.example AAAA fd00:60:2::3 nsec",
			"*.stars.signed.example A 10.60.2.9 nsec", "same.stars.signed.example A 10.60.2.9 nsec",
			"middle.signed.example NS ns.middle.signed.example nsec", "middle.signed.example AXFR REFUSED axfr",
			"middle.signed.example SOA ns.middle.signed.example hostmaster.middle.signed.example 1 3600 600 86400 60 record",
			"ns.middle.signed.example A 10.60.1.54 record", "lib.middle.signed.example A 10.60.1.80 words",
		},
		"third.example": {
			"third.example AXFR REFUSED axfr", "third.example NS ns.third.example", "third.example NSEC3PARAM 1 0 0 -",
			"third.example SOA ns.third.example hostmaster.third.example 1 3600 600 86400 60",
			"ns.third.example A 10.60.1.53 record", "ns.third.example AAAA fd00:60::53 record", "www.third.example A 10.60.1.70 words",
		},
		"given.example": {
			"given.example AXFR 10.60.1.54 axfr", "given.example NS ns.given.example axfr",
			"given.example SOA ns.given.example hostmaster.given.example 1 3600 600 86400 60 axfr",
			"ns.given.example A 10.60.1.54 axfr", "unguessable.given.example A 10.60.1.81 axfr",
		},
		"walked.example": {
			"walked.example AXFR REFUSED axfr", "walked.example NS ns.walked.example",
			"walked.example SOA ns.walked.example hostmaster.walked.example 1 3600 600 86400 60",
			"ns.walked.example A 10.60.1.54 nsec", "unguessable.walked.example A 10.60.1.82 nsec", "zz.walked.example A 10.60.1.83 nsec",
		},
		"far.example": { // its server would give it away, and may not be asked
			"far.example NS ns.far.example", "far.example SOA ns.far.example hostmaster.far.example 1 3600 600 86400 60",
			"ns.far.example A 10.80.0.53 record", "www.far.example A 10.80.0.3 words",
		},
	}
	for zone := range zones {
		names := []string{zone}
		if zone == "u1.example" {
			names = append(names, "hidden-certificate.u1.example", "gone-certificate.u1.example", "any.wiki.u1.example", "www.secret.u1.example", "www.other.example")
		}
		in.Tasks = append(in.Tasks, discoverTask(zone, names...))
	}
	in.Tasks = append(in.Tasks, discoverTask("outside", "other.example"), discoverTask("excluded", "secret.u1.example"))
	s := runInside(t, d.scanner, in)
	for i, task := range in.Tasks {
		refused := strings.Contains(s.Errors[i], ErrRefused.Error())
		if outside := task.Shard == "outside" || task.Shard == "excluded"; refused != outside || !outside && s.Errors[i] != "" {
			t.Errorf("%s: %s", task.Names[0], s.Errors[i])
		}
	}
	got := map[string][]string{}
	ids := map[string]bool{}
	for _, o := range s.Observations {
		if ids[o.ID] {
			t.Errorf("an id is given twice: %s", what(o))
		}
		ids[o.ID] = true
		if o.Unit != "u1" || o.Source != "scan" || o.Method == "axfr" && o.Via == "" && o.RecordType != "AXFR" {
			t.Errorf("badly stamped: %+v", o)
		}
		line := o.Name + " " + o.RecordType
		if len(o.Values) > 0 {
			line += " " + strings.Join(o.Values, ",")
		}
		if o.RCode != "NOERROR" {
			line += " " + o.RCode
		}
		got[o.Shard] = append(got[o.Shard], strings.TrimSpace(line+" "+o.Method))
	}
	for zone, want := range zones {
		slices.Sort(want)
		slices.Sort(got[zone])
		if diff := cmp.Diff(want, got[zone]); diff != "" {
			t.Errorf("%s: want-, got+:\n%s", zone, diff)
		}
	}
	sent := elsewhere(t, sniffer)
	for ip := range sent {
		if ip != d.resolver.IP4 && ip != d.second.IP4 && ip != d.bind.IP4 && ip != d.bind.IP6 && ip != d.nsd.IP4 {
			t.Errorf("%d packets were sent to %s", sent[ip], ip)
		}
	}
	if sent[d.resolver.IP4] == 0 || sent[d.nsd.IP4] == 0 {
		t.Errorf("the counter does not count: %v", sent)
	}
	asked := regexp.MustCompile(`query: (\S+) IN`).FindAllStringSubmatch(d.resolving[0].Said()+d.resolving[1].Said(), -1)
	if len(asked) < 3000 {
		t.Errorf("%d questions in the resolver's log", len(asked))
	}
	for _, q := range asked {
		name := strings.ToLower(q[1])
		if strings.HasSuffix("."+name, ".other.example") || strings.HasSuffix("."+name, ".secret.u1.example") || !strings.HasSuffix(name, ".example") {
			t.Errorf("asked for %s", name)
		}
	}
	for name, want := range map[string]float64{
		"fengsui_scanner_zone_transfers_total{result=open}": 3, "fengsui_scanner_zone_transfers_total{result=refused}": 9,
		"fengsui_scanner_names_found_total{method=certificate}": 1,
	} {
		if s.Metrics[name] != want {
			t.Errorf("%s is %v, want %v", name, s.Metrics[name], want)
		}
	}
	t.Logf("%d questions, seconds %v", len(asked), s.Seconds)
}
