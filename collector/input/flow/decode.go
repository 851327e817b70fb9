package flow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// version is what a datagram is.
type version uint8

const (
	netflow5 version = iota
	netflow9
	ipfix
	sflow5
)

func (v version) String() string {
	return [...]string{"netflow5", "netflow9", "ipfix", "sflow"}[v]
}

// message is what a datagram's header says.
type message struct {
	version  version
	from     netip.Addr
	received time.Time
	export   int64  // when it was sent, by the exporter's clock, ns since 1970
	uptime   uint32 // ms since the exporter began, modulo 2^32
}

var errRoom = errors.New("there is no room for another exporter: see max_exporters and allow")

// datagram decodes one datagram into lines of w. What cannot be decoded becomes
// a dead letter, the datagram whole; the flows before the fault are kept.
func (d *decoder) datagram(w *writer, from netip.Addr, b []byte, now time.Time) {
	w.begin(from, now)
	if err := d.decode(w, from, b, now); err != nil {
		d.reject(w, b, now, err)
	}
}

func (d *decoder) reject(w *writer, b []byte, at time.Time, err error) {
	d.metrics.undecoded.Inc()
	w.reject(b, at, err)
}

func (d *decoder) decode(w *writer, from netip.Addr, b []byte, now time.Time) (err error) {
	defer func() { // a decoder that is not ours takes part
		if p := recover(); p != nil {
			err = fmt.Errorf("the decoder failed: %v", p)
		}
	}()
	if len(b) < 4 {
		return fmt.Errorf("%d bytes are no flow datagram", len(b))
	}
	m := message{from: from, received: now}
	switch v := binary.BigEndian.Uint16(b); {
	case v == 5:
		m.version = netflow5
		d.metrics.byVersion[netflow5].Inc()
		err = d.v5(w, &m, b)
	case v == 9:
		m.version = netflow9
		d.metrics.byVersion[netflow9].Inc()
		err = d.v9(w, &m, b)
	case v == 10:
		m.version = ipfix
		d.metrics.byVersion[ipfix].Inc()
		err = d.ipfix(w, &m, b)
	case v == 0 && b[2] == 0 && b[3] == 5:
		m.version = sflow5
		d.metrics.byVersion[sflow5].Inc()
		err = d.sflow(w, &m, b)
	default:
		return fmt.Errorf("version %d is none of NetFlow 5, 9, IPFIX and sFlow 5", v)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", m.version, err)
	}
	return nil
}

const (
	v5Header = 24
	v5Record = 48
)

// v5 decodes NetFlow v5: a header and up to 30 records of fixed form.
func (d *decoder) v5(w *writer, m *message, b []byte) error {
	if len(b) < v5Header {
		return errCut
	}
	count := int(binary.BigEndian.Uint16(b[2:]))
	m.uptime = binary.BigEndian.Uint32(b[4:])
	m.export = int64(binary.BigEndian.Uint32(b[8:]))*1e9 + int64(min(binary.BigEndian.Uint32(b[12:]), 999_999_999))
	dom := d.lock(exporter{from: m.from, version: netflow5, domain: uint32(binary.BigEndian.Uint16(b[20:]))}, m.received)
	if dom == nil {
		return errRoom
	}
	defer dom.mu.Unlock()
	dom.restarted(m.uptime)
	d.sequence(dom, binary.BigEndian.Uint32(b[16:]), uint32(count), "flows") //nolint:gosec // 16 bits
	rate := uint32(binary.BigEndian.Uint16(b[22:]) & 0x3fff)                 // two bits say how packets are chosen
	if dom.rate = rate; rate == 0 {
		rate = d.cfg.SamplingRate
	}
	rest := b[v5Header:]
	for range count {
		if len(rest) < v5Record {
			return fmt.Errorf("%d bytes hold fewer than %d records", len(b), count)
		}
		readV5(&w.r, rest[:v5Record])
		w.flow(m, dom, rate, !d.cfg.CountsAsSent)
		rest = rest[v5Record:]
	}
	return nil
}

