// Package identity tells who was behind an address at a time. Events of DHCP
// servers, portals, 802.1X, RADIUS, VPNs and address translation become
// sightings; from these it works out which machine and which account an address
// led to. It is pure: sightings and times come in as arguments. It never reads a
// database, a clock or a topic, and never guesses: where what was logged leaves
// two answers open, both are given, or none.
//
// A login to a server is no sighting. It names the account that was used, not
// whoever is at the address that it came from: of a password that was guessed,
// it would name the victim.
package identity

import (
	"cmp"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"time"

	"fengsui/schemas"
)

// FromEvent is what an event tells of who is behind an address, written to s, if
// it does. The event must have its time and its unit. It is called for every
// event, and costs those that tell nothing next to nothing.
func FromEvent(ev *schemas.Event, s *schemas.Sighting) bool {
	read := readerOf(ev)
	if read == nil || ev.Str(schemas.FieldEventOutcome) == "failure" {
		return false
	}
	found, ok := read(ev)
	if !ok {
		return false
	}
	*s = found
	s.Unit = ev.Str(schemas.FieldOrganizationID)
	s.Source, s.EventID = ev.Source, ev.EventID()
	if s.System == "" {
		s.System = cmp.Or(ev.Str(schemas.FieldEventDataset), ev.Str(schemas.FieldEventModule))
	}
	return true
}

// readerOf is what reads an event of that kind, nil for nearly all.
func readerOf(ev *schemas.Event) func(*schemas.Event) (schemas.Sighting, bool) {
	switch ev.Str(schemas.FieldEventAction) {
	case "address_assigned", "address_released":
		return lease
	case "user_online", "user_offline":
		return login
	case "kerberos_ticket_requested":
		return domainLogin
	}
	if ev.Has(schemas.FieldSourceNATIP) {
		return translation
	}
	switch ev.Str(schemas.FieldEventDataset) {
	case "zeek.dhcp":
		return zeekDHCP
	case "zeek.radius":
		return zeekRADIUS
	case "zeek.kerberos":
		return zeekKerberos
	}
	return nil
}

func lease(ev *schemas.Event) (schemas.Sighting, bool) {
	s := schemas.Sighting{
		Kind: schemas.IdentityLease, Address: address(ev, schemas.FieldSourceIP), MAC: mac(ev),
		Host: ev.Str(schemas.FieldSourceDomain), User: user(ev),
	}
	if ev.Str(schemas.FieldEventAction) == "address_released" {
		// A duration is then how long the lease might have been.
		s.From, s.Until, s.Ended = ev.Get(schemas.FieldEventStart).Time(), ev.Time(), true
	} else {
		s.From, s.Until = ev.Time(), runsOut(ev)
	}
	return s, s.Address != "" && (s.MAC != "" || s.Host != "" || s.User != "")
}

// runsOut is when a lease does, where that is said.
func runsOut(ev *schemas.Event) time.Time {
	if end := ev.Get(schemas.FieldEventEnd).Time(); !end.IsZero() {
		return end
	}
	if d := ev.Get(schemas.FieldEventDuration).Int(); d > 0 {
		return ev.Time().Add(time.Duration(d))
	}
	return time.Time{}
}

func login(ev *schemas.Event) (schemas.Sighting, bool) {
	s := schemas.Sighting{
		Kind: schemas.IdentityLogin, Address: address(ev, schemas.FieldSourceIP), MAC: mac(ev),
		Host: ev.Str(schemas.FieldSourceDomain), User: user(ev),
	}
	// A VPN's client comes from an address and is given another.
	if given := address(ev, schemas.FieldSourceNATIP); given != "" && given != s.Address {
		s.Peer, s.Address = s.Address, given
	}
	s.From = ev.Time()
	if ev.Str(schemas.FieldEventAction) == "user_offline" {
		s.From, s.Until, s.Ended = began(ev), ev.Time(), true
	}
	return s, s.User != "" && s.Key().Name != ""
}

// began is when what an event ends has begun, where that is said.
func began(ev *schemas.Event) time.Time {
	if start := ev.Get(schemas.FieldEventStart).Time(); !start.IsZero() {
		return start
	}
	if d := ev.Get(schemas.FieldEventDuration).Int(); d > 0 {
		return ev.Time().Add(-time.Duration(d))
	}
	return time.Time{}
}

// domainLogin is a Windows domain controller's word that it has given a ticket:
// to a person, or to a machine, whose account ends in "$".
func domainLogin(ev *schemas.Event) (schemas.Sighting, bool) {
	s := schemas.Sighting{Kind: schemas.IdentityLogin, Address: address(ev, schemas.FieldSourceIP), From: ev.Time(), System: "kerberos"}
	return ticket(s, user(ev))
}

// ticket completes a login that a ticket tells of. Machines and persons log in
// beside each other, so they are two systems.
func ticket(s schemas.Sighting, account string) (schemas.Sighting, bool) {
	name, _, _ := strings.Cut(account, "@")
	if machine, ok := strings.CutSuffix(name, "$"); ok {
		s.Host, s.System = machine, "kerberos.machine"
	} else {
		s.User = account
	}
	return s, s.Address != "" && account != ""
}

