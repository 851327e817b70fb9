package mining

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"time"

	"fengsui/rules/mining"
	"fengsui/schemas"
)

const xmrWallet = "48edfHu7V9Z84YzzMa6fUueoELZ9ZRXq9VetWzYGzKt52XU5xvqgzYnDK9URnRoJMk1j8nLwEVsaSWJ4fhdUyZijBGUicoD"

func detector(t testing.TB) *Detector {
	t.Helper()
	k, err := mining.Load()
	if err != nil {
		t.Fatal(err)
	}
	return New(k)
}

var eventTime = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// event makes an event of fields and their values, "name=value".
func event(t testing.TB, fields ...string) *schemas.Event {
	t.Helper()
	ev := &schemas.Event{}
	ev.Stream, ev.Seq, ev.Received = "s", 7, eventTime
	for _, s := range fields {
		name, value, _ := strings.Cut(s, "=")
		field, ok := schemas.LookupField(name)
		switch {
		case !ok:
			if _, open := schemas.OpenField(name); !open {
				t.Fatalf("no field %q", name)
			}
			ev.SetOpen(name, schemas.String(value))
		case field.List:
			ev.Set(field.ID, schemas.Strings(strings.Split(value, ",")...))
		case field.Type == schemas.Long:
			n := int64(0)
			for _, c := range value {
				n = 10*n + int64(c-'0')
			}
			ev.SetInt(field.ID, n)
		default:
			ev.SetString(field.ID, value)
		}
	}
	return ev
}

