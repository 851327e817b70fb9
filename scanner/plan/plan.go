// Package plan cuts a scan of a unit into small tasks that scanners can share,
// repeat and give back.
//
// It plans only what the registry authorises and does not exclude, and every
// address and name of it; what may be looked at in some hours alone waits for them,
// and where a rate is bounded shards are smaller. It sends nothing and reads no
// clock.
//
// IPv4 blocks are planned whole. An IPv6 block of more than a few thousand
// addresses cannot be swept; of those only known addresses are planned: the
// whitelist's, and those the caller knows, from DNS or from logs. So a scan of
// names comes first, and what its answers hold is Known to the next plan.
package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"fengsui/internal/directory"
	"fengsui/scanner/portset"
	"fengsui/scanner/sweep"
	"fengsui/schemas"
)

// The size of shards, which is what a scanner that dies loses.
const (
	MaxProbes    = 1_000_000 // addresses × ports of a shard
	maxAddresses = 4096      // of a shard, however few its ports
	maxNames     = 1000      // of a shard
	maxShards    = 10_000
	sweepable6   = 116 // an IPv6 block shorter than this is not swept
	lifetime     = 24 * time.Hour
	// A shard that has to wait for hours may need those of several days. Topics
	// keep tasks a day longer (schemas.Topics).
	lifetimeHours = 8 * 24 * time.Hour
	// shardSeconds is how long a shard takes at most where a rate is bounded: with
	// repeated probes three times as long, which is less than scanners allow.
	shardSeconds = 300
)

// ErrNoScope says that a unit has nothing that may be scanned.
var ErrNoScope = errors.New("nothing is authorised for scanning")

// DefaultPorts is what is looked at when nobody says: the ports on which campus
// services, remote access, databases and management are usually found. The
// whitelist's ports are added.
const DefaultPorts = "21-23,25,53,79-81,88,110,111,113,119,135,139,143,161,179,389,443,445,465,502,512-515,543,544,548,554,587,591,593,631,636,646," +
	"853,873,902,990,992-995,1022-1029,1080,1099,1110,1194,1433,1434,1521,1720,1723,1755,1883,1900,2000,2001,2049,2082,2083,2121,2181,2222,2375,2376,2379,2380,2483," +
	"3000,3128,3260,3268,3306,3333,3389,3690,4000,4040,4369,4443,4444,4786,4848,4899,5000,5001,5044,5060,5061,5222,5357,5432,5555,5601,5666,5672,5800,5900-5903,5984-5986," +
	"6000,6001,6379,6443,6646,6666,6667,7000,7001,7002,7070,7077,7474,7777,8000-8010,8020,8042,8060,8080-8090,8111,8118,8123,8140,8161,8181,8200,8291,8333,8443,8500,8530,8545,8554,8649,8765,8834,8848,8880,8888,8983," +
	"9000-9003,9042,9060,9080,9090-9093,9100,9160,9200,9300,9418,9443,9600,9999,10000,10050,10051,10250,10255,11211,11434,14444,15672,16010,18080,18081,20000,25565,27017,27018,28017,30000,32768,37777,45560,45700,47808,49152-49157,50000,50070,50075,61616"

// DefaultUDP is the UDP ports that are asked when nobody says: those that
// scanner/identify has a question for. Each costs an address one datagram.
const DefaultUDP = "53,69,123,137,161,500,1900,5060,5353,5683,11211"

// Request is what is asked for.
type Request struct {
	Unit   string   // with all units below it
	Scope  []string // only these address blocks and names of it; empty: all that is authorised
	By     string   // who asks
	Reason string
	Ports  string // as portset.ParseBoth reads it; "all"; empty: DefaultPorts and DefaultUDP; the whitelist's are always added
	Rate   int    // packets a second; 0 is the scanner's own
	Class  schemas.ScanClass
	Job    string // empty: one made from the request
	Now    time.Time
	// Known is addresses that were seen before. Those inside the scope are looked
	// at one by one, so that one that is gone is noticed.
	Known []netip.Addr
	Names []string // names that were seen before, likewise
	// Discover has each authorised domain looked through for names, with those that
	// certificates showed to begin with.
	Discover     bool
	Certificates []string
}

