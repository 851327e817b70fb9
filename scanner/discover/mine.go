package discover

import (
	"strings"

	"github.com/miekg/dns"
)

const maxMined = 256 // names out of one record set

// Mine finds the names that a record set's values hold: the target of an alias,
// servers of mail, names and services, what SPF, DMARC and CAA mention. Whether
// they may be asked about is for others to say.
func Mine(qtype uint16, values []string) []string {
	var out []string
	add := func(text string) {
		name := strings.ToLower(strings.Trim(text, "."))
		if strings.Contains(name, ".") && !strings.ContainsAny(name, "%{}") && ValidName(name) && len(out) < maxMined {
			out = append(out, name)
		}
	}
	for _, v := range values {
		switch qtype {
		case dns.TypeCNAME, dns.TypeNS, dns.TypePTR:
			add(v)
		case dns.TypeMX, dns.TypeSRV:
			add(v[strings.LastIndexByte(v, ' ')+1:])
		case dns.TypeSOA: // the second name is a person's
			first, _, _ := strings.Cut(v, " ")
			add(first)
		case dns.TypeTXT, dns.TypeCAA:
			for _, word := range strings.FieldsFunc(v, notOfName) {
				add(word)
			}
		}
	}
	return out
}

// notOfName says of a character that it ends a name in running text. What holds
// a macro of SPF (%) is no name.
func notOfName(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return false
	case c == '.', c == '-', c == '_', c == '%', c == '{', c == '}':
		return false
	}
	return true
}
