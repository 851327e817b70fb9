package parse

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"fengsui/schemas"
)

// TestWindowsShippers reads Windows events as Winlogbeat, NXLog and what turns
// their XML into JSON send them, recognised by themselves or named.
func TestWindowsShippers(t *testing.T) {
	f := func(line, at, action, outcome, user, source string) {
		t.Helper()
		for _, format := range []string{"windows", "auto"} {
			if format == "windows" && line[0] == '<' && line[1] != 'E' && line[1] != '?' {
				continue // in a syslog header
			}
			ev := sampleEvent(format, line)
			if err := Parse(ev); err != nil {
				t.Errorf("%s: %v: %.120s", format, err, line)
				continue
			}
			got := [...]string{
				ev.Time().UTC().Format(time.RFC3339Nano), ev.Str(schemas.FieldEventAction), ev.Str(schemas.FieldEventOutcome),
				ev.Str(schemas.FieldUserName), ev.Str(schemas.FieldSourceIP), ev.Str(schemas.FieldEventModule), ev.Str(schemas.FieldHostOSType),
			}
			if want := [...]string{at, action, outcome, user, source, "windows", "windows"}; got != want {
				t.Errorf("%s: %.120s:\n got %q\nwant %q", format, line, got, want)
			}
			for _, mac := range ev.Get(schemas.FieldHostMAC).List() {
				if mac.Str() != "00:00:5e:00:53:50" {
					t.Errorf("%s: MAC address %q", format, mac.Str())
				}
			}
		}
	}
	f(`{"@timestamp":"2026-12-10T05:55:40.123Z","@metadata":{"beat":"winlogbeat","type":"_doc","version":"8.15.0"},"log":{"level":"information"},"message":"An account failed to log on.","host":{"name":"dc1.example.edu.cn","hostname":"DC1","architecture":"x86_64","os":{"type":"windows","name":"Windows Server 2022 Datacenter"},"ip":["192.0.2.50","2001:db8::50"],"mac":["00-00-5E-00-53-50"]},"agent":{"type":"winlogbeat","version":"8.15.0"},"ecs":{"version":"8.0.0"},"event":{"code":"4625","kind":"event","provider":"Microsoft-Windows-Security-Auditing","action":"Logon","created":"2026-12-10T05:55:41.200Z","outcome":"failure"},"winlog":{"channel":"Security","event_id":"4625","provider_name":"Microsoft-Windows-Security-Auditing","provider_guid":"{54849625-5478-4994-A5BA-3E3B0328C30D}","computer_name":"DC1.example.edu.cn","record_id":123456,"keywords":["Audit Failure"],"task":"Logon","opcode":"Info","api":"wineventlog","process":{"pid":588,"thread":{"id":632}},"event_data":{"TargetUserName":"administrator","TargetDomainName":"EXAMPLE","TargetUserSid":"S-1-0-0","SubjectUserName":"-","SubjectDomainName":"-","LogonType":"3","IpAddress":"203.0.113.99","IpPort":"50122","WorkstationName":"KALI","Status":"0xc000006d","SubStatus":"0xc000006a","FailureReason":"%%2313","ProcessName":"-","AuthenticationPackageName":"NTLM"}}}`,
		"2026-12-10T05:55:40.123Z", "logon", "failure", "administrator", "203.0.113.99")
	f(`{"@timestamp":"2026-12-10T05:55:41.123Z","message":"A new process has been created.","host":{"name":"PC7"},"event":{"code":4688,"kind":"event","provider":"Microsoft-Windows-Security-Auditing","action":"Process Creation","outcome":"success"},"winlog":{"channel":"Security","event_id":4688,"provider_name":"Microsoft-Windows-Security-Auditing","computer_name":"PC7.example.edu.cn","record_id":"124","keywords":["Audit Success"],"event_data":{"SubjectUserName":"alice","SubjectDomainName":"EXAMPLE","SubjectUserSid":"S-1-5-21-1-1104","NewProcessName":"C:\\Windows\\System32\\cmd.exe","NewProcessId":"0x1f4","ProcessId":"0x4d2","ParentProcessName":"C:\\Windows\\explorer.exe","CommandLine":"cmd.exe /c whoami"}}}`,
		"2026-12-10T05:55:41.123Z", "process_created", "success", "alice", "")
	f(`{"@timestamp":"2026-12-10T05:55:42.123Z","host":{"name":"PC7"},"event":{"code":"1","kind":"event","provider":"Microsoft-Windows-Sysmon"},"winlog":{"channel":"Microsoft-Windows-Sysmon/Operational","event_id":"1","provider_name":"Microsoft-Windows-Sysmon","computer_name":"PC7","record_id":"125","user":{"identifier":"S-1-5-18","name":"SYSTEM","domain":"NT AUTHORITY","type":"User"},"event_data":{"UtcTime":"2026-12-10 05:55:42.100","ProcessGuid":"{11111111-0000-0000-0000-000000000001}","ProcessId":"4321","Image":"C:\\Temp\\a.exe","CommandLine":"a.exe -x","User":"EXAMPLE\\alice","Hashes":"MD5=44D88612FEA8A8F36DE82E1278ABB02F,SHA256=275A021BBFB6489E54D471899F7DB9D1663FC695EC2FE2A2C4538AABF651FD0F","ParentImage":"C:\\Windows\\explorer.exe","ParentProcessId":"1234"}}}`,
		"2026-12-10T05:55:42.1Z", "process_created", "", "alice", "")
	f(`{"EventTime":"2026-12-10 13:55:43","Hostname":"DC1.example.edu.cn","Keywords":-9218868437227405312,"EventType":"AUDIT_FAILURE","SeverityValue":4,"Severity":"ERROR","EventID":4625,"SourceName":"Microsoft-Windows-Security-Auditing","ProviderGuid":"{54849625-5478-4994-A5BA-3E3B0328C30D}","Version":0,"Task":12544,"OpcodeValue":0,"RecordNumber":126,"ExecutionProcessID":588,"ExecutionThreadID":632,"Channel":"Security","Message":"An account failed to log on.","Category":"Logon","Opcode":"Info","SubjectUserSid":"S-1-0-0","SubjectUserName":"-","TargetUserName":"root","TargetDomainName":"","Status":"0xc000006d","FailureReason":"%%2313","LogonType":"3","WorkstationName":"KALI","IpAddress":"203.0.113.99","IpPort":"50123","EventReceivedTime":"2026-12-10 13:55:44","SourceModuleName":"eventlog","SourceModuleType":"im_msvistalog"}`,
		"2026-12-10T05:55:43Z", "logon", "failure", "root", "203.0.113.99")
	f(`{"EventTime":"2026-12-10T13:55:44.123456+08:00","Hostname":"DC1","EventType":"AUDIT_SUCCESS","EventID":4720,"SourceName":"Microsoft-Windows-Security-Auditing","Channel":"Security","TargetUserName":"bob","TargetDomainName":"EXAMPLE","SubjectUserName":"admin","SubjectDomainName":"EXAMPLE","SourceModuleType":"im_msvistalog"}`,
		"2026-12-10T05:55:44.123456Z", "user_added", "success", "admin", "")
	f(`{"timestamp":"2026-12-10T05:55:45.123Z","Event":{"System":{"Provider":{"Name":"Microsoft-Windows-Security-Auditing"},"EventID":4624,"Channel":"Security","Computer":"DC1","TimeCreated":{"SystemTime":"2026-12-10T05:55:45.100Z"},"Keywords":"0x8020000000000000","EventRecordID":127},"EventData":{"TargetUserName":"alice","TargetDomainName":"EXAMPLE","LogonType":"10","IpAddress":"192.0.2.33","IpPort":"0"}}}`,
		"2026-12-10T05:55:45.1Z", "logon", "success", "alice", "192.0.2.33")
	f(`{"Event":{"System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Security-Auditing"}},"EventID":4688,"Channel":"Security","Computer":"PC7","TimeCreated":{"#attributes":{"SystemTime":"2026-12-10T05:55:46.100Z"}},"Keywords":"0x8020000000000000"},"EventData":{"SubjectUserName":"alice","NewProcessName":"C:\\Windows\\System32\\whoami.exe","NewProcessId":"0x1f5"}}}`,
		"2026-12-10T05:55:46.1Z", "process_created", "success", "alice", "")
	f(`{"@timestamp":"2026-12-10T05:55:47.123Z","event":{"code":"4732","provider":"Microsoft-Windows-Security-Auditing"},"winlog":{"channel":"Security","event_id":4732,"computer_name":"DC1","keywords":["审核成功"],"event_data":{"TargetUserName":"Administrators","MemberName":"CN=bob","SubjectUserName":"admin"}}}`,
		"2026-12-10T05:55:47.123Z", "group_member_added", "success", "admin", "")

	const xml = `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Security-Auditing' Guid='{54849625-5478-4994-a5ba-3e3b0328c30d}'/><EventID>4625</EventID><Version>0</Version><Level>0</Level><Task>12544</Task><Opcode>0</Opcode><Keywords>0x8010000000000000</Keywords><TimeCreated SystemTime='2026-12-10T05:55:48.1234567Z'/><EventRecordID>128</EventRecordID><Correlation/><Execution ProcessID='588' ThreadID='632'/><Channel>Security</Channel><Computer>DC1.example.edu.cn</Computer><Security/></System><EventData><Data Name='TargetUserName'>a&amp;b</Data><Data Name='LogonType'>3</Data><Data Name='IpAddress'>203.0.113.99</Data><Data Name='SubjectUserName'>-</Data><Data Name='ProcessName'></Data></EventData></Event>`
	failed := func(line string) {
		t.Helper()
		f(line, "2026-12-10T05:55:48.1234567Z", "logon", "failure", "a&b", "203.0.113.99")
	}
	failed(xml)
	failed("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n" + strings.ReplaceAll(xml, "><", ">\r\n  <"))
	failed(strings.ReplaceAll(xml, "'", `"`))
	failed("<13>Dec 10 13:55:48 dc1 Microsoft-Windows-Security-Auditing[588]: " + xml)
	failed("<13>1 2026-12-10T13:55:48+08:00 dc1 Security 588 - - " + xml)
	failed("<13>1 2026-12-10T13:55:48+08:00 dc1 Security 588 - - " + strings.ReplaceAll(xml, "><", ">\n<"))
	quoted, err := json.Marshal(xml)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrapped := range []string{
		`{"@timestamp":"2026-12-10T05:55:49Z","@version":"1","message":%s,"host":"dc1"}`,
		`{"message":%s,"source_type":"file","timestamp":"2026-12-10T05:55:49Z","host":"dc1"}`,
		`{"System":%s,"Message":"An account failed to log on."}`, // Fluent Bit, render_event_as_xml
		`{"raw_event":%s}`, `{"EventXML":%s,"Hostname":"dc1"}`,
	} {
		ev := sampleEvent("auto", fmt.Sprintf(wrapped, quoted))
		if err := Parse(ev); err != nil || ev.Str(schemas.FieldEventAction) != "logon" || ev.Str(schemas.FieldUserName) != "a&b" || ev.Str(schemas.FieldEventDataset) != "windows.security" {
			t.Errorf("%v: %s\n%s", err, wrapped, ev.AppendJSON(nil))
		}
	}
}

