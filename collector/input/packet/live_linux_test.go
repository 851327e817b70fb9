package packet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const insideEnv = "FENGSUI_PACKET_TEST_INSIDE"

// TestLive runs TestInNamespace in a network namespace of its own.
func TestLive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range []string{"unshare", "nsenter", "ip", "curl", "openssl", "dig", "tshark"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	if out, err := exec.Command("unshare", "--net", "true").CombinedOutput(); err != nil {
		t.Skipf("this machine makes no network namespaces: %v: %s", err, out)
	}
	cmd := exec.Command("unshare", "--net", "--", os.Args[0], "-test.run=^TestInNamespace$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// lab is two namespaces with a wire between them: this process in one, at
// 10.99.0.1 and fd99::1, real programs in the other.
type lab struct {
	t    *testing.T
	peer string // pid of a process in the other namespace
}

func newLab(t *testing.T) *lab {
	sleep := exec.Command("unshare", "--net", "--", "sleep", "600")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sleep.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = sleep.Wait() // killed, as it should be
	})
	l := &lab{t, strconv.Itoa(sleep.Process.Pid)}
	mine, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the peer's namespace", func() bool {
		theirs, err := os.Readlink("/proc/" + l.peer + "/ns/net")
		return err == nil && theirs != mine
	})
	l.run("ip", "link", "set", "lo", "up")
	l.run("ip", "link", "add", "fs0", "type", "veth", "peer", "name", "fs1")
	l.run("ip", "link", "set", "fs1", "netns", l.peer)
	l.run("ip", "addr", "add", "10.99.0.1/24", "dev", "fs0")
	l.run("ip", "addr", "add", "fd99::1/64", "dev", "fs0", "nodad")
	l.run("ip", "link", "set", "fs0", "up")
	l.there("ip", "addr", "add", "10.99.0.2/24", "dev", "fs1")
	l.there("ip", "addr", "add", "fd99::2/64", "dev", "fs1", "nodad")
	l.there("ip", "link", "set", "fs1", "up")
	return l
}

func (l *lab) run(name string, args ...string) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// there runs a program in the other namespace.
func (l *lab) there(args ...string) string {
	l.t.Helper()
	return l.run("nsenter", append([]string{"--net", "--target", l.peer, "--"}, args...)...)
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// serve starts the services that the programs talk to.
func (l *lab) serve() {
	t := l.t
	listen := func(address string) net.Listener {
		n, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Errorf("reading a request: %v", err)
		}
		fmt.Fprintf(w, `{"result":{"version":1},"error":null,"id":1}`)
	})
	for _, secure := range []bool{false, true} {
		s := httptest.NewUnstartedServer(page)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		if err := s.Listener.Close(); err != nil {
			t.Fatal(err)
		}
		if secure {
			s.Listener = listen("[::]:443")
			s.EnableHTTP2 = true
			s.StartTLS()
		} else {
			s.Listener = listen("[::]:80")
			s.Start()
		}
		t.Cleanup(s.Close)
	}
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan struct{})
		s := &dns.Server{Addr: "[::]:53", Net: network, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			if q.Question[0].Qtype == dns.TypeA {
				rr, err := dns.NewRR(q.Question[0].Name + " 60 IN A 10.99.0.1")
				if err != nil {
					t.Error(err)
				}
				m.Answer = append(m.Answer, rr)
			}
			if err := w.WriteMsg(m); err != nil {
				t.Error(err)
			}
		})}
		done := make(chan error, 1)
		go func() { done <- s.ListenAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
			<-done
		})
	}
	pool := listen("[::]:3333")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := pool.Accept()
			if err != nil {
				return
			}
			if _, err := io.Copy(c, c); err != nil { // says the same back
				t.Log(err)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = pool.Close(); <-done })
}

// record lets tshark write what passes fs0 until the function it gives is called.
func (l *lab) record() (file string, stop func()) {
	file = filepath.Join(l.t.TempDir(), "ordinary.pcapng")
	var stderr bytes.Buffer
	cmd := exec.Command("tshark", "-i", "fs0", "-q", "-w", file)
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	size := func() int64 {
		i, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return i.Size()
	}
	wait(l.t, "tshark to capture", func() bool { return size() > 0 })
	head := size()
	return file, func() {
		// On a busy machine it is behind; what it has not read when it is stopped is lost.
		last, since := int64(0), time.Now()
		wait(l.t, "tshark to have read all", func() bool {
			if n := size(); n != last {
				last, since = n, time.Now()
			}
			return last > head && time.Since(since) > time.Second
		})
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			l.t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			l.t.Fatalf("tshark: %v\n%s", err, stderr.String())
		}
	}
}

