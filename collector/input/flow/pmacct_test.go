package flow

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fengsui/collector/input/listen/listentest"
)

// aside is where deploy/setup/aside.sh has unpacked pmacct.
const aside = "../../../deploy/setup/aside"

// TestPmacct has the real pmacctd export every packet of a capture as sFlow. What
// comes out must be what tshark reads from the same datagrams.
func TestPmacct(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close() //nolint:errcheck // only read from
	dir := t.TempDir()
	capture, conf := filepath.Join(dir, "traffic.pcap"), filepath.Join(dir, "pmacctd.conf")
	traffic(t, capture)
	text := fmt.Sprintf("daemonize: false\npcap_savefile: %s\nplugins: sfprobe\nsfprobe_receiver: %s\nsfprobe_agentip: 192.0.2.9\nsampling_rate: 1\n", capture, pc.LocalAddr())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	said, err := listentest.Aside(ctx, t, aside, "usr/sbin/pmacctd", "-f", conf).CombinedOutput()
	var datagrams [][]byte
	for buf := make([]byte, 65535); ; {
		_ = pc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, _, err := pc.ReadFrom(buf)
		if err != nil {
			break
		}
		datagrams = append(datagrams, slices.Clone(buf[:n]))
	}
	if len(datagrams) == 0 {
		t.Fatalf("pmacctd sent nothing: %v\n%s", err, said)
	}
	in := listen(t, Config{})
	in.send(t, datagrams...)

	var want, got []string
	for _, f := range tshark(t, "sflow", func(key string) bool { return strings.Contains(key, "low sample") }, datagrams...) {
		first := func(keys ...string) string {
			for _, k := range keys {
				if vs := f[k]; len(vs) > 0 {
					return vs[0]
				}
			}
			return ""
		}
		bytes := first("ip.len")
		if n, err := strconv.Atoi(first("ipv6.plen")); err == nil {
			bytes = strconv.Itoa(n + 40)
		}
		want = append(want, fmt.Sprintf("%s:%s > %s:%s, %s bytes, vlan %s", first("ip.src", "ipv6.src"), first("tcp.srcport", "udp.srcport"),
			first("ip.dst", "ipv6.dst"), first("tcp.dstport", "udp.dstport"), bytes, zero(first("vlan.id"))))
	}
	if len(want) < 20 {
		t.Fatalf("tshark reads %d samples: %v", len(want), want)
	}
	listentest.Eventually(t, "all samples are there", func() bool { return len(in.Lines()) >= len(want) })
	in.stop()
	for _, r := range decodeLines(t, in.Lines()) {
		text := func(key string) string {
			if n, ok := r[key].(float64); ok {
				return strconv.FormatFloat(n, 'f', -1, 64)
			}
			s, _ := r[key].(string)
			return s
		}
		got = append(got, fmt.Sprintf("%s:%s > %s:%s, %s bytes, vlan %s", text("source.ip"), text("source.port"), text("destination.ip"), text("destination.port"),
			text("source.bytes"), text("network.vlan.id")))
		if r["event.provider"] != "sflow" || r["observer.ip"] != "192.0.2.9" {
			t.Errorf("%v", r)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("tshark (-) and the input (+) differ:\n%s", d)
	}
	t.Logf("%d samples agree, such as\n%s", len(got), got[0])
}
