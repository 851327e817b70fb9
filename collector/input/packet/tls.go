package packet

import (
	"bytes"
	"crypto/md5" //nolint:gosec // JA3 is defined by it
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// TLS record and handshake types (RFC 8446).
const (
	recordChangeCipher = 20
	recordAlert        = 21
	recordHandshake    = 22
	recordData         = 23

	helloClient       = 1
	helloServer       = 2
	msgCertificate    = 11
	msgServerKey      = 12
	extServerName     = 0
	extGroups         = 10
	extPointFormats   = 11
	extSigAlgs        = 13
	extALPN           = 16
	extPreSharedKey   = 41
	extVersions       = 43
	extKeyShare       = 51
	versionTLS13      = 0x0304
	versionTLCP       = 0x0101 // GB/T 38636, China's own
	maxRecord         = 16384 + 2048
	maxHandshake      = 64 << 10 // of messages in the clear in one direction
	maxCertificates   = 16
	maxNamesOfSubject = 32
)

// helloRetry is the random of a ServerHello that only asks for another
// ClientHello (RFC 8446 4.1.3).
var helloRetry = []byte{
	0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91,
	0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
}

// tlsHalf is what one side has said of a handshake.
type tlsHalf struct {
	messages []byte // handshake bytes of records, until a message is whole
	total    int    // all of them so far
	cipher   bool   // has changed to the agreed keys
	data     bool   // has sent something under them
}

// sslSession becomes one ssl record.
type sslSession struct {
	at        int64
	client    *clientHello
	server    *serverHello
	curve     uint16
	certs     [][]byte
	certBytes int
	key       bool // a ServerKeyExchange was seen
	alert     string
	settled   bool // both sides speak under the agreed keys
	written   bool
}

// clientHello is what JA3, JA4 and the record need of a ClientHello.
type clientHello struct {
	version    uint16
	versions   []uint16
	session    []byte
	ciphers    []uint16
	extensions []uint16
	groups     []uint16
	points     []byte
	sigAlgs    []uint16
	alpn       []string
	serverName string
	hasSNI     bool
}

// serverHello is likewise of a ServerHello.
type serverHello struct {
	version    uint16 // as negotiated
	legacy     uint16 // as in the header, which JA3S uses
	session    []byte
	cipher     uint16
	extensions []uint16
	group      uint16
	alpn       string
	retry      bool
	psk        bool
}

// reader takes big-endian values from a slice; once it has run out everything
// that it gives is empty and bad is true.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if r.bad || n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) num(n int) (v int) {
	for _, c := range r.bytes(n) {
		v = v<<8 | int(c)
	}
	return v
}

func (r *reader) u16() uint16 { return uint16(r.num(2)) } //nolint:gosec // two bytes

// vector is a value with its length in n bytes before it.
func (r *reader) vector(n int) reader {
	b := r.bytes(r.num(n))
	return reader{b: b, bad: r.bad}
}

func (r *reader) u16s() (vs []uint16) {
	for len(r.b) >= 2 {
		vs = append(vs, r.u16())
	}
	return vs
}

var errHello = errors.New("hello is cut off or contradicts itself")

// parseClientHello reads the body of a ClientHello (RFC 8446 4.1.2).
func parseClientHello(b []byte) (*clientHello, error) {
	r := reader{b: b}
	h := &clientHello{version: r.u16()}
	r.bytes(32)
	session := r.vector(1)
	h.session = session.b
	ciphers := r.vector(2)
	h.ciphers = ciphers.u16s()
	r.vector(1) // compression
	if r.bad {
		return nil, errHello
	}
	if len(r.b) == 0 {
		return h, nil
	}
	extensions := r.vector(2)
	for len(extensions.b) > 0 {
		typ := extensions.u16()
		body := extensions.vector(2)
		if extensions.bad {
			return nil, errHello
		}
		h.extensions = append(h.extensions, typ)
		h.extension(typ, body)
	}
	if r.bad {
		return nil, errHello
	}
	return h, nil
}

