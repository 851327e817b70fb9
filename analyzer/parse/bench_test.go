package parse

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fengsui/schemas"
)

// processorTime is what the process has spent in itself: unlike the clock on the
// wall it does not run while others have the processor.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkParse measures one record of each kind, into an event that is reused
// as the analyzer does.
func BenchmarkParse(b *testing.B) {
	const zeekDNSHeader = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n" +
		"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\ttrans_id\trtt\tquery\tqclass\tqclass_name\tqtype\tqtype_name\trcode\trcode_name\tAA\tTC\tRD\tRA\tZ\tanswers\tTTLs\trejected\n" +
		"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tcount\tinterval\tstring\tcount\tstring\tcount\tstring\tcount\tstring\tbool\tbool\tbool\tbool\tcount\tvector[string]\tvector[interval]\tbool"
	f := func(name, format, preamble, line string) {
		b.Helper()
		b.Run(name, func(b *testing.B) {
			p, err := Lookup(format)
			if err != nil {
				b.Fatal(err)
			}
			ev := &schemas.Event{}
			b.ReportAllocs()
			b.SetBytes(int64(len(line)))
			began := processorTime(b)
			for b.Loop() {
				ev.Reset()
				ev.Original = line
				ev.Origin = schemas.Origin{Format: format, Received: received, Source: "192.0.2.250", Unit: "jyt", Preamble: preamble}
				if err := p(ev); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
	f("sshd-3164", "syslog", "", "<86>Dec 10 12:00:00 gw1 sshd[1201]: Failed password for invalid user admin from 192.0.2.7 port 40022 ssh2")
	f("sshd-5424", "syslog", "", "<86>1 2026-12-10T12:00:00.123456+08:00 gw1 sshd 1201 - - Failed password for invalid user admin from 192.0.2.7 port 40022 ssh2")
	f("5424-structured", "syslog", "", `<165>1 2026-12-10T12:00:00.123Z host.example.edu.cn app 12 ID47 [ex@32473 iut="3" eventSource="Application" eventID="1011"] an application event log entry`)
	f("nginx-combined", "nginx-access", "", `192.0.2.7 - - [10/Dec/2026:13:55:36 +0800] "GET /index.html?a=1&b=2 HTTP/1.1" 200 2326 "http://www.example.edu.cn/start" "Mozilla/5.0 (X11; Linux x86_64)"`)
	f("zeek-tsv-dns", "zeek-tsv", zeekDNSHeader, "1796882136.123456\tCqKst53mF3det3eDV9\t192.0.2.7\t41772\t192.0.2.53\t53\tudp\t36329\t0.000870\twww.example.edu.cn\t1\tC_INTERNET\t1\tA\t0\tNOERROR\tF\tF\tT\tT\t0\talias.example.edu.cn,198.51.100.16\t2230.000000,41830.000000\tF")
	f("zeek-json-dns", "zeek-json", "", `{"_path":"dns","_write_ts":"2026-12-10T05:55:36.866738Z","ts":"2026-12-10T05:55:36.865911Z","uid":"CqKst53mF3det3eDV9","id.orig_h":"192.0.2.7","id.orig_p":41772,"id.resp_h":"192.0.2.53","id.resp_p":53,"proto":"udp","trans_id":36329,"rtt":0.0008270740509033203,"query":"www.example.edu.cn","qclass":1,"qclass_name":"C_INTERNET","qtype":1,"qtype_name":"A","rcode":0,"rcode_name":"NOERROR","AA":false,"TC":false,"RD":true,"RA":true,"Z":0,"answers":["alias.example.edu.cn","198.51.100.16"],"TTLs":[2230.0,41830.0],"rejected":false}`)
	f("zeek-json-conn", "zeek-json", "", `{"_path":"conn","ts":"2026-12-10T05:55:36.123456Z","uid":"CAbc1","id.orig_h":"192.0.2.7","id.orig_p":40000,"id.resp_h":"198.51.100.9","id.resp_p":3333,"proto":"tcp","service":"ssl","duration":12.345678,"orig_bytes":1000,"resp_bytes":2000,"conn_state":"SF","local_orig":true,"local_resp":false,"missed_bytes":0,"history":"ShADadFf","orig_pkts":10,"orig_ip_bytes":1520,"resp_pkts":12,"resp_ip_bytes":2624,"community_id":"1:abcdef="}`)
	f("eve-alert", "suricata", "", `{"timestamp":"2026-12-10T13:55:36.123456+0800","flow_id":1234567890123456,"in_iface":"eth1","event_type":"alert","src_ip":"192.0.2.7","src_port":40000,"dest_ip":"198.51.100.9","dest_port":3333,"proto":"TCP","community_id":"1:abc=","alert":{"action":"allowed","gid":1,"signature_id":2024792,"rev":4,"signature":"ET POLICY Cryptocurrency Miner Checkin","category":"Potential Corporate Privacy Violation","severity":1,"metadata":{"created_at":["2017_10_02"]}},"app_proto":"failed","flow":{"pkts_toserver":3,"pkts_toclient":1,"bytes_toserver":300,"bytes_toclient":74,"start":"2026-12-10T13:55:36.000000+0800"},"payload_printable":"{\"method\":\"login\"}"}`)
	f("eve-dns", "suricata", "", `{"timestamp":"2026-12-10T13:55:36.123456+0800","flow_id":1,"event_type":"dns","src_ip":"192.0.2.7","src_port":40000,"dest_ip":"192.0.2.53","dest_port":53,"proto":"UDP","dns":{"version":2,"type":"answer","id":4242,"flags":"8180","qr":true,"rd":true,"ra":true,"rrname":"pool.example.net","rrtype":"A","rcode":"NOERROR","answers":[{"rrname":"pool.example.net","rrtype":"A","ttl":60,"rdata":"198.51.100.9"}],"grouped":{"A":["198.51.100.9"]}}}`)
	f("sysmon-1", "windows", "", `{"Channel":"Microsoft-Windows-Sysmon/Operational","CommandLine":"xmrig.exe -o pool.example.net:3333 -u w","Computer":"PC7.example.edu.cn","CurrentDirectory":"C:\\Temp\\","EventID":1,"EventRecordID":"77","Hashes":"SHA1=AA,MD5=09B8B54F,SHA256=523D28DF,IMPHASH=DF","Image":"C:\\Temp\\xmrig.exe","Level":"4","OriginalFileName":"xmrig.exe","ParentCommandLine":"cmd.exe /c xmrig","ParentImage":"C:\\Windows\\System32\\cmd.exe","ParentProcessId":"2680","ProcessGuid":"{365ABB72}","ProcessId":"2992","Provider_Name":"Microsoft-Windows-Sysmon","RuleName":"","SystemTime":"2026-12-10T05:55:36.8376132Z","User":"PC7\\alice","UtcTime":"2026-12-10 05:55:36.696"}`)
	f("fortigate-kv", "fortinet-fortigate", "", `<189>date=2026-12-10 time=12:00:01 devname="FG100F-EDU" devid="FG100FTK20000001" eventtime=1796875201123456789 tz="+0800" logid="0000000013" type="traffic" subtype="forward" level="notice" vd="root" srcip=192.0.2.17 srcport=51234 srcintf="lan" srcintfrole="lan" dstip=198.51.100.20 dstport=443 dstintf="wan1" dstintfrole="wan" sessionid=884412 proto=6 action="close" policyid=12 service="https" duration=61 sentbyte=2331 rcvdbyte=90455 sentpkt=21 rcvdpkt=77`)
	f("generic-kv", "key-value", "", `timestamp=2026-12-10T12:00:02+08:00 src_ip=192.0.2.17 src_port=51234 dst_ip=198.51.100.20 dst_port=443 protocol=tcp username=bob reason='no such page'`)
	f("topsec-named", "topsec-ngfw", "", `<134>id=tos time="2026-12-10 12:00:01" fw=TopsecOS pri=6 type=ac recorder=FW-NAT src=192.0.2.17 dst=198.51.100.20 sport=51234 dport=443 proto=tcp indev=eth0 outdev=eth1 rule=accept policyid=8021`)
	f("topsec-kv", "syslog", "", `<134>id=tos time="2026-12-10 12:00:01" fw=TopsecOS pri=6 type=ac recorder=FW-NAT src=192.0.2.17 dst=198.51.100.20 sport=51234 dport=443 proto=tcp indev=eth0 outdev=eth1 rule=accept policyid=8021`)
	f("asa-pattern", "syslog", "", `<166>Dec 10 2026 12:00:00 asa1 : %ASA-6-302013: Built inbound TCP connection 884400 for outside:203.0.113.5/51234 (203.0.113.5/51234) to dmz:192.0.2.10/443 (198.51.100.10/443)`)
	f("cef", "generic-cef", "", `<134>Dec 10 12:00:01 sensor1 CEF:0|ACME|Sensor|1.4|100|worm successfully stopped|10|src=192.0.2.17 spt=51234 dst=198.51.100.20 dpt=443 proto=tcp rt=1796875201123 act=blocked outcome=success cat=Worm suser=alice`)
	f("unknown-program", "syslog", "", `<134>Dec 10 12:00:01 host1 someprogram[12]: a line of a program that nobody has a parser for, about as long as such lines are wont to be`)
	many := "{"
	for i := range maxKeys - 1 {
		many += fmt.Sprintf(`"key%04d":%d,`, i, i)
	}
	f("json-1024-keys", "json", "", many+`"end":1}`)
}

// BenchmarkSamples measures each file of samples: those of the formats, and those
// of the devices, recognised as they are where a source has no format. An
// operation is a line, whole into its event.
func BenchmarkSamples(b *testing.B) {
	f := func(name, format, file string) {
		b.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		p, err := Lookup(format)
		if err != nil {
			b.Fatal(err)
		}
		ev := &schemas.Event{}
		var preamble []string
		var origins []schemas.Origin
		var lines []string
		size := 0
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasPrefix(line, "#") {
				preamble = append(preamble, line)
				continue
			}
			o := schemas.Origin{Format: format, Received: received, Source: "192.0.2.250", Unit: "jyt", Preamble: strings.Join(preamble, "\n")}
			ev.Reset()
			if ev.Original, ev.Origin = line, o; p(ev) != nil { // a sample of what is refused
				continue
			}
			lines, origins, size = append(lines, line), append(origins, o), size+len(line)
		}
		if len(lines) == 0 {
			return
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size / len(lines)))
			began := processorTime(b)
			for i := 0; b.Loop(); i++ {
				ev.Reset()
				ev.Original, ev.Origin = lines[i%len(lines)], origins[i%len(lines)]
				if err := p(ev); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
	formats, err := filepath.Glob("testdata/*/*.log")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range formats {
		format := filepath.Base(filepath.Dir(file))
		f(format+"/"+strings.TrimSuffix(filepath.Base(file), ".log"), format, file)
	}
	devices, err := filepath.Glob("../../schemas/devices/*.log")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range devices {
		f("device/"+strings.TrimSuffix(filepath.Base(file), ".log"), "auto", file)
	}
}
