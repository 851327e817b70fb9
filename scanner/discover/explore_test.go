package discover

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"fengsui/internal/directory"
	"fengsui/scanner/resolve"
	"fengsui/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a DNS server on loopback whose answers a test makes up. The real
// servers are in the scanner's lab.
type world struct {
	conn net.PacketConn
	at   netip.AddrPort
	done sync.WaitGroup
	mu   sync.Mutex
	say  func(q dns.Question, m *dns.Msg) // nil: silent
	got  []string
}

func newWorld(t testing.TB, say func(q dns.Question, m *dns.Msg)) *world {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{conn: conn, at: conn.LocalAddr().(*net.UDPAddr).AddrPort(), say: say}
	w.done.Go(w.serve)
	t.Cleanup(func() { _ = conn.Close(); w.done.Wait() })
	return w
}

func (w *world) serve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := w.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		q, m := new(dns.Msg), new(dns.Msg)
		if q.Unpack(buf[:n]) != nil || len(q.Question) != 1 {
			continue
		}
		m.SetReply(q)
		w.mu.Lock()
		w.got = append(w.got, schemas.CanonicalName(q.Question[0].Name))
		say := w.say
		w.mu.Unlock()
		if say == nil {
			continue
		}
		say(q.Question[0], m)
		if b, err := m.Pack(); err == nil {
			_, _ = w.conn.WriteTo(b, from)
		}
	}
}

func put(t testing.TB, m *dns.Msg, records ...string) {
	t.Helper()
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
}

