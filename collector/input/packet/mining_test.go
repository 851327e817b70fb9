package packet

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Wallets made for these tests; the one of Monero has the right shape only.
const (
	walletETH = "0x00000000000000000000000000000000deadbeef"
	blob      = "0707c5e0dfdc05aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa000000005d"
	hash      = "00000000000000000000000000000000000000000000000000000000000000ab"
)

var walletXMR = "4" + strings.Repeat("7Ab", 31) + "z"

// TestMiningIsSeen holds a line of each dialect against what the record says.
func TestMiningIsSeen(t *testing.T) {
	// side 0 is the miner's.
	f := func(name string, say func(k *talk), want ...string) {
		t.Helper()
		w := newWire(t)
		k := w.talk("10.1.2.3", "192.0.2.9:4444").open()
		say(k)
		k.close()
		var got []string
		for _, r := range of(w.run(), "stratum") {
			text := fmt.Sprintf("%v %v %v %v", r["protocol"], r["transport"], r["direction"], r["method"])
			for _, key := range []string{"user", "agent", "coin", "algo", "detail"} {
				if v, ok := r[key]; ok {
					text += fmt.Sprintf(" %s=%v", key, v)
				}
			}
			got = append(got, text)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: want (-), got (+):\n%s", name, d)
		}
	}

	f("Stratum 1", func(k *talk) {
		k.say(0, `{"id":1,"method":"mining.subscribe","params":["cgminer/4.11"]}`+"\n")
		k.say(1, `{"id":1,"result":[[["mining.set_difficulty","b4"],["mining.notify","ae"]],"08000002",4],"error":null}`+"\n")
		k.say(0, `{"id":2,"method":"mining.authorize","params":["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.rig7","secret"]}`+"\n")
		k.say(1, `{"id":2,"result":true,"error":null}`+"\n")
		k.say(0, `{"id":3,"method":"mining.submit","params":["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.rig7","bf","00","504e86ed","b2957c02"]}`+"\n")
		k.say(1, `{"id":3,"result":null,"error":[23,"Low difficulty share",null]}`+"\n")
	},
		"stratum1 tcp request mining.subscribe agent=cgminer/4.11",
		"stratum1 tcp response mining.subscribe agent=cgminer/4.11 detail=accepted, extranonce 08000002",
		"stratum1 tcp request mining.authorize user=1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.rig7 agent=cgminer/4.11 coin=BTC",
		"stratum1 tcp response mining.authorize user=1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.rig7 agent=cgminer/4.11 coin=BTC detail=accepted",
		"stratum1 tcp request mining.submit user=1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.rig7 agent=cgminer/4.11 coin=BTC detail=job bf",
		"stratum1 tcp response mining.submit user=1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.rig7 agent=cgminer/4.11 coin=BTC detail=error: Low difficulty share",
	)
	f("XMRig", func(k *talk) {
		k.say(0, `{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"`+walletXMR+`","pass":"x","agent":"XMRig/6.21.0","algo":["rx/0","cn/2"]}}`+"\n")
		k.say(1, `{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"9","job":{"blob":"`+blob+`","job_id":"j1","target":"711b0d00","algo":"rx/0","height":3000000},"status":"OK"}}`+"\n")
		k.say(0, `{"id":2,"jsonrpc":"2.0","method":"submit","params":{"id":"9","job_id":"j1","nonce":"aabbccdd","result":"`+hash+`"}}`+"\n")
		k.say(0, `{"id":3,"jsonrpc":"2.0","method":"keepalived","params":{"id":"9"}}`+"\n")
	},
		"xmr-stratum tcp request login user="+walletXMR+" agent=XMRig/6.21.0 coin=XMR",
		"xmr-stratum tcp response login user="+walletXMR+" agent=XMRig/6.21.0 coin=XMR algo=rx/0 detail=accepted, job j1, height 3000000",
		"xmr-stratum tcp request submit user="+walletXMR+" agent=XMRig/6.21.0 coin=XMR algo=rx/0 detail=job j1",
		"xmr-stratum tcp request keepalived user="+walletXMR+" agent=XMRig/6.21.0 coin=XMR algo=rx/0",
	)
	f("a login that only the job explains, without line ends", func(k *talk) {
		k.say(0, `{"id":1,"method":"login","params":{"login":"team7","pass":"x"}}`)
		k.say(1, `{"id":1,"error":null,"result":{"id":"9","job":{"blob":"`+blob+`","job_id":"j1","target":"711b0d00"},"status":"OK"}}`)
	},
		"xmr-stratum tcp request login user=team7",
		"xmr-stratum tcp response login user=team7 detail=accepted, job j1",
	)
	f("Ethereum", func(k *talk) {
		k.say(0, `{"id":1,"method":"eth_submitLogin","params":["`+walletETH+`","x"],"worker":"lab3"}`+"\n")
		k.say(1, `{"id":1,"jsonrpc":"2.0","result":true}`+"\n")
		k.say(0, `{"id":2,"method":"eth_getWork","params":[]}`+"\n")
		k.say(0, `{"id":4,"method":"eth_submitHashrate","params":["0x1f4","0x00ab"]}`+"\n")
	},
		"eth-stratum tcp request eth_submitLogin user="+walletETH+" coin=ETH detail=lab3",
		"eth-stratum tcp response eth_submitLogin user="+walletETH+" coin=ETH detail=accepted",
		"eth-stratum tcp request eth_getWork user="+walletETH+" coin=ETH",
		"eth-stratum tcp request eth_submitHashrate user="+walletETH+" coin=ETH detail=hashrate 0x1f4",
	)
	f("NiceHash's EthereumStratum", func(k *talk) {
		k.say(0, `{"id":1,"method":"mining.subscribe","params":["ethminer/0.19","EthereumStratum/1.0.0"]}`+"\n")
		k.say(1, `{"id":null,"method":"mining.set_difficulty","params":[0.5]}`+"\n")
	},
		"eth-stratum tcp request mining.subscribe agent=ethminer/0.19 algo=ethash detail=EthereumStratum/1.0.0",
		"eth-stratum tcp response mining.set_difficulty agent=ethminer/0.19 algo=ethash detail=difficulty 0.5",
	)
	work := strings.Repeat("0", 256)
	f("getwork over HTTP", func(k *talk) {
		body := `{"method":"getwork","params":[],"id":0}`
		k.say(0, fmt.Sprintf("POST / HTTP/1.1\r\nHost: pool\r\nUser-Agent: cpuminer\r\nAuthorization: Basic bGFiMzpzZWNyZXQ=\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		answer := `{"id":0,"error":null,"result":{"data":"` + work + `","target":"` + hash + `"}}`
		k.say(1, fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(answer), answer))
	},
		"getwork http request getwork user=lab3 agent=cpuminer",
		"getwork http response getwork user=lab3 agent=cpuminer detail=accepted",
	)
	f("a web page over WebSocket", func(k *talk) {
		k.say(0, "GET /proxy HTTP/1.1\r\nHost: ws1.pool.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		k.say(1, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		k.say(0, webSocket(`{"type":"auth","params":{"site_key":"abcdefghijklmnopqrstuvwxyz012345","type":"anonymous"}}`, true))
		k.say(1, webSocket(`{"type":"authed","params":{"token":"","hashes":0}}`, false))
		k.say(1, webSocket(`{"type":"job","params":{"job_id":"5","blob":"`+blob+`","target":"ffffff00"}}`, false))
		k.say(0, webSocket(`{"type":"submit","params":{"job_id":"5","nonce":"11223344","result":"`+hash+`"}}`, true))
	},
		"xmr-stratum websocket request auth user=abcdefghijklmnopqrstuvwxyz012345 coin=XMR detail=site key",
		"xmr-stratum websocket response authed user=abcdefghijklmnopqrstuvwxyz012345 coin=XMR",
		"xmr-stratum websocket response job user=abcdefghijklmnopqrstuvwxyz012345 coin=XMR detail=job 5",
		"xmr-stratum websocket request submit user=abcdefghijklmnopqrstuvwxyz012345 coin=XMR detail=job 5",
	)
	f("through an HTTP proxy", func(k *talk) {
		k.say(0, "CONNECT pool.example:3333 HTTP/1.1\r\nHost: pool.example:3333\r\n\r\n")
		k.say(1, "HTTP/1.1 200 Connection established\r\n\r\n")
		k.say(0, `{"id":1,"method":"mining.subscribe","params":["bfgminer"]}`+"\n")
	},
		"stratum1 tcp request mining.subscribe agent=bfgminer",
	)
}

// webSocket frames a text.
func webSocket(text string, mask bool) string {
	b := []byte{0x81}
	flag := byte(0)
	if mask {
		flag = 0x80
	}
	if len(text) < 126 {
		b = append(b, flag|byte(len(text)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, flag|126), uint16(len(text)))
	}
	if !mask {
		return string(b) + text
	}
	key := []byte{1, 2, 3, 4}
	b = append(b, key...)
	for i := range len(text) {
		b = append(b, text[i]^key[i&3])
	}
	return string(b)
}

// TestOrdinarySpeechIsNoMining is the other half: what looks a little alike.
func TestOrdinarySpeechIsNoMining(t *testing.T) {
	f := func(name string, port int, say func(k *talk)) {
		t.Helper()
		w := newWire(t)
		k := w.talk("10.1.2.3", fmt.Sprintf("192.0.2.9:%d", port)).open()
		say(k)
		k.close()
		records := w.run()
		if got := of(records, "stratum"); len(got) > 0 {
			t.Errorf("%s gives %v", name, got)
		}
		if len(of(records, "conn")) != 1 {
			t.Errorf("%s: no conn record", name)
		}
	}
	rpc := func(body string) string {
		return fmt.Sprintf("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	for _, body := range []string{
		`{"jsonrpc":"1.0","id":"curltest","method":"getinfo","params":[]}`,
		`{"jsonrpc":"1.0","id":"curltest","method":"getbalance","params":["*",6]}`,
		`{"jsonrpc":"1.0","id":1,"method":"sendtoaddress","params":["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",0.1]}`,
		`{"jsonrpc":"1.0","id":1,"method":"getmininginfo","params":[]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}`,
		`{"jsonrpc":"2.0","id":1,"method":"login","params":{"login":"bob","pass":"x"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"submit","params":{"form":"a"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"job","params":{"job_id":"build-7","target":"amd64"}}`,
		`{"id":1,"method":"getwork","params":{"queue":"mail"}}`,
		`{"id":1,"method":"mining.subscribe","params":{"feed":"news about mining"}}`,
		`{"type":"auth","params":{"token":"t"}}`,
		`[{"id":1,"method":"system.listMethods","params":[]}]`,
		`{"text":"{\"method\":\"mining.subscribe\",\"params\":[]}"}`,
	} {
		f("HTTP "+body, 8332, func(k *talk) {
			k.say(0, rpc(body))
			k.say(1, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"result\":true}")
		})
		f("line "+body, 3333, func(k *talk) {
			k.say(0, body+"\n").say(1, `{"id":1,"result":true,"error":null}`+"\n")
		})
	}
	hashes := `["0x` + hash + `","0x` + hash + `","0x` + hash + `"]`
	f("an Ethereum node's filter", 8545, func(k *talk) {
		k.say(0, `{"id":7,"method":"eth_getFilterChanges","params":["0x1"]}`+"\n").say(1, `{"id":7,"result":`+hashes+`}`+"\n")
	})
	f("Bitcoin between peers", 8333, func(k *talk) {
		k.say(0, "\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00\x66\x00\x00\x00\x35\x8d\x49\x32"+strings.Repeat("\x00", 102))
		k.say(1, "\xf9\xbe\xb4\xd9verack\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x5d\xf6\xe0\xe2")
	})
	f("logs as JSON lines", 5000, func(k *talk) {
		for i := range 200 {
			k.say(0, fmt.Sprintf(`{"@timestamp":"2026-03-02T08:00:00Z","message":"line %d","job":"app","target":"x"}`+"\n", i))
		}
	})
	f("a chat over WebSocket", 80, func(k *talk) {
		k.say(0, "GET /chat HTTP/1.1\r\nHost: chat\r\nUpgrade: websocket\r\n\r\n").say(1, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		k.say(0, webSocket(`{"type":"submit","params":{"text":"hello"}}`, true)).say(1, webSocket(`{"type":"job","params":{"title":"janitor"}}`, false))
	})
	f("redis", 6379, func(k *talk) { k.say(0, "*1\r\n$4\r\nPING\r\n").say(1, "+PONG\r\n") })
	f("ssh", 22, func(k *talk) { k.say(1, "SSH-2.0-OpenSSH_9.2\r\n").say(0, "SSH-2.0-Go\r\n") })
}

func TestWallets(t *testing.T) {
	f := func(user, want string) {
		t.Helper()
		if got := walletCoin(user); got != want {
			t.Errorf("walletCoin(%q) = %q, want %q", user, got, want)
		}
	}
	f(walletXMR, "XMR")
	f(walletXMR+".lab3", "XMR")
	f(walletXMR+"+5000", "XMR")
	f(walletXMR[:94], "")
	f(walletETH+".rig", "ETH")
	f(walletETH+"0", "")
	f("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "BTC") // the first block's
	f("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "")    // its checksum broken
	f("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.x", "BTC")
	f("DOGE:"+walletETH+".x", "DOGE")
	f("bob", "")
	f("", "")
	f("::::", "")
}

// TestBusyMiner: the first messages, then one in a while, and the count goes on.
func TestBusyMiner(t *testing.T) {
	w := newWire(t)
	k := w.talk("10.1.2.3", "192.0.2.9:3333").open()
	for i := range 100 {
		k.say(1, fmt.Sprintf(`{"id":null,"method":"mining.notify","params":["%x"]}`+"\n", i))
		w.after(60e9)
	}
	records := of(w.run(), "stratum")
	var counts []int
	for _, r := range records {
		counts = append(counts, int(r["count"].(float64)))
	}
	want := []int{1, 2, 3, 4, 5, 15, 25, 35, 45, 55, 65, 75, 85, 95}
	if !slices.Equal(counts, want) {
		t.Errorf("counts of the records are %v, want %v", counts, want)
	}
}
