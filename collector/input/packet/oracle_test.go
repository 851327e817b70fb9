package packet

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tshark reads a capture with Wireshark's decoder and gives the fields of the
// packets that pass the filter.
func tshark(t testing.TB, file, filter string, fields ...string) (rows [][]string) {
	t.Helper()
	program, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	args := []string{"-r", file, "-n", "-Y", filter, "-T", "fields", "-E", "separator=\t", "-E", "occurrence=a", "-E", "aggregator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark %v: %v\n%s", args, err, stderr.String())
	}
	for line := range strings.Lines(string(out)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows
}

// TestAgreesWithTshark reads each capture of the corpus with both.
func TestAgreesWithTshark(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(captures(t), "*.pcap"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { agree(t, file) })
	}
}

// agree compares every kind of record with tshark's reading of the same file.
func agree(t *testing.T, file string) {
	t.Helper()
	records := decodeAll(t, read(t, file))
	same := func(what string, theirs, ours []string) {
		t.Helper()
		slices.Sort(theirs)
		slices.Sort(ours)
		if d := cmp.Diff(theirs, ours); d != "" {
			t.Errorf("%s: tshark (-) and the sensor (+) differ:\n%s", what, d)
		}
		t.Logf("%s: %d agree", what, len(ours))
	}
	same("conn", tsharkConns(t, file), ourConns(records))
	same("community id", tsharkCommunity(t, file), unique(texts(of(records, "conn"), "community_id")))

	var theirs, ours []string
	for _, r := range tshark(t, file, "dns && (udp.port==53 || tcp.port==53) && dns.flags.response==0", "dns.id", "dns.qry.name", "dns.qry.type") {
		theirs = append(theirs, strings.Join(r, " "))
	}
	for _, r := range of(records, "dns") {
		ours = append(ours, fmt.Sprintf("0x%04x %v %v", int(r["trans_id"].(float64)), r["query"], r["qtype"]))
	}
	same("DNS queries", theirs, ours)

	theirs, ours = nil, nil
	for _, r := range tshark(t, file, "dns && (udp.port==53 || tcp.port==53) && dns.flags.response==1", "dns.id", "dns.flags.rcode", "dns.count.answers", "dns.a", "dns.aaaa") {
		addresses := append(strings.FieldsFunc(r[3], func(c rune) bool { return c == '|' }), strings.FieldsFunc(r[4], func(c rune) bool { return c == '|' })...)
		theirs = append(theirs, fmt.Sprintf("%s %s %s %v", r[0], r[1], r[2], addresses))
	}
	for _, r := range of(records, "dns") {
		if r["rcode"] == nil {
			continue
		}
		answers, _ := r["answers"].([]any)
		addresses := []string{}
		for _, family := range []int{4, 6} {
			for _, a := range answers {
				if ip := net.ParseIP(a.(string)); ip != nil && (ip.To4() != nil) == (family == 4) {
					addresses = append(addresses, a.(string))
				}
			}
		}
		ours = append(ours, fmt.Sprintf("0x%04x %v %d %v", int(r["trans_id"].(float64)), r["rcode"], len(answers), addresses))
	}
	same("DNS answers", theirs, ours)

	theirs, ours = nil, nil
	for _, r := range tshark(t, file, "tls.handshake.type==1", "tcp.srcport", "tls.handshake.extensions_server_name", "tls.handshake.ja3") {
		theirs = append(theirs, strings.Join(r, " "))
	}
	for _, r := range of(records, "ssl") {
		if r["ja3"] != nil {
			name, _ := r["server_name"].(string)
			ours = append(ours, fmt.Sprintf("%v %v %v", r["id.orig_p"], name, r["ja3"]))
		}
	}
	same("TLS client hellos", theirs, ours)

	theirs, ours = nil, nil
	for _, r := range tshark(t, file, "tls.handshake.type==2", "tcp.dstport", "tls.handshake.ja3s", "tls.handshake.extensions_alpn_str") {
		theirs = append(theirs, strings.Join(r, " "))
	}
	for _, r := range of(records, "ssl") {
		if r["ja3s"] != nil {
			alpn, _ := r["next_protocol"].(string)
			ours = append(ours, fmt.Sprintf("%v %v %v", r["id.orig_p"], r["ja3s"], alpn))
		}
	}
	same("TLS server hellos", theirs, ours)

	theirs, ours = nil, nil
	for _, r := range tshark(t, file, "http.request", "tcp.srcport", "http.request.method", "http.host", "http.request.uri", "http.user_agent") {
		theirs = append(theirs, strings.Join([]string{r[0], r[1], hostOf(r[2]), r[3], r[4]}, " "))
	}
	for _, r := range of(records, "http") {
		if r["method"] != nil {
			agent, _ := r["user_agent"].(string)
			ours = append(ours, fmt.Sprintf("%v %v %v %v %v", r["id.orig_p"], r["method"], r["host"], r["uri"], agent))
		}
	}
	same("HTTP requests", theirs, ours)

	theirs, ours = nil, nil
	for _, r := range tshark(t, file, "http.response", "tcp.dstport", "http.response.code") {
		theirs = append(theirs, strings.Join(r, " "))
	}
	for _, r := range of(records, "http") {
		if r["status_code"] != nil {
			ours = append(ours, fmt.Sprintf("%v %v", r["id.orig_p"], r["status_code"]))
		}
	}
	same("HTTP responses", theirs, ours)
}

