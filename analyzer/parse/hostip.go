package parse

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"fengsui/schemas"
)

// hostIPs are lists of one address each, for host.ip: a few thousand devices send
// all lines, and a list that is never changed serves all of a device's. One takes
// another's place.
var (
	hostIPs  [1 << 11]atomic.Pointer[hostIP]
	hostSeed = maphash.MakeSeed()
)

type hostIP struct {
	text string // as logged
	list schemas.Value
}

// setHostIP sets host.ip, if the text is an address.
func setHostIP(ev *schemas.Event, text string) {
	if text == "" || len(text) > 64 || !isHex(text[0]) && text[0] != ':' { // no address begins so
		return
	}
	at := &hostIPs[maphash.String(hostSeed, text)%uint64(len(hostIPs))]
	known := at.Load()
	if known == nil || known.text != text {
		ip, ok := canonicalIP(text)
		if !ok {
			return
		}
		if text = strings.Clone(text); ip != text { // it may be part of a whole record
			ip = strings.Clone(ip)
		} else {
			ip = text
		}
		known = &hostIP{text, schemas.Strings(ip)}
		at.Store(known)
	}
	ev.Set(schemas.FieldHostIP, known.list)
}
