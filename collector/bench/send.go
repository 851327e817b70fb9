package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// message is one of RFC 5424, 254 bytes.
var message = append([]byte("<38>1 2026-11-22T03:10:47.123456Z gate.example.edu sshd 4242 - - "),
	bytes.Repeat([]byte("Failed password for root from 192.0.2.7 port 52222 ssh2 "), 4)...)[:254]

// send sends n messages, each behind its length (RFC 6587), over some connections.
func send(address string, connections, n int) error {
	one := fmt.Appendf(nil, "%d %s", len(message), message)
	chunk := bytes.Repeat(one, 250)
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		share := n / connections
		if i == 0 {
			share += n % connections
		}
		all.Go(func() { errs[i] = sendTo(address, chunk, len(one), share) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func sendTo(address string, chunk []byte, size, n int) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	for n > 0 && err == nil {
		k := min(n, len(chunk)/size)
		_, err = c.Write(chunk[:k*size])
		n -= k
	}
	return errors.Join(err, c.Close())
}

// sendDatagrams sends at a rate for some seconds, from 32 sockets in turn, as from
// so many devices, and returns how many messages that were. Each call gives the
// kernel many of one size to cut apart (UDP_SEGMENT, udp(7)), so that what the
// sender costs is not what is measured.
func sendDatagrams(address string, rate int, seconds float64) (sent int, err error) {
	const each = 64 // UDP_MAX_SEGMENTS
	var senders []*net.UDPConn
	for range 32 {
		c, err := net.Dial("udp", address)
		if err != nil {
			return 0, err
		}
		defer c.Close() //nolint:errcheck // only written to
		u := c.(*net.UDPConn)
		if err := segment(u, len(message)); err != nil {
			return 0, fmt.Errorf("having the kernel cut datagrams: %w", err)
		}
		senders = append(senders, u)
	}
	batch := bytes.Repeat(message, each)
	start := time.Now()
	for total := int(float64(rate) * seconds); sent < total; {
		if ahead := time.Duration(float64(sent)/float64(rate)*1e9) - time.Since(start); ahead > time.Millisecond {
			time.Sleep(ahead)
		}
		n := min(each, total-sent)
		if _, err := senders[sent/each%len(senders)].Write(batch[:n*len(message)]); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// segment has the kernel cut what is written into datagrams of a size.
func segment(c *net.UDPConn, size int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size)
	})
	return errors.Join(failed, err)
}
