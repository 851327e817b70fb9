package syslog

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"golang.org/x/net/ipv4"

	"fengsui/collector/input"
	"fengsui/collector/input/udp"
)

// dropCounter adds up what the kernel dropped on the input's sockets.
type dropCounter struct{ udp.Drops }

func (d *dropCounter) total() uint64 { return d.Total() }

// listenUDP binds the sockets.
func (in *Input) listenUDP(ctx context.Context) ([]*udp.Socket, error) {
	if in.cfg.UDP == "" {
		return nil, nil
	}
	sockets, err := udp.Listen(ctx, udp.Config{Address: in.cfg.UDP, Sockets: in.cfg.UDPSockets, ReceiveBuffer: in.cfg.ReceiveBuffer}, in.log)
	if err != nil {
		return nil, fmt.Errorf("syslog: %w", err)
	}
	in.drops.Watch(sockets...)
	in.mu.Lock()
	in.addrs = append(in.addrs, sockets[0].Addr())
	in.mu.Unlock()
	return sockets, nil
}

func (in *Input) serveUDP(ctx, drain context.Context, s *udp.Socket, sink input.Sink) error {
	sources := udp.Names{}
	err := s.Serve(ctx, func(messages []ipv4.Message) error {
		lines := datagrams(messages, sources, time.Now())
		if len(lines) == 0 {
			return nil
		}
		return in.put(drain, sink, lines)
	})
	if err == nil || drain.Err() != nil {
		return nil
	}
	return fmt.Errorf("syslog over UDP: %w", err)
}

// datagrams copies the messages out of the read buffers, all into one piece of
// memory. One newline at the end, which some senders add, is not the message's.
func datagrams(messages []ipv4.Message, sources udp.Names, now time.Time) []input.Line {
	size := 0
	for i := range messages {
		size += messages[i].N
	}
	memory := make([]byte, 0, size)
	lines := make([]input.Line, 0, len(messages))
	for i := range messages {
		m := &messages[i]
		b := bytes.TrimSuffix(m.Buffers[0][:m.N], []byte("\n"))
		if len(b) == 0 {
			continue
		}
		start := len(memory)
		memory = append(memory, b...)
		lines = append(lines, input.Line{
			Value: memory[start:len(memory):len(memory)], Source: sources.Of(udp.From(m)), Received: now,
		})
	}
	return lines
}
