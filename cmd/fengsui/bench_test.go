package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The measurements of the whole, run by `make bench`: they take minutes and say
// nothing about right or wrong.
var (
	benchWhole = flag.Bool("bench-all-in-one", false, "measure the whole of `fengsui up`")
	benchLines = flag.Int("bench-lines", 2_000_000, "lines that TestThroughput sends")
	benchFor   = flag.Duration("bench-for", time.Minute, "how long TestAlertLatency sends")
)

func benchSystem(t *testing.T) *system {
	t.Helper()
	if !*benchWhole {
		t.Skip("a measurement: give -bench-all-in-one")
	}
	s := newSystem(t, loopback+`
collector:
  inputs:
    - {name: syslog, type: syslog, format: syslog, unit: u1, syslog: {tcp: "127.0.0.1:0"}}
`)
	s.start()
	return s
}

// A line of about 200 bytes for the host, the i-th of all.
type line func(b []byte, host, i int, at time.Time) []byte

// ordinary is one that no rule matches.
func ordinary(b []byte, host, i int, at time.Time) []byte {
	return sshLine(b, host, i, at, "Disconnected from user student", ": bye, after a session of 3600 s with 1234567 bytes in and 7654321 out\n")
}

// counted is one that two correlations count, and that raises nothing: a login.
func counted(b []byte, host, i int, at time.Time) []byte {
	return sshLine(b, host, i, at, "Accepted publickey for student", " ssh2: ED25519 SHA256:Zk3w0RrX0bS7aVb1yq2c9Jm4uT5pLd8oQnE6fGhIjKl\n")
}

func sshLine(b []byte, host, i int, at time.Time, what, end string) []byte {
	b = append(b, "<86>1 "...)
	b = at.AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, " host"...)
	b = strconv.AppendInt(b, int64(host), 10)
	b = append(b, ".campus.example.edu.cn sshd "...)
	b = strconv.AppendInt(b, int64(i), 10)
	b = append(append(b, " - - "...), what...)
	b = strconv.AppendInt(b, int64(i%5000), 10)
	b = append(b, " from 198.51.100."...)
	b = strconv.AppendInt(b, int64(i%250), 10)
	b = append(b, " port "...)
	b = strconv.AppendInt(b, int64(1024+i%60000), 10)
	return append(b, end...)
}

// dialFrom connects from an address of its own: each source is a key of its own.
func dialFrom(t *testing.T, n int, address string) net.Conn {
	t.Helper()
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(10+n))}
	conn, err := (&net.Dialer{LocalAddr: from}).Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestThroughput measures lines a second from the syslog socket to rows that
// ClickHouse has acknowledged, with everything on this machine, the sender too: of
// lines that no rule matches, and of lines each of which two correlations count.
func TestThroughput(t *testing.T) {
	t.Run("ordinary", func(t *testing.T) { throughput(t, ordinary) })
	t.Run("counted", func(t *testing.T) { throughput(t, counted) })
}

