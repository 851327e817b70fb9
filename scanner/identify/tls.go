package identify

import (
	"bytes"
	"context"
	"crypto/dsa" //nolint:staticcheck // old certificates have such keys
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/tjfoc/gmsm/sm2"
	gmx509 "github.com/tjfoc/gmsm/x509"

	"fengsui/schemas"
)

const (
	maxNames  = 100 // of a certificate
	maxChain  = 8
	maxRSA    = 8192 // bits of a key whose signature is looked at
	maxFlight = 64 << 10
)

// tlsConfig takes whatever a server offers: the certificate is looked at, not
// trusted, and an old cipher is a finding, not a reason to see nothing.
var tlsConfig = func() *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10} //nolint:gosec // see above
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		c.CipherSuites = append(c.CipherSuites, s.ID)
	}
	return c
}()

// secure makes a handshake on a connection, naming the host where its name is
// known.
func (t *Target) secure(ctx context.Context, c net.Conn) (*tls.Conn, error) {
	config := tlsConfig
	if t.Name != "" {
		config = config.Clone()
		config.ServerName = t.Name
	}
	inner := tls.Client(c, config)
	if err := inner.HandshakeContext(ctx); err != nil {
		return nil, err // never shown: "this is no TLS" is all it says
	}
	return inner, nil
}

// tryTLS makes a handshake and then looks at what is inside.
func tryTLS(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	foreign := false // TLS, but none that crypto/tls finishes
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		inner, err := t.secure(ctx, c)
		if err != nil {
			foreign = speaksTLS(err)
			return
		}
		seen := certificate(inner.ConnectionState())
		s = t.insideTLS(inner)
		s.TLS = seen
	})
	if s == nil && err == nil && foreign {
		s, err = t.foreignTLS(ctx)
	}
	if s != nil && s.HTTP != nil {
		t.web(ctx, s)
	}
	return s, silent, err
}

// speaksTLS says whether a handshake failed on something that is TLS.
func speaksTLS(err error) bool {
	var notTLS tls.RecordHeaderError
	if errors.As(err, &notTLS) {
		return false
	}
	var alert tls.AlertError
	text := err.Error()
	return errors.As(err, &alert) || strings.HasPrefix(text, "tls: ") || strings.HasPrefix(text, "remote error: tls: ")
}

// insideTLSPorts is what TLS is usually around there; elsewhere it is HTTP.
var insideTLSPorts = map[int]string{
	465: "banner", 990: "banner", 992: "banner", 993: "banner", 995: "banner", 636: "ldaps", 853: "domain-s", 5671: "amqps", 8883: "secure-mqtt",
}

var secureNames = map[string]string{"ftp": "ftps", "smtp": "submissions", "pop3": "pop3s", "imap": "imaps", "telnet": "telnets"}

// insideTLS identifies what speaks inside TLS.
func (t *Target) insideTLS(c *tls.Conn) *schemas.Service {
	_ = c.SetDeadline(time.Now().Add(probeWait))
	var greeting []byte
	switch inside := insideTLSPorts[t.Port]; inside {
	case "banner":
		greeting = readSome(c)
	case "amqps":
		if s := askAMQP(c); s != nil {
			s.Name = inside
			return s
		}
	case "secure-mqtt":
		if s := askMQTT(c); s != nil {
			s.Name = inside
			return s
		}
	case "":
		var s *schemas.Service
		if s, greeting = t.askHTTP(c); s != nil {
			s.Name = "https"
			return s
		}
	default:
		return &schemas.Service{Name: inside} // the port's own name must do
	}
	if s := bannerService(greeting, t.Port); s != nil {
		if n := secureNames[s.Name]; n != "" {
			s.Name = n
		}
		return s
	}
	return &schemas.Service{Name: "ssl"}
}

// foreignTLS looks at a server that crypto/tls cannot finish a handshake with:
// it speaks TLCP or SSLv3 alone, its certificate has an SM2 key, or it wants a
// certificate of ours. Up to TLS 1.2 its own comes in clear.
func (t *Target) foreignTLS(ctx context.Context) (s *schemas.Service, err error) {
	for _, v := range []uint16{versionTLS12, versionTLCP, versionTLS11, versionTLS10, versionSSL3, versionTLS13} {
		_, err := t.with(ctx, probeWait, func(c net.Conn) {
			if _, err := c.Write(helloFor(v, t.Name).bytes()); err != nil {
				return
			}
			hello, chain := readFlight(c)
			if hello.version != v {
				return
			}
			s = &schemas.Service{Name: "ssl", TLS: &schemas.TLS{Version: versionNames[v], Cipher: suiteName(hello.suite)}}
			describeChain(s.TLS, chain)
		})
		if s != nil || err != nil {
			return s, err
		}
	}
	return nil, nil
}

// tlcpSuites is named as GB/T 38636-2020 does.
var tlcpSuites = map[uint16]string{
	0xe011: "ECDHE_SM4_CBC_SM3", 0xe051: "ECDHE_SM4_GCM_SM3", 0xe013: "ECC_SM4_CBC_SM3", 0xe053: "ECC_SM4_GCM_SM3",
	0xe019: "RSA_SM4_CBC_SM3", 0xe059: "RSA_SM4_GCM_SM3", 0xe01c: "RSA_SM4_CBC_SHA256", 0xe05c: "RSA_SM4_GCM_SHA256",
}

func suiteName(id uint16) string {
	if n := tlcpSuites[id]; n != "" {
		return n
	}
	return tls.CipherSuiteName(id)
}

