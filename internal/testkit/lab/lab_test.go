package lab

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The lab's own promise: what is started answers from another host, over both
// families, and what nobody has does not.
func TestServersAnswer(t *testing.T) {
	l := New(t)
	client := l.Host("client", "10.9.0.2", "fd00:9::2")
	server := l.Host("server", "10.9.1.10", "fd00:9:1::10")
	server.Nginx(Web{Port: 80, TLS: 443, Title: "欢迎"})
	server.Redis()
	server.SSHD()
	server.Bind(Zone{Name: "campus.example", Records: "www IN A 10.9.1.10"}, Reverse(map[string]string{"10.9.1.10": "www.campus.example"}))
	port := server.Listen(7000, "hello\r\n")

	open := func(ip netip.Addr, port int, want bool) {
		t.Helper()
		err := client.In(func() error {
			c, err := net.DialTimeout("tcp", netip.AddrPortFrom(ip, uint16(port)).String(), 2*time.Second)
			if err != nil {
				return err
			}
			return c.Close()
		})
		if (err == nil) != want {
			t.Errorf("%s port %d: %v, want open %v", ip, port, err, want)
		}
	}
	for _, ip := range []netip.Addr{server.IP4, server.IP6} {
		for _, p := range []int{80, 443, 6379, 22, 53, 7000} {
			open(ip, p, true)
		}
		open(ip, 8080, false)
	}
	open(netip.MustParseAddr("10.9.1.11"), 80, false)

	var line string
	err := client.In(func() error {
		c, err := net.Dial("tcp", "10.9.1.10:7000")
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		line, err = bufio.NewReader(c).ReadString('\n')
		return err
	})
	if err != nil || line != "hello\r\n" {
		t.Errorf("banner %q, %v", line, err)
	}
	port.Close()
	open(server.IP4, 7000, false)

	out, err := client.Command("dig", "+short", "@10.9.1.10", "-x", "10.9.1.10").Output()
	if err != nil || strings.TrimSpace(string(out)) != "www.campus.example." {
		t.Errorf("dig: %q, %v", out, err)
	}
}

func TestSnifferSeesEverythingSent(t *testing.T) {
	l := New(t)
	a := l.Host("a", "10.9.0.2", "fd00:9::2")
	b := l.Host("b", "10.9.0.3", "fd00:9::3")
	s := a.Sniff()
	const each = 500
	err := a.In(func() error {
		for _, to := range []netip.Addr{b.IP4, b.IP6, netip.MustParseAddr("192.0.2.1")} {
			c, err := net.Dial("udp", netip.AddrPortFrom(to, 9).String())
			if err != nil {
				return err
			}
			for range each {
				// "Unreachable" comes back to the next write, which then sends nothing.
				for _, err = c.Write([]byte("x")); err != nil; _, err = c.Write([]byte("x")) {
					if !strings.Contains(err.Error(), "refused") && !strings.Contains(err.Error(), "route") {
						return err
					}
				}
			}
			_ = c.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := s.Sent()
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"10.9.0.3", "fd00:9::3", "192.0.2.1"} {
		if n := sent[netip.MustParseAddr(to)]; n != each {
			t.Errorf("%s: %d packets, want %d", to, n, each)
		}
	}
}

func TestRerunIsInside(t *testing.T) {
	if Inside() != "" {
		addrs, err := net.InterfaceAddrs()
		if err != nil || !strings.Contains(fmt.Sprint(addrs), "10.9.0.7/32") {
			t.Fatalf("inside %s with %v, %v", Inside(), addrs, err)
		}
		return
	}
	New(t).Host("x", "10.9.0.7", "").Rerun(t)
}

// Nothing stays behind: neither processes nor namespaces.
func TestNothingStays(t *testing.T) {
	Require(t)
	var names, pids []string
	t.Run("lab", func(t *testing.T) {
		h := New(t).Host("x", "10.9.0.7", "")
		s := h.Redis()
		names = append(names, h.NS, h.lab.router)
		pids = append(pids, fmt.Sprint(s.cmd.Process.Pid))
	})
	for _, n := range names {
		if _, err := os.Stat(netnsDir + "/" + n); err == nil {
			t.Errorf("namespace %s is still there", n)
		}
	}
	for _, p := range pids {
		if _, err := os.Stat("/proc/" + p); err == nil {
			t.Errorf("process %s is still there", p)
		}
	}
}