func readV5(r *record, b []byte) {
	r.reset()
	r.setAddr(aSource, b[0:4])
	r.setAddr(aDestination, b[4:8])
	r.setAddr(aNextHop, b[8:12])
	r.set(nIngress, bigEndian(b[12:14]))
	r.set(nEgress, bigEndian(b[14:16]))
	r.set(nPackets, bigEndian(b[16:20]))
	r.set(nBytes, bigEndian(b[20:24]))
	r.set(nStartUptime, bigEndian(b[24:28]))
	r.set(nEndUptime, bigEndian(b[28:32]))
	r.set(nSourcePort, bigEndian(b[32:34]))
	r.set(nDestinationPort, bigEndian(b[34:36]))
	r.set(nTCPFlags, uint64(b[37]))
	r.set(nProto, uint64(b[38]))
	r.set(nTOS, uint64(b[39]))
	r.set(nSourceAS, bigEndian(b[40:42]))
	r.set(nDestinationAS, bigEndian(b[42:44]))
	r.set(nSourceMask, uint64(b[44]))
	r.set(nDestinationMask, uint64(b[45]))
}

// v9 decodes NetFlow v9 (RFC 3954).
func (d *decoder) v9(w *writer, m *message, b []byte) error {
	if len(b) < 20 {
		return errCut
	}
	m.uptime = binary.BigEndian.Uint32(b[4:])
	m.export = int64(binary.BigEndian.Uint32(b[8:])) * 1e9
	dom := d.lock(exporter{from: m.from, version: netflow9, domain: binary.BigEndian.Uint32(b[16:])}, m.received)
	if dom == nil {
		return errRoom
	}
	defer dom.mu.Unlock()
	dom.restarted(m.uptime)
	d.sequence(dom, binary.BigEndian.Uint32(b[12:]), 1, "datagrams")
	_, _, err := d.sets(w, dom, m, b[20:])
	return err
}

// ipfix decodes IPFIX (RFC 7011).
func (d *decoder) ipfix(w *writer, m *message, b []byte) error {
	if len(b) < 16 {
		return errCut
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < 16 || length > len(b) {
		return fmt.Errorf("a message of %d bytes in a datagram of %d", length, len(b))
	}
	m.export = int64(binary.BigEndian.Uint32(b[4:])) * 1e9
	dom := d.lock(exporter{from: m.from, version: ipfix, domain: binary.BigEndian.Uint32(b[12:])}, m.received)
	if dom == nil {
		return errRoom
	}
	defer dom.mu.Unlock()
	count, all, err := d.sets(w, dom, m, b[16:length])
	// The numbers count records, which are only known of known templates.
	d.sequenceIPFIX(dom, binary.BigEndian.Uint32(b[8:]), uint32(count)) //nolint:gosec // fewer than the bytes
	if !all || err != nil {
		dom.counting = false
	}
	return err
}

// sets decodes the sets of a message: count is the records of data among them,
// and all says that none was of an unknown template.
func (d *decoder) sets(w *writer, dom *domain, m *message, b []byte) (count int, all bool, err error) {
	all = true
	templates, options := uint16(0), uint16(1)
	if m.version == ipfix {
		templates, options = 2, 3
	}
	for number := 1; len(b) >= 4; number++ {
		id, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if length < 4 || length > len(b) {
			return count, all, fmt.Errorf("set %d: %d bytes long where %d are left", number, length, len(b))
		}
		set := b[4:length]
		b = b[length:]
		switch {
		case id == templates || id == options:
			if err = dom.templates(m, set, id == options); err == nil {
				d.replay(w, dom)
			}
		case id < 256: // not in use
		case dom.known[id] == nil:
			all = false
			d.wait(dom, m, id, set)
		default:
			var n int
			n, err = d.data(w, dom, m, dom.known[id], set)
			count += n
		}
		if err != nil {
			return count, all, fmt.Errorf("set %d: %w", number, err)
		}
	}
	return count, all, nil
}

// data decodes the records of one set. What is too short for another record is
// padding.
func (d *decoder) data(w *writer, dom *domain, m *message, t *template, set []byte) (n int, err error) {
	for len(set) >= t.least {
		if set, err = t.next(&w.r, set); err != nil {
			return n, fmt.Errorf("record %d: %w", n+1, err)
		}
		n++
		switch {
		case t.options:
			dom.options(&w.r)
		case !w.r.tells():
			d.metrics.noAddress.Inc()
		default:
			w.flow(m, dom, d.sampling(dom, &w.r), !d.cfg.CountsAsSent)
		}
	}
	return n, nil
}

// tells says that a record has an address or a card of something: others (an
// exporter's own statistics) are no flows.
func (r *record) tells() bool {
	for _, a := range r.addrs[:aNextHop] {
		if a.IsValid() {
			return true
		}
	}
	return r.addrs[aNATSource].IsValid() || r.addrs[aNATDestination].IsValid() || r.is(nSourceMAC) || r.is(nDestinationMAC)
}
