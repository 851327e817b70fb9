package parse

import (
	"fengsui/internal/suffix"
	"fengsui/schemas"
)

// setRegisteredDomain sets the part of the queried name that somebody registered.
func setRegisteredDomain(ev *schemas.Event) {
	name := ev.Str(schemas.FieldDNSQuestionName)
	if name == "" || !ev.Get(schemas.FieldDNSQuestionRegisteredDomain).IsNone() {
		return
	}
	if domain, ok := suffix.Registered(name); ok {
		ev.SetString(schemas.FieldDNSQuestionRegisteredDomain, domain)
	}
}
