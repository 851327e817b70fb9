package collector

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	httpinput "fengsui/collector/input/http"
	"fengsui/collector/input/syslog"
)

// TestFullSpool takes Kafka away for so long that the spool is full: a sender over
// TCP waits, one over HTTP is told to come again, what comes over UDP is dropped by
// the kernel and counted, and the status says so. When Kafka is back everything that
// was taken is there, once and in order.
func TestFullSpool(t *testing.T) {
	w := newWorld(t)
	w.broker.NeedsKill(t)
	w.cfg.Spool.MaxBytes, w.cfg.QueueBytes = 64<<20, 16<<20
	w.cfg.Inputs = []InputConfig{{
		Name: "net", Type: "syslog", Unit: "410100",
		Syslog: &syslog.Config{UDP: "127.0.0.1:0", UDPSockets: 1, ReceiveBuffer: 64 << 10, TCP: "127.0.0.1:0"},
	}, {
		Name: "http", Type: "http", Unit: "410100",
		HTTP: &httpinput.Config{Listen: "127.0.0.1:0", Anonymous: true, Wait: time.Second},
	}}
	c := w.collect()
	w.broker.Kill()

	const lines = 2000
	padding := strings.Repeat("x", 64<<10)
	sent := make(chan error, 1)
	conn := c.dial()
	go func() {
		var err error
		for i := 0; i < lines && err == nil; i++ {
			_, err = fmt.Fprintf(conn, "<38>%06d %s\n", i, padding)
		}
		sent <- err
	}()
	eventually(t, "the spool is full", func() bool { return !c.Status().SpoolFull.IsZero() })
	select {
	case err := <-sent:
		t.Fatalf("a sender of %d MiB was not made to wait: %v", lines>>4, err)
	case <-time.After(500 * time.Millisecond):
	}
	status := c.Status()
	if status.SpoolBytes > status.SpoolMax || status.SpoolBytes < status.SpoolMax/2 || c.metric("spool_full", "") != 1 || c.metric("spool_waits_total", "") == 0 {
		t.Errorf("%d bytes of %d in the spool, full %v, waits %v", status.SpoolBytes, status.SpoolMax, c.metric("spool_full", ""), c.metric("spool_waits_total", ""))
	}

	// As long as there is room in memory a post is kept, and its sender told that
	// nothing is known of it yet.
	var refused string
	posts := 0
	eventually(t, "a full collector refuses", func() bool {
		posts++
		refused = fmt.Sprint("post ", posts)
		resp, err := http.Post("http://"+c.Addrs()["http"][0].String()+"/logs", "text/plain", strings.NewReader(refused+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "" {
			t.Error("nobody is told when to come again")
		}
		return resp.StatusCode == http.StatusTooManyRequests
	})
	http.DefaultClient.CloseIdleConnections()
	if got := c.Status().Inputs[1].Refused; got["busy"] == 0 {
		t.Errorf("nobody was refused: %v", got)
	}

	udp, err := net.Dial("udp", c.Addrs()["net"][0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	const datagrams = 3000
	for i := range datagrams {
		if _, err := fmt.Fprintf(udp, "<38>datagram %d %s", i, padding[:1000]); err != nil {
			t.Fatal(err)
		}
	}
	dropped := func() int64 { return int64(*c.Status().Inputs[0].KernelDrops) } //nolint:gosec // a few thousand
	if dropped() == 0 {
		t.Error("nothing was dropped, and nobody read")
	}

	w.broker.Restart(t)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was not dropped is received", func() bool {
		return c.Status().Inputs[0].Received == lines+datagrams-dropped()
	})
	eventually(t, "the spool is empty", func() bool { return c.metric("spool_lines", "") == 0 && c.metric("queued_lines", "") == 0 })
	c.checkBooks(0)
	if status := c.Status(); !status.SpoolFull.IsZero() || c.metric("spool_full", "") != 0 {
		t.Errorf("an empty spool is full since %v", status.SpoolFull)
	}
	c.stop()
	s := w.read()
	next, others := 0, int64(0)
	for _, r := range s.records {
		number, _, _ := bytes.Cut(bytes.TrimPrefix(r.Value, []byte("<38>")), []byte(" "))
		n, err := strconv.Atoi(string(number))
		if err != nil {
			switch {
			case bytes.HasPrefix(r.Value, []byte("<38>datagram ")):
				others++
			case string(r.Value) == refused, !bytes.HasPrefix(r.Value, []byte("post ")):
				t.Errorf("nobody was told that %.60q is taken", r.Value)
			}
			continue
		}
		if n != next {
			t.Fatalf("line %d where %d was expected", n, next)
		}
		next++
	}
	if next != lines || others != datagrams-dropped() {
		t.Errorf("%d of %d lines, %d datagrams of %d, of which %d were dropped", next, lines, others, datagrams, dropped())
	}
	t.Logf("%d lines, %d datagrams dropped by the kernel, %d taken", next, dropped(), others)
}
