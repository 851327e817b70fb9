package mining

import (
	"net/netip"
	"strconv"
	"strings"

	"fengsui/rules/mining"
	"fengsui/schemas"
)

// command is what a command line was seen to hold.
type command struct {
	evidence  schemas.MiningEvidence
	url       bool // a URL of a miner's scheme
	option    bool // an option that only miners have
	pool      bool // a server of a listed pool
	endpoint  bool // host:port as the value of a pool option
	algorithm bool
	coin      bool
	wallet    bool
}

// commandLine looks at a command line of Unix or Windows: at its program and at
// the arguments that miners have. A miner's name as an argument (of a package
// manager, an editor) is nothing.
func (f *finder) commandLine(line string) {
	line = cut(line, maxCommand)
	var c command
	var value mining.ValueOption // what the next word is
	program := true              // whether the next word is a program
	for word := range strings.FieldsSeq(line) {
		ends := strings.HasSuffix(word, ";") || strings.HasSuffix(word, "&") || strings.HasSuffix(word, "|")
		word = strings.Trim(word, "\"'`;&|()")
		switch {
		case value != 0 && word != "" && word[0] != '-':
			f.optionValue(&c, value, word)
			value = 0
		case strings.HasPrefix(word, "-"):
			value = f.option(&c, word)
		case program && launchers[strings.ToLower(base(word))] || program && strings.Contains(word, "=") || word == "":
		default:
			value = 0
			if program && f.k.Process(word) != "" {
				f.add(schemas.MiningEvidence{Kind: schemas.MinerProcess, Detail: word, Weight: weightProcess})
			}
			// After an option of a launcher (timeout 60, nice -n 19) comes the program.
			if _, err := strconv.Atoi(word); err != nil {
				program = false
			}
			f.argument(&c, word)
		}
		if ends || word == "" {
			program = true
		}
	}
	if weight := c.weight(); weight > 0 {
		e := c.evidence
		e.Kind, e.Weight = schemas.MinerCommandLine, weight
		e.Detail = line
		f.add(e)
	}
}

// launchers are programs that start the program named after them.
var launchers = map[string]bool{
	"sudo": true, "nohup": true, "setsid": true, "nice": true, "ionice": true, "taskset": true, "timeout": true, "screen": true, "tmux": true,
	"exec": true, "env": true, "sh": true, "bash": true, "dash": true, "start": true, "cmd": true, "cmd.exe": true, "/c": true, "/b": true, "/k": true,
	"powershell": true, "powershell.exe": true,
}

