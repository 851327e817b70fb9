package parse

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"fengsui/schemas"
)

// parseWindows reads a Windows event as one JSON object: flat, as most tools
// write it (NXLog, Logstash, hayabusa), or nested as winlogbeat does, or with
// EventData as JSON in a string (Azure); or as XML, as Windows renders it (wevtutil,
// NXLog's to_xml, Windows Event Forwarding), which comes to the same fields. Every key is kept as logged under
// winlog.event_data., since Sigma's rules name those; keys that are names of the
// catalogue keep their names. What winlogbeat says beside the event's own data is
// kept under labels.
func parseWindows(ev *schemas.Event, line string) error {
	r := windowsReaders.Get().(*windowsReader)
	defer r.release()
	r.ev = ev
	if eventXML(line) {
		if err := r.xml.walk(line, r); err != nil {
			return err
		}
		return r.end()
	}
	r.beat = ofWinlogbeat(line)
	if err := r.walker.walk(line, r); err != nil {
		return err
	}
	if inner := r.get(wEventData); strings.HasPrefix(inner, "{") {
		if err := r.walker.walk(inner, r); err != nil {
			addTag(ev, tagBodyUnparsed) // the text is kept, as every key's
		}
	}
	return r.end()
}

// windowsKey numbers the keys whose values become ECS fields.
type windowsKey int

const (
	wNone windowsKey = iota
	wChannel
	wEventID
	wProvider
	wComputer
	wRecordID
	wLevel
	wKeywords
	wEventType
	wMessage
	wUtcTime
	wSystemTime
	wTimeCreated
	wTimeGenerated
	wTimestamp
	wEventTime
	wEventData
	wImage
	wProcessID
	wProcessGUID
	wCommandLine
	wCurrentDirectory
	wHashes
	wOriginalFileName
	wParentImage
	wParentProcessID
	wParentCommandLine
	wParentProcessName
	wNewProcessName
	wNewProcessID
	wProcessName
	wSourceImage
	wSourceProcessID
	wSourceProcessGUID
	wUser
	wSourceUser
	wSubjectUserName
	wSubjectDomainName
	wSubjectUserSid
	wTargetUserName
	wTargetDomainName
	wTargetUserSid
	wTargetSid
	wMemberName
	wTargetFilename
	wImageLoaded
	wTargetObject
	wDetails
	wObjectName
	wObjectValueName
	wNewValue
	wServiceName
	wImagePath
	wQueryName
	wQueryResults
	wQueryStatus
	wSourceIP
	wSourcePort
	wSourceHostname
	wDestinationIP
	wDestinationPort
	wDestinationHostname
	wProtocol
	wInitiated
	wIPAddress
	wIPPort
	wWorkstation
	wSourceAddress
	wDestAddress
	wDestPort
	wDirection
	wApplication
	wLogonType
	wStatus
	wFailureReason
	wPipeName
	wShareName
	wRelativeTargetName
	wPath
	wKeys
)