// Plan makes the tasks: names first, then discoveries, then sweeps of IPv4, then of IPv6. They
// have one job id, from all of the request.
func Plan(snap *directory.Snapshot, r Request) ([]schemas.ScanTask, error) {
	if _, ok := snap.Unit(r.Unit); !ok {
		return nil, refuse("unit", "台账中没有单位 %q", "planning a scan: the unit %q is not registered", r.Unit)
	}
	if r.By == "" {
		return nil, errors.New("planning a scan: nobody asks for it")
	}
	if r.Now.IsZero() {
		return nil, errors.New("planning a scan: no time is given")
	}
	if r.Rate < 0 || r.Rate > sweep.MaxRate {
		return nil, refuse("rate", "速率 %d 不在 0 至 %d 之间", "planning a scan: rate %d is not 0 to %d", r.Rate, sweep.MaxRate)
	}
	asked, err := readScope(r.Scope)
	if err != nil {
		return nil, fmt.Errorf("planning a scan of unit %q: %w", r.Unit, err)
	}
	p := &planner{snap: snap, request: r, scope: asked}
	if err := p.collect(); err != nil {
		return nil, fmt.Errorf("planning a scan of unit %q: %w", r.Unit, err)
	}
	if err := p.unfound(); err != nil {
		return nil, fmt.Errorf("planning a scan of unit %q: %w", r.Unit, err)
	}
	if len(p.networks) == 0 && len(p.domains) == 0 {
		nothing := refuse("unit", "单位 %q 及其下级没有授权扫描的网段或域名，或只有不知其中地址的 IPv6 网段",
			"planning a scan of unit %q: nothing is authorised for scanning: neither it nor a unit below it has a network or domain registered for it, "+
				"or only IPv6 networks without a known address", r.Unit)
		nothing.Err = ErrNoScope
		return nil, nothing
	}
	if err := p.tasks(); err != nil {
		return nil, fmt.Errorf("planning a scan of unit %q: %w", r.Unit, err)
	}
	return p.finish(), nil
}

type planner struct {
	snap     *directory.Snapshot
	request  Request
	scope    scope
	ports    portset.Set
	udp      portset.Set
	networks []*group // of addresses; the first is that of networks without a policy
	domains  []*group // of names, likewise
	out      []schemas.ScanTask
}

// group is what is looked at in one way: of one network or domain, where that has
// hours or rates of its own, and otherwise of all others.
type group struct {
	of             string // the network or domain; empty: of those without a policy
	hours          string
	rate, hostRate int

	blocks  []netip.Prefix // to be swept whole; disjoint, in order
	singles []netip.Addr   // known addresses in the scope, in order
	names   []string
}

// groupOf finds the group of a network or domain, or makes it.
func groupOf(groups *[]*group, of, hours string, rate, hostRate int) *group {
	if hours == "" && rate == 0 && hostRate == 0 {
		of = ""
	}
	i := slices.IndexFunc(*groups, func(g *group) bool { return g.of == of })
	if i < 0 {
		g := &group{of: of}
		if of != "" {
			g.hours, g.rate, g.hostRate = hours, rate, hostRate
		}
		if of == "" {
			*groups = slices.Insert(*groups, 0, g)
			return g
		}
		*groups = append(*groups, g)
		return g
	}
	return (*groups)[i]
}

func (p *planner) networkGroup(n *schemas.Network) *group {
	return groupOf(&p.networks, n.Prefix.String(), n.Hours, n.Rate, n.HostRate)
}

// name adds a name that may be asked about.
func (p *planner) name(name string) {
	d, _ := p.snap.DomainOf(name)
	g := groupOf(&p.domains, d.Name, d.Hours, d.Rate, 0)
	g.names = append(g.names, name)
}

func (p *planner) single(ip netip.Addr) {
	n, _ := p.snap.NetworkOf(ip)
	g := p.networkGroup(&n)
	g.singles = append(g.singles, ip)
}