// extension reads what is needed of an extension. One that contradicts itself
// says nothing; the hello counts all the same.
func (h *clientHello) extension(typ uint16, body reader) {
	switch typ {
	case extServerName:
		h.hasSNI = true
		list := body.vector(2)
		for len(list.b) > 0 {
			kind, name := list.num(1), list.vector(2)
			if kind == 0 && h.serverName == "" {
				h.serverName = string(name.b)
			}
		}
	case extGroups:
		list := body.vector(2)
		h.groups = list.u16s()
	case extPointFormats:
		list := body.vector(1)
		h.points = list.b
	case extSigAlgs:
		list := body.vector(2)
		h.sigAlgs = list.u16s()
	case extVersions:
		list := body.vector(1)
		h.versions = list.u16s()
	case extALPN:
		list := body.vector(2)
		for len(list.b) > 0 {
			name := list.vector(1)
			h.alpn = append(h.alpn, string(name.b))
		}
	}
}

func parseServerHello(b []byte) (*serverHello, error) {
	r := reader{b: b}
	h := &serverHello{legacy: r.u16()}
	h.version = h.legacy
	h.retry = bytes.Equal(r.bytes(32), helloRetry)
	session := r.vector(1)
	h.session = session.b
	h.cipher = r.u16()
	r.num(1)
	if r.bad {
		return nil, errHello
	}
	if len(r.b) == 0 {
		return h, nil
	}
	extensions := r.vector(2)
	for len(extensions.b) > 0 {
		typ := extensions.u16()
		body := extensions.vector(2)
		if extensions.bad {
			return nil, errHello
		}
		h.extensions = append(h.extensions, typ)
		switch typ {
		case extVersions:
			h.version = body.u16()
		case extKeyShare:
			h.group = body.u16()
		case extPreSharedKey:
			h.psk = true
		case extALPN:
			list := body.vector(2)
			name := list.vector(1)
			h.alpn = string(name.b)
		}
	}
	if r.bad {
		return nil, errHello
	}
	return h, nil
}

// isGREASE says whether a value only tests that unknown ones are tolerated
// (RFC 8701).
func isGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

func withoutGREASE(vs []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(vs), isGREASE)
}

func joinDecimal(vs []uint16) string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = strconv.Itoa(int(v))
	}
	return strings.Join(parts, "-")
}

func joinHex(vs []uint16) string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = fmt.Sprintf("%04x", v)
	}
	return strings.Join(parts, ",")
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // as the specification says
	return hex.EncodeToString(sum[:])
}

// ja3 is the fingerprint of https://github.com/salesforce/ja3.
func (h *clientHello) ja3() string {
	points := make([]uint16, len(h.points))
	for i, p := range h.points {
		points[i] = uint16(p)
	}
	return md5Hex(strings.Join([]string{
		strconv.Itoa(int(h.version)),
		joinDecimal(withoutGREASE(h.ciphers)),
		joinDecimal(withoutGREASE(h.extensions)),
		joinDecimal(withoutGREASE(h.groups)),
		joinDecimal(points),
	}, ","))
}

func (h *serverHello) ja3s() string {
	return md5Hex(strconv.Itoa(int(h.legacy)) + "," + strconv.Itoa(int(h.cipher)) + "," + joinDecimal(h.extensions))
}

// ja4 is the fingerprint of https://github.com/FoxIO-LLC/ja4
// (technical_details/JA4.md) for TLS over TCP.
func (h *clientHello) ja4() string {
	version := h.version
	if vs := withoutGREASE(h.versions); len(vs) > 0 {
		version = slices.Max(vs)
	}
	names := map[uint16]string{
		versionTLS13: "13", tls.VersionTLS12: "12", tls.VersionTLS11: "11", tls.VersionTLS10: "10",
		0x0300: "s3", 0x0002: "s2", 0xfeff: "d1", 0xfefd: "d2", 0xfefc: "d3",
	}
	name, ok := names[version]
	if !ok {
		name = "00"
	}
	sni := "i"
	if h.hasSNI {
		sni = "d"
	}
	ciphers, extensions := withoutGREASE(h.ciphers), withoutGREASE(h.extensions)
	head := fmt.Sprintf("t%s%s%02d%02d%s", name, sni, min(99, len(ciphers)), min(99, len(extensions)), h.ja4ALPN())

	slices.Sort(ciphers)
	extensions = slices.DeleteFunc(extensions, func(v uint16) bool { return v == extServerName || v == extALPN })
	slices.Sort(extensions)
	tail := joinHex(extensions)
	if algs := withoutGREASE(h.sigAlgs); len(algs) > 0 {
		tail += "_" + joinHex(algs)
	}
	return head + "_" + ja4Hash(joinHex(ciphers), len(ciphers) == 0) + "_" + ja4Hash(tail, len(extensions) == 0)
}

