package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestUp is a newcomer's first minute: it starts, says where everything is, is
// refused a second time, stops cleanly, and starts again with all data there.
func TestUp(t *testing.T) {
	s := newSystem(t, loopback+`
collector:
  inputs:
    - {name: syslog, type: syslog, syslog: {udp: "127.0.0.1:0", tcp: "127.0.0.1:0"}}
`)
	s.start()
	if s.ready.Console == "" || s.ready.DataDir != s.dir || len(s.ready.Password) < 16 || len(s.ready.Inputs["syslog"]) != 2 {
		t.Errorf("said %+v", s.ready)
	}
	_, err := s.try("up")
	if err == nil || !strings.Contains(err.Error(), "another `fengsui up` is using "+s.dir) {
		t.Errorf("a second start: %v", err)
	}
	send(t, "tcp", s.input("syslog", "tcp"), "<86>1 2026-03-01T08:00:00Z web1 sshd 7 - - Accepted password for lin from 192.0.2.9 port 4 ssh2\n")
	stored := func() error {
		rows, err := tryFind[map[string]any](s, "events", "user.name = lin")
		if err == nil && len(rows) != 1 {
			err = fmt.Errorf("%d events", len(rows))
		}
		return err
	}
	s.eventually(30*time.Second, "the line is an event", stored)
	// A crash of an engine is survived.
	for i, engine := range []string{"store", "broker"} {
		s.killChild(engine)
		user := fmt.Sprintf("after%d", i)
		send(t, "tcp", s.input("syslog", "tcp"), "<86>1 2026-03-01T08:00:00Z web1 sshd 7 - - Accepted password for "+user+" from 192.0.2.9 port 4 ssh2\n")
		s.eventually(60*time.Second, "a line after the crash of the "+engine+" is an event", func() error {
			rows, err := tryFind[map[string]any](s, "events", "user.name = "+user)
			if err == nil && len(rows) != 1 {
				err = fmt.Errorf("%d events", len(rows))
			}
			return err
		})
	}
	s.stop()
	if _, err := s.try("events"); err == nil || !strings.Contains(err.Error(), "running?") {
		t.Errorf("a query when nothing runs: %v", err)
	}
	s.start()
	if err := stored(); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	if s.ready.Password != "" {
		t.Error("a second one-time password was given")
	}
	s.stop()
}

func send(t *testing.T, network, address, text string) {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}
