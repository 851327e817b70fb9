package schemas

import (
	"net/netip"
	"time"
)

// ObservationKind says what was looked at.
type ObservationKind string

// The kinds of observation.
const (
	ObservedName  ObservationKind = "name"  // a name and one of its record sets
	ObservedHost  ObservationKind = "host"  // an address answers, or does not
	ObservedPort  ObservationKind = "port"  // a port is open, with what runs there, or is closed
	ObservedSweep ObservationKind = "sweep" // these ports of an address were looked at: those without a port observation of the same shard are closed
	ObservedDone  ObservationKind = "done"  // a shard is settled, as Attempt says; Name is its job and shard
	ObservedBegun ObservationKind = "begun" // a scanner is about to send a shard's packets; Name likewise
	ObservedEnded ObservationKind = "ended" // it sends no more of them, and the shard is not settled
)

// Observation is one fact that a scanner or a log saw, at one time. It never
// judges. ID is from job, shard, kind and key, so a repeated shard repeats it.
type Observation struct {
	ID      string          `json:"id"`
	Kind    ObservationKind `json:"kind"`
	Time    time.Time       `json:"time"`
	Source  string          `json:"source"` // "scan", or the dataset of a log
	Job     string          `json:"job,omitempty"`
	Shard   string          `json:"shard,omitempty"`
	Scanner string          `json:"scanner,omitempty"`
	Unit    string          `json:"unit,omitempty"`

	// Name, RecordType and Values: an ObservedName. No values with RCode
	// NXDOMAIN or NOERROR says that there is no such record.
	Name       string   `json:"name,omitempty"` // lower case, no final dot
	RecordType string   `json:"record_type,omitempty"`
	Values     []string `json:"values,omitempty"`
	RCode      string   `json:"rcode,omitempty"`

	// IP and the rest: host, port and sweep.
	IP        netip.Addr `json:"ip,omitzero"`
	Port      int        `json:"port,omitempty"`
	Transport string     `json:"transport,omitempty"` // tcp or udp
	Open      bool       `json:"open,omitempty"`      // port open, host up
	Ports     string     `json:"ports,omitempty"`     // of a sweep, as "22,80,1000-2000"
	Service   *Service   `json:"service,omitempty"`

	Attempt *Attempt `json:"attempt,omitempty"` // of begun, ended and done

	// How it was come by, so that a fact can be traced to a packet.
	Method string `json:"method,omitempty"` // connect, syn, icmp, arp, ndp, axfr, words, nsec, ptr, certificate, record …
	Via    string `json:"via,omitempty"`    // what led there: a parent zone, another name, an address
	MAC    string `json:"mac,omitempty"`    // of a host on the scanner's own network
	Doubt  string `json:"doubt,omitempty"`  // why an open port may be none: what answers for it on every port

	Encoded []byte `json:"-"` // the JSON that it was read from, so that it need not be made again
}

// Key is the Kafka key: the host or name that the observation is about.
func (o *Observation) Key() string {
	if o.Kind == ObservedName || o.OfShard() {
		return o.Name
	}
	return o.IP.String()
}

// OfShard says that the observation tells of a shard, and of nothing that a
// scanner looked at.
func (o *Observation) OfShard() bool {
	return o.Kind == ObservedDone || o.Kind == ObservedBegun || o.Kind == ObservedEnded
}

// Service is what answered on an open port.
type Service struct {
	Name         string       `json:"name,omitempty"` // IANA's service name: ssh, http, https, domain, redis …
	Product      string       `json:"product,omitempty"`
	Version      string       `json:"version,omitempty"`
	OS           string       `json:"os,omitempty"`     // as the service itself tells it
	Banner       string       `json:"banner,omitempty"` // printable, at most 512 bytes
	TLS          *TLS         `json:"tls,omitempty"`
	HTTP         *HTTP        `json:"http,omitempty"`
	Technologies []Technology `json:"technologies,omitempty"` // in order of name, at most 64
	Exposures    []Exposure   `json:"exposures,omitempty"`    // in order of kind
}

// IsZero says that nothing is known of the service.
func (s *Service) IsZero() bool {
	return s == nil || s.Name == "" && s.Product == "" && s.Version == "" && s.OS == "" && s.Banner == "" &&
		s.TLS == nil && s.HTTP == nil && len(s.Technologies) == 0 && len(s.Exposures) == 0
}

// Technology is a product that a service is made with, as far as it shows.
type Technology struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// ExposureKind says in which way a service is open that should not be.
type ExposureKind string

// The kinds of exposure. Each is seen by a harmless probe or told by what the
// service says of itself; none is an attempt to break in.
const (
	ExposureNoAuth             ExposureKind = "no_auth"             // data is given to whoever asks: Redis, MongoDB, Elasticsearch …
	ExposureDirectoryListing   ExposureKind = "directory_listing"   // a web server lists a folder
	ExposureDefaultPage        ExposureKind = "default_page"        // nobody has set the server up
	ExposureCertificateExpired ExposureKind = "certificate_expired" // or not yet valid
	ExposureWeakTLS            ExposureKind = "weak_tls"            // SSLv3, TLS 1.0 or 1.1 is spoken
	ExposureEndOfLife          ExposureKind = "end_of_life"         // a version that its makers no longer mend
	ExposurePlainLogin         ExposureKind = "plain_login"         // passwords cross the network in clear: telnet, FTP without TLS …
)

// Exposure is one of them, with what was seen.
type Exposure struct {
	Kind     ExposureKind `json:"kind"`
	Evidence string       `json:"evidence"` // at most 256 bytes, and never data of others
}

// TLS is what TLS handshakes showed.
type TLS struct {
	Version    string        `json:"version"`            // the highest that is spoken
	Versions   []string      `json:"versions,omitempty"` // all that are, lowest first, where it was tried
	Cipher     string        `json:"cipher,omitempty"`
	Subject    string        `json:"subject,omitempty"`
	Issuer     string        `json:"issuer,omitempty"`
	Names      []string      `json:"names,omitempty"`
	NotBefore  time.Time     `json:"not_before,omitzero"`
	NotAfter   time.Time     `json:"not_after,omitzero"`
	SHA256     string        `json:"sha256,omitempty"` // of the certificate, hexadecimal
	Serial     string        `json:"serial,omitempty"` // hexadecimal
	Key        string        `json:"key,omitempty"`    // "RSA 2048", "ECDSA P-256", "SM2" …
	SelfSigned bool          `json:"self_signed,omitempty"`
	Chain      []Certificate `json:"chain,omitempty"` // what was sent besides, at most 8
	JARM       string        `json:"jarm,omitempty"`  // 62 hexadecimal digits
}

// Certificate is one of a chain.
type Certificate struct {
	Subject  string    `json:"subject"`
	Issuer   string    `json:"issuer"`
	NotAfter time.Time `json:"not_after"`
	SHA256   string    `json:"sha256"`
}

// HTTP is what the first page showed.
type HTTP struct {
	Status   int    `json:"status"`
	Title    string `json:"title,omitempty"`
	Server   string `json:"server,omitempty"`
	Location string `json:"location,omitempty"`  // where it sends to
	Header   string `json:"header,omitempty"`    // as it came, at most 4 KiB
	Body     string `json:"body,omitempty"`      // the beginning of its text, at most 4 KiB
	IconHash string `json:"icon_hash,omitempty"` // mmh3 of the favicon's base64, decimal, as FOFA and Shodan write it
}
