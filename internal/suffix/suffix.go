// Package suffix says which part of a name somebody registered. It is pure: the
// public suffix list is part of the program, and nothing is asked of a network.
package suffix

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Registered is the part of a name that somebody registered, by the public
// suffix list: x.edu.cn of www.lab.x.edu.cn, in small letters. A suffix by itself,
// a name of one label and an address have none, nor has a name under no suffix of
// the list: what resolvers ask for in their own network is nobody's.
func Registered(name string) (string, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return "", false
	}
	ending, listed := publicsuffix.PublicSuffix(name)
	if !listed && !strings.Contains(ending, ".") { // the list has no such suffix
		return "", false
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	return domain, err == nil
}
