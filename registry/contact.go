package registry

import (
	"errors"
	"fmt"
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
		return errors.New("unit is missing")
	}
	switch c.Duty {
	case Responsible, SecurityOfficer, Liaison:
	default:
		return fmt.Errorf("duty %q is none of responsible (负责人), security_officer (安全员), liaison (联系人)", c.Duty)
	}
	if err := normalisePerson(&c.Person); err != nil {
		return err
	}
	if c.Name == "" {
		return errors.New("name is missing")
	}
	return nil
}

func normalisePerson(p *Person) error {
	p.Name, p.Phone, p.Email = strings.TrimSpace(p.Name), strings.TrimSpace(p.Phone), strings.TrimSpace(p.Email)
	if len(p.Name) > 128 || strings.ContainsFunc(p.Name, unicode.IsControl) {
		return errors.New("name is longer than 128 bytes or no name")
	}
	if p.Phone != "" && !isPhone(p.Phone) {
		return errors.New("phone is no telephone number: digits, with + - ( ) and spaces, at most 32")
	}
	if p.Email != "" {
		if a, err := mail.ParseAddress(p.Email); err != nil || a.Address != p.Email || len(p.Email) > 254 {
			return errors.New("email is no address such as name@example.edu.cn")
		}
	}
	return nil
}

func isPhone(s string) bool {
	return len(s) >= 3 && len(s) <= 32 && strings.ContainsAny(s, "0123456789") && strings.Trim(s, "0123456789+-() ") == ""
}