var windowsKeys = map[string]windowsKey{
	"Channel": wChannel, "winlog.channel": wChannel,
	"EventID": wEventID, "winlog.event_id": wEventID, "EventId": wEventID,
	"Provider_Name": wProvider, "SourceName": wProvider, "Provider": wProvider, "winlog.provider_name": wProvider,
	"Computer": wComputer, "Hostname": wComputer, "ComputerName": wComputer, "winlog.computer_name": wComputer,
	"EventRecordID": wRecordID, "RecordNumber": wRecordID, "winlog.record_id": wRecordID,
	"Level": wLevel, "Keywords": wKeywords, "EventType": wEventType, "Message": wMessage,
	// as the event's XML is made JSON
	"Provider.Name": wProvider, "Provider.#attributes.Name": wProvider, "Provider_attributes.Name": wProvider, "EventID.#text": wEventID,
	"TimeCreated.SystemTime": wSystemTime, "TimeCreated.#attributes.SystemTime": wSystemTime, "TimeCreated_attributes.SystemTime": wSystemTime,
	"UtcTime": wUtcTime, "SystemTime": wSystemTime, "TimeCreated": wTimeCreated, "TimeGenerated": wTimeGenerated,
	"@timestamp": wTimestamp, "EventTime": wEventTime, "EventData": wEventData,
	"Image": wImage, "ProcessId": wProcessID, "ProcessID": wProcessID, "ProcessGuid": wProcessGUID,
	"CommandLine": wCommandLine, "CurrentDirectory": wCurrentDirectory, "Hashes": wHashes,
	"OriginalFileName": wOriginalFileName, "ParentImage": wParentImage, "ParentProcessId": wParentProcessID,
	"ParentCommandLine": wParentCommandLine, "ParentProcessName": wParentProcessName,
	"NewProcessName": wNewProcessName, "NewProcessId": wNewProcessID, "ProcessName": wProcessName,
	"SourceImage": wSourceImage, "SourceProcessId": wSourceProcessID,
	"SourceProcessGUID": wSourceProcessGUID, "SourceProcessGuid": wSourceProcessGUID,
	"User": wUser, "SourceUser": wSourceUser,
	"SubjectUserName": wSubjectUserName, "SubjectDomainName": wSubjectDomainName, "SubjectUserSid": wSubjectUserSid,
	"TargetUserName": wTargetUserName, "TargetDomainName": wTargetDomainName,
	"TargetUserSid": wTargetUserSid, "TargetSid": wTargetSid, "MemberName": wMemberName,
	"TargetFilename": wTargetFilename, "ImageLoaded": wImageLoaded, "TargetObject": wTargetObject, "Details": wDetails,
	"ObjectName": wObjectName, "ObjectValueName": wObjectValueName, "NewValue": wNewValue,
	"ServiceName": wServiceName, "ImagePath": wImagePath,
	"QueryName": wQueryName, "QueryResults": wQueryResults, "QueryStatus": wQueryStatus,
	"SourceIp": wSourceIP, "SourcePort": wSourcePort, "SourceHostname": wSourceHostname,
	"DestinationIp": wDestinationIP, "DestinationPort": wDestinationPort, "DestinationHostname": wDestinationHostname,
	"Protocol": wProtocol, "Initiated": wInitiated,
	"IpAddress": wIPAddress, "IpPort": wIPPort, "WorkstationName": wWorkstation, "Workstation": wWorkstation,
	"SourceAddress": wSourceAddress, "DestAddress": wDestAddress, "DestPort": wDestPort, "Direction": wDirection,
	"Application": wApplication, "LogonType": wLogonType, "Status": wStatus, "FailureReason": wFailureReason,
	"PipeName": wPipeName, "ShareName": wShareName, "RelativeTargetName": wRelativeTargetName, "Path": wPath,
}

// windowsPrefixes stand before the same keys in nested records.
var windowsPrefixes = [...]string{"winlog.event_data.", "Event.EventData.", "Event.System.", "Event.UserData.", "EventData.", "System."}

type windowsReader struct {
	ev     *schemas.Event
	walker jsonWalker
	xml    xmlWalker
	data   names
	labels names
	beat   bool // winlogbeat wrote it
	values [wKeys]string
}

var windowsReaders = sync.Pool{New: func() any {
	return &windowsReader{data: names{prefix: "winlog.event_data."}, labels: names{prefix: "labels."}}
}}

func (r *windowsReader) release() {
	r.ev, r.values, r.beat = nil, [wKeys]string{}, false
	r.walker.forget()
	r.xml = xmlWalker{path: r.xml.path[:0]}
	windowsReaders.Put(r)
}

func (r *windowsReader) visit(path []byte, v *jsonValue) {
	if v.kind == jsonNull {
		return
	}
	key, known := windowsKeys[string(path)]
	data := &r.data
	if !known {
		if r.beat {
			data = &r.labels
		}
		if rendered, ok := bytes.CutPrefix(path, renderingInfo); ok { // in the words of the host's language
			r.rendered(rendered, v)
			return
		}
		for _, prefix := range windowsPrefixes {
			if len(path) > len(prefix) && string(path[:len(prefix)]) == prefix {
				path, data = path[len(prefix):], &r.data
				key, known = windowsKeys[string(path)]
				break
			}
		}
	}
	if known {
		if v.kind != jsonList {
			r.values[key] = v.text
		}
		if path[0] == 'w' || path[0] == '@' { // winlog.channel and its like; @timestamp
			return
		}
	} else if f, ok := schemas.LookupField(string(path)); ok && f.Name == string(path) && !ours(f.ID) && setTyped(r.ev, f, v) {
		if r.beat && f.ID == schemas.FieldWinlogKeywords && v.kind == jsonList && len(v.list) > 0 {
			r.values[wKeywords] = v.list[0].text
		}
		return
	}
	keep(r.ev, data.of(path), v)
}