// translation is an address that is seen as another: a translation's or a
// session's beginning or end, or all of it.
func translation(ev *schemas.Event) (schemas.Sighting, bool) {
	s := schemas.Sighting{
		Kind: schemas.IdentityNAT, Address: address(ev, schemas.FieldSourceNATIP), Inside: address(ev, schemas.FieldSourceIP),
		Port: port(ev.Get(schemas.FieldSourceNATPort)), InsidePort: port(ev.Get(schemas.FieldSourcePort)),
		Transport: ev.Str(schemas.FieldNetworkTransport), Peer: address(ev, schemas.FieldDestinationIP),
		MAC: mac(ev), User: user(ev), From: ev.Time(),
	}
	if first, last := port(ev.Lookup("labels.port_range_start")), port(ev.Lookup("labels.port_range_end")); first > 0 && last >= first {
		s.Kind, s.Port, s.LastPort, s.InsidePort, s.Peer = schemas.IdentityBlock, first, last, 0, ""
	}
	// A session's beginning may be told at any time. What has a length is over.
	start := began(ev)
	if !start.IsZero() {
		s.From = start
	}
	if end := ev.Get(schemas.FieldEventEnd).Time(); !end.IsZero() {
		s.Until, s.Ended = end, true
	} else if ev.Str(schemas.FieldEventType) == "end" || ev.Get(schemas.FieldEventDuration).Int() > 0 {
		s.From, s.Until, s.Ended = start, ev.Time(), true
	}
	return s, s.Address != "" && s.Inside != "" && s.Address != s.Inside
}

// extra is what Zeek's log says beyond the connection.
func extra(ev *schemas.Event, name string) string { return ev.Lookup("zeek.extra." + name).Text() }

func zeekDHCP(ev *schemas.Event) (schemas.Sighting, bool) {
	s := schemas.Sighting{
		Kind: schemas.IdentityLease, Address: parsed(extra(ev, "assigned_addr")), MAC: cmp.Or(lower(extra(ev, "mac")), mac(ev)),
		Host: cmp.Or(extra(ev, "host_name"), extra(ev, "client_fqdn")), From: ev.Time(),
	}
	switch messages := extra(ev, "msg_types"); {
	case strings.Contains(messages, "RELEASE"):
		s.Address, s.From, s.Until, s.Ended = cmp.Or(s.Address, parsed(extra(ev, "client_addr"))), time.Time{}, ev.Time(), true
	case messages != "" && !strings.Contains(messages, "ACK"):
		return s, false // an offer is no lease
	default:
		if d, err := time.ParseDuration(extra(ev, "lease_time") + "s"); err == nil && d > 0 {
			s.Until = s.From.Add(d)
		}
	}
	return s, s.Address != "" && s.MAC != ""
}

func zeekRADIUS(ev *schemas.Event) (schemas.Sighting, bool) {
	s := schemas.Sighting{
		Kind: schemas.IdentityLogin, Address: parsed(extra(ev, "framed_addr")), MAC: lower(extra(ev, "mac")),
		User: cmp.Or(extra(ev, "username"), user(ev)), From: ev.Time(),
	}
	return s, extra(ev, "result") == "success" && s.User != "" && s.Key().Name != ""
}

func zeekKerberos(ev *schemas.Event) (schemas.Sighting, bool) {
	s := schemas.Sighting{Kind: schemas.IdentityLogin, Address: address(ev, schemas.FieldSourceIP), From: ev.Time(), System: "kerberos"}
	client, _, _ := strings.Cut(extra(ev, "client"), "/")
	if extra(ev, "request_type") != "AS" || !isTrue(extra(ev, "success")) {
		return s, false
	}
	return ticket(s, client)
}

func isTrue(text string) bool { return text == "true" || text == "T" }

// address is a field's, unless it is nobody's.
func address(ev *schemas.Event, id schemas.FieldID) string { return parsed(ev.Str(id)) }

func parsed(text string) string {
	a, err := netip.ParseAddr(text)
	if err != nil || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

// mac is the machine's MAC address, or that which its DHCPv6 identifier was made
// of (RFC 8415, 11.2 and 11.4: link-layer address, with time or without).
func mac(ev *schemas.Event) string {
	if own := lower(ev.Str(schemas.FieldSourceMAC)); own != "" {
		return own
	}
	duid := strings.NewReplacer(":", "", "-", "").Replace(ev.Lookup("labels.duid").Str())
	for _, made := range []struct {
		prefix string
		digits int
	}{{"00030001", 8 + 12}, {"00010001", 16 + 12}} {
		if strings.HasPrefix(duid, made.prefix) && len(duid) == made.digits {
			if m, err := hex.DecodeString(duid[made.digits-12:]); err == nil {
				return net.HardwareAddr(m).String()
			}
		}
	}
	return ""
}

// lower is a MAC address as the catalogue has it, from the catalogue or Zeek.
func lower(mac string) string { return strings.ReplaceAll(strings.ToLower(mac), "-", ":") }

func user(ev *schemas.Event) string {
	if name := ev.Str(schemas.FieldUserName); name != "-" {
		return name
	}
	return ""
}

// port is one of 1 to 65535, or 0.
func port(v schemas.Value) int {
	n := v.Int()
	if v.Kind() == schemas.KindString {
		n = 0
		for _, c := range []byte(v.Str()) {
			if c < '0' || c > '9' || n > 65535 {
				return 0
			}
			n = 10*n + int64(c-'0')
		}
	}
	if n < 1 || n > 65535 {
		return 0
	}
	return int(n)
}
