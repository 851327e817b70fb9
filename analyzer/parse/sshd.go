package parse

import (
	"strings"

	"fengsui/schemas"
)

// What sshd reports. Only ssh_login is an attempt to log in, once for each
// password or key tried; the rest is said beside it and must not be counted as
// one.
var (
	sshLogin      = what{"authentication", "start", "ssh_login", "success"}
	sshFailed     = what{"authentication", "start", "ssh_login", "failure"}
	sshPostponed  = what{"authentication", "info", "ssh_login_postponed", "unknown"}
	sshInvalid    = what{"authentication", "info", "ssh_invalid_user", "failure"}
	sshMaximum    = what{"authentication", "denied", "ssh_max_attempts", "failure"}
	sshDenied     = what{"authentication", "denied", "ssh_denied", "failure"}
	sshPAM        = what{"authentication", "info", "ssh_pam_failure", "failure"}
	sshConnected  = what{"network", "start", "ssh_connect", ""}
	sshClosed     = what{"network", "end", "ssh_disconnect", ""}
	sshScan       = what{"network", "info", "ssh_no_identification", "failure"}
	sshBadClient  = what{"network", "info", "ssh_protocol_error", "failure"}
	sshTimeout    = what{"authentication", "end", "ssh_timeout", "failure"}
	sshDropped    = what{"network", "denied", "ssh_dropped", "failure"}
	sshReverse    = what{"network", "info", "ssh_reverse_mapping", "failure"}
	sshSubsystem  = what{"session", "info", "ssh_subsystem", "success"}
	sshSession    = what{"session", "start", "ssh_session_start", "success"}
	sshListening  = what{"process", "start", "ssh_listen", "success"}
	sshTerminated = what{"process", "end", "ssh_terminate", ""}
)

// sshd reads OpenSSH's messages (auth.c, auth2.c, packet.c, sshd.c). User names
// come from whoever knocks and may hold anything, " from 192.0.2.1" included:
// the address is always taken after the last " from ".
func sshd(ev *schemas.Event, s string) {
	ev.SetString(schemas.FieldEventDataset, "system.auth")
	s = strings.TrimSuffix(s, " [preauth]")
	s = strings.TrimPrefix(s, "error: ")
	s = strings.TrimPrefix(s, "fatal: ")
	if s == "" {
		return
	}
	switch s[0] {
	case 'F', 'A', 'P':
		if sshdLogin(ev, s) {
			return
		}
	case 'I', 'i':
		if sshdInvalid(ev, s) {
			return
		}
	case 'C', 'D', 'R':
		if sshdConnection(ev, s) {
			return
		}
	}
	sshdOther(ev, s)
}

// sshdLogin reads "Failed password for [invalid user] U from A port P ssh2" and
// the same with Accepted, Postponed and Partial, and any method.
func sshdLogin(ev *schemas.Event, s string) bool {
	outcome, rest := word(s)
	method, rest := word(rest)
	rest, ok := strings.CutPrefix(rest, "for ")
	if !ok {
		return false
	}
	var w *what
	switch outcome {
	case "Failed":
		w = &sshFailed
	case "Accepted":
		w = &sshLogin
	case "Postponed", "Partial":
		w = &sshPostponed
	default:
		return false
	}
	if !sshdUserFrom(ev, rest) {
		return false
	}
	w.set(ev)
	label(ev, "labels.auth_method", method)
	return true
}

// sshdUserFrom reads "[invalid user ]U from A[ port P][ rest]".
func sshdUserFrom(ev *schemas.Event, s string) bool {
	i := lastFrom(s)
	if i < 0 {
		return false
	}
	sshdUser(ev, s[:i])
	sshdEndpoint(ev, s[i+len(" from "):])
	return true
}

// lastFrom is where the last " from " begins, or -1: strings.LastIndex for what is
// mostly near the end.
func lastFrom(s string) int {
	for i := len(s) - len(" from "); i >= 0; i-- {
		if s[i] == ' ' && s[i+1] == 'f' && s[i:i+len(" from ")] == " from " {
			return i
		}
	}
	return -1
}

func sshdUser(ev *schemas.Event, s string) {
	for _, prefix := range [...]string{"invalid user ", "illegal user "} {
		if u, ok := strings.CutPrefix(s, prefix); ok {
			s = u
			ev.SetString(schemas.FieldEventReason, "invalid user")
			break
		}
	}
	if s != "invalid user" { // its name is empty
		ev.SetString(schemas.FieldUserName, s)
	}
}

// sshdEndpoint reads "A port P", "A: …", "A" or "[A]:P" and returns the rest.
func sshdEndpoint(ev *schemas.Event, s string) (rest string) {
	address, rest := word(s)
	port := ""
	if !setIP(ev, schemas.FieldSourceIP, address) {
		address, port = splitHostPort(strings.TrimSuffix(address, ":"))
		setSource(ev, address)
	}
	if after, ok := strings.CutPrefix(rest, "port "); ok {
		if n, d := number(after); d > 0 {
			ev.SetInt(schemas.FieldSourcePort, n)
			port, rest = "", after[d:]
			for rest != "" && (rest[0] == ' ' || rest[0] == ':') {
				rest = rest[1:]
			}
		}
	}
	setWhole(ev, schemas.FieldSourcePort, port)
	return rest
}