// run explores a zone at a world and returns what is emitted.
func run(t testing.TB, cfg Config, words string, certificates []string, servers ...*world) ([]schemas.Observation, error) {
	t.Helper()
	snap, err := directory.NewSnapshot([]schemas.Unit{{Code: "u", Name: "u", Level: schemas.University}}, nil,
		[]schemas.Domain{
			{Name: "u.example", Unit: "u", Scan: true}, {Name: "own.u.example", Unit: "u", Scan: true}, {Name: "secret.u.example", Unit: "u"},
		}, nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := ReadWords(strings.NewReader(words))
	if err != nil {
		t.Fatal(err)
	}
	at := make([]netip.AddrPort, len(servers))
	for i, s := range servers {
		at[i] = s.at
	}
	client, err := resolve.Open(at, resolve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var out []schemas.Observation
	nothing := func(string, ...any) {}
	deps := Deps{
		Asker: Asker{
			Client: client, Snap: snap, Count: func(string) {}, Warn: nothing,
			Emit: func(o schemas.Observation) error { out = append(out, o); return nil },
		},
		Words: list, MayDial: snap.MayScan, Transferred: func(string) {}, Found: func(string) {}, Say: nothing,
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = Explore(ctx, cfg, deps, "u.example", certificates)
	return out, err
}

// Under a wildcard exactly those names are found whose A, AAAA or CNAME differs
// from all that the wildcard says, even when it answers in turns: none invented,
// none lost.
func TestWildcardsHideNothingAndInventNothing(t *testing.T) {
	words := strings.Fields("www mail jwc lib oa vpn cas my gs xk bbs ftp")
	rapid.Check(t, func(t *rapid.T) {
		answers := []string{ // of a name: records by type
			"A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1", "A 192.0.2.1;AAAA 2001:db8::1", "A 192.0.2.1;A 192.0.2.2", "CNAME x.test.", "CNAME y.test.", "TXT \"t\"",
		}
		var wild []string // what the wildcard says, by the name's hash
		if rapid.Bool().Draw(t, "wild") {
			wild = rapid.SliceOfNDistinct(rapid.SampledFrom(answers), 1, 3, rapid.ID[string]).Draw(t, "wildcard")
		}
		real := map[string]string{}
		for _, w := range words {
			if rapid.Bool().Draw(t, w) {
				real[w+".u.example"] = rapid.SampledFrom(answers).Draw(t, w+" is")
			}
		}
		of := func(name string) (string, bool) {
			if r, is := real[name]; is {
				return r, true
			}
			if len(wild) == 0 || !strings.HasSuffix(name, ".u.example") {
				return "", false
			}
			h := fnv.New32a()
			h.Write([]byte(name))
			return wild[int(h.Sum32()>>8)%len(wild)], true
		}
		w := &world{}
		w.say = func(q dns.Question, m *dns.Msg) {
			name := schemas.CanonicalName(q.Name)
			m.Authoritative = true
			if name == "u.example" {
				if q.Qtype == dns.TypeSOA {
					put(nilTB{}, m, "u.example. 1 SOA ns.test. h.test. 1 2 3 4 5")
				}
				return
			}
			is, there := of(name)
			if !there {
				m.Rcode = dns.RcodeNameError
				return
			}
			for _, r := range strings.Split(is, ";") {
				if kind, _, _ := strings.Cut(r, " "); kind == "CNAME" || dns.StringToType[kind] == q.Qtype {
					put(nilTB{}, m, name+". 1 "+r)
				}
			}
		}
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w.conn, w.at = conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()
		w.done.Go(w.serve)
		defer w.done.Wait()
		defer func() { _ = conn.Close() }()

		cfg := DefaultConfig()
		cfg.Depth = 1
		out, err := run(nilTB{}, cfg, strings.Join(words, "\n"), nil, w)
		if err != nil {
			t.Fatal(err)
		}
		seenAs := func(is string) string { // by A, AAAA and CNAME
			var a, aaaa []string
			for _, r := range strings.Split(is, ";") {
				switch kind, v, _ := strings.Cut(r, " "); kind {
				case "CNAME":
					return r
				case "A":
					a = append(a, v)
				case "AAAA":
					aaaa = append(aaaa, v)
				}
			}
			return fmt.Sprint(a, aaaa)
		}
		want, got := map[string]bool{}, map[string]bool{}
		for name, is := range real {
			// By A alone and AAAA alone, as the wildcard may say each of them.
			sameA, same6 := false, false
			for _, x := range wild {
				p, q := seenAs(x), seenAs(is)
				pa, p6, _ := strings.Cut(p, "] [")
				qa, q6, _ := strings.Cut(q, "] [")
				sameA = sameA || pa == qa
				same6 = same6 || p6 == q6
			}
			if !sameA || !same6 {
				want[name] = true
			}
		}
		for _, o := range out {
			if strings.HasSuffix(o.Name, ".u.example") && !strings.HasPrefix(o.Name, "*.") && !strings.HasPrefix(o.Name, "_") && len(o.Values) > 0 {
				got[o.Name] = true
			}
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Fatalf("wildcard %q, names %q: want-, got+:\n%s", wild, real, diff)
		}
	})
}

// nilTB is for helpers inside a property, which fails by itself.
type nilTB struct{ testing.TB }

func (nilTB) Helper()               {}
func (nilTB) Fatal(args ...any)     { panic(fmt.Sprint(args...)) }
func (nilTB) Errorf(string, ...any) {}

// An alias dangles when the server of its target says so, or two servers do.
func TestDangling(t *testing.T) {
	say := func(rcode int, aa, ra bool) func(dns.Question, *dns.Msg) {
		return func(q dns.Question, m *dns.Msg) {
			name := schemas.CanonicalName(q.Name)
			m.Authoritative, m.RecursionAvailable = aa, ra
			switch {
			case name == "u.example" && q.Qtype == dns.TypeSOA:
				put(t, m, "u.example. 1 SOA ns.test. h.test. 1 2 3 4 5")
			case name == "u.example":
			case name == "old.u.example" && q.Qtype == dns.TypeCNAME:
				put(t, m, "old.u.example. 1 CNAME gone.test.")
			case name == "old.u.example":
				if m.Rcode = rcode; rcode != dns.RcodeRefused {
					put(t, m, "old.u.example. 1 CNAME gone.test.")
				}
			default:
				m.Rcode = dns.RcodeNameError
			}
		}
	}
	f := func(what, want string, servers ...func(dns.Question, *dns.Msg)) {
		t.Helper()
		var worlds []*world
		for _, s := range servers {
			worlds = append(worlds, newWorld(t, s))
		}
		out, err := run(t, DefaultConfig(), "old", nil, worlds...)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		got := ""
		for _, o := range out {
			if o.Name == "old.u.example" {
				got += o.RecordType + " " + o.RCode + " " + strings.Join(o.Values, ",") + ";"
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		for _, w := range worlds {
			w.mu.Lock()
			for _, name := range w.got {
				if !resolve.Within(name, "u.example") {
					t.Errorf("%s: asked for %s", what, name)
				}
			}
			w.mu.Unlock()
		}
	}
	no, yes, refused := say(dns.RcodeNameError, false, true), say(dns.RcodeSuccess, false, true), say(dns.RcodeRefused, false, true)
	f("its own servers", "CNAME NXDOMAIN gone.test;", say(dns.RcodeNameError, true, false))
	f("a resolver that also serves the alias's zone", "CNAME NOERROR gone.test;", say(dns.RcodeNameError, true, true))
	f("one resolver", "CNAME NOERROR gone.test;", no)
	f("two resolvers", "CNAME NXDOMAIN gone.test;", no, no)
	f("two that do not agree", "CNAME NOERROR gone.test;", no, yes)
	f("one refuses", "CNAME NXDOMAIN gone.test;", refused, no)
	f("the second refuses", "CNAME NOERROR gone.test;", no, refused)
	f("it is there", "CNAME NOERROR gone.test;", yes)
}

// The bounds hold: of names, of depth, and of what is asked.
func TestBounds(t *testing.T) {
	made := func(label string) bool { return len(label) > 6 || strings.HasPrefix(label, "_") }
	everything := func(q dns.Question, m *dns.Msg) { // every name of short labels is there
		name := schemas.CanonicalName(q.Name)
		switch {
		case name == "u.example" && q.Qtype == dns.TypeSOA:
			put(t, m, "u.example. 1 SOA ns.test. h.test. 1 2 3 4 5")
		case name == "u.example":
		case slices.ContainsFunc(strings.Split(strings.TrimSuffix(name, ".u.example"), "."), made):
			m.Rcode = dns.RcodeNameError
		case q.Qtype == dns.TypeA:
			put(t, m, name+". 1 A 192.0.2.1")
		}
	}
	f := func(cfg Config, words string, names int, deepest int) {
		t.Helper()
		w := newWorld(t, everything)
		out, err := run(t, cfg, words, []string{"x.secret.u.example", "x.own.u.example", "x.test", "*.cert.u.example"}, w)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, o := range out {
			if o.RecordType == "A" && len(o.Values) > 0 {
				found[o.Name] = true
			}
		}
		if len(found) != names {
			t.Errorf("%+v: %d names, want %d: %v", cfg, len(found), names, slices.Sorted(maps.Keys(found)))
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, name := range w.got {
			switch rest := strings.TrimSuffix(name, ".u.example"); {
			case !resolve.Within(name, "u.example"), resolve.Within(name, "secret.u.example"), resolve.Within(name, "own.u.example"):
				t.Errorf("asked for %s", name)
			case name != "u.example" && strings.Count(rest, ".") > deepest && !strings.Contains(name, "_"):
				t.Errorf("asked as deep as %s", name)
			}
		}
	}
	cfg := DefaultConfig()
	cfg.Depth = 1
	f(cfg, "a b own secret", 3, 1) // and cert
	cfg.Depth = 2
	f(cfg, "a b", 3+3*2, 2)
	cfg.Depth = 3
	f(cfg, "a b", 3+3*2+3*2*2, 3)
	cfg.MaxNames = 5
	f(cfg, "{a,b,c,d,e,f,g,h,i,j}{k,l}", 4, 4) // the zone itself is one
	cfg.Depth = 0
	cfg.MaxNames = 100
	f(cfg, "a b", 1, 0)
}

// A zone that nobody answers for is an error, and one that does not exist is not.
func TestZonesThatAreNotThere(t *testing.T) {
	if _, err := run(t, DefaultConfig(), "www", nil, newWorld(t, nil)); !errors.Is(err, resolve.ErrNoAnswer) {
		t.Errorf("silent: %v", err)
	}
	out, err := run(t, DefaultConfig(), "www", nil, newWorld(t, func(_ dns.Question, m *dns.Msg) { m.Rcode = dns.RcodeNameError }))
	if err != nil || len(out) != 1 || out[0].RCode != "NXDOMAIN" || out[0].Name != "u.example" {
		t.Errorf("not there: %+v, %v", out, err)
	}
	out, err = run(t, DefaultConfig(), "www", nil, newWorld(t, func(_ dns.Question, m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }))
	if err != nil || len(out) != 0 {
		t.Errorf("failing: %+v, %v", out, err)
	}
}

// An alias of a zone is not a zone: nothing is looked for below it.
func TestAliasOfAZone(t *testing.T) {
	w := newWorld(t, func(q dns.Question, m *dns.Msg) {
		name := schemas.CanonicalName(q.Name)
		switch {
		case name == "u.example" && q.Qtype == dns.TypeSOA:
			put(t, m, "u.example. 1 SOA ns.test. h.test. 1 2 3 4 5")
		case name == "u.example" && q.Qtype == dns.TypeNS:
			put(t, m, "u.example. 1 NS ns.test.")
		case name == "u.example":
		case name == "old.u.example":
			put(t, m, "old.u.example. 1 CNAME u.example.")
			if q.Qtype == dns.TypeNS {
				put(t, m, "u.example. 1 NS ns.test.")
			}
		default:
			m.Rcode = dns.RcodeNameError
		}
	})
	out, err := run(t, DefaultConfig(), "old www", nil, w)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out {
		if o.Name == "old.u.example" && o.RecordType != "CNAME" {
			t.Errorf("%+v", o)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.got {
		if strings.HasSuffix(name, ".old.u.example") {
			t.Errorf("asked for %s", name)
		}
	}
}