// collect finds everything that is authorised and asked for.
func (p *planner) collect() error {
	text := p.request.Ports
	if text == "" {
		text = DefaultPorts + ",u:" + DefaultUDP
	}
	var err error
	if p.ports, p.udp, err = portset.ParseBoth(text); err != nil {
		return &Refused{Field: "ports", Zh: "端口写法有误", En: err.Error(), Err: err}
	}
	mine := map[netip.Prefix]bool{}
	for _, n := range p.snap.Networks(p.request.Unit, true) {
		mine[n.Prefix] = n.Scan
		for _, part := range p.scope.parts(n.Prefix) {
			if n.Scan && (part.Addr().Is4() || part.Bits() >= sweepable6) {
				p.authorised(&n, part, p.moreSpecific(n.Prefix))
			}
		}
	}
	own := func(ip netip.Addr) bool { // in the scope, and the unit's
		n, ok := p.snap.NetworkOf(ip)
		return ok && mine[n.Prefix] && p.scope.holds(ip) && p.snap.MayScan(ip) == nil
	}
	for _, ip := range p.request.Known {
		if ip = ip.Unmap().WithZone(""); own(ip) {
			p.single(ip)
		}
	}
	below := func(name string) bool {
		d, ok := p.snap.DomainOf(name)
		return ok && p.scope.has(name) && p.snap.Under(d.Unit, p.request.Unit) && p.snap.MayResolve(name) == nil
	}
	for _, d := range p.snap.Domains(p.request.Unit, true) {
		if below(d.Name) {
			p.name(d.Name)
		}
	}
	for _, name := range p.scope.names {
		if below(name) {
			p.name(name)
		}
	}
	for _, w := range p.snap.Whitelist() {
		if !w.In(p.request.Now) {
			continue
		}
		switch {
		case w.Kind == schemas.WhitelistDomain:
			if name := strings.TrimPrefix(w.Domain, "*."); below(name) {
				p.name(name)
			}
			continue
		case !p.scope.overlaps(w.Host):
			continue
		case w.Kind == schemas.WhitelistPort && w.Transport != "udp" && p.overlaps(w.Host, mine):
			p.ports.Add(w.Port)
		case w.Kind == schemas.WhitelistPort && w.Transport == "udp" && p.overlaps(w.Host, mine):
			p.udp.Add(w.Port)
		}
		if w.Host.IsSingleIP() && own(w.Host.Addr()) {
			p.single(w.Host.Addr())
		}
	}
	for _, n := range p.request.Names {
		if n = schemas.CanonicalName(n); below(n) {
			p.name(n)
		}
	}
	for _, g := range slices.Concat(p.networks, p.domains) {
		slices.SortFunc(g.singles, netip.Addr.Compare)
		g.singles = slices.Compact(g.singles)
		slices.Sort(g.names)
		g.names = slices.Compact(g.names)
	}
	return nil
}

// overlaps says whether a block has to do with one of the networks that are
// scanned.
func (p *planner) overlaps(block netip.Prefix, mine map[netip.Prefix]bool) bool {
	for n, scan := range mine {
		if scan && n.Overlaps(block) {
			return true
		}
	}
	return false
}

// authorised adds the parts of a network for which the network itself decides:
// what a more specific registration inside it covers is that one's to add, or
// nobody's, and what is excluded is nobody's. more is those that may overlap the
// part.
func (p *planner) authorised(of *schemas.Network, part netip.Prefix, more []netip.Prefix) {
	var inside []netip.Prefix
	for _, n := range more {
		switch {
		case !n.Overlaps(part):
		case n.Bits() <= part.Bits():
			return
		default:
			inside = append(inside, n)
		}
	}
	if len(inside) == 0 {
		g := p.networkGroup(of)
		g.blocks = append(g.blocks, part)
		return
	}
	low, high := sweep.Halves(part)
	p.authorised(of, low, inside)
	p.authorised(of, high, inside)
}

