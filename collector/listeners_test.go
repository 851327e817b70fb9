package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	lumberjack "github.com/elastic/go-lumber/client/v2"

	"fengsui/collector/input/beats"
	httpinput "fengsui/collector/input/http"
)

const listenerToken = "0123456789abcdef"

// listeners are inputs whose senders are told what was taken.
func listeners() []InputConfig {
	return []InputConfig{{
		Name: "http", Type: "http", Unit: "410100",
		HTTP: &httpinput.Config{Listen: "127.0.0.1:0", Tokens: []httpinput.Token{{Unit: "410117", Secret: listenerToken}}},
	}, {
		Name: "beats", Type: "beats", Unit: "410200", Beats: &beats.Config{Listen: "127.0.0.1:0"},
	}}
}

// post sends lines and says whether they were taken.
func post(client *http.Client, addr, path, body string) error {
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+listenerToken)
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode >= 300 || bytes.Contains(answer, []byte(`"errors":true`)) {
		return fmt.Errorf("%d %s %w", resp.StatusCode, answer, err)
	}
	return nil
}

func bulkOf(lines []string) string {
	return "{\"create\":{}}\n" + strings.Join(lines, "\n{\"create\":{}}\n") + "\n"
}

// TestListeners sends by each protocol: what is acknowledged is on the topic,
// with its sender's unit, also when it is the spool that took it.
func TestListeners(t *testing.T) {
	w := newWorld(t)
	w.broker.NeedsKill(t)
	w.cfg.Inputs = listeners()
	c := w.collect()
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	web, beat := c.Addrs()["http"][0].String(), c.Addrs()["beats"][0].String()
	n := 0
	round := func() {
		t.Helper()
		var lines []string
		var events []any
		for range 500 {
			lines, events = append(lines, fmt.Sprintf(`{"n":%d}`, n)), append(events, map[string]int{"n": n + 1})
			n += 2
		}
		for _, body := range []struct{ path, text string }{
			{"/logs", strings.Join(lines[:100], "\n")},
			{"/_bulk", bulkOf(lines[100:400])},
			{"/services/collector", `{"event":` + strings.Join(lines[400:], `}{"event":`) + "}"},
		} {
			if err := post(client, web, body.path, body.text); err != nil {
				t.Fatal(body.path, err)
			}
		}
		sender, err := lumberjack.SyncDial(beat, lumberjack.CompressionLevel(3), lumberjack.Timeout(20*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		defer sender.Close()
		if _, err := sender.Send(events); err != nil {
			t.Fatal(err)
		}
	}
	round()
	c.checkBooks(0)
	w.broker.Kill()
	round() // acknowledged by the spool
	if c.metric("spool_lines", "") == 0 {
		t.Error("nothing is in the spool")
	}
	w.broker.Restart(t)
	round()
	eventually(t, "the spool is empty", func() bool { return c.metric("spool_lines", "") == 0 })
	c.checkBooks(0)
	if got := c.metric("received_lines_total", ""); got != float64(n) {
		t.Errorf("%v of %d lines received", got, n)
	}
	s := w.read()
	wantEachOnce(t, s, n, func(i int) string { return fmt.Sprintf(`{"n":%d}`, i) })
	units, ids := map[string]int{}, map[string]bool{}
	for _, o := range s.origins {
		units[o.Input+" "+o.Unit+" "+o.Source]++
		ids[o.EventID()] = true
	}
	if len(ids) != n || units["http 410117 127.0.0.1"] != n/2 || units["beats 410200 127.0.0.1"] != n/2 {
		t.Errorf("%d ids, %v", len(ids), units)
	}
}

// listenUntilKilled is a collector whose inputs say in a file where they listen.
func listenUntilKilled(dir, broker string) {
	cfg := testConfig(dir, broker)
	cfg.Inputs = listeners()
	c, err := New(cfg, Deps{})
	if err != nil {
		panic(err)
	}
	go func() {
		<-c.Ready()
		text := fmt.Sprintf("%s %s", c.Addrs()["http"][0], c.Addrs()["beats"][0])
		part := filepath.Join(dir, "addrs.part")
		if err := errors.Join(os.WriteFile(part, []byte(text), 0o600), os.Rename(part, filepath.Join(dir, "addrs"))); err != nil {
			panic(err)
		}
	}()
	panic(c.Run(context.Background()))
}

// TestKillListeners kills the collector while lines come: what was acknowledged
// is on the topic, and what is there twice was not acknowledged at first.
func TestKillListeners(t *testing.T) {
	w := newWorld(t)
	w.broker.NeedsKill(t)
	var web, beat string
	start := func() *exec.Cmd {
		t.Helper()
		_ = os.Remove(filepath.Join(w.dir, "addrs"))
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDirEnv+"="+w.dir, childBrokerEnv+"="+w.broker.Addr, childListensEnv+"=1")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the collector listens", func() bool {
			text, err := os.ReadFile(filepath.Join(w.dir, "addrs"))
			web, beat, _ = strings.Cut(string(text), " ")
			return err == nil
		})
		return cmd
	}
	var mu sync.Mutex
	acked, failed := map[string]bool{}, map[string]bool{}
	note := func(lines []string, err error) {
		mu.Lock()
		defer mu.Unlock()
		for _, l := range lines {
			acked[l] = acked[l] || err == nil
			failed[l] = failed[l] || err != nil
		}
	}
	batch := func(kind string, round, i int) (lines []string) {
		for k := range 50 {
			lines = append(lines, fmt.Sprintf(`"%s %d %d %d"`, kind, round, i, k))
		}
		return lines
	}
	const rounds = 3
	for round := range rounds {
		cmd := start()
		var senders sync.WaitGroup
		stop := make(chan struct{})
		each := func(send func(i int) bool) {
			senders.Go(func() {
				for i := 0; send(i); i++ {
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		client := &http.Client{Timeout: 10 * time.Second}
		each(func(i int) bool {
			lines := batch("http", round, i)
			err := post(client, web, "/_bulk", bulkOf(lines))
			note(lines, err)
			return err == nil
		})
		sender, err := lumberjack.SyncDialWith(net.Dial, beat, lumberjack.Timeout(10*time.Second),
			lumberjack.JSONEncoder(func(v any) ([]byte, error) { return []byte(v.(string)), nil }))
		if err != nil {
			t.Fatal(err)
		}
		each(func(i int) bool {
			lines := batch("beats", round, i)
			var events []any
			for _, l := range lines {
				events = append(events, l)
			}
			_, err := sender.Send(events)
			note(lines, err)
			return err == nil
		})
		time.Sleep(300 * time.Millisecond)
		if round == 1 {
			w.broker.Kill()
			time.Sleep(200 * time.Millisecond)
		}
		_ = cmd.Process.Kill()
		close(stop)
		senders.Wait()
		_ = cmd.Wait() // it was killed
		_ = sender.Close()
		client.CloseIdleConnections()
		if round == 1 {
			w.broker.Restart(t)
		}
	}
	cmd := start() // empties the spool
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	missing := func(s stored) (count int) {
		values := s.values()
		for line, ok := range acked {
			if ok && values[line] == 0 {
				count++
			}
		}
		return count
	}
	eventually(t, "every acknowledged line is there", func() bool { return missing(w.read()) == 0 })
	s := w.read()
	for line, n := range s.values() {
		if n > 1 && !failed[line] {
			t.Errorf("%s was acknowledged once and stored %d times", line, n)
		}
	}
	ids := map[string]bool{}
	for _, o := range s.origins {
		ids[o.EventID()] = true
	}
	if len(ids) != len(s.records) || len(acked) < 100*rounds {
		t.Errorf("%d ids of %d records; %d lines sent", len(ids), len(s.records), len(acked))
	}
	t.Logf("%d lines sent, %d stored, %d kills", len(acked), len(s.records), rounds)
}
