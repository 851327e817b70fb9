package parse

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"fengsui/schemas"
)

// Layout says where a format's plain records, flat JSON objects, hold what
// parsing them puts into an event's fields, so that the few fields that a rule
// asks for can be read without parsing. What it does not say, parsing decides.
type Layout struct {
	// Parse is the format's parser, which everything here must agree with.
	Parse Parser
	// Key says whether a record with this key can be read by the layout. Of keys
	// with one role, unless it is 0, a record has at most one.
	Key func(key string) (plain bool, role uint8)
	// Source says which keys give a field its value, in records that are settled
	// as the event's is (Settles): the value of the one that is there, or what text
	// makes of it; of several keys a record has at most one. No key: such records
	// never have the field. Not ok: only parsing knows.
	Source func(field string, like *schemas.Event) (keys []string, text func(string) (string, bool), ok bool)
	// Settles lists the keys whose values settle a field's value.
	Settles func(field string) (keys []string, ok bool)
	// Texts are all that parsing may put into an event without its being in the
	// record, apart from times, numbers and addresses written another way.
	Texts []string
}

// Windows is the layout of the format windows.
func Windows() *Layout {
	return &Layout{
		Parse: parsers["windows"], Key: windowsKeyRole, Source: windowsSource, Settles: windowsSettles, Texts: windowsTexts(),
	}
}

// windowsKeyRole passes by keys that stand for nested ones, that are names of
// the catalogue, or that hold further keys.
func windowsKeyRole(key string) (bool, uint8) {
	if key == "" || key == "EventData" || strings.Contains(key, ".") {
		return false, 0
	}
	role, known := windowsKeys[key]
	if f, ok := schemas.LookupField(key); !known && ok && f.Name == key && !ours(f.ID) {
		return false, 0
	}
	return true, uint8(role) //nolint:gosec // fewer than a hundred
}

// windowsRoles are the keys of each role, without nested ones.
var windowsRoles = sync.OnceValue(func() map[windowsKey][]string {
	out := map[windowsKey][]string{}
	for key, role := range windowsKeys {
		if plain, _ := windowsKeyRole(key); plain {
			out[role] = append(out[role], key)
		}
	}
	for _, keys := range out {
		slices.Sort(keys)
	}
	return out
})

func windowsSource(field string, like *schemas.Event) ([]string, func(string) (string, bool), bool) {
	if key, ok := strings.CutPrefix(field, "winlog.event_data."); ok {
		plain, role := windowsKeyRole(key)
		if !plain || role != 0 && (key[0] == 'w' || key[0] == '@') {
			return nil, nil, true
		}
		return []string{key}, nil, true
	}
	given := func(s string) (string, bool) { return s, s != "" && s != "-" }
	role := wNone
	switch field {
	case "winlog.event_id":
		return windowsRoles()[wEventID], func(s string) (string, bool) {
			n, ok := whole(s)
			return strconv.FormatInt(n, 10), ok
		}, true
	case "winlog.channel":
		role = wChannel
	case "winlog.provider_name":
		role = wProvider
	case "winlog.computer_name":
		role = wComputer
	case "winlog.record_id":
		role = wRecordID
	case "message":
		role = wMessage
	case "process.hash.md5", "process.hash.sha256":
		if like.Get(schemas.FieldWinlogEventID).Int() != 1 || !ofSysmon(like.Str(schemas.FieldWinlogChannel), like.Str(schemas.FieldWinlogProviderName)) {
			return nil, nil, true
		}
		name := strings.ToUpper(strings.TrimPrefix(field, "process.hash.")) + "="
		return windowsRoles()[wHashes], func(s string) (string, bool) {
			_, rest, ok := strings.Cut(s, name)
			value, _, _ := strings.Cut(rest, ",")
			return lower(value), ok && value != ""
		}, true
	case "dns.question.name", "dns.answers.data", "dns.question.type":
		return nil, nil, like.Get(schemas.FieldWinlogEventID).Int() != 22
	default:
		return nil, nil, false
	}
	return windowsRoles()[role], given, true
}

func windowsSettles(field string) ([]string, bool) {
	keys := func(roles ...windowsKey) ([]string, bool) {
		var out []string
		for _, r := range roles {
			out = append(out, windowsRoles()[r]...)
		}
		return out, true
	}
	switch field {
	case "winlog.channel", "winlog.provider_name", "winlog.event_id",
		"event.category", "event.kind", "event.module", "event.dataset", "event.type", "event.action", "event.provider", "event.code",
		"host.os.type", "network.protocol":
		return keys(wChannel, wProvider, wEventID)
	case "event.outcome":
		return keys(wChannel, wProvider, wEventID, wKeywords, wQueryStatus)
	case "dns.question.name":
		return keys(wChannel, wProvider, wEventID, wQueryName)
	case "log.syslog.appname", "log.syslog.facility.code", "url.original", "observer.type", "observer.vendor":
		return nil, true // never set
	}
	if key, ok := strings.CutPrefix(field, "winlog.event_data."); ok {
		return []string{key}, true
	}
	for _, other := range []string{"labels.", "zeek.", "suricata.", "tls."} { // never set
		if strings.HasPrefix(field, other) {
			return nil, true
		}
	}
	return nil, false
}

func windowsTexts() []string {
	out := []string{
		"windows", "windows.security", "windows.system", "windows.application", "windows.sysmon_operational",
		"windows.powershell_operational", "windows.powershell", "windows.forwarded", "event", "ipv4", "ipv6", "dns", "answer",
		"NOERROR", "NXDOMAIN", "success", "failure", "inbound", "outbound", "icmp", "tcp", "udp", "ipv6-icmp",
		TagTimeImplausible, tagBodyUnparsed,
	}
	out = append(out, windowsLevels[:]...)
	for _, table := range []map[int64]what{sysmonEvents, securityEvents} {
		for _, w := range table {
			out = append(out, w.category, w.kind, w.action, w.outcome)
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}
