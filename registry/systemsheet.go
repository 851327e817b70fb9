package registry

import (
	"errors"
	"strconv"
	"strings"
	"unicode"

	"fengsui/schemas"
)

// systemSheet is information systems as a table: one row each, with several
// names, addresses or ports in one cell.
var systemSheet = sheet{
	kind: "systems", title: "信息系统",
	columns: systemColumns,
	read:    readSystem,
	rows: func(c *Content) (out [][]string) {
		for i := range c.Systems {
			out = append(out, systemRow(&c.Systems[i]))
		}
		return out
	},
}

func readSystem(c *Content, get func(string) string) error {
	var errs [5]error
	s := System{
		Filing: get("filing"), Vendor: get("vendor"), Note: get("note"),
		Data:        DataClass(strings.ToLower(get("data"))),
		Responsible: Person{Name: get("responsible"), Phone: get("phone"), Email: get("email")},
	}
	s.Code, s.Name, s.Unit, s.ICP = get("code"), get("name"), get("unit"), get("icp")
	s.State = schemas.SystemState(strings.ToLower(get("state")))
	s.Hosting = schemas.Hosting(strings.ToLower(get("hosting")))
	s.Domains = fields(get("domains"))
	s.Level, errs[0] = protection(get("level"))
	s.Critical, errs[1] = truth("critical", get("critical"))
	s.People, errs[2] = count(get("people"))
	for _, text := range fields(get("addresses")) {
		p, err := prefix("addresses", text)
		errs[3] = errors.Join(errs[3], err)
		s.Addresses = append(s.Addresses, p)
	}
	for _, text := range fields(get("ports")) {
		var p schemas.PortName
		if err := p.UnmarshalText([]byte(text)); err != nil {
			errs[4] = bad("ports", "%v", "端口无效：%v", err)
		}
		s.Ports = append(s.Ports, p)
	}
	c.Systems = append(c.Systems, s)
	return errors.Join(errs[:]...)
}

func systemRow(s *System) []string {
	addresses, ports := make([]string, len(s.Addresses)), make([]string, len(s.Ports))
	for i, p := range s.Addresses {
		addresses[i] = p.String()
		if p.IsSingleIP() {
			addresses[i] = p.Addr().String()
		}
	}
	for i, p := range s.Ports {
		ports[i] = p.String()
	}
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	return []string{
		s.Code, s.Name, s.Unit, string(s.State), number(int64(s.Level)), s.Filing, s.ICP, strconv.FormatBool(s.Critical),
		string(s.Data), number(s.People), s.Vendor, string(s.Hosting),
		strings.Join(s.Domains, "\n"), strings.Join(addresses, "\n"), strings.Join(ports, "\n"),
		s.Responsible.Name, s.Responsible.Phone, s.Responsible.Email, s.Note,
	}
}

// protection reads the level of classified protection.
func protection(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 5 {
		return 0, bad("level", "level %q is none of 1 to 5", "等级保护级别 %q 不是一级至五级", s)
	}
	return n, nil
}

func count(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(s, ",", ""), 10, 64)
	if err != nil || n < 0 {
		return 0, bad("people", "people %q is no number of persons", "%q 不是人数", s)
	}
	return n, nil
}

// fields takes a cell apart that holds several things.
func fields(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(",;，；、", r) })
}
