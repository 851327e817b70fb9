package udp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/ipv4"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T, cfg Config) []*Socket {
	t.Helper()
	sockets, err := Listen(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		t.Cleanup(func() { _ = s.Close() })
	}
	return sockets
}

// TestNothingIsLost sends from many ports, so that every socket gets its share,
// and ends at once: what the kernel has is still read, many with one call.
func TestNothingIsLost(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		sockets := listen(t, Config{Address: address, Sockets: 3, ReceiveBuffer: 1 << 20})
		const senders, each = 32, 20
		for i := range senders {
			c, err := net.Dial("udp", sockets[0].Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			for j := range each {
				if _, err := fmt.Fprintf(c, "%d/%d", i, j); err != nil {
					t.Fatal(err)
				}
			}
			_ = c.Close()
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var mu sync.Mutex
		var wg sync.WaitGroup
		got, busy, calls := map[string]bool{}, 0, 0
		for _, s := range sockets {
			wg.Go(func() {
				mine := 0
				err := s.Serve(ctx, func(ms []ipv4.Message) error {
					mu.Lock()
					defer mu.Unlock()
					for i := range ms {
						got[string(ms[i].Buffers[0][:ms[i].N])] = true
						if from := From(&ms[i]); !from.IsLoopback() || (Names{}).Of(from) == "" {
							t.Errorf("sent by %v", from)
						}
					}
					mine += len(ms)
					calls++
					return nil
				})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if mine > 0 {
					busy++
				}
			})
		}
		wg.Wait()
		if len(got) != senders*each || busy < 2 {
			t.Errorf("%s: %d of %d datagrams came, over %d sockets", address, len(got), senders*each, busy)
		}
		if most := senders*each/BatchSize + len(sockets); calls > most { // a last one of each socket may be short
			t.Errorf("%s: %d calls for %d datagrams that waited, more than %d", address, calls, senders*each, most)
		}
	}
}

// TestDropsAreCounted fills a small buffer that nobody reads.
func TestDropsAreCounted(t *testing.T) {
	sockets := listen(t, Config{Address: "127.0.0.1:0", Sockets: 1, ReceiveBuffer: 4096})
	var d Drops
	d.Watch(sockets...)
	c, err := net.Dial("udp", sockets[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // only written to
	const sent = 100
	for range sent {
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	read := 0
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := sockets[0].Serve(ctx, func(ms []ipv4.Message) error {
		read += len(ms)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if total := d.Total(); total == 0 || int(total)+read != sent { //nolint:gosec // small
		t.Errorf("sent %d, read %d, dropped %d", sent, read, total)
	}
}