func base(program string) string { return program[strings.LastIndexAny(program, `/\`)+1:] }

// weight is what the arguments say together. One that other programs might have
// says little alone.
func (c *command) weight() float64 {
	switch {
	case c.url || c.pool && (c.wallet || c.endpoint || c.algorithm):
		return weightCommand
	case c.option || c.pool:
		return weightProcess
	case c.wallet && (c.endpoint || c.algorithm || c.coin), c.algorithm && c.endpoint:
		return weightCommand
	case c.algorithm && c.coin, c.coin && c.endpoint:
		return weightCommandHint
	case c.algorithm:
		return weightWeak
	}
	return 0
}

// option looks at one option and says what its value will be.
func (f *finder) option(c *command, word string) mining.ValueOption {
	name, value, has := strings.Cut(strings.TrimLeft(word, "-"), "=")
	name = strings.ToLower(name)
	if f.k.Option(name) {
		c.option = true
		return 0
	}
	kind := f.k.ValueOption(name)
	if kind != 0 && has {
		f.optionValue(c, kind, strings.Trim(value, `"'`))
		return 0
	}
	return kind
}

func (f *finder) optionValue(c *command, kind mining.ValueOption, value string) {
	switch kind {
	case mining.AlgorithmOption:
		if name := strings.ToLower(value); f.k.Algorithm(name) {
			c.algorithm = true
			if c.evidence.Coin == "" {
				c.evidence.Coin = algorithmCoin(name)
			}
		}
	case mining.CoinOption:
		if coin := f.k.Coin(value); coin != "" {
			c.coin, c.evidence.Coin = true, coin
		}
	case mining.PoolOption:
		f.argument(c, value)
		if host, port := hostPort(value); port != 0 && !c.pool && !strings.Contains(value, "://") {
			c.endpoint = true
			if c.evidence.Pool == "" {
				c.evidence.Pool, c.evidence.Port = host, port
			}
		} else if port != 0 {
			c.endpoint = true
		}
	case mining.UserOption:
		c.evidence.Wallet = value
		if coin := walletCoin(value); coin != "" {
			c.wallet = true
			if c.evidence.Coin == "" {
				c.evidence.Coin = coin
			}
		}
	}
}

// argument looks at a word by itself: a pool's URL or host.
func (f *finder) argument(c *command, word string) {
	if !strings.ContainsAny(word, ".:") {
		return
	}
	scheme, rest, ok := strings.Cut(word, "://")
	if !ok {
		rest = word
	}
	host, port := hostPort(rest)
	pool, known := f.k.Host(host)
	if ok && f.k.Scheme(strings.ToLower(scheme)) {
		c.url = true
		c.evidence.Pool, c.evidence.Port, c.evidence.Coin = f.poolName(host), port, pool.Coin
		return
	}
	if !known || pool.Class == mining.Page || pool.Class == mining.Apex && pagePort(port) {
		return
	}
	c.pool = true
	c.evidence.Pool, c.evidence.Port = pool.Name, port
	if pool.Coin != "" {
		c.evidence.Coin = pool.Coin
	}
}

// algorithmCoin is the coin that an algorithm is nearly always mined for.
func algorithmCoin(algorithm string) string {
	switch algorithm {
	case "rx/0", "randomx", "cn/r", "cryptonight":
		return "XMR"
	case "etchash":
		return "ETC"
	case "kawpow":
		return "RVN"
	case "autolykos", "autolykos2":
		return "ERG"
	case "kheavyhash":
		return "KAS"
	}
	return ""
}

// hostPort takes host and port out of a URL, an authority or "host:port". The
// port is 0 where there is none.
func hostPort(s string) (host string, port int) {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	s = s[strings.LastIndexByte(s, '@')+1:]
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().String(), int(ap.Port())
	}
	host, digits, ok := strings.Cut(s, ":")
	if !ok {
		return host, 0
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return host, 0
	}
	return host, int(n)
}

// walletCoin is the coin of a text that has a wallet's shape, with or without a
// worker's name behind it; "" when it has none. The shapes are those of Monero's
// standard and integrated addresses, Bitcoin's (BIP 173 and Base58Check) and
// Ethereum's.
func walletCoin(s string) string {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && i < 8 { // unMineable's "COIN:wallet"
		s = s[i+1:]
	}
	if i := strings.IndexAny(s, "./+:#"); i >= 0 {
		s = s[:i]
	}
	switch n := len(s); {
	case (n == 95 || n == 106) && (s[0] == '4' || s[0] == '8') && all(s, base58):
		return "XMR"
	case n == 42 && strings.HasPrefix(s, "0x") && all(s[2:], hexDigits):
		return "ETH"
	case n >= 42 && n <= 62 && strings.HasPrefix(s, "bc1") && all(s[3:], bech32):
		return "BTC"
	case n >= 26 && n <= 35 && (s[0] == '1' || s[0] == '3') && all(s, base58):
		return "BTC"
	}
	return ""
}

const (
	base58    = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	bech32    = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	hexDigits = "0123456789abcdefABCDEF"
)

func all(s, alphabet string) bool {
	for i := range len(s) {
		if strings.IndexByte(alphabet, s[i]) < 0 {
			return false
		}
	}
	return true
}