// sshdInvalid reads "Invalid user U from A[ port P]" and its older spellings.
func sshdInvalid(ev *schemas.Event, s string) bool {
	for _, prefix := range [...]string{"Invalid user ", "Illegal user "} {
		// With an empty name the line is "Invalid user  from A".
		if rest, ok := strings.CutPrefix(s, prefix); ok && sshdUserFrom(ev, rest) {
			sshInvalid.set(ev)
			ev.SetString(schemas.FieldEventReason, "invalid user")
			return true
		}
	}
	if user, ok := strings.CutPrefix(s, "input_userauth_request: "); ok {
		sshdUser(ev, user)
		sshInvalid.set(ev)
		return true
	}
	return false
}

// sshdConnection reads who came and who went.
func sshdConnection(ev *schemas.Event, s string) bool {
	switch {
	case strings.HasPrefix(s, "Connection from "):
		rest := sshdEndpoint(ev, s[len("Connection from "):])
		if rest, ok := strings.CutPrefix(rest, "on "); ok {
			address, rest := word(rest)
			setDestination(ev, address)
			if rest, ok := strings.CutPrefix(rest, "port "); ok {
				port, _ := word(rest)
				setWhole(ev, schemas.FieldDestinationPort, port)
			}
		}
		sshConnected.set(ev)
	case strings.HasPrefix(s, "Connection closed by "):
		sshdPeer(ev, s[len("Connection closed by "):])
		sshClosed.set(ev)
	case strings.HasPrefix(s, "Connection reset by "):
		sshdPeer(ev, s[len("Connection reset by "):])
		sshClosed.set(ev)
		ev.SetString(schemas.FieldEventReason, "connection reset")
	case strings.HasPrefix(s, "Received disconnect from "):
		ev.SetString(schemas.FieldEventReason, disconnectReason(sshdEndpoint(ev, s[len("Received disconnect from "):])))
		sshClosed.set(ev)
	case strings.HasPrefix(s, "Disconnected from "):
		sshdPeer(ev, s[len("Disconnected from "):])
		sshClosed.set(ev)
	case strings.HasPrefix(s, "Disconnecting"):
		s = strings.TrimLeft(strings.TrimPrefix(s, "Disconnecting"), ": ")
		peer, reason, ok := cutLast(s, ": ")
		if !ok {
			peer, reason = "", s
		}
		if peer != "" {
			sshdPeer(ev, peer)
		}
		sshClosed.set(ev)
		if strings.HasPrefix(reason, "Too many authentication failures") {
			sshMaximum.set(ev)
			if user, ok := strings.CutPrefix(reason, "Too many authentication failures for "); ok {
				sshdUser(ev, user)
			}
		}
		ev.SetString(schemas.FieldEventReason, reason)
	case strings.HasPrefix(s, "Did not receive identification string from "):
		sshdEndpoint(ev, s[len("Did not receive identification string from "):])
		sshScan.set(ev)
	default:
		return false
	}
	return true
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// disconnectReason drops the code of "11: Bye Bye".
func disconnectReason(s string) string {
	if _, d := number(s); d > 0 {
		s = strings.TrimPrefix(s[d:], ":")
	}
	return strings.TrimLeft(s, " ")
}

// sshdPeer reads "[authenticating user U |invalid user U |user U ]A port P". The
// user's name may hold spaces, so the address is found from the end.
func sshdPeer(ev *schemas.Event, s string) {
	for _, prefix := range [...]string{"authenticating user ", "invalid user ", "user "} {
		rest, ok := strings.CutPrefix(s, prefix)
		if !ok {
			continue
		}
		if i := strings.LastIndex(rest, " port "); i >= 0 {
			if j := strings.LastIndexByte(rest[:i], ' '); j >= 0 {
				ev.SetString(schemas.FieldUserName, rest[:j])
				rest = rest[j+1:]
			}
		}
		if prefix[0] == 'i' {
			ev.SetString(schemas.FieldEventReason, "invalid user")
		}
		s = rest
		break
	}
	sshdEndpoint(ev, s)
}

// sshdOther reads what is seldom said.
func sshdOther(ev *schemas.Event, s string) {
	if rest, ok := strings.CutPrefix(s, "maximum authentication attempts exceeded for "); ok {
		if sshdUserFrom(ev, rest) {
			sshMaximum.set(ev)
		}
		return
	}
	switch {
	case strings.HasPrefix(s, "PAM "):
		sshdPAM(ev, s)
	case strings.HasPrefix(s, "PAM: "):
		if _, rest, ok := strings.Cut(s, " for "); ok && sshdUserFrom(ev, rest) {
			sshPAM.set(ev)
		}
	case strings.HasPrefix(s, "User "):
		i := strings.LastIndex(s, " not allowed because ")
		if i < 0 {
			return
		}
		user := s[len("User "):i]
		if !sshdUserFrom(ev, user) {
			ev.SetString(schemas.FieldUserName, user)
		}
		ev.SetString(schemas.FieldEventReason, s[i+1:])
		sshDenied.set(ev)
	case strings.HasPrefix(s, "ROOT LOGIN REFUSED FROM "):
		sshdEndpoint(ev, s[len("ROOT LOGIN REFUSED FROM "):])
		ev.SetString(schemas.FieldUserName, "root")
		sshDenied.set(ev)
	case strings.HasPrefix(s, "reverse mapping checking getaddrinfo for "):
		name, rest := word(s[len("reverse mapping checking getaddrinfo for "):])
		ev.SetString(schemas.FieldSourceDomain, domain(name))
		if address, _, ok := strings.Cut(strings.TrimPrefix(rest, "["), "]"); ok {
			setSource(ev, address)
		} else { // old versions name no address: "for NAME failed - …"
			ev.SetString(schemas.FieldSourceAddress, name)
		}
		sshReverse.set(ev)
	case strings.HasPrefix(s, "Address "):
		address, rest := word(s[len("Address "):])
		if name, ok := strings.CutPrefix(rest, "maps to "); ok {
			setSource(ev, address)
			name, _ = word(name)
			ev.SetString(schemas.FieldSourceDomain, domain(strings.TrimSuffix(name, ",")))
			sshReverse.set(ev)
		}
	case strings.HasPrefix(s, "Bad protocol version identification "):
		if _, address, ok := cutLast(s, " from "); ok {
			sshdEndpoint(ev, address)
			sshBadClient.set(ev)
		}
	case strings.HasPrefix(s, "Unable to negotiate with "):
		ev.SetString(schemas.FieldEventReason, sshdEndpoint(ev, s[len("Unable to negotiate with "):]))
		sshBadClient.set(ev)
	case strings.HasPrefix(s, "banner exchange: Connection from "):
		ev.SetString(schemas.FieldEventReason, sshdEndpoint(ev, s[len("banner exchange: Connection from "):]))
		sshBadClient.set(ev)
	case strings.HasPrefix(s, "ssh_dispatch_run_fatal: Connection from "):
		ev.SetString(schemas.FieldEventReason, sshdEndpoint(ev, s[len("ssh_dispatch_run_fatal: Connection from "):]))
		sshBadClient.set(ev)
	case strings.HasPrefix(s, "kex_exchange_identification: "):
		ev.SetString(schemas.FieldEventReason, s[len("kex_exchange_identification: "):])
		sshBadClient.set(ev)
	case strings.HasPrefix(s, "Timeout before authentication for "):
		sshdTimeout(ev, s[len("Timeout before authentication for "):])
	case strings.HasPrefix(s, "drop connection "):
		if _, address, ok := strings.Cut(s, " from "); ok {
			sshdEndpoint(ev, address)
			sshDropped.set(ev)
		}
	case strings.HasPrefix(s, "subsystem request for "):
		name, rest := word(s[len("subsystem request for "):])
		label(ev, "labels.subsystem", name)
		if user, ok := strings.CutPrefix(rest, "by user "); ok {
			ev.SetString(schemas.FieldUserName, user)
		}
		sshSubsystem.set(ev)
	case strings.HasPrefix(s, "Starting session: "):
		if _, rest, ok := strings.Cut(s, " for "); ok {
			sshdUserFrom(ev, rest)
			sshSession.set(ev)
		}
	case strings.HasPrefix(s, "Server listening on "):
		address, rest := word(s[len("Server listening on "):])
		setDestination(ev, address)
		port := strings.TrimSuffix(strings.TrimPrefix(rest, "port "), ".")
		setWhole(ev, schemas.FieldDestinationPort, port)
		sshListening.set(ev)
	case strings.HasPrefix(s, "Received signal "), strings.HasPrefix(s, "Exiting on signal"):
		sshTerminated.set(ev)
	}
}

// sshdTimeout reads "A[ port P]" and, from 9.8 on, "connection from A to B, …".
func sshdTimeout(ev *schemas.Event, s string) {
	sshTimeout.set(ev)
	if rest, ok := strings.CutPrefix(s, "connection from "); ok {
		address, rest := word(rest)
		setSource(ev, address)
		if to, ok := strings.CutPrefix(rest, "to "); ok {
			to, _ = word(to)
			setDestination(ev, strings.TrimSuffix(to, ","))
		}
		return
	}
	sshdEndpoint(ev, s)
}

// sshdPAM reads "PAM 3 more authentication failures; logname= … rhost= user=".
func sshdPAM(ev *schemas.Event, s string) {
	head, pairs, ok := strings.Cut(s, "; ")
	if !ok || !strings.Contains(head, " more authentication failure") {
		return
	}
	n, _ := word(s[len("PAM "):])
	label(ev, "labels.repeated", n)
	pamPairs(ev, pairs)
	sshPAM.set(ev)
}