func ja4Hash(s string, empty bool) string {
	if empty {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

// ja4ALPN is the first and last character of the first protocol offered, or of
// its hexadecimal form where these are no letters or digits.
func (h *clientHello) ja4ALPN() string {
	if len(h.alpn) == 0 || h.alpn[0] == "" {
		return "00"
	}
	p := h.alpn[0]
	plain := func(c byte) bool {
		return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	if !plain(p[0]) || !plain(p[len(p)-1]) {
		p = hex.EncodeToString([]byte(p))
	}
	return string(p[0]) + string(p[len(p)-1])
}

// tlsStep reads one record.
func (s *session) tlsStep(dir int, b []byte) int {
	h := &s.halves[dir]
	if h.tls == nil {
		h.tls = &tlsHalf{}
	}
	if s.ssl == nil {
		s.ssl = &sslSession{at: s.at}
	}
	if len(b) < 5 {
		return 0
	}
	typ, n := b[0], int(b[3])<<8|int(b[4])
	if typ < recordChangeCipher || typ > 24 || n > maxRecord {
		s.e.m.undecoded["tls"].Inc()
		s.stop(dir)
		return 0
	}
	if len(b) < 5+n {
		return 0
	}
	body := b[5 : 5+n]
	switch typ {
	case recordHandshake:
		if h.tls.cipher {
			h.tls.data = true
		} else if err := s.handshake(dir, body); err != nil {
			s.e.m.undecoded["tls"].Inc()
			s.stop(dir)
		}
	case recordChangeCipher:
		h.tls.cipher = true
	case recordData:
		h.tls.data = true
	case recordAlert:
		if n == 2 && !h.tls.cipher { // in the clear
			s.ssl.alert = alertName(body[1])
			if body[0] == 2 || body[1] == 0 {
				s.stop(dir)
			}
		}
	}
	s.tlsSettle()
	return 5 + n
}

// tlsSettle writes the record as soon as the handshake is over.
func (s *session) tlsSettle() {
	o, r := s.halves[0].tls, s.halves[1].tls
	if s.ssl.written || s.ssl.server == nil || s.ssl.client == nil || o == nil || r == nil {
		return
	}
	// In TLS 1.3 the server's side is under keys at once; the client's first
	// record under keys is what ends the handshake.
	if o.data && (r.data || s.ssl.server.version == versionTLS13) {
		s.ssl.settled = true
		s.ssl.write(s)
		s.stop(0)
		s.stop(1)
	}
}

// handshake takes a record's share of the handshake's messages.
func (s *session) handshake(dir int, b []byte) error {
	t := s.halves[dir].tls
	if t.total += len(b); t.total > maxHandshake {
		return errHello
	}
	t.messages = append(t.messages, b...)
	for len(t.messages) >= 4 {
		m := t.messages
		n := int(m[1])<<16 | int(m[2])<<8 | int(m[3])
		if n > maxHandshake {
			return errHello
		}
		if len(m) < 4+n {
			return nil
		}
		if err := s.message(m[0], m[4:4+n]); err != nil {
			return err
		}
		t.messages = m[4+n:]
	}
	return nil
}

func (s *session) message(typ byte, b []byte) error {
	ssl := s.ssl
	switch typ {
	case helloClient:
		h, err := parseClientHello(b)
		if err != nil {
			return err
		}
		if ssl.client == nil {
			ssl.client = h
			s.c.addService("ssl")
		}
	case helloServer:
		h, err := parseServerHello(b)
		if err != nil {
			return err
		}
		if ssl.server == nil || ssl.server.retry {
			ssl.server = h
			ssl.curve = h.group
			s.c.addService("ssl")
		}
	case msgCertificate:
		r := reader{b: b}
		list := r.vector(3)
		for len(list.b) > 0 && len(ssl.certs) < maxCertificates {
			c := list.vector(3)
			if list.bad {
				break
			}
			ssl.certs = append(ssl.certs, bytes.Clone(c.b))
			ssl.certBytes += len(c.b)
		}
	case msgServerKey:
		ssl.key = true
		if len(b) >= 3 && b[0] == 3 { // a named curve (RFC 8422 5.4)
			ssl.curve = uint16(b[1])<<8 | uint16(b[2])
		}
	}
	return nil
}

func (x *sslSession) resumed(s *session) bool {
	if x.server == nil {
		return false
	}
	if x.server.version == versionTLS13 {
		return x.server.psk
	}
	if x.client != nil && len(x.server.session) > 0 && bytes.Equal(x.client.session, x.server.session) {
		return true
	}
	r := s.halves[1].tls
	return r != nil && r.cipher && len(x.certs) == 0 && !x.key
}

// write writes the record, once.
func (x *sslSession) write(s *session) {
	if x.written || x.client == nil && x.server == nil {
		return
	}
	x.written = true
	r := s.c.head("ssl", x.at, s.e.identity)
	if x.server != nil {
		r.str("version", versionName(x.server.version))
		if !x.server.retry {
			r.str("cipher", cipherName(x.server.cipher))
		}
		r.str("curve", curveName(x.curve))
	}
	if x.client != nil {
		r.str("server_name", x.client.serverName)
	}
	r.bool("resumed", x.resumed(s))
	r.str("last_alert", x.alert)
	if x.server != nil {
		r.str("next_protocol", x.server.alpn)
	}
	r.bool("established", x.settled)
	if len(x.certs) > 0 {
		x.certificates(r)
	}
	if x.client != nil {
		r.str("ja3", x.client.ja3())
	}
	if x.server != nil {
		r.str("ja3s", x.server.ja3s())
	}
	if x.client != nil {
		r.str("ja4", x.client.ja4())
	}
	s.e.write("ssl", r.done())
}

// certificates writes the chain's fingerprints and who the first is for and by.
func (x *sslSession) certificates(r *record) {
	var prints []string
	for _, c := range x.certs {
		sum := sha256.Sum256(c)
		prints = append(prints, hex.EncodeToString(sum[:]))
	}
	r.strs("cert_chain_fps", prints)
	subject, issuer, names := certificateNames(x.certs[0])
	r.str("subject", subject)
	r.str("issuer", issuer)
	r.strs("san.dns", names)
}

// certificateNames reads a certificate. crypto/x509 refuses curves that it does
// not know, SM2's among them; then the names are read without it.
func certificateNames(der []byte) (subject, issuer string, names []string) {
	if c, err := x509.ParseCertificate(der); err == nil {
		return c.Subject.String(), c.Issuer.String(), c.DNSNames[:min(len(c.DNSNames), maxNamesOfSubject)]
	}
	var c struct {
		TBS struct {
			Version   int `asn1:"optional,explicit,default:0,tag:0"`
			Serial    asn1.RawValue
			Algorithm asn1.RawValue
			Issuer    pkix.RDNSequence
			Validity  asn1.RawValue
			Subject   pkix.RDNSequence
			Rest      asn1.RawValue
		}
		Algorithm asn1.RawValue
		Signature asn1.RawValue
	}
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		return "", "", nil
	}
	return c.TBS.Subject.String(), c.TBS.Issuer.String(), nil
}

// versionName names a version as Zeek does.
func versionName(v uint16) string {
	switch v {
	case 0x0300:
		return "SSLv3"
	case tls.VersionTLS10:
		return "TLSv10"
	case tls.VersionTLS11:
		return "TLSv11"
	case tls.VersionTLS12:
		return "TLSv12"
	case versionTLS13:
		return "TLSv13"
	case versionTLCP:
		return "TLCPv11"
	}
	if v>>8 == 0x7f { // a draft of TLS 1.3
		return "TLSv13-draft" + strconv.Itoa(int(v&0xff))
	}
	return "unknown-" + strconv.Itoa(int(v))
}

var curveNames = map[uint16]string{
	21: "secp224r1", 22: "secp256k1", 23: "secp256r1", 24: "secp384r1", 25: "secp521r1",
	26: "brainpoolP256r1", 27: "brainpoolP384r1", 28: "brainpoolP512r1", 29: "x25519", 30: "x448",
	41: "curveSM2", 256: "ffdhe2048", 257: "ffdhe3072", 258: "ffdhe4096",
	0x11eb: "secp256r1mlkem768", 0x11ec: "x25519mlkem768", 0x11ed: "secp384r1mlkem1024", 0x6399: "x25519kyber768",
}

func curveName(v uint16) string {
	if s, ok := curveNames[v]; ok || v == 0 {
		return s
	}
	return "unknown-" + strconv.Itoa(int(v))
}

// moreCiphers are suites that crypto/tls has no name for (IANA's registry).
var moreCiphers = map[uint16]string{
	0x0001: "TLS_RSA_WITH_NULL_MD5", 0x0002: "TLS_RSA_WITH_NULL_SHA", 0x0004: "TLS_RSA_WITH_RC4_128_MD5",
	0x0009: "TLS_RSA_WITH_DES_CBC_SHA", 0x0016: "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",
	0x0018: "TLS_DH_anon_WITH_RC4_128_MD5", 0x001b: "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA",
	0x0032: "TLS_DHE_DSS_WITH_AES_128_CBC_SHA", 0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
	0x0034: "TLS_DH_anon_WITH_AES_128_CBC_SHA", 0x0038: "TLS_DHE_DSS_WITH_AES_256_CBC_SHA",
	0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", 0x003a: "TLS_DH_anon_WITH_AES_256_CBC_SHA",
	0x003d: "TLS_RSA_WITH_AES_256_CBC_SHA256", 0x0041: "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA",
	0x0045: "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA", 0x0067: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
	0x006b: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", 0x0084: "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA",
	0x0088: "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA", 0x009e: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
	0x009f: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", 0x00a2: "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256",
	0x00a3: "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384", 0x00c6: "TLS_SM4_GCM_SM3", 0x00c7: "TLS_SM4_CCM_SM3",
	0x1304: "TLS_AES_128_CCM_SHA256", 0x1305: "TLS_AES_128_CCM_8_SHA256",
	0xc008: "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA", 0xc019: "TLS_ECDH_anon_WITH_AES_256_CBC_SHA",
	0xc024: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", 0xc028: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
	0xc072: "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256", 0xc076: "TLS_ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256",
	0xc09c: "TLS_RSA_WITH_AES_128_CCM", 0xc09d: "TLS_RSA_WITH_AES_256_CCM",
	0xc0ac: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", 0xc0ad: "TLS_ECDHE_ECDSA_WITH_AES_256_CCM",
	0xccaa: "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	0xe011: "ECDHE_SM4_CBC_SM3", 0xe013: "ECC_SM4_CBC_SM3", 0xe051: "ECDHE_SM4_GCM_SM3", 0xe053: "ECC_SM4_GCM_SM3",
}

func cipherName(v uint16) string {
	if s, ok := moreCiphers[v]; ok {
		return s
	}
	if s := tls.CipherSuiteName(v); !strings.HasPrefix(s, "0x") {
		return s
	}
	return fmt.Sprintf("unknown-%d", v)
}

var alertNames = map[byte]string{
	0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow",
	40: "handshake_failure", 42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked",
	45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca",
	49: "access_denied", 50: "decode_error", 51: "decrypt_error", 70: "protocol_version",
	71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled",
	109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name", 116: "certificate_required",
	120: "no_application_protocol",
}

func alertName(v byte) string {
	if s, ok := alertNames[v]; ok {
		return s
	}
	return "unknown-" + strconv.Itoa(int(v))
}