// renderingInfo holds what an event's numbers mean, in words, where whoever forwards
// the event has looked them up.
var renderingInfo = []byte("Event.RenderingInfo.")

func (r *windowsReader) rendered(path []byte, v *jsonValue) {
	if string(path) == "Message" && v.kind == jsonString {
		r.values[wMessage] = v.text
		return
	}
	name := r.labels.of(path)
	again := *v
	again.many = v.many || !r.ev.Lookup(name).IsNone()
	keep(r.ev, name, &again)
}

// get is a key's value; Windows writes "-" where it has none.
func (r *windowsReader) get(k windowsKey) string {
	if v := r.values[k]; v != "-" {
		return v
	}
	return ""
}

func (r *windowsReader) text(id schemas.FieldID, k windowsKey) { r.ev.SetString(id, r.get(k)) }

var errNotWindows = errors.New("not a Windows event: no EventID")

func (r *windowsReader) end() error {
	ev := r.ev
	id, ok := whole(r.get(wEventID))
	if !ok {
		return errNotWindows
	}
	if err := r.time(); err != nil {
		return err
	}
	channel, provider := r.get(wChannel), r.get(wProvider)
	ev.SetString(schemas.FieldEventModule, "windows")
	ev.SetString(schemas.FieldEventDataset, windowsDataset(channel))
	ev.SetString(schemas.FieldEventCode, r.get(wEventID))
	ev.SetString(schemas.FieldEventProvider, provider)
	ev.SetInt(schemas.FieldWinlogEventID, id)
	ev.SetString(schemas.FieldWinlogChannel, channel)
	ev.SetString(schemas.FieldWinlogProviderName, provider)
	r.text(schemas.FieldWinlogComputerName, wComputer)
	r.text(schemas.FieldHostName, wComputer)
	ev.SetString(schemas.FieldHostOSType, "windows")
	r.text(schemas.FieldWinlogRecordID, wRecordID)
	r.text(schemas.FieldMessage, wMessage)
	if level := r.get(wLevel); len(level) == 1 && level[0] >= '0' && level[0] <= '5' {
		ev.SetString(schemas.FieldLogLevel, windowsLevels[level[0]-'0'])
	}
	switch {
	case ofSysmon(channel, provider):
		r.sysmon(id)
	case strings.EqualFold(channel, "Security"):
		r.security(id)
	default:
		r.other(channel, id)
	}
	setNetworkType(ev)
	return nil
}

func ofSysmon(channel, provider string) bool {
	return strings.HasPrefix(channel, "Microsoft-Windows-Sysmon/") || provider == "Microsoft-Windows-Sysmon"
}

var windowsLevels = [6]string{"information", "critical", "error", "warning", "information", "verbose"}

// windowsDataset names the channel: windows.sysmon_operational, windows.security.
func windowsDataset(channel string) string {
	switch channel {
	case "Security", "security":
		return "windows.security"
	case "System":
		return "windows.system"
	case "Application":
		return "windows.application"
	case "Microsoft-Windows-Sysmon/Operational":
		return "windows.sysmon_operational"
	case "Microsoft-Windows-PowerShell/Operational":
		return "windows.powershell_operational"
	case "Windows PowerShell":
		return "windows.powershell"
	}
	return "windows.forwarded"
}

