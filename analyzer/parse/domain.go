package parse

import (
	"strings"

	"golang.org/x/net/publicsuffix"

	"fengsui/schemas"
)

// setRegisteredDomain sets the part of the queried name that somebody registered,
// by the public suffix list: x.edu.cn of www.lab.x.edu.cn. A suffix by itself and
// a name of one label have none, nor has a name under no suffix of the list: what
// resolvers ask for in their own network is nobody's.
func setRegisteredDomain(ev *schemas.Event) {
	name := ev.Str(schemas.FieldDNSQuestionName)
	if name == "" || !ev.Get(schemas.FieldDNSQuestionRegisteredDomain).IsNone() {
		return
	}
	suffix, listed := publicsuffix.PublicSuffix(name)
	if !listed && !strings.Contains(suffix, ".") { // the list has no such suffix
		return
	}
	if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		ev.SetString(schemas.FieldDNSQuestionRegisteredDomain, domain)
	}
}
