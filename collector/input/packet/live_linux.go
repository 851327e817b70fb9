package packet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/afpacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/net/bpf"

	"fengsui/collector/input"
)

const (
	ringBlock   = 1 << 20
	pollTimeout = 100 * time.Millisecond // how long an idle interface delays a stop, and records their way
	flushEvery  = 200 * time.Millisecond // how long a record waits for a full batch
	statsEvery  = time.Second
	reopenMin   = time.Second
	reopenMax   = 30 * time.Second
)

// listen opens the ring. It binds to one interface and only ever reads.
func (s *Sensor) listen() (*afpacket.TPacket, error) {
	iface, err := net.InterfaceByName(s.cfg.Interface)
	if err != nil {
		return nil, fmt.Errorf("packet: finding interface %s: %w", s.cfg.Interface, err)
	}
	ring, err := afpacket.NewTPacket(
		afpacket.OptInterface(s.cfg.Interface),
		afpacket.OptTPacketVersion(afpacket.TPacketVersion3),
		afpacket.OptFrameSize(os.Getpagesize()),
		afpacket.OptBlockSize(ringBlock),
		afpacket.OptNumBlocks(s.cfg.RingMiB),
		afpacket.OptPollTimeout(pollTimeout),
	)
	if err != nil {
		return nil, fmt.Errorf("packet: opening a ring on %s: %w", s.cfg.Interface, err)
	}
	if err := s.prepare(ring, iface.Flags&net.FlagLoopback != 0); err != nil {
		ring.Close()
		return nil, fmt.Errorf("packet: preparing the ring on %s: %w", s.cfg.Interface, err)
	}
	return ring, nil
}

// prepare bounds what is copied of a packet. On a loopback each packet is seen
// leaving and arriving: only the second counts.
func (s *Sensor) prepare(ring *afpacket.TPacket, loopback bool) error {
	const outgoing = 4                                                        // PACKET_OUTGOING
	program := []bpf.Instruction{bpf.RetConstant{Val: uint32(s.cfg.SnapLen)}} //nolint:gosec // validated
	if loopback {
		program = append([]bpf.Instruction{
			bpf.LoadExtension{Num: bpf.ExtType},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: outgoing, SkipTrue: 1},
			bpf.RetConstant{Val: 0},
		}, program...)
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	if err := ring.SetBPF(raw); err != nil {
		return fmt.Errorf("setting the filter: %w", err)
	}
	if s.cfg.Promiscuous {
		if err := ring.SetPromiscuous(true); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	return nil
}

func (s *Sensor) runLive(ctx context.Context, sink input.Sink) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("packet: asking for the host's name: %w", err)
	}
	ring, err := s.listen()
	if err != nil {
		return err
	}
	source := host + "/" + s.cfg.Interface
	out := &batch{sink: sink, source: source}
	e := newEngine(source, s.cfg.limits(), s.cfg.Records, s.m, out.add)
	close(s.ready)
	for ctx.Err() == nil && ring != nil {
		err := s.capture(ctx, ring, e, out)
		ring.Close()
		if err == nil {
			break
		}
		// A mirror port that goes down comes up again: no reason to die.
		s.m.interfaceLost.Inc()
		s.log.Warn("reading failed; opening the interface again", "interface", s.cfg.Interface, "error", err)
		ring = s.reopen(ctx)
	}
	// The stop was asked for, so the sink gets a moment of its own.
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := errors.Join(out.flush(late), out.end(late, e)); err != nil {
		return fmt.Errorf("packet: handing over the last records of %s: %w", s.cfg.Interface, err)
	}
	return nil
}

// reopen waits until the interface can be listened to; nil when ctx has ended.
func (s *Sensor) reopen(ctx context.Context) *afpacket.TPacket {
	for wait := reopenMin; ; wait = min(2*wait, reopenMax) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		ring, err := s.listen()
		if err == nil {
			return ring
		}
		s.log.Warn("the interface cannot be opened", "interface", s.cfg.Interface, "error", err, "again_in", wait)
	}
}

// capture reads packets until ctx ends, and returns nil then. Any error is the
// interface's.
func (s *Sensor) capture(ctx context.Context, ring *afpacket.TPacket, e *engine, out *batch) error {
	var drops uint64
	flushed, counted := time.Now(), time.Now()
	for ctx.Err() == nil {
		data, ci, err := ring.ZeroCopyReadPacketData()
		switch {
		case errors.Is(err, afpacket.ErrTimeout):
			// No packet tells the time: the machine's clock, which stamps
			// packets too, does.
			e.advance(time.Now().UnixNano())
		case err != nil:
			return err
		default:
			e.packet(ci.Timestamp.UnixNano(), layers.LinkTypeEthernet, data, strippedVLAN(ci))
		}
		now := time.Now()
		if out.full() || now.Sub(flushed) >= flushEvery {
			flushed = now
			if out.flush(ctx) != nil { // only ever since ctx has ended; the lines stay for the end
				break
			}
		}
		if now.Sub(counted) >= statsEvery {
			counted = now
			drops = s.countDrops(ring, drops)
		}
	}
	s.countDrops(ring, drops)
	return nil
}

// strippedVLAN is the tag that the card took off.
func strippedVLAN(ci gopacket.CaptureInfo) uint16 {
	for _, a := range ci.AncillaryData {
		if v, ok := a.(afpacket.AncillaryVLAN); ok {
			return uint16(v.VLAN) //nolint:gosec // 12 bits
		}
	}
	return 0
}

// countDrops adds what the kernel has dropped since before.
func (s *Sensor) countDrops(ring *afpacket.TPacket, before uint64) uint64 {
	_, stats, err := ring.SocketStats()
	if err != nil {
		s.log.Warn("cannot read the kernel's drop counter", "interface", s.cfg.Interface, "error", err)
		return before
	}
	drops := uint64(stats.Drops())
	if drops > before {
		s.m.kernelDrops.Add(float64(drops - before))
		s.log.Warn("the kernel dropped packets: the ring was full", "interface", s.cfg.Interface, "drops", drops-before)
	}
	return drops
}