func TestEvidence(t *testing.T) {
	d := detector(t)
	// want is "kind pool coin wallet"; a dash is an empty one.
	f := func(want string, fields ...string) {
		t.Helper()
		w := strings.Fields(want)
		found := d.Examine(event(t, fields...))
		for _, e := range found {
			if string(e.Kind) != w[0] {
				continue
			}
			for i, got := range []string{e.Pool, e.Coin, e.Wallet} {
				if i+1 < len(w) && got != strings.Trim(w[i+1], "-") {
					t.Errorf("%v: got %q, want %q in %+v", fields, got, w[i+1], e)
				}
			}
			if e.EventID != "s-7" || !e.Time.Equal(eventTime) || e.Weight < weakBelow {
				t.Errorf("%v: %+v", fields, e)
			}
			return
		}
		t.Errorf("%v: %+v, want %s", fields, found, want)
	}

	f("pool_domain_dns f2pool.com XMR", "dns.question.name=xmr.f2pool.com", "dns.question.type=A")
	f("pool_domain_dns supportxmr.com XMR", "dns.question.name=cdn.evil.example", "dns.answers.data=pool.supportxmr.com,192.0.2.1")
	f("pool_domain_dns coinhive.com XMR", "dns.question.name=coinhive.com")
	f("pool_domain_tls nanopool.org XMR", "tls.client.server_name=xmr-eu1.nanopool.org", "destination.port=443")
	f("pool_domain_tls moneroocean.stream XMR", "tls.server.subject=O=x, CN=gulf.moneroocean.stream", "destination.port=20128")
	f("pool_domain_tls supportxmr.com XMR", "tls.client.server_name=supportxmr.com", "destination.port=9000")
	f("pool_domain_http viabtc.top BTC", "url.domain=btc.viabtc.top", "destination.port=443")
	f("pool_domain_http f2pool.com XMR", "url.original=xmr.f2pool.com:13531", "http.request.method=CONNECT")
	f("pool_domain_http f2pool.com ETH", "url.full=http://u@eth.f2pool.com/x")
	f("pool_address 107.191.47.239", "destination.ip=107.191.47.239", "destination.port=3333")
	f("web_miner coinhive.com", "url.domain=coinhive.com", "url.path=/lib/coinhive.min.js")
	f("miner_process", "user_agent.original=cpuminer/2.5.0")

	// What a sensor read.
	f("stratum_method 203.0.113.5 BTC worker.1", "stratum.method=mining.authorize", "stratum.protocol=stratum1", "stratum.user=worker.1", "stratum.coin=btc", "source.ip=10.0.0.5", "destination.ip=203.0.113.5", "destination.port=25")
	f("miner_login 203.0.113.5 XMR", "stratum.method=job", "stratum.protocol=xmr-stratum", "stratum.coin=XMR", "stratum.direction=response", "source.ip=203.0.113.5", "source.port=443", "destination.ip=10.0.0.5", "destination.port=50000")
	f("eth_login", "stratum.method=eth_submitLogin")
	f("getblocktemplate", "stratum.method=getblocktemplate")
	f("getblocktemplate", "stratum.protocol=getwork")

	// Payloads wherever they are.
	f("stratum_method - -", `message={"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.10"]}`)
	f("stratum_method - - acc.w1", `http.request.body.content={"params":["acc.w1","x"],"id":2,"method":"mining.authorize"}`)
	f("stratum_method", `message=drop tcp payload {\"id\":1,\"method\":\"mining.notify\",\"params\":[1`)
	f("stratum_method", `message=IDS: mining.subscribe seen from client`)
	f("stratum_method nanopool.org XMR", `message=proxy: tunnel to stratum+tcp://xmr-eu1.nanopool.org:14444 opened`)
	f("miner_login - XMR "+xmrWallet, `suricata.eve.payload_printable={"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"`+xmrWallet+`","pass":"x","agent":"XMRig/6.21.0","algo":["rx/0"]}}`)
	f("miner_login", "suricata.eve.payload="+base64.StdEncoding.EncodeToString([]byte(`{"jsonrpc":"2.0","method":"job","params":{"blob":"0e0e","job_id":"1","target":"b88d0600"}}`)))
	f("miner_login", `message={"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"a","job":{"blob":"07","job_id":"x","target":"ff"},"status":"OK"}} "job_id" "blob"`)
	f("eth_login - ETH 0x52bc44d5378309ee2abf1539bf71de1b7d7be3b5.rig", `message={"id":1,"method":"eth_submitLogin","params":["0x52bc44d5378309ee2abf1539bf71de1b7d7be3b5.rig"]}`)
	f("getblocktemplate", `http.request.body.content={"id": 0, "method": "getblocktemplate", "params": [{"capabilities": ["coinbasetxn"]}]}`)
	f("getblocktemplate", `http.request.body.content={"method": "getwork", "params": [], "id":0}`)
	f("web_miner coinhive.com XMR sitekey", `message={"type":"auth","params":{"site_key":"sitekey","type":"anonymous"}}`, "url.domain=ws1.coinhive.com")

	// Programs and command lines.
	f("miner_process", "process.name=xmrig.exe")
	f("miner_process", `process.executable=C:\Users\Public\NsCpuCNMiner64.exe`)
	f("miner_process", "process.pe.original_file_name=XMRig.exe", `process.executable=C:\Windows\Temp\svchost.exe`)
	f("miner_process", "process.command_line=/usr/bin/nohup /tmp/.x/xmrig-6.20 -c /tmp/c.json")
	f("miner_process", "message=root : TTY=pts/0 ; PWD=/root ; USER=root ; COMMAND=/opt/xmrig -B")
	f("miner_process", "message=(www-data) CMD (/var/tmp/kdevtmpfsi >/dev/null 2>&1)")
	f("miner_command_line f2pool.com XMR "+xmrWallet+".w", "process.command_line=/tmp/java -o stratum+tcp://xmr.f2pool.com:13531 -u "+xmrWallet+".w -p x -k")
	f("miner_command_line 203.0.113.9 XMR", "process.command_line=./sshd -o 203.0.113.9:443 -u "+xmrWallet+" --tls")
	f("miner_command_line 203.0.113.9", "process.command_line=a.exe -a randomx -o 203.0.113.9:80 -u x")
	f("miner_command_line", "process.command_line=svchost.exe --donate-level=1 --cpu-max-threads-hint=50")
	f("miner_command_line", `winlog.event_data.CommandLine="C:\t\a.exe" --algo=rx/0 --coin=monero`)
	f("miner_command_line nicehash.com", "process.command_line=m --url=daggerhashimoto.eu.nicehash.com:3353 --user=a")
	f("miner_command_line 2miners.com ETC", "message=u : USER=root ; COMMAND=/usr/bin/timeout 600 /x -pool etc.2miners.com:1010 -wal 0x52bc44d5378309ee2abf1539bf71de1b7d7be3b5")

	f("device_verdict", "rule.name=ET COINMINER W32/Miner Checkin")
	f("device_verdict", "rule.name=x", "rule.category=Crypto Currency Mining Activity Detected")
	f("device_verdict", "rule.name=主机挖矿行为")
}