// TestInNamespace listens on a wire while real programs use it: first in the
// ordinary way, seen by tshark too, then as a miner.
func TestInNamespace(t *testing.T) {
	if os.Getenv(insideEnv) == "" {
		t.Skip("started by TestLive, in a namespace of its own")
	}
	l := newLab(t)
	l.serve()

	cfg := DefaultConfig()
	cfg.Interface, cfg.RingMiB = "fs0", 8
	cfg.ICMPTimeout = time.Second // so that an end by silence is seen too
	s, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var sink collect
	result := make(chan error, 1)
	go func() { result <- s.Run(ctx, &sink) }()
	select {
	case <-s.Ready():
	case err := <-result:
		t.Fatal(err)
	}
	file, stop := l.record()

	l.there("curl", "-sS", "--max-time", "10", "-o", "/dev/null", "http://10.99.0.1/first?x=1", "http://10.99.0.1/second")
	l.there("curl", "-sS", "--max-time", "10", "-d", `{"jsonrpc":"1.0","id":1,"method":"getinfo","params":[]}`, "http://[fd99::1]/rpc")
	l.there("curl", "-sS", "--max-time", "10", "-k", "--resolve", "www.school.example:443:10.99.0.1", "https://www.school.example/")
	l.there("openssl", "s_client", "-connect", "10.99.0.1:443", "-servername", "old.school.example", "-tls1_2")
	l.there("dig", "+time=2", "+tries=1", "@10.99.0.1", "www.school.example", "A")
	l.there("dig", "+time=2", "+tries=1", "+tcp", "@fd99::1", "www.school.example", "AAAA")
	_, err = exec.LookPath("ping")
	pinged := err == nil
	if pinged {
		l.there("ping", "-c", "2", "-i", "0.2", "10.99.0.1")
	}

	count := func(path string) int { return len(of(decodeAll(t, sink.all()), path)) }
	wait(t, "the records of ordinary traffic", func() bool {
		return count("http") == 3 && count("ssl") == 2 && count("dns") == 2
	})
	wait(t, "the end of the ping", func() bool {
		if !pinged {
			return true
		}
		for _, r := range of(decodeAll(t, sink.all()), "conn") {
			if r["proto"] == "icmp" && r["id.orig_p"] == 8.0 && r["orig_pkts"] == 2.0 && r["resp_pkts"] == 2.0 {
				return true
			}
		}
		return false
	})
	stop()
	if count("stratum") != 0 {
		t.Errorf("ordinary traffic gives mining: %v", of(decodeAll(t, sink.all()), "stratum"))
	}
	agree(t, file)
	if mining := of(decodeAll(t, read(t, file)), "stratum"); len(mining) != 0 {
		t.Errorf("ordinary capture gives mining: %v", mining)
	}
	for _, r := range of(decodeAll(t, sink.all()), "ssl") {
		if r["established"] != true || r["ja4"] == nil {
			t.Errorf("a real handshake gives %v", r)
		}
		if r["server_name"] == "old.school.example" && (r["version"] != "TLSv12" || r["subject"] == nil) {
			t.Errorf("TLS 1.2 shows its certificate, but %v", r)
		}
	}

	// The interface goes down and comes up again.
	l.run("ip", "link", "set", "fs0", "down")
	wait(t, "the loss to be noticed", func() bool { return value(t, s.m.interfaceLost) > 0 })
	l.run("ip", "link", "set", "fs0", "up")
	miner := `exec 3<>/dev/tcp/10.99.0.1/3333; echo '{"id":1,"method":"mining.subscribe","params":["labminer/1.0"]}' >&3; read -t 5 line <&3`
	wait(t, "the miner", func() bool {
		l.there("bash", "-c", miner)
		for _, r := range of(decodeAll(t, sink.all()), "stratum") {
			if r["agent"] == "labminer/1.0" && r["id.orig_h"] == "10.99.0.2" && r["id.resp_p"] == 3333.0 {
				return true
			}
		}
		return false
	})

	cancel()
	select {
	case err := <-result:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("does not stop")
	}
	if count("conn") < 8 {
		t.Errorf("only %d conn records at the end", count("conn"))
	}
	for _, line := range sink.all() {
		if line.Stream != "" || !strings.HasSuffix(line.Source, "/fs0") {
			t.Fatalf("a live line is %+v", line)
		}
	}
	if drops := value(t, s.m.kernelDrops); drops != 0 {
		t.Errorf("%v packets dropped", drops)
	}
}
