package flow

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"fengsui/collector/input"
	"fengsui/collector/input/listen/listentest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listening is an input that runs.
type listening struct {
	*Input
	listentest.Sink
	addr string
	stop func()
}

func listen(t testing.TB, cfg Config) *listening {
	t.Helper()
	if cfg.UDP == nil {
		cfg.UDP = []string{"127.0.0.1:0"}
	}
	if cfg.ReceiveBuffer == 0 {
		cfg.ReceiveBuffer = 1 << 20
	}
	in, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	l := &listening{Input: in}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, &l.Sink) }()
	select {
	case <-in.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	l.addr = in.Addrs()[0].String()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(l.stop)
	return l
}

func (l *listening) send(t testing.TB, datagrams ...[]byte) {
	t.Helper()
	c, err := net.Dial("udp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // only written to
	for _, b := range datagrams {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

type fields = map[string]any

// decodeLines reads lines; each must be JSON, and none a dead letter.
func decodeLines(t testing.TB, lines []input.Line) (records []fields) {
	t.Helper()
	for _, l := range lines {
		if l.Reject != "" {
			t.Fatalf("a dead letter: %s", l.Reject)
		}
		var r fields
		if err := json.Unmarshal(l.Value, &r); err != nil {
			t.Fatalf("no JSON: %v\n%s", err, l.Value)
		}
		if l.Source == "" || l.Format != Format || l.Received.IsZero() {
			t.Fatalf("the line is not from anybody: %+v", l)
		}
		records = append(records, r)
	}
	return records
}

// program finds a peer, and skips the test where it is not installed; CI has it.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/usr/sbin/", "/usr/bin/"} {
			if _, err := os.Stat(dir + name); err == nil {
				return dir + name
			}
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}
