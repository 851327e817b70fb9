package schemas

import "time"

// IdentityKind says what told who is behind an address.
type IdentityKind string

// The kinds of sighting.
const (
	IdentityLease IdentityKind = "lease" // an address was given to a machine (DHCP)
	IdentityLogin IdentityKind = "login" // an account is in the network under an address (portal, 802.1X, VPN, RADIUS)
	IdentityNAT   IdentityKind = "nat"   // an inside address is seen as another
	IdentityBlock IdentityKind = "block" // the same, with all ports from Port to LastPort (NAT with port blocks)
)

// Sighting is what one event tells of who is behind an address: that somebody
// has it from a time on, or until a time, or both.
type Sighting struct {
	Kind    IdentityKind `json:"kind"`
	Unit    string       `json:"unit,omitempty"`    // private addresses are many units': of another unit it says nothing
	Address string       `json:"address,omitempty"` // that is had; empty where only the MAC address is known yet (802.1X)

	Port      int    `json:"port,omitempty"` // of NAT; 0 is every port
	LastPort  int    `json:"last_port,omitempty"`
	Transport string `json:"transport,omitempty"` // of NAT: tcp, udp …; empty is any

	Inside     string `json:"inside,omitempty"` // of NAT: the address behind
	InsidePort int    `json:"inside_port,omitempty"`
	Peer       string `json:"peer,omitempty"` // of NAT: whom it spoke with; of a VPN's login: where the client is

	MAC  string `json:"mac,omitempty"`
	Host string `json:"host,omitempty"` // the machine's name for itself
	User string `json:"user,omitempty"` // as logged, or the token that masking left of it

	From  time.Time `json:"from,omitzero"`  // zero: only its end was said
	Until time.Time `json:"until,omitzero"` // zero: no end was said
	Ended bool      `json:"ended,omitempty"`

	System  string `json:"system,omitempty"` // the kind of log that told it: event.dataset
	Source  string `json:"source,omitempty"` // who sent that log
	EventID string `json:"event_id"`         // the event that tells it
}

// Identity is a sighting as the answer to who had an address at a time.
type Identity struct {
	Role string    `json:"role"` // whose address: source, destination or host; via leads from another answer
	At   time.Time `json:"at"`   // the time asked for
	Sighting
	// Apart is how far outside the time that it was had At lies: clocks differ.
	Apart time.Duration `json:"apart,omitempty"`
}

// MaxWho bounds Alert.Who.
const MaxWho = 16

// IdentityKey is what sightings are stored and asked for by.
type IdentityKey struct {
	Kind IdentityKind
	Name string // the address, or the MAC address where no other is known
	Port int    // of NAT
}

// Key is what the sighting is stored by. A block's ports are no part of it.
func (s *Sighting) Key() IdentityKey {
	k := IdentityKey{Kind: s.Kind, Name: s.Address}
	if k.Name == "" {
		k.Name = s.MAC
	}
	if s.Kind == IdentityNAT {
		k.Port = s.Port
	}
	return k
}

// Since is when the sighting begins to say anything: its beginning, or its end
// where only that was said.
func (s *Sighting) Since() time.Time {
	if s.From.IsZero() {
		return s.Until
	}
	return s.From
}