// TestWindowsXML: what a Windows event in XML holds besides is kept by its name, and
// what is no event says where.
func TestWindowsXML(t *testing.T) {
	event := func(inner string) string {
		return `<Event><System><EventID Qualifiers="0">400</EventID><TimeCreated SystemTime="2026-12-10T05:55:50Z"/><Channel>Windows PowerShell</Channel><Computer>PC7</Computer></System>` + inner + `</Event>`
	}
	f := func(inner, name, want string) {
		t.Helper()
		ev := sampleEvent("auto", event(inner))
		if err := Parse(ev); err != nil {
			t.Errorf("%s: %v", inner, err)
			return
		}
		got := ev.Lookup(name).Text()
		if id, ok := schemas.LookupField(name); ok {
			got = ev.Get(id.ID).Text()
		}
		if got != want {
			t.Errorf("%s: %s is %q, want %q", inner, name, got, want)
		}
	}
	f(`<EventData><Data>one</Data><Data>two &lt;2&gt;&#13;&#x4e2d;</Data></EventData>`, "winlog.event_data.Data", "one, two <2>\r中")
	f(`<EventData><Data Name="ScriptBlockText"><![CDATA[if ($a -lt 1 -and <b>) {}]]></Data></EventData>`, "winlog.event_data.ScriptBlockText", "if ($a -lt 1 -and <b>) {}")
	f(`<EventData><Data Name="A">x<!-- no -->y</Data></EventData>`, "winlog.event_data.A", "xy")
	f(`<EventData><Binary>00ff</Binary></EventData>`, "winlog.event_data.Binary", "00ff")
	f(`<UserData><E:EventXML xmlns:E="urn:x"><Param1>p</Param1></E:EventXML></UserData>`, "winlog.event_data.EventXML.Param1", "p")
	f(`<RenderingInfo Culture="zh-CN"><Message>引擎状态更改。</Message><Level>信息</Level><Keywords><Keyword>经典</Keyword><Keyword>二</Keyword></Keywords></RenderingInfo>`, "message", "引擎状态更改。")
	f(`<RenderingInfo Culture="zh-CN"><Level>信息</Level></RenderingInfo>`, "labels.Level", "信息")
	f(`<RenderingInfo><Keywords><Keyword>经典</Keyword><Keyword>二</Keyword></Keywords></RenderingInfo>`, "labels.Keywords.Keyword", "经典, 二")
	f(``, "winlog.computer_name", "PC7")

	refused := func(line, why string) {
		t.Helper()
		err := Parse(sampleEvent("windows", line))
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.200s: %v, want %q", line, err, why)
		}
	}
	whole := event("")
	refused(whole[:len(whole)-1], "ends too early")
	refused(whole[:60], "ends too early")
	refused(whole+whole, "follows the event")
	refused(event("<a></b>"), "another element than a ends")
	refused(event("<a x=1/>"), "unexpected")
	refused(event("<a>&nbsp;</a>"), "entity")
	refused(event("<a>&#0;</a>"), "entity")
	refused(`<Event><System/></Event>`, "no EventID")
	refused(event(strings.Repeat("<a>", 40)), "nested deeper")
	refused(event(strings.Repeat("<a/>", 1100)), "more than 1024 elements")
	refused(event("<a>"+strings.Repeat("x<!---->", 300)+"</a>"), "pieces")
}