func throughput(t *testing.T, next line) {
	s := benchSystem(t)
	db := s.db()
	const conns = 4
	address := s.input("syslog", "tcp")
	begin := time.Now()
	done := make(chan error, conns)
	for n := range conns {
		conn := dialFrom(t, n, address)
		go func() {
			defer conn.Close()
			w := bufio.NewWriterSize(conn, 256<<10)
			var b []byte
			for i := n; i < *benchLines; i += conns {
				b = next(b[:0], i%200, i, time.Now().UTC())
				if _, err := w.Write(b); err != nil {
					done <- err
					return
				}
			}
			done <- w.Flush()
		}()
	}
	var last uint64
	lastAt := begin
	for {
		time.Sleep(2 * time.Second)
		n, err := s.count(db, "SELECT count() FROM events")
		if err != nil {
			t.Log(err)
			continue
		}
		now := time.Now()
		t.Logf("%4.0f s  %8d rows  %6.0f lines/s", now.Sub(begin).Seconds(), n, float64(n-last)/now.Sub(lastAt).Seconds())
		last, lastAt = n, now
		if n >= uint64(*benchLines) {
			break
		}
	}
	took := time.Since(begin)
	for range conns {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Logf("RESULT throughput %d lines in %.1f s: %.0f lines/s (socket to acknowledged rows)", *benchLines, took.Seconds(), float64(*benchLines)/took.Seconds())
	for _, p := range []string{"up", "store", "broker"} {
		pid := s.child(p)
		if p == "up" {
			pid = s.cmd.Process.Pid
		}
		t.Logf("RESULT cpu of %-7s %6.1f s, peak memory %d MB", p, cpuSeconds(pid), peakMemory(pid)>>20)
	}
	s.stop()
}

// TestAlertLatency measures the time from sending a line to its alert being found
// in ClickHouse, at 10,000 lines/s of other lines.
func TestAlertLatency(t *testing.T) {
	s := benchSystem(t)
	db := s.db()
	address := s.input("syslog", "tcp")
	ctx, cancel := context.WithTimeout(context.Background(), *benchFor)
	defer cancel()
	const perSecond, tick = 10_000, 10 * time.Millisecond
	sent := make(chan int, 1)
	go func() {
		conn := dialFrom(t, 0, address)
		defer conn.Close()
		var b []byte
		n := 0
		for ticker := time.NewTicker(tick); ctx.Err() == nil; <-ticker.C {
			b = b[:0]
			for range perSecond / int(time.Second/tick) {
				b = ordinary(b, n%200, n, time.Now().UTC())
				n++
			}
			if _, err := conn.Write(b); err != nil {
				break
			}
		}
		sent <- n
	}()
	// An attack is a root login over SSH from outside, each on a host of its own,
	// so that each is an alert.
	attack := dialFrom(t, 1, address)
	defer attack.Close()
	at := map[string]time.Time{}
	seen := map[string]time.Duration{}
	poll := func() {
		rows, err := db.Query(context.Background(), "SELECT DISTINCT host FROM alerts WHERE startsWith(host, 'victim')")
		if err != nil {
			t.Log(err)
			return
		}
		defer rows.Close()
		now := time.Now()
		for rows.Next() {
			var host string
			if err := rows.Scan(&host); err == nil && seen[host] == 0 {
				seen[host] = now.Sub(at[host])
			}
		}
	}
	for i := 0; ctx.Err() == nil; i++ {
		host := fmt.Sprintf("victim%d", i)
		at[host] = time.Now()
		fmt.Fprintf(attack, "<86>1 %s %s sshd 1 - - Accepted password for root from 203.0.113.%d port 22 ssh2\n",
			at[host].UTC().Format("2006-01-02T15:04:05.000000Z"), host, i%250)
		for until := time.Now().Add(100 * time.Millisecond); time.Now().Before(until); {
			poll()
			time.Sleep(20 * time.Millisecond)
		}
	}
	for wait := 0; len(seen) < len(at) && wait < 100; wait++ {
		time.Sleep(100 * time.Millisecond)
		poll()
	}
	if len(seen) < len(at) {
		t.Errorf("%d of %d attacks are alerts", len(seen), len(at))
	}
	var all []time.Duration
	for _, d := range seen {
		all = append(all, d)
	}
	slices.Sort(all)
	q := func(p float64) time.Duration { return all[int(p*float64(len(all)-1))].Round(time.Millisecond) }
	n := <-sent
	t.Logf("RESULT latency of %d alerts at %.0f lines/s: p50 %v, p90 %v, p99 %v, max %v (line sent to alert found, polled every 20 ms)",
		len(all), float64(n)/benchFor.Seconds(), q(.5), q(.9), q(.99), q(1))
	s.stop()
}

// cpuSeconds is what a process has used (proc(5): fields 14 and 15 of stat, in
// ticks of 10 ms).
func cpuSeconds(pid int) float64 {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

func peakMemory(pid int) int {
	raw, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kb << 10
		}
	}
	return 0
}
