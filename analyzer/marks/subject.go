package marks

import "strings"

// Organisation is the O of a distinguished name (RFC 2253) as Go, Zeek and
// Suricata write it, with commas between and after a backslash none.
func Organisation(dn string) string { return attribute(dn, "O") }

func attribute(dn, name string) string {
	for rest := dn; rest != ""; {
		end := 0
		for end < len(rest) && rest[end] != ',' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(rest))
		if key, value, ok := strings.Cut(strings.TrimSpace(rest[:end]), "="); ok && key == name {
			return unescape(value)
		}
		rest = rest[min(end+1, len(rest)):]
	}
	return ""
}

// unescape takes the backslashes out of a value: two hexadecimal digits behind one
// are a byte, as Zeek writes all that is not ASCII.
func unescape(value string) string {
	if !strings.Contains(value, `\`) {
		return value
	}
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' || i+1 == len(value) {
			if value[i] != '\\' {
				out = append(out, value[i])
			}
			continue
		}
		if i+2 < len(value) {
			if high, low := hex(value[i+1]), hex(value[i+2]); high >= 0 && low >= 0 {
				out = append(out, byte(high<<4|low)) //nolint:gosec // two digits
				i += 2
				continue
			}
		}
		i++
		out = append(out, value[i])
	}
	return string(out)
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
