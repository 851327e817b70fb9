// Package gm is commercial cryptography (商用密码) as the other packages use it:
// the block cipher SM4 (GB/T 32907-2016, GM/T 0002-2012), the digest SM3
// (GB/T 32905-2016, GM/T 0004-2012) and HMAC over it. The primitives are those
// of tjfoc/gmsm; modes are the standard library's. It never uses gmsm's own
// modes, of which one initialisation vector for the whole program and a padding
// that panics on short input are known, and it holds no keys.
package gm

import (
	"crypto/cipher"
	"crypto/hmac"
	"fmt"
	"hash"
	"sync"

	"github.com/tjfoc/gmsm/sm3"
	"github.com/tjfoc/gmsm/sm4"
)

// Sizes in bytes.
const (
	SM4KeySize   = 16
	SM4BlockSize = 16
	SM3Size      = 32
)

// NewSM4 makes the block cipher with a key of 16 bytes. Unlike gmsm's it may be
// used by several goroutines at once: that one computes in memory of its own.
func NewSM4(key []byte) (cipher.Block, error) {
	first, err := sm4.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("gm: an SM4 key of %d bytes, not %d", len(key), SM4KeySize)
	}
	own := append([]byte(nil), key...)
	b := &block{}
	b.idle.New = func() any {
		c, err := sm4.NewCipher(own)
		if err != nil {
			panic(err) // the same key was good before
		}
		return c
	}
	b.idle.Put(first)
	return b, nil
}

// block gives each goroutine a cipher of its own for the time of one block.
type block struct {
	idle sync.Pool // of cipher.Block
}

func (b *block) BlockSize() int { return SM4BlockSize }

func (b *block) Encrypt(dst, src []byte) {
	c := b.of(dst, src)
	c.Encrypt(dst[:SM4BlockSize], src[:SM4BlockSize])
	b.idle.Put(c)
}

func (b *block) Decrypt(dst, src []byte) {
	c := b.of(dst, src)
	c.Decrypt(dst[:SM4BlockSize], src[:SM4BlockSize])
	b.idle.Put(c)
}

func (b *block) of(dst, src []byte) cipher.Block {
	if len(dst) < SM4BlockSize || len(src) < SM4BlockSize {
		panic("gm: less than a block of SM4") // as the standard library's ciphers do
	}
	return b.idle.Get().(cipher.Block)
}

// NewSM3 makes the digest. It keeps hash.Hash's promise for Sum, which gmsm's
// breaks: that one adds its argument to what is digested, and returns the digest
// without it.
func NewSM3() hash.Hash { return digest{sm3.New()} }

type digest struct{ hash.Hash }

func (d digest) Sum(b []byte) []byte { return append(b, d.Hash.Sum(nil)...) }

// SumSM3 is the digest of a text.
func SumSM3(text []byte) (sum [SM3Size]byte) {
	d := NewSM3()
	_, _ = d.Write(text)
	d.Sum(sum[:0])
	return sum
}

// NewHMAC is HMAC (RFC 2104, GB/T 15852.2) with SM3.
func NewHMAC(key []byte) hash.Hash { return hmac.New(NewSM3, key) }