// Reading about mining, and everything that only looks like it.
func TestNoEvidence(t *testing.T) {
	d := detector(t)
	f := func(fields ...string) {
		t.Helper()
		if found := d.Examine(event(t, fields...)); len(found) > 0 {
			t.Errorf("%v: %+v", fields, found)
		}
	}
	for _, page := range []string{"www.binance.com", "www.okx.com", "www.huobi.com", "api.coinbase.com", "metamask.io", "www.blockchain.com", "wallet.mymonero.com", "www.f2pool.com", "api.nanopool.org", "xmrig.com", "www.getmonero.org", "whattomine.com"} {
		f("dns.question.name="+page, "dns.question.type=A", "dns.answers.data=192.0.2.1")
		f("tls.client.server_name="+page, "tls.server.subject=CN=*."+page, "destination.port=443")
		f("url.domain="+page, "url.path=/", "destination.port=80", "http.request.method=GET")
		f("destination.domain="+page, "destination.port=443")
	}
	f("tls.client.server_name=f2pool.com", "destination.port=443")
	f("tls.server.subject=CN=*.f2pool.com", "destination.port=443")
	f("dns.question.name=xmr.f2pool.com", "dns.question.type=MX")
	f("dns.question.name=www.jw.example.edu.cn", "dns.answers.data=192.0.2.1,example.edu.cn")

	f(`message={"jsonrpc":"2.0","id":1,"method":"login","params":{"user":"zhang","password":"x"}}`)
	f(`message={"method":"login","params":{"login":"zhang","password":"x"}}`)
	f(`message={"method":"submit","params":{"form":"x"}}`)
	f(`message={"type":"job","job_id":7,"state":"done"}`)
	f(`message={"method":"GET","uri":"/","status":200}`)
	f(`message=ntpd: synchronized to 192.0.2.1, stratum 2`)
	f(`message=data mining.course opened`)
	f("rule.name=Data mining portal", "rule.category=Web")

	f("process.name=tracker-miner-fs", "process.executable=/usr/libexec/tracker-miner-fs-3")
	f("process.command_line=apt-get install xmrig")
	f("process.command_line=/usr/bin/vim /home/z/xmrig.json")
	f("process.command_line=rm -f /tmp/xmrig")
	f("process.command_line=curl -o page.html -u zhang:secret https://www.f2pool.com/")
	f("process.command_line=ssh -o StrictHostKeyChecking=no -p 22 zhang@192.0.2.1")
	f("process.command_line=docker run -p 3333:3333 -u 1000 nginx")
	f("process.command_line=shasum -a 256 file")
	f("process.command_line=mount -o rw,uid=0 /dev/sda1 /mnt")
	f("message=z : TTY=pts/0 ; COMMAND=/usr/bin/apt update")

	f("destination.ip=203.0.113.1", "destination.port=443")
	f("destination.ip=10.0.0.9", "destination.port=3333")
	f("destination.ip=8.8.8.8", "destination.port=3333", "network.protocol=http")
	f("destination.ip=8.8.8.8", "destination.port=3333", "zeek.conn.state=S0")
	f("destination.ip=8.8.8.8", "destination.port=3333", "network.transport=udp")
}

func TestWeakEvidence(t *testing.T) {
	d := detector(t)
	f := func(kind schemas.EvidenceKind, fields ...string) {
		t.Helper()
		found := d.Examine(event(t, fields...))
		if len(found) != 1 || found[0].Kind != kind || found[0].Weight >= weakBelow {
			t.Errorf("%v: %+v", fields, found)
		}
	}
	f(schemas.PoolPort, "destination.ip=8.8.8.8", "destination.port=3333", "network.transport=tcp")
	f(schemas.PoolAddress, "destination.ip=107.191.47.239", "destination.port=22")
	f(schemas.PoolDomainDNS, "dns.question.name=supportxmr.com")
	f(schemas.MinerCommandLine, "process.command_line=solver --algo ethash")
}

