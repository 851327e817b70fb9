package mining

import (
	"strings"
	"testing"
)

func load(t testing.TB) *Knowledge {
	t.Helper()
	k, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestHost(t *testing.T) {
	k := load(t)
	f := func(host, pool, coin string, class Class) {
		t.Helper()
		got, ok := k.Host(host)
		if want := (Pool{pool, coin, class}); got != want || ok != (class != 0) {
			t.Errorf("%s: %+v %v, want %+v", host, got, ok, want)
		}
	}
	f("xmr.f2pool.com", "f2pool.com", "XMR", Server)
	f("BTC-ASIA.F2Pool.com.", "f2pool.com", "BTC", Server)
	f("stratum.f2pool.com", "f2pool.com", "", Server)
	f("www.f2pool.com", "f2pool.com", "", Page)
	f("f2pool.com", "f2pool.com", "", Apex)
	f("xmr-eu1.nanopool.org", "nanopool.org", "XMR", Server)
	f("pool.supportxmr.com", "supportxmr.com", "XMR", Server)
	f("donate.v2.xmrig.com", "donate.v2.xmrig.com", "XMR", Server)
	f("ws003.coinhive.com", "coinhive.com", "XMR", WebMiner)
	f("pool.binance.com", "pool.binance.com", "", Server)
	f("sha256.poolbinance.com", "poolbinance.com", "", Server)
	f("us.ss.btc.com", "ss.btc.com", "", Server)

	f("www.binance.com", "", "", 0)
	f("btc.com", "", "", 0)
	f("explorer.btc.com", "", "", 0)
	f("xmrig.com", "", "", 0)
	f("www.okx.com", "", "", 0)
	f("metamask.io", "", "", 0)
	f("notf2pool.com", "", "", 0)
	f("f2pool.com.example.edu.cn", "", "", 0)
	f("", "", "", 0)
	f(".", "", "", 0)
	f("com", "", "", 0)
}

func TestProcess(t *testing.T) {
	k := load(t)
	f := func(program, want string) {
		t.Helper()
		if got := k.Process(program); got != want {
			t.Errorf("%s: %q, want %q", program, got, want)
		}
	}
	f("xmrig", "xmrig")
	f(`C:\Users\Public\XMRig.exe`, "xmrig")
	f("/tmp/.x/xmrig-6.21.0", "xmrig")
	f("/var/tmp/kdevtmpfsi", "kdevtmpfsi")
	f("ddgs.3013", "ddgs")
	f("t-rex", "t-rex")
	f("NsCpuCNMiner64.exe", "nscpucnminer64")
	f("xmrigger", "")
	f("/usr/bin/miner", "")
	f("kworker", "")
	f("tracker-miner-fs", "")
	f("", "")
}

func TestOtherLookups(t *testing.T) {
	k := load(t)
	if listed, with := k.Address("107.191.47.239", 3333); !listed || !with {
		t.Error("a listed address is not found")
	}
	if listed, with := k.Address("107.191.47.239", 22); !listed || with {
		t.Error("another port of a listed address")
	}
	if listed, _ := k.Address("10.0.0.1", 3333); listed {
		t.Error("a private address is listed")
	}
	for method, want := range map[string]string{"mining.subscribe": "stratum1", "eth_submitLogin": "eth-stratum", "getblocktemplate": "getblocktemplate", "getwork": "getwork", "login": "xmr-stratum", "eth_call": "", "": ""} {
		if got := k.Method(method); got != want {
			t.Errorf("%s: %q, want %q", method, got, want)
		}
	}
	for rule, want := range map[string]bool{
		"ET COINMINER CoinMiner Domain in DNS Lookup (pool .example .com)": true,
		"Crypto Currency Mining Activity Detected":                         true,
		"主机外联矿池":                            true,
		"ET POLICY NTP stratum 16 response": false,
		"Data Mining Portal access":         false,
		"":                                  false,
	} {
		if got := k.Verdict(rule) != ""; got != want {
			t.Errorf("%q: %v", rule, got)
		}
	}
	if !k.Script("/lib/CoinHive.min.js") || k.Script("/lib/jquery.min.js") || k.Script("") {
		t.Error("scripts")
	}
}

// Nothing that is listed may be hidden by an exclusion, and nothing excluded may
// come back as a pool.
func TestListsAgree(t *testing.T) {
	k := load(t)
	for name, p := range k.names {
		got, ok := k.Host(name)
		if ok != (p.Class != excluded) || ok && got.Name != name {
			t.Errorf("%s: %+v %v", name, got, ok)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	f := func(text, reason string) {
		t.Helper()
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v, want %q", text, err, reason)
		}
	}
	f("pool: []", "not found")
	f("pools: [{name: A.com}]", "not a domain name")
	f("pools: [{name: com}]", "not a domain name")
	f("pools: [{name: a.com/x}]", "not a domain name")
	f("pools: [{name: 192.0.2.1}]", "is an address")
	f("pools: [{name: a.com, coin: xmr}]", "not in upper case")
	f("pools: [{name: b.com}, {name: a.com}]", "sorted")
	f("pools: [{name: a.com}]\nexclude: [a.com]", "said twice")
	f("coins: {XMR: [xmr], XMC: [xmr]}", "stands for both")
	f("coins: {xmr: [xmr]}", "not in upper case")
	f("ports: [0]", "not a port")
	f("addresses: {10.0.0.1: [3333]}", "not a public address")
	f("addresses: {8.8.8.8: []}", "without a port")
	f("addresses: {x: [1]}", "unable to parse")
	f("processes: [XMRig]", "not in lower case")
	f("processes: [a, a]", "said twice")
	f("methods: {stratum3: [x]}", "unknown protocol")
	f("methods: {getwork: [x], stratum1: [x]}", "belongs to both")
	f("value_options: {size: [x]}", "unknown kind")
}

func FuzzHost(f *testing.F) {
	k := load(f)
	f.Add("xmr.f2pool.com")
	f.Add("..")
	f.Fuzz(func(t *testing.T, host string) {
		if p, ok := k.Host(host); ok && !strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), p.Name) {
			t.Errorf("%q: %+v", host, p)
		}
		k.Process(host)
		k.CoinIn(host)
	})
}

func BenchmarkHost(b *testing.B) {
	k := load(b)
	for _, name := range []string{"www.jw.example.edu.cn", "xmr-eu1.nanopool.org"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.Host(name)
			}
		})
	}
}
