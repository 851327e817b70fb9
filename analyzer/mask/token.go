package mask

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"

	"fengsui/internal/gm"
)

// A token is text of letters, digits and hyphens, fit for JSON, SQL, addresses
// and searches:
//
//	masked-phone-<base32 of: n | key id | IV | ciphertext>
//
// with n the length of the value in one byte, four bytes of key id, an IV of 16
// bytes that is computed from class and value, and the value under SM4 in counter
// mode with that IV. So equal values of a class have equal tokens under one key.
const (
	tokenPrefix = "masked-"
	ivSize      = 16
	idSize      = 4
	headSize    = 1 + idSize + ivSize
	maxSealed   = 255
)

// base32 in lower case has neither 0, 1, 8 nor 9: no token holds a date or a
// phone number.
var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Key opens and makes tokens. It is safe for concurrent use, and writes itself
// as its id only.
type Key struct {
	id    [idSize]byte
	block cipher.Block
	macs  sync.Pool // of hash.Hash
}

// keyPrefix begins the text of a key.
const keyPrefix = "fengsui-mask-1 "

const secretSize = 32

// NewKeyText makes a key: one line of text, to be kept secret.
func NewKeyText() string {
	var secret [secretSize]byte
	_, _ = rand.Read(secret[:]) // never fails
	return keyPrefix + hex.EncodeToString(secret[:]) + "\n"
}

// ParseKey reads the text of a key. Errors do not repeat it.
func ParseKey(text string) (*Key, error) {
	coded, ok := strings.CutPrefix(strings.TrimSpace(text), keyPrefix)
	if !ok {
		return nil, fmt.Errorf("no key: it does not begin with %q", strings.TrimSpace(keyPrefix))
	}
	secret, err := hex.DecodeString(coded)
	if err != nil || len(secret) != secretSize {
		return nil, fmt.Errorf("no key: after %q stand %d hexadecimal digits", strings.TrimSpace(keyPrefix), 2*secretSize)
	}
	derive := func(purpose string) []byte {
		m := gm.NewHMAC(secret)
		_, _ = m.Write([]byte("fengsui mask 1 " + purpose))
		return m.Sum(nil)
	}
	k := &Key{}
	copy(k.id[:], derive("id"))
	if k.block, err = gm.NewSM4(derive("encryption")[:gm.SM4KeySize]); err != nil {
		return nil, err
	}
	mac := derive("iv")
	k.macs.New = func() any { return gm.NewHMAC(mac) }
	return k, nil
}

// ID tells keys apart; it says nothing of the secret.
func (k *Key) ID() string { return hex.EncodeToString(k.id[:]) }

// String is for logs.
func (k *Key) String() string { return "mask key " + k.ID() }

// iv is computed from class and value, and is what a token is checked by.
func (k *Key) iv(dst []byte, c Class, value []byte) []byte {
	m := k.macs.Get().(hash.Hash)
	m.Reset()
	_, _ = m.Write([]byte(classNames[c]))
	_, _ = m.Write([]byte{0})
	_, _ = m.Write(value)
	dst = m.Sum(dst)[:len(dst)+ivSize]
	k.macs.Put(m)
	return dst
}

// seal appends the token of a value of at most maxSealed bytes.
func (k *Key) seal(dst []byte, c Class, value string) []byte {
	raw := make([]byte, 0, headSize+gm.SM3Size+len(value))
	raw = append(append(raw, byte(len(value))), k.id[:]...)
	raw = k.iv(raw, c, []byte(value))
	body := append(raw, value...)
	cipher.NewCTR(k.block, raw[1+idSize:headSize]).XORKeyStream(body[headSize:], body[headSize:])
	dst = append(append(append(dst, tokenPrefix...), classNames[c]...), '-')
	return encoding.AppendEncode(dst, body)
}

// Keyring opens the tokens of several keys.
type Keyring map[[idSize]byte]*Key

// NewKeyring holds the keys.
func NewKeyring(keys ...*Key) Keyring {
	r := Keyring{}
	for _, k := range keys {
		r[k.id] = k
	}
	return r
}

// What can be wrong with a token.
var (
	ErrNoToken  = errors.New("no token")
	ErrOtherKey = errors.New("a token of another key")
	ErrForged   = errors.New("a token that its key did not make")
)

// Open is the value of a token and its class.
func (r Keyring) Open(token string) (value string, c Class, err error) {
	c, body, ok := cutToken(token)
	if !ok || len(tokenPrefix)+len(classNames[c])+1+len(body) != len(token) {
		return "", 0, ErrNoToken
	}
	raw, err := encoding.DecodeString(body)
	if err != nil {
		return "", 0, ErrNoToken
	}
	k := r[[idSize]byte(raw[1:])]
	if k == nil {
		return "", 0, fmt.Errorf("%w, %x", ErrOtherKey, raw[1:1+idSize])
	}
	iv, text := raw[1+idSize:headSize], raw[headSize:]
	cipher.NewCTR(k.block, iv).XORKeyStream(text, text)
	if subtle.ConstantTimeCompare(iv, k.iv(nil, c, text)) != 1 {
		return "", 0, ErrForged
	}
	return string(text), c, nil
}

// OpenText opens all tokens in a text, and says how many it opened and how many
// it had to leave.
func (r Keyring) OpenText(s string) (text string, opened, left int) {
	var out strings.Builder
	at := 0
	for _, t := range tokensIn(s) {
		value, _, err := r.Open(s[t.From:t.To])
		if err != nil {
			left++
			continue
		}
		opened++
		out.WriteString(s[at:t.From])
		out.WriteString(value)
		at = t.To
	}
	if opened == 0 {
		return s, 0, left
	}
	out.WriteString(s[at:])
	return out.String(), opened, left
}

// cutToken reads the token that a text begins with: its class, and its body in
// base32.
func cutToken(s string) (c Class, body string, ok bool) {
	s, ok = strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return 0, "", false
	}
	for i, name := range classNames {
		rest, ok := strings.CutPrefix(s, name+"-")
		if !ok {
			continue
		}
		var first [1]byte
		if len(rest) < 2 {
			return 0, "", false
		}
		if n, err := encoding.Decode(first[:], []byte(rest[:2])); err != nil || n != 1 {
			return 0, "", false
		}
		length := encoding.EncodedLen(headSize + int(first[0]))
		if len(rest) < length {
			return 0, "", false
		}
		for j := range length {
			if c := rest[j]; c-'a' > 25 && c-'2' > 5 {
				return 0, "", false
			}
		}
		return Class(i), rest[:length], true //nolint:gosec // a few
	}
	return 0, "", false
}

// tokensIn are the tokens in a text, in order.
func tokensIn(s string) []Found {
	var out []Found
	for at := 0; ; {
		i := strings.Index(s[at:], tokenPrefix)
		if i < 0 {
			return out
		}
		at += i
		c, body, ok := cutToken(s[at:])
		if !ok {
			at += len(tokenPrefix)
			continue
		}
		to := at + len(tokenPrefix) + len(classNames[c]) + 1 + len(body)
		out = append(out, Found{c, at, to})
		at = to
	}
}