func TestHost(t *testing.T) {
	internal := func(a netip.Addr) bool { return netip.MustParsePrefix("203.0.113.0/24").Contains(a) || a.IsPrivate() }
	f := func(want string, fields ...string) {
		t.Helper()
		if got := Host(event(t, fields...), internal); got != want {
			t.Errorf("%v: %q, want %q", fields, got, want)
		}
	}
	f("10.0.0.5", "source.ip=10.0.0.5", "destination.ip=8.8.8.8")
	f("203.0.113.7", "source.ip=8.8.8.8", "destination.ip=203.0.113.7")
	f("10.0.0.5", "source.ip=10.0.0.5", "destination.ip=10.0.0.53", "destination.port=53", "dns.type=query")
	f("10.0.0.5", "source.ip=10.0.0.53", "source.port=53", "destination.ip=10.0.0.5", "destination.port=40000", "dns.type=answer")
	f("10.0.0.5", "source.ip=10.0.0.9", "source.port=3333", "destination.ip=10.0.0.5", "destination.port=40000", "stratum.direction=response")
	f("10.0.0.5", "source.ip=10.0.0.5", "source.port=40000", "destination.ip=10.0.0.9", "destination.port=3333", "stratum.direction=response")
	f("8.8.8.8", "source.ip=8.8.8.8")
	f("10.0.0.6", "process.command_line=x", "host.name=PC-1", "host.ip=127.0.0.1,fe80::1,10.0.0.6")
	f("pc-1", "process.executable=x", "host.name=PC-1", "source.ip=10.0.0.6")
	f("web01", "message=x", "log.syslog.hostname=web01")
	f("10.0.0.6", "process.command_line=x", "source.ip=10.0.0.6")
	f("")
}

func FuzzExamine(f *testing.F) {
	d := detector(f)
	f.Add(`{"method":"login","params":{"login":1}}`)
	f.Add("sudo -u x /tmp/xmrig -o a:1 --algo=rx/0 'stratum+tcp://[::1]:3")
	f.Add(`{"type":"job","params":{"blob":[`)
	f.Fuzz(func(t *testing.T, s string) {
		ev := event(t)
		for _, id := range []schemas.FieldID{
			schemas.FieldMessage, schemas.FieldProcessCommandLine, schemas.FieldDNSQuestionName, schemas.FieldTLSClientServerName, schemas.FieldTLSServerSubject,
			schemas.FieldURLDomain, schemas.FieldURLPath, schemas.FieldDestinationIP, schemas.FieldStratumMethod, schemas.FieldHTTPRequestBodyContent,
			schemas.FieldUserAgentOriginal, schemas.FieldRuleName, schemas.FieldProcessName,
		} {
			ev.SetString(id, s)
		}
		for _, e := range d.Examine(ev) {
			if e.Weight <= 0 || e.Weight >= 1 || e.Kind == "" || len(e.Detail) > maxDetail || len(e.Wallet) > maxDetail {
				t.Errorf("%+v", e)
			}
		}
	})
}

func BenchmarkExamine(b *testing.B) {
	d := detector(b)
	f := func(name string, fields ...string) {
		ev := event(b, fields...)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.Examine(ev)
			}
		})
	}
	f("conn", "source.ip=10.0.0.5", "destination.ip=203.0.113.80", "destination.port=443", "network.transport=tcp", "zeek.conn.state=SF")
	f("dns", "source.ip=10.0.0.5", "destination.ip=10.0.0.53", "destination.port=53", "dns.question.name=www.jw.example.edu.cn", "dns.question.type=A", "dns.answers.data=203.0.113.80")
	f("sshd", "message=Failed password for invalid user admin from 192.0.2.77 port 51234 ssh2", "source.ip=192.0.2.77", "host.name=web01", "process.name=sshd")
	f("process", `process.executable=C:\Windows\System32\svchost.exe`, `process.command_line=C:\Windows\System32\svchost.exe -k netsvcs -p -s Schedule`, "host.name=pc-1")
	f("pool", "dns.question.name=xmr.f2pool.com", "dns.question.type=A")
}
