package match

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"fengsui/internal/testkit/corpus"
	"fengsui/rules"
	"fengsui/schemas"
)

// What the maintainers of Sigma's rules take a Windows log source for, ours is,
// too: every channel and every event number that they name.
func TestSourcesOfMaintainers(t *testing.T) {
	data, err := os.ReadFile(corpus.Path(t, "sigma/tests/thor.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		LogSources map[string]struct {
			Product, Category, Service string
			Conditions                 struct {
				EventID yaml.Node `yaml:"EventID"`
			}
			Sources []string
		} `yaml:"logsources"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for name, l := range doc.LogSources {
		if l.Product != "windows" {
			continue
		}
		source, ok := schemas.LookupSigma(l.Product, l.Category, l.Service)
		if !ok {
			t.Errorf("%s: %s/%s/%s is not mapped", name, l.Product, l.Category, l.Service)
			continue
		}
		has := func(field, value string) bool {
			for _, all := range source.When {
				for _, term := range all {
					for _, v := range term.Values {
						if term.Field == field && strings.EqualFold(v, value) {
							return true
						}
					}
				}
			}
			return false
		}
		var ids []int
		if n := l.Conditions.EventID; n.Kind == yaml.SequenceNode {
			err = n.Decode(&ids)
		} else if n.Kind == yaml.ScalarNode {
			ids = []int{0}
			err = n.Decode(&ids[0])
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, id := range ids {
			checked++
			if !has("winlog.event_id", strconv.Itoa(id)) {
				t.Errorf("%s: event %d is missing", name, id)
			}
		}
		for _, s := range l.Sources {
			channel, ok := strings.CutPrefix(s, "WinEventLog:")
			if !ok {
				continue
			}
			checked++
			if !has("winlog.channel", channel) {
				t.Errorf("%s: channel %q is missing", name, channel)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d facts found in thor.yml", checked)
	}
}

// A log source that says which parser feeds it is fed by that parser: a record
// as the product writes it meets a rule for it.
func TestSourcesAreFed(t *testing.T) {
	f := func(logsource, format, selection, record string) {
		t.Helper()
		e, problems := Compile([]*rules.Rule{parseRules(t, "title: t\nid: r\nlogsource: {"+logsource+"}\ndetection:\n  s: "+selection+"\n  condition: s\n")[0]}, Options{})
		for _, p := range problems {
			t.Errorf("%s", p)
		}
		var ev schemas.Event
		if err := decoder(t, format)([]byte(record), &ev); err != nil {
			t.Fatalf("%s: %v", logsource, err)
		}
		if compareWithOracle(t, e, &ev, func() string { return record }) != 1 {
			t.Errorf("%s: no match on %s\nevent %s", logsource, record, ev.AppendJSON(nil))
		}
	}
	f("product: aws, service: cloudtrail", "json", "{eventName: StopLogging, userIdentity.type: Root}",
		`{"eventVersion":"1.08","userIdentity":{"type":"Root"},"eventTime":"2025-01-01T00:00:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"cn-north-1"}`)
	f("product: github, service: audit", "json", "{action: repo.destroy}",
		`{"@timestamp":1735689600000,"_document_id":"x1","action":"repo.destroy","actor":"octocat","org":"lab"}`)
	f("product: kubernetes, service: audit", "json", "{verb: create, objectRef.resource: pods}",
		`{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","objectRef":{"resource":"pods","namespace":"kube-system"},"stageTimestamp":"2025-01-01T00:00:00.1Z"}`)
	f("product: opencanary, category: application", "json", "{logtype: 2000}",
		`{"dst_host":"10.0.0.9","dst_port":21,"local_time":"2025-01-01 00:00:00.1","logdata":{"USERNAME":"a"},"logtype":2000,"node_id":"canary-1","src_host":"10.0.0.7","src_port":4000}`)
	f("product: rpc_firewall, category: application", "windows", "{EventLog: RPCFW, EventID: 3, InterfaceUuid: 367abb81-9844-35f1-ad32-98f038001003}",
		`{"Channel":"RPCFW","EventID":3,"Computer":"dc1","SystemTime":"2025-01-01T00:00:00Z","InterfaceUuid":"367abb81-9844-35f1-ad32-98f038001003"}`)
	f("product: spring, category: application", "syslog", "[StandardReflectionParameterNameDiscoverer]",
		`<11>1 2025-01-01T00:00:00Z web1 tomcat 77 - - java.lang.Error in StandardReflectionParameterNameDiscoverer`)
	f("category: database", "syslog", "['drop table']", `<30>1 2025-01-01T00:00:00Z db1 mysqld 77 - - 12 Query DROP TABLE students`)
	f("product: linux, service: sshd", "syslog", "{message|contains: 'Accepted password'}",
		`<86>Jan  1 00:00:00 web1 sshd[77]: Accepted password for root from 192.0.2.7 port 4000 ssh2`)
	f("product: linux, service: auditd", "linux", "{type: EXECVE, a0: cat, a1: '/etc/my secrets'}",
		`type=EXECVE msg=audit(1735689600.123:77): argc=2 a0="cat" a1=2F6574632F6D792073656372657473`)
	f("product: linux, service: auditd", "syslog", "{type: SYSCALL, exe|endswith: /insmod, key: modules, SYSCALL: finit_module}",
		"<30>Jan  1 00:00:00 web1 audispd: type=SYSCALL msg=audit(1735689600.123:78): arch=c000003e syscall=313 success=yes comm=\"insmod\" exe=\"/usr/bin/insmod\" key=\"modules\"\x1dARCH=x86_64 SYSCALL=finit_module")
	f("product: linux, service: auditd", "linux", "{type: SERVICE_STOP, unit: auditd}",
		`type=SERVICE_STOP msg=audit(1735689600.123:79): pid=1 uid=0 msg='unit=auditd comm="systemd" exe="/usr/lib/systemd/systemd" res=success'`)
	f("category: proxy", "zeek", "{c-uri-extension: exe, r-dns|endswith: .top}",
		`{"_path":"http","ts":1735689600.1,"uid":"C1","id.orig_h":"10.0.0.7","id.orig_p":4000,"id.resp_h":"192.0.2.7","id.resp_p":80,"method":"GET","host":"a.top","uri":"/x/setup.EXE?v=1.2"}`)
	// A log that was cleared is named by the event's own data.
	f("product: windows, service: system", "windows", "{EventID: 104, Channel: Application}",
		`{"Event":{"System":{"Channel":"System","EventID":104,"Computer":"pc1","TimeCreated":{"SystemTime":"2025-01-01T00:00:00Z"},"Provider":{"Name":"Microsoft-Windows-Eventlog"}},"UserData":{"LogFileCleared":{"Channel":"Application","SubjectUserName":"a"}}}}`)
}
