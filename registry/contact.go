package registry

import (
	"net/mail"
	"strings"
	"unicode"
)

// Duty is what a person is asked for by a unit.
type Duty string

// The duties.
const (
	Responsible     Duty = "responsible"      // answers for the unit's network security (负责人)
	SecurityOfficer Duty = "security_officer" // handles what is found (安全员)
	Liaison         Duty = "liaison"          // is called first (联系人)
)

// Person is somebody's personal data. It stays in the registry: it is neither
// published on the topic nor written to a log, and the errors about it do not
// repeat it.
type Person struct {
	Name  string `json:"name,omitempty" yaml:"name,omitempty"`
	Phone string `json:"phone,omitempty" yaml:"phone,omitempty"`
	Email string `json:"email,omitempty" yaml:"email,omitempty"`
}

// Contact is who to ask for at a unit: one person for each duty.
type Contact struct {
	Unit   string `json:"unit" yaml:"unit"`
	Duty   Duty   `json:"duty" yaml:"duty"`
	Person `yaml:",inline"`
}

// Key is the contact's key within the registry. It names nobody.
func (c *Contact) Key() string { return c.Unit + "/" + string(c.Duty) }

func normaliseContact(c *Contact) error {
	c.Unit = strings.TrimSpace(c.Unit)
	if c.Unit == "" {
		return bad("unit", "unit is missing", "缺少单位代码")
	}
	switch c.Duty {
	case Responsible, SecurityOfficer, Liaison:
	default:
		return bad("duty", "duty %q is none of responsible, security_officer, liaison", "职责 %q 不是负责人、安全员、联系人之一", c.Duty)
	}
	if err := normalisePerson(&c.Person); err != nil {
		return err
	}
	if c.Name == "" {
		return bad("name", "name is missing", "缺少姓名")
	}
	return nil
}

func normalisePerson(p *Person) error {
	p.Name, p.Phone, p.Email = strings.TrimSpace(p.Name), strings.TrimSpace(p.Phone), strings.TrimSpace(p.Email)
	if len(p.Name) > 128 || strings.ContainsFunc(p.Name, unicode.IsControl) {
		return bad("name", "name is longer than 128 bytes or no name", "姓名过长或不是姓名")
	}
	if p.Phone != "" && !isPhone(p.Phone) {
		return bad("phone", "phone is no telephone number: digits, with + - ( ) and spaces, at most 32", "不是电话号码：数字，可带 + - ( ) 与空格，最长 32 位")
	}
	if p.Email != "" {
		if a, err := mail.ParseAddress(p.Email); err != nil || a.Address != p.Email || len(p.Email) > 254 {
			return bad("email", "email is no address such as name@example.edu.cn", "不是电子邮箱地址")
		}
	}
	return nil
}

func isPhone(s string) bool {
	return len(s) >= 3 && len(s) <= 32 && strings.ContainsAny(s, "0123456789") && strings.Trim(s, "0123456789+-() ") == ""
}