// moreSpecific is the registered networks inside another, whoever owns them, and
// whatever is excluded there.
func (p *planner) moreSpecific(network netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, n := range p.snap.AllNetworks() {
		if n.Prefix.Bits() > network.Bits() && network.Contains(n.Prefix.Addr()) {
			out = append(out, n.Prefix)
		}
	}
	for _, e := range p.snap.Exclusions() {
		if e.Overlaps(network) {
			out = append(out, e)
		}
	}
	return out
}

// tasks makes the shards.
func (p *planner) tasks() error {
	if err := p.nameTasks(); err != nil {
		return err
	}
	if err := p.discoverTasks(); err != nil {
		return err
	}
	for _, v4 := range []bool{true, false} {
		if err := p.sweepTasks(v4); err != nil {
			return err
		}
	}
	return nil
}

// nameTasks asks for the names and, where a block is small enough, for the
// PTR of every address that will be looked at.
func (p *planner) nameTasks() error {
	for _, g := range p.domains {
		for names := range slices.Chunk(g.names, maxNames) {
			if err := p.add(g, schemas.ScanTask{Kind: schemas.TaskNames, Names: names}); err != nil {
				return err
			}
		}
	}
	for _, g := range p.networks {
		size := maxAddresses
		if g.rate > 0 {
			size = min(size, g.rate*shardSeconds)
		}
		err := p.shards(g.blocks, g.singles, size, func(targets []netip.Prefix) error {
			return p.add(g, schemas.ScanTask{Kind: schemas.TaskNames, Targets: targets})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) sweepTasks(v4 bool) error {
	for _, g := range p.networks {
		var blocks []netip.Prefix
		for _, b := range g.blocks {
			if b.Addr().Is4() == v4 {
				blocks = append(blocks, b)
			}
		}
		var singles []netip.Addr
		for _, ip := range g.singles {
			if ip.Is4() == v4 {
				singles = append(singles, ip)
			}
		}
		size, ports := p.size(g)
		err := p.shards(blocks, singles, size, func(targets []netip.Prefix) error {
			for _, some := range ports {
				if err := p.add(g, schemas.ScanTask{Kind: schemas.TaskSweep, Targets: targets, Ports: some}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// size is of how many addresses a sweep of a group may be, and the ports of each:
// all of them at once, unless so few packets a second are allowed that they are
// looked at in parts.
func (p *planner) size(g *group) (addresses int, ports []string) {
	all := p.ports.Len() + p.udp.Len()
	probes, each := MaxProbes, all
	for _, rate := range []int{p.request.Rate, g.rate} {
		if rate > 0 {
			probes = min(probes, rate*shardSeconds)
		}
	}
	if g.hostRate > 0 {
		each = min(each, g.hostRate*shardSeconds)
	}
	each = min(each, probes)
	addresses = min(probes/each, maxAddresses)
	if each == all {
		return addresses, []string{portset.Both(p.ports, p.udp)}
	}
	for part := range slices.Chunk(slices.Collect(p.ports.Each()), each) {
		ports = append(ports, portset.Both(portset.Of(part...), portset.Set{}))
	}
	for part := range slices.Chunk(slices.Collect(p.udp.Each()), each) {
		ports = append(ports, portset.Both(portset.Set{}, portset.Of(part...)))
	}
	return addresses, ports
}

// shards cuts blocks and single addresses into lists of at most size addresses.
// A known address inside a block stands beside it as a target of its own, in the
// same list: it is probed once and reported in any case.
func (p *planner) shards(blocks []netip.Prefix, singles []netip.Addr, size int, add func([]netip.Prefix) error) error {
	var targets []netip.Prefix
	addresses := 0
	flush := func() error {
		if len(targets) == 0 {
			return nil
		}
		err := add(targets)
		targets, addresses = nil, 0
		return err
	}
	put := func(n int, items ...netip.Prefix) error {
		if addresses+n > size {
			if err := flush(); err != nil {
				return err
			}
		}
		targets, addresses = append(targets, items...), addresses+n
		return nil
	}
	inside := map[netip.Addr]bool{}
	for _, b := range blocks {
		for piece := range pieces(b, size/2) { // half, since each address may be named twice
			items, n := []netip.Prefix{piece}, 1<<(piece.Addr().BitLen()-piece.Bits())
			first, _ := slices.BinarySearchFunc(singles, piece.Addr(), netip.Addr.Compare)
			for _, ip := range singles[first:] {
				if !piece.Contains(ip) {
					break
				}
				inside[ip] = true
				if !piece.IsSingleIP() {
					items = append(items, netip.PrefixFrom(ip, ip.BitLen()))
					n++
				}
			}
			if err := put(n, items...); err != nil {
				return err
			}
		}
	}
	for _, ip := range singles {
		if inside[ip] {
			continue
		}
		if err := put(1, netip.PrefixFrom(ip, ip.BitLen())); err != nil {
			return err
		}
	}
	return flush()
}

// pieces goes through a block in equal parts of at most size addresses; of at
// least one.
func pieces(b netip.Prefix, size int) func(func(netip.Prefix) bool) {
	return func(yield func(netip.Prefix) bool) {
		bits := b.Bits()
		for bits < b.Addr().BitLen() && (b.Addr().BitLen()-bits >= 31 || 1<<(b.Addr().BitLen()-bits) > size) {
			bits++
		}
		for at := b.Addr(); at.IsValid() && b.Contains(at); {
			piece := netip.PrefixFrom(at, bits)
			if !yield(piece) {
				return
			}
			at = last(piece).Next()
		}
	}
}

// last is a block's last address.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	ip, _ := netip.AddrFromSlice(b) // of the same length, so always right
	return ip
}

// add takes a shard, as its group is to be looked at.
func (p *planner) add(g *group, t schemas.ScanTask) error {
	if len(p.out) == maxShards {
		return refuse("scope", "多于 %d 个分片：请缩小范围或减少端口", "more than %d shards: scan a smaller unit, or fewer ports", maxShards)
	}
	t.Units = p.unitsOf(&t)
	t.NetworkRate, t.HostRate = g.rate, g.hostRate
	t.Expires = p.request.Now.Add(lifetime)
	if g.hours != "" {
		begin := directory.NextHours(p.request.Now, g.hours)
		if begin.IsZero() {
			return refuse("scope", "%s 的扫描时段永不到来", "the hours of %s never come", g.of)
		}
		if begin.After(p.request.Now) {
			t.NotBefore = begin.UTC()
		}
		t.Hours, t.Expires = g.hours, p.request.Now.Add(lifetimeHours)
	}
	p.out = append(p.out, t)
	return nil
}

// unitsOf is whose networks and domains a shard looks at. A block lies in one network,
// and in no smaller one.
func (p *planner) unitsOf(t *schemas.ScanTask) (out []string) {
	for _, target := range t.Targets {
		n, _ := p.snap.NetworkOf(target.Addr())
		out = append(out, n.Unit)
	}
	for _, name := range t.Names {
		d, _ := p.snap.DomainOf(name)
		out = append(out, d.Unit)
	}
	slices.Sort(out)
	return slices.Clip(slices.Compact(out))
}

// finish numbers the shards and signs them with a job id from their content.
func (p *planner) finish() []schemas.ScanTask {
	r := p.request
	h := sha256.New()
	fmt.Fprintln(h, r.Unit, r.By, r.Reason, r.Now.UnixNano(), r.Rate, portset.Both(p.ports, p.udp))
	for _, t := range p.out {
		fmt.Fprintln(h, t.Kind, t.Targets, t.Names)
	}
	job := r.Job
	if job == "" {
		job = r.Now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(h.Sum(nil)[:6])
	}
	for i := range p.out {
		t := &p.out[i]
		t.Job, t.Shard, t.Shards = job, strconv.Itoa(i+1), len(p.out)
		t.Unit, t.By, t.Reason, t.Rate, t.Class = r.Unit, r.By, r.Reason, r.Rate, r.Class
		t.Created = r.Now
	}
	p.out[0].Scope = r.Scope
	return p.out
}