func unique(in []string) []string {
	slices.Sort(in)
	return slices.Compact(in)
}

// tally is what two endpoints have sent each other.
type tally map[string]*[4]int64 // packets and IP bytes of the lower, of the higher

func (c tally) add(proto, src, dst string, forth, back [2]int64) {
	if src > dst {
		src, dst, forth, back = dst, src, back, forth
	}
	key := proto + " " + src + " " + dst
	if c[key] == nil {
		c[key] = &[4]int64{}
	}
	c[key][0] += forth[0]
	c[key][1] += forth[1]
	c[key][2] += back[0]
	c[key][3] += back[1]
}

func (c tally) lines() (out []string) {
	for k, v := range c {
		out = append(out, fmt.Sprintf("%s packets %d/%d bytes %d/%d", k, v[0], v[2], v[1], v[3]))
	}
	return out
}

func tsharkConns(t *testing.T, file string) []string {
	c := tally{}
	for _, r := range tshark(t, file, "(tcp || udp) && !icmp && !icmpv6", "ip.src", "ipv6.src", "ip.dst", "ipv6.dst",
		"tcp.srcport", "udp.srcport", "tcp.dstport", "udp.dstport", "ip.len", "ipv6.plen") {
		proto := "tcp"
		if r[5] != "" {
			proto = "udp"
		}
		var bytes int64
		if r[8] != "" {
			fmt.Sscan(r[8], &bytes)
		} else {
			fmt.Sscan(r[9], &bytes)
			bytes += 40
		}
		c.add(proto, r[0]+r[1]+" "+r[4]+r[5], r[2]+r[3]+" "+r[6]+r[7], [2]int64{1, bytes}, [2]int64{})
	}
	return c.lines()
}

func ourConns(records []fields) []string {
	c := tally{}
	n := func(r fields, key string) int64 { return int64(r[key].(float64)) }
	for _, r := range of(records, "conn") {
		if r["proto"] == "icmp" {
			continue
		}
		c.add(r["proto"].(string), fmt.Sprintf("%v %v", r["id.orig_h"], r["id.orig_p"]), fmt.Sprintf("%v %v", r["id.resp_h"], r["id.resp_p"]),
			[2]int64{n(r, "orig_pkts"), n(r, "orig_ip_bytes")}, [2]int64{n(r, "resp_pkts"), n(r, "resp_ip_bytes")})
	}
	return c.lines()
}

// tsharkCommunity asks tshark for Community IDs, which it computes on demand.
func tsharkCommunity(t *testing.T, file string) (ids []string) {
	out, err := exec.Command("tshark", "-r", file, "-n", "--enable-protocol", "communityid", "-T", "fields", "-e", "communityid", "-Y", "communityid").Output()
	if err != nil {
		t.Fatalf("tshark's Community IDs: %v", err)
	}
	return unique(strings.Fields(string(out)))
}