// readFlight reads the ServerHello and the certificates after it.
func readFlight(c net.Conn) (hello serverHello, chain [][]byte) {
	var messages []byte
	for len(messages) < maxFlight {
		r := readRecord(c)
		if len(r) < 5 || r[0] != 22 {
			break
		}
		messages = append(messages, r[5:]...)
		var done bool
		if hello, chain, done = parseFlight(messages); done {
			break
		}
	}
	return hello, chain
}

// parseFlight reads handshake messages. done says that there is nothing more to
// be had.
func parseFlight(m []byte) (hello serverHello, chain [][]byte, done bool) {
	for len(m) >= 4 {
		size := int(m[1])<<16 | int(m[2])<<8 | int(m[3])
		if len(m) < 4+size {
			return hello, chain, size > maxFlight
		}
		body := m[4 : 4+size]
		switch m[0] {
		case 2:
			h, err := parseServerHello(append([]byte{22, 3, 3, 0, 0}, m[:4+size]...))
			if err != nil {
				return hello, chain, true
			}
			hello = h
		case 11:
			return hello, parseCertificates(body), true
		default:
			return hello, chain, true
		}
		m = m[4+size:]
	}
	return hello, chain, false
}

func parseCertificates(b []byte) (chain [][]byte) {
	if len(b) < 3 {
		return nil
	}
	b = b[3:]
	for len(b) >= 3 && len(chain) <= maxChain {
		n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		if len(b) < 3+n {
			break
		}
		chain = append(chain, b[3:3+n])
		b = b[3+n:]
	}
	return chain
}

// certificate is what a handshake showed.
func certificate(state tls.ConnectionState) *schemas.TLS {
	out := &schemas.TLS{
		Version: strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1),
		Cipher:  tls.CipherSuiteName(state.CipherSuite),
	}
	var chain [][]byte
	for _, c := range state.PeerCertificates {
		chain = append(chain, c.Raw)
	}
	describeChain(out, chain)
	return out
}

// x is a certificate as far as it is of interest.
type x struct {
	subject, issuer     pkix.Name
	names               []string
	ips                 []net.IP
	notBefore, notAfter time.Time
	serial              *big.Int
	key                 string
	selfSigned          bool
}

// describeChain notes the first certificate and, shorter, the others. What
// cannot be read has its hash alone.
func describeChain(out *schemas.TLS, chain [][]byte) {
	for i, raw := range chain[:min(len(chain), maxChain+1)] {
		sum := sha256.Sum256(raw)
		hash := hex.EncodeToString(sum[:])
		c, ok := parseCertificate(raw)
		if i > 0 {
			if ok {
				out.Chain = append(out.Chain, schemas.Certificate{
					Subject: nameText(c.subject), Issuer: nameText(c.issuer), NotAfter: c.notAfter.UTC(), SHA256: hash,
				})
			}
			continue
		}
		out.SHA256 = hash
		if !ok {
			continue
		}
		out.Subject, out.Issuer = nameText(c.subject), nameText(c.issuer)
		out.NotBefore, out.NotAfter = c.notBefore.UTC(), c.notAfter.UTC()
		out.Key, out.SelfSigned = c.key, c.selfSigned
		if c.serial != nil {
			out.Serial = printable(fmt.Appendf(nil, "%x", c.serial), 64, "")
		}
		for _, name := range c.names {
			out.Names = append(out.Names, printable([]byte(strings.ToLower(name)), 255, ""))
		}
		for _, ip := range c.ips {
			if a, ok := netip.AddrFromSlice(ip); ok {
				out.Names = append(out.Names, a.Unmap().String())
			}
		}
		out.Names = out.Names[:min(len(out.Names), maxNames)]
	}
}

func nameText(n pkix.Name) string { return Printable([]byte(n.String())) }

// parseCertificate reads a certificate of any kind that Go knows, or with an SM2
// key.
func parseCertificate(raw []byte) (out x, ok bool) {
	if c, err := x509.ParseCertificate(raw); err == nil {
		out = x{c.Subject, c.Issuer, c.DNSNames, c.IPAddresses, c.NotBefore, c.NotAfter, c.SerialNumber, keyText(c.PublicKey), false}
		out.selfSigned = bytes.Equal(c.RawSubject, c.RawIssuer) && signedItself(c)
		return out, true
	}
	// That parser was not made for hostile certificates.
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	c, err := gmx509.ParseCertificate(raw)
	if err != nil {
		return out, false
	}
	out = x{c.Subject, c.Issuer, c.DNSNames, c.IPAddresses, c.NotBefore, c.NotAfter, c.SerialNumber, keyText(c.PublicKey), false}
	out.selfSigned = bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
	return out, true
}

// signedItself says whether a certificate's signature is by its own key. Of one
// with an algorithm that is no longer checked the name is believed.
func signedItself(c *x509.Certificate) bool {
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSA {
		return true
	}
	err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	var insecure x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &insecure) || errors.Is(err, x509.ErrUnsupportedAlgorithm)
}

func keyText(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		if k.Curve == sm2.P256Sm2() {
			return "SM2"
		}
		return "ECDSA " + k.Curve.Params().Name
	case *sm2.PublicKey:
		return "SM2"
	case ed25519.PublicKey:
		return "Ed25519"
	case *dsa.PublicKey:
		return fmt.Sprintf("DSA %d", k.P.BitLen())
	}
	return ""
}
