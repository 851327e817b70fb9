package schemas

import (
	"strings"

	"golang.org/x/net/idna"
)

// inDNS maps as RFC 5895 does (case, width, 。 for the dot) and encodes as RFC 3492;
// names below underscores and * are names to it.
var inDNS = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// NameInDNS is the canonical form of a name that a person wrote, perhaps in their
// own script: 示例大学.公益 is xn--… in DNS, and so in everything that was seen. What
// cannot be a name stays as it is.
func NameInDNS(name string) string {
	name = CanonicalName(name)
	if !strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		return name
	}
	ascii, err := inDNS.ToASCII(name)
	if err != nil {
		return name
	}
	return CanonicalName(ascii)
}