// time takes the best time there is: when Sysmon saw it, when Windows logged it,
// or what a forwarder says. EventTime is the host's local time.
func (r *windowsReader) time() error {
	var first error
	for _, k := range [...]windowsKey{wUtcTime, wSystemTime, wTimeCreated, wTimeGenerated, wTimestamp, wEventTime} {
		text := r.get(k)
		if text == "" {
			continue
		}
		loc := time.UTC
		if k == wEventTime {
			loc = r.ev.Received.Location()
		}
		t, err := anyTime(&jsonValue{kind: jsonString, text: text}, loc)
		if err == nil {
			r.ev.SetTime(schemas.FieldTimestamp, t)
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// What Sysmon's events mean, by their number.
var sysmonEvents = map[int64]what{
	1:  {"process", "start", "process_created", ""},
	2:  {"file", "change", "file_time_changed", ""},
	3:  {"network", "connection", "network_connection", ""},
	5:  {"process", "end", "process_terminated", ""},
	6:  {"driver", "start", "driver_loaded", ""},
	7:  {"library", "start", "image_loaded", ""},
	8:  {"process", "change", "remote_thread_created", ""},
	9:  {"file", "access", "raw_access", ""},
	10: {"process", "access", "process_accessed", ""},
	11: {"file", "creation", "file_created", ""},
	12: {"registry", "change", "registry_key_changed", ""},
	13: {"registry", "change", "registry_value_set", ""},
	14: {"registry", "change", "registry_key_renamed", ""},
	15: {"file", "creation", "file_stream_created", ""},
	17: {"file", "creation", "pipe_created", ""},
	18: {"file", "access", "pipe_connected", ""},
	19: {"configuration", "change", "wmi_filter", ""},
	20: {"configuration", "change", "wmi_consumer", ""},
	21: {"configuration", "change", "wmi_binding", ""},
	22: {"network", "protocol", "dns_query", ""},
	23: {"file", "deletion", "file_deleted", ""},
	24: {"host", "info", "clipboard_changed", ""},
	25: {"process", "change", "process_tampered", ""},
	26: {"file", "deletion", "file_deleted", ""},
	27: {"file", "denied", "executable_blocked", ""},
	28: {"file", "denied", "shredding_blocked", ""},
	29: {"file", "creation", "executable_created", ""},
}

func (r *windowsReader) sysmon(id int64) {
	sysmonEvents[id].set(r.ev)
	r.process(wImage, wProcessID)
	r.text(schemas.FieldProcessEntityID, wProcessGUID)
	if id == 8 || id == 10 {
		r.process(wSourceImage, wSourceProcessID)
		r.text(schemas.FieldProcessEntityID, wSourceProcessGUID)
	}
	r.text(schemas.FieldProcessCommandLine, wCommandLine)
	r.text(schemas.FieldProcessWorkingDirectory, wCurrentDirectory)
	r.parent(wParentImage)
	r.text(schemas.FieldDLLPath, wImageLoaded)
	r.file(wTargetFilename)
	r.text(schemas.FieldRegistryPath, wTargetObject)
	r.text(schemas.FieldRegistryDataStrings, wDetails)
	if pipe := r.get(wPipeName); pipe != "" {
		r.ev.SetString(schemas.FieldFileName, pipe)
	}
	if id == 1 {
		r.text(schemas.FieldProcessPEOriginalFileName, wOriginalFileName)
		r.hash("MD5=", schemas.FieldProcessHashMD5)
		r.hash("SHA256=", schemas.FieldProcessHashSHA256)
	} else {
		r.hash("SHA256=", schemas.FieldFileHashSHA256)
	}
	user := r.get(wUser)
	if user == "" {
		user = r.get(wSourceUser)
	}
	setWindowsUser(r.ev, schemas.FieldUserName, schemas.FieldUserDomain, user)
	switch id {
	case 3:
		r.connection()
	case 22:
		r.dns()
	}
}

// process names the acting process.
func (r *windowsReader) process(image, pid windowsKey) {
	if path := r.get(image); path != "" {
		r.ev.SetString(schemas.FieldProcessExecutable, path)
		r.ev.SetString(schemas.FieldProcessName, baseName(path))
	}
	r.pid(schemas.FieldProcessPID, pid)
}

func (r *windowsReader) parent(image windowsKey) {
	if path := r.get(image); path != "" {
		r.ev.SetString(schemas.FieldProcessParentExecutable, path)
		r.ev.SetString(schemas.FieldProcessParentName, baseName(path))
	}
	r.pid(schemas.FieldProcessParentPID, wParentProcessID)
	r.text(schemas.FieldProcessParentCommandLine, wParentCommandLine)
}

func (r *windowsReader) file(path windowsKey) {
	if p := r.get(path); p != "" {
		r.ev.SetString(schemas.FieldFilePath, p)
		r.ev.SetString(schemas.FieldFileName, baseName(p))
	}
}

// pid reads a process id, decimal or, in the Security log, hexadecimal.
func (r *windowsReader) pid(id schemas.FieldID, k windowsKey) {
	s := r.get(k)
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		if n, err := strconv.ParseUint(hex, 16, 32); err == nil {
			r.ev.SetInt(id, int64(n))
		}
		return
	}
	setWhole(r.ev, id, s)
}

// hash finds one of "SHA1=…,MD5=…,SHA256=…,IMPHASH=…", in lower case as ECS has it.
func (r *windowsReader) hash(name string, id schemas.FieldID) {
	_, rest, ok := strings.Cut(r.get(wHashes), name)
	if !ok {
		return
	}
	value, _, _ := strings.Cut(rest, ",")
	r.ev.SetString(id, lower(value))
}

// setWindowsUser splits DOMAIN\name.
func setWindowsUser(ev *schemas.Event, name, group schemas.FieldID, s string) {
	if d, n, ok := strings.Cut(s, `\`); ok {
		ev.SetString(group, d)
		s = n
	}
	ev.SetString(name, s)
}

// connection reads Sysmon's event 3.
func (r *windowsReader) connection() {
	ev := r.ev
	setSource(ev, r.get(wSourceIP))
	setDestination(ev, r.get(wDestinationIP))
	setWhole(ev, schemas.FieldSourcePort, r.get(wSourcePort))
	setWhole(ev, schemas.FieldDestinationPort, r.get(wDestinationPort))
	ev.SetString(schemas.FieldSourceDomain, domain(r.get(wSourceHostname)))
	ev.SetString(schemas.FieldDestinationDomain, domain(r.get(wDestinationHostname)))
	ev.SetString(schemas.FieldNetworkTransport, lower(r.get(wProtocol)))
	switch r.get(wInitiated) {
	case "true":
		ev.SetString(schemas.FieldNetworkDirection, "outbound")
	case "false":
		ev.SetString(schemas.FieldNetworkDirection, "inbound")
	}
}

// dns reads Sysmon's event 22, whose results are "type:  5 name;::ffff:192.0.2.1;".
func (r *windowsReader) dns() {
	ev := r.ev
	ev.SetString(schemas.FieldNetworkProtocol, "dns")
	ev.SetString(schemas.FieldDNSQuestionName, domain(r.get(wQueryName)))
	ev.SetString(schemas.FieldDNSType, "answer")
	if status := r.get(wQueryStatus); status == "0" {
		ev.SetString(schemas.FieldEventOutcome, "success")
		ev.SetString(schemas.FieldDNSResponseCode, "NOERROR")
	} else if status != "" {
		ev.SetString(schemas.FieldEventOutcome, "failure")
		if status == "9003" { // DNS_ERROR_RCODE_NAME_ERROR
			ev.SetString(schemas.FieldDNSResponseCode, "NXDOMAIN")
		}
	}
	var answers []schemas.Value
	for rest := r.get(wQueryResults); rest != ""; {
		var one string
		one, rest, _ = strings.Cut(rest, ";")
		if typed, ok := strings.CutPrefix(one, "type:"); ok {
			_, one = word(strings.TrimLeft(typed, " "))
		}
		if ip, ok := canonicalIP(one); ok {
			one = ip
		}
		if one != "" && len(answers) < maxValues {
			answers = append(answers, schemas.String(one))
		}
	}
	setAnswers(ev, answers)
}

// What the Security log's events mean. An empty outcome is read from Keywords.
var securityEvents = map[int64]what{
	1102: {"configuration", "deletion", "audit_log_cleared", ""},
	4624: {"authentication", "start", "logon", "success"},
	4625: {"authentication", "start", "logon", "failure"},
	4634: {"authentication", "end", "logoff", "success"},
	4647: {"authentication", "end", "logoff", "success"},
	4648: {"authentication", "start", "logon_explicit_credentials", "success"},
	4656: {"file", "access", "object_handle_requested", ""},
	4657: {"registry", "change", "registry_value_set", ""},
	4663: {"file", "access", "object_accessed", ""},
	4672: {"iam", "admin", "special_privileges_assigned", ""},
	4688: {"process", "start", "process_created", ""},
	4689: {"process", "end", "process_terminated", ""},
	4697: {"configuration", "creation", "service_installed", ""},
	4698: {"configuration", "creation", "scheduled_task_created", ""},
	4699: {"configuration", "deletion", "scheduled_task_deleted", ""},
	4702: {"configuration", "change", "scheduled_task_updated", ""},
	4719: {"configuration", "change", "audit_policy_changed", ""},
	4720: {"iam", "creation", "user_added", ""},
	4722: {"iam", "change", "user_enabled", ""},
	4723: {"iam", "change", "password_changed", ""},
	4724: {"iam", "change", "password_reset", ""},
	4725: {"iam", "change", "user_disabled", ""},
	4726: {"iam", "deletion", "user_deleted", ""},
	4728: {"iam", "change", "group_member_added", ""},
	4729: {"iam", "change", "group_member_removed", ""},
	4732: {"iam", "change", "group_member_added", ""},
	4733: {"iam", "change", "group_member_removed", ""},
	4738: {"iam", "change", "user_changed", ""},
	4740: {"iam", "change", "account_locked", ""},
	4741: {"iam", "creation", "computer_added", ""},
	4742: {"iam", "change", "computer_changed", ""},
	4743: {"iam", "deletion", "computer_deleted", ""},
	4756: {"iam", "change", "group_member_added", ""},
	4757: {"iam", "change", "group_member_removed", ""},
	4767: {"iam", "change", "account_unlocked", ""},
	4768: {"authentication", "start", "kerberos_ticket_requested", ""},
	4769: {"authentication", "start", "kerberos_service_ticket_requested", ""},
	4771: {"authentication", "start", "kerberos_preauthentication", "failure"},
	4776: {"authentication", "start", "credential_validation", ""},
	4778: {"session", "start", "session_reconnected", ""},
	4779: {"session", "end", "session_disconnected", ""},
	5140: {"file", "access", "share_accessed", ""},
	5145: {"file", "access", "share_object_accessed", ""},
	5156: {"network", "allowed", "connection_allowed", ""},
	5157: {"network", "denied", "connection_blocked", ""},
	5158: {"network", "allowed", "bind_allowed", ""},
}

func (r *windowsReader) security(id int64) {
	ev := r.ev
	w := securityEvents[id]
	if w.outcome == "" {
		w.outcome = r.outcome()
	}
	w.set(ev)
	r.securityUser(id, w.category == "iam")
	r.text(schemas.FieldWinlogLogonType, wLogonType)
	r.text(schemas.FieldEventReason, wFailureReason)
	if ev.Get(schemas.FieldEventReason).IsNone() && w.outcome == "failure" {
		r.text(schemas.FieldEventReason, wStatus)
	}
	switch id {
	case 4688:
		r.process(wNewProcessName, wNewProcessID)
		r.parent(wParentProcessName)
		r.pid(schemas.FieldProcessParentPID, wProcessID) // the creator's
		r.text(schemas.FieldProcessCommandLine, wCommandLine)
	case 5156, 5157, 5158:
		r.process(wApplication, wProcessID)
		r.filtered()
	default:
		r.process(wProcessName, wProcessID)
	}
	if id == 4657 {
		r.text(schemas.FieldRegistryPath, wObjectName)
		r.text(schemas.FieldRegistryDataStrings, wNewValue)
	} else if w.category == "file" {
		r.file(wObjectName)
		if share := r.get(wShareName); share != "" {
			r.ev.SetString(schemas.FieldFilePath, strings.TrimRight(share, `\`)+`\`+r.get(wRelativeTargetName))
			r.ev.SetString(schemas.FieldFileName, baseName(r.get(wRelativeTargetName)))
		}
	}
	if address := r.get(wIPAddress); address != "" {
		setSource(ev, address)
		setWhole(ev, schemas.FieldSourcePort, r.get(wIPPort))
	}
	ev.SetString(schemas.FieldSourceDomain, domain(r.get(wWorkstation)))
	r.text(schemas.FieldServiceName, wServiceName)
}

// securityUser says who acted: in a logon, who logged on; in the management of
// accounts the subject, and the account is the target; else the subject.
func (r *windowsReader) securityUser(id int64, managed bool) {
	group := id == 4728 || id == 4729 || id == 4732 || id == 4733 || id == 4756 || id == 4757
	switch {
	case group: // the target is the group
		r.text(schemas.FieldGroupName, wTargetUserName)
		r.text(schemas.FieldUserTargetName, wMemberName)
	case id == 4648 || managed && id != 4672:
		r.text(schemas.FieldUserTargetName, wTargetUserName)
		r.text(schemas.FieldUserTargetDomain, wTargetDomainName)
	case id == 4624 || id == 4625 || id == 4634 || id == 4647 || id >= 4768 && id <= 4779:
		r.text(schemas.FieldUserName, wTargetUserName)
		r.text(schemas.FieldUserDomain, wTargetDomainName)
		r.text(schemas.FieldUserID, wTargetUserSid)
		return
	}
	r.text(schemas.FieldUserName, wSubjectUserName)
	r.text(schemas.FieldUserDomain, wSubjectDomainName)
	r.text(schemas.FieldUserID, wSubjectUserSid)
}

// outcome reads the audit bits of Keywords, hexadecimal or signed decimal:
// 0x8020… is success, 0x8010… failure; or their names, which NXLog has in
// EventType.
func (r *windowsReader) outcome() string {
	s := r.get(wKeywords)
	if outcome := audits[s]; outcome != "" {
		return outcome
	}
	if outcome := audits[r.get(wEventType)]; outcome != "" {
		return outcome
	}
	var bits uint64
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		bits, _ = strconv.ParseUint(hex, 16, 64) // 0 when it is no number: no outcome
	} else if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		bits = uint64(n) //nolint:gosec // the bits are what matters
	}
	switch {
	case bits&0x0020000000000000 != 0:
		return "success"
	case bits&0x0010000000000000 != 0:
		return "failure"
	}
	return ""
}

var audits = map[string]string{
	"Audit Success": "success", "Audit Failure": "failure", "AUDIT_SUCCESS": "success", "AUDIT_FAILURE": "failure",
	"审核成功": "success", "审核失败": "failure",
}

// filtered reads the Windows Filtering Platform's connections.
func (r *windowsReader) filtered() {
	ev := r.ev
	setSource(ev, r.get(wSourceAddress))
	setDestination(ev, r.get(wDestAddress))
	setWhole(ev, schemas.FieldSourcePort, r.get(wSourcePort))
	setWhole(ev, schemas.FieldDestinationPort, r.get(wDestPort))
	switch r.get(wProtocol) { // IANA's numbers
	case "1":
		ev.SetString(schemas.FieldNetworkTransport, "icmp")
	case "6":
		ev.SetString(schemas.FieldNetworkTransport, "tcp")
	case "17":
		ev.SetString(schemas.FieldNetworkTransport, "udp")
	case "58":
		ev.SetString(schemas.FieldNetworkTransport, "ipv6-icmp")
	}
	switch r.get(wDirection) {
	case "%%14592":
		ev.SetString(schemas.FieldNetworkDirection, "inbound")
	case "%%14593":
		ev.SetString(schemas.FieldNetworkDirection, "outbound")
	}
}

// What events of other channels mean, by channel and number.
var otherEvents = map[string]map[int64]what{
	"System": {
		104:  {"configuration", "deletion", "event_log_cleared", ""},
		7045: {"configuration", "creation", "service_installed", ""},
	},
	"Microsoft-Windows-PowerShell/Operational": {
		4103: {"process", "info", "powershell_pipeline", ""},
		4104: {"process", "info", "powershell_script_block", ""},
	},
	"Windows PowerShell": {
		400: {"process", "start", "powershell_engine_started", ""},
		403: {"process", "end", "powershell_engine_stopped", ""},
		800: {"process", "info", "powershell_pipeline", ""},
	},
	"Microsoft-Windows-TerminalServices-LocalSessionManager/Operational": {
		21: {"session", "start", "session_logon", "success"},
		23: {"session", "end", "session_logoff", ""},
		24: {"session", "end", "session_disconnected", ""},
		25: {"session", "start", "session_reconnected", "success"},
	},
}

// other maps what means the same in most of the other channels.
func (r *windowsReader) other(channel string, id int64) {
	otherEvents[channel][id].set(r.ev)
	r.process(wImage, wProcessID)
	r.text(schemas.FieldProcessCommandLine, wCommandLine)
	r.text(schemas.FieldServiceName, wServiceName)
	r.text(schemas.FieldUserName, wSubjectUserName)
	r.text(schemas.FieldUserDomain, wSubjectDomainName)
	r.text(schemas.FieldUserTargetName, wTargetUserName)
	if r.get(wPath) != "" {
		r.file(wPath)
	}
	if address := r.get(wIPAddress); address != "" {
		setSource(r.ev, address)
		setWhole(r.ev, schemas.FieldSourcePort, r.get(wIPPort))
	}
}
