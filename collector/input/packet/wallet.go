package packet

import (
	"crypto/sha256"
	"math/big"
	"strings"
)

const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// walletCoin tells from a miner's user name, "wallet.worker" as a rule, which
// coin the wallet belongs to; "" where it is none, or one of several coins'.
func walletCoin(user string) string {
	coin, rest, named := strings.Cut(user, ":")
	if named {
		switch coin {
		case "kaspa":
			return "KAS"
		case "bitcoincash":
			return "BCH"
		}
		if len(coin) >= 2 && len(coin) <= 6 && strings.ToUpper(coin) == coin && walletCoin(rest) != "" {
			return coin // as pools that pay in another coin want it
		}
	}
	wallet := user
	if i := strings.IndexAny(wallet, ".+/@:"); i >= 0 {
		wallet = wallet[:i]
	}
	switch {
	case len(wallet) == 42 && is0xHex(wallet):
		return "ETH"
	case (len(wallet) == 95 && (wallet[0] == '4' || wallet[0] == '8') || len(wallet) == 106 && wallet[0] == '4') && isBase58(wallet):
		return "XMR"
	case isBech32(wallet, "bc1"):
		return "BTC"
	case isBech32(wallet, "ltc1"):
		return "LTC"
	case len(wallet) >= 26 && len(wallet) <= 36:
		return base58CheckCoin(wallet)
	}
	return ""
}

func isBase58(s string) bool {
	for i := range len(s) {
		if strings.IndexByte(base58, s[i]) < 0 {
			return false
		}
	}
	return true
}

// isBech32 checks the shape of BIP 173's addresses, not their checksum.
func isBech32(s, prefix string) bool {
	data, ok := strings.CutPrefix(s, prefix)
	if !ok || len(data) < 38 || len(data) > 72 {
		return false
	}
	for i := range len(data) {
		if strings.IndexByte("qpzry9x8gf2tvdw0s3jn54khce6mua7l", data[i]) < 0 {
			return false
		}
	}
	return true
}

// base58CheckCoin decodes an address with Bitcoin's checksum and names the coin
// that its version byte belongs to.
func base58CheckCoin(s string) string {
	if !isBase58(s) {
		return ""
	}
	n, radix := new(big.Int), big.NewInt(58)
	for i := range len(s) {
		n.Mul(n, radix)
		n.Add(n, big.NewInt(int64(strings.IndexByte(base58, s[i]))))
	}
	raw := n.Bytes()
	var b []byte
	switch {
	case len(raw) <= 25:
		b = make([]byte, 25)
	case len(raw) == 26:
		b = make([]byte, 26)
	default:
		return ""
	}
	copy(b[len(b)-len(raw):], raw)
	body := b[:len(b)-4]
	once := sha256.Sum256(body)
	twice := sha256.Sum256(once[:])
	if string(twice[:4]) != string(b[len(b)-4:]) {
		return ""
	}
	if len(b) == 26 { // two version bytes
		if b[0] == 0x1c && (b[1] == 0xb8 || b[1] == 0xbd) {
			return "ZEC"
		}
		return ""
	}
	switch b[0] {
	case 0x00, 0x05:
		return "BTC"
	case 0x30, 0x32:
		return "LTC"
	case 0x1e, 0x16:
		return "DOGE"
	case 0x4c, 0x10:
		return "DASH"
	case 0x3c, 0x7a:
		return "RVN"
	}
	return ""
}
