package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"fengsui/schemas"
)

// TestSeed holds the tree of Henan's divisions to what is published of it: 17
// cities and Jiyuan, 157 divisions of the county's level of which Jiyuan is one.
func TestSeed(t *testing.T) {
	c, err := seed("henan")
	if err != nil {
		t.Fatal(err)
	}
	count, below, kinds, names := map[schemas.UnitLevel]int{}, map[string]int{}, map[string]int{}, map[string]string{}
	for _, u := range c.Units {
		count[u.Level]++
		names[u.Code] = u.Name
		if want := u.Code + strings.Repeat("0", 6-len(u.Code)); u.Division != want {
			t.Errorf("unit %s has the division %s", u.Code, u.Division)
		}
		if u.Level != schemas.County {
			continue
		}
		below[u.Parent]++
		kinds[string([]rune(u.Name)[len([]rune(u.Name))-1])]++
		if u.Code[:4] != u.Parent {
			t.Errorf("%s is below %s", u.Code, u.Parent)
		}
	}
	if count[schemas.Province] != 1 || count[schemas.City] != 18 || count[schemas.County] != 156 || len(names) != 175 {
		t.Errorf("%v, %d codes", count, len(names))
	}
	if kinds["区"] != 54 || kinds["县"] != 82 || kinds["市"] != 20 {
		t.Errorf("%v", kinds)
	}
	for city, want := range map[string]int{
		"4101": 12, "4102": 9, "4103": 14, "4104": 10, "4105": 9, "4106": 5, "4107": 12, "4108": 10, "4109": 6,
		"4110": 6, "4111": 5, "4112": 6, "4113": 13, "4114": 9, "4115": 10, "4116": 10, "4117": 10, "419001": 0,
	} {
		if below[city] != want || names[city] == "" {
			t.Errorf("%s %s has %d divisions below it, not %d", city, names[city], below[city], want)
		}
	}
	// What has changed its name or place within living memory of other lists.
	for code, want := range map[string]string{
		"410307": "偃师区", "410308": "孟津区", "410212": "祥符区", "411003": "建安区", "411603": "淮阳区", "411203": "陕州区",
		"410783": "长垣市", "410181": "巩义市", "410225": "兰考县", "410482": "汝州市", "410526": "滑县", "411381": "邓州市",
		"411481": "永城市", "411525": "固始县", "411628": "鹿邑县", "411729": "新蔡县", "419001": "济源市",
		"410306": "", "410322": "", "410381": "", "411023": "", "410728": "", "411626": "", "411222": "", "410224": "",
	} {
		if names[code] != want {
			t.Errorf("%s is %q, not %q", code, names[code], want)
		}
	}
}

func TestSeedKeepsWhatIsThere(t *testing.T) { everywhere(t, testSeedKeepsWhatIsThere) }

func testSeedKeepsWhatIsThere(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", province)); err != nil {
		t.Fatal(err)
	}
	if added, err := r.Seed(ctx, "me", "henan"); err != nil || added != 173 {
		t.Fatalf("%d added, %v", added, err)
	}
	if added, err := r.Seed(ctx, "me", "henan"); err != nil || added != 0 {
		t.Errorf("again: %d added, %v", added, err)
	}
	s, err := r.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if u, _ := s.Unit("4101"); u.Name != "甲市教育局" {
		t.Errorf("%+v", u)
	}
	if !s.Under("410102", "4101") || !s.Under("419001", "41") {
		t.Error("the tree is broken")
	}
	if _, err := r.Seed(ctx, "me", "atlantis"); err == nil || !strings.Contains(err.Error(), "only henan") {
		t.Errorf("%v", err)
	}
}

const people = `
units:
  - {code: "10001", name: 甲大学, level: university, division: "410102", school_code: "4141010001"}
contacts:
  - {unit: "10001", duty: responsible, name: 张三, phone: 0371-6000 0001}
  - {unit: "10001", duty: security_officer, name: 李四, phone: "+86 139 0000 0000", email: lisi@example.edu.cn}
`

// TestPeopleStayInTheRegistry: contacts are kept, exported and changed like
// everything else, and are no part of what is published.
func TestPeopleStayInTheRegistry(t *testing.T) { everywhere(t, testPeopleStayInTheRegistry) }

func testPeopleStayInTheRegistry(t *testing.T, at backend) {
	ctx := context.Background()
	r := at.open(t)
	if changed, err := r.Put(ctx, "me", read(t, "a.yaml", people)); err != nil || changed != 3 {
		t.Fatalf("%d, %v", changed, err)
	}
	c, err := r.All(ctx)
	if err != nil || len(c.Contacts) != 2 || c.Contacts[0].Name != "张三" || c.Units[0].SchoolCode != "4141010001" {
		t.Fatalf("%+v, %v", c, err)
	}
	public, err := publicationOf(c)
	if err != nil || len(public) != 1 {
		t.Errorf("%v, %v", public, err)
	}
	rows, err := changesAfter(ctx, r.db, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		value, is, err := publication(row.Key, row.Value)
		if err != nil || is != strings.HasPrefix(row.Key, "unit/") || bytes.Contains(value, []byte("张三")) {
			t.Errorf("%s: %s, %v", row.Key, value, err)
		}
	}
	var excel bytes.Buffer
	if err := WriteFile("x.xlsx", &excel, c); err != nil {
		t.Fatal(err)
	}
	back, err := ReadFile("x.xlsx", &excel)
	if err != nil || len(back.Contacts) != 2 || back.Contacts[1] != c.Contacts[1] {
		t.Errorf("%+v, %v", back, err)
	}
	if err := r.Delete(ctx, "me", "unit/10001"); err == nil || !strings.Contains(err.Error(), "2 of kind contact") {
		t.Errorf("%v", err)
	}
	if err := r.Delete(ctx, "me", "contact/10001/responsible", "contact/10001/security_officer", "unit/10001"); err != nil {
		t.Error(err)
	}
}

func TestPersonalDataIsCheckedAndNotRepeated(t *testing.T) {
	f := func(c Contact, want string) {
		t.Helper()
		err := Check(&Content{Contacts: []Contact{c}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
		if raw, _ := json.Marshal(c.Person); err != nil && c.Phone != "" && strings.Contains(err.Error(), c.Phone) {
			t.Errorf("%v repeats %s", err, raw)
		}
	}
	f(Contact{"a", Responsible, Person{"张三", "", ""}}, "")
	f(Contact{"a", Liaison, Person{" 张三 ", "(0371) 6000-0001", "a@b.cn"}}, "")
	f(Contact{"", Responsible, Person{"张三", "", ""}}, "unit is missing")
	f(Contact{"a", "boss", Person{"张三", "", ""}}, `duty "boss" is none of`)
	f(Contact{"a", Responsible, Person{"", "", ""}}, "name is missing")
	f(Contact{"a", Responsible, Person{"张三", "call me", ""}}, "phone is no telephone number")
	f(Contact{"a", Responsible, Person{"张三", "", "Zhang <a@b.cn>"}}, "email is no address")
}

func TestCodesOfUnits(t *testing.T) {
	f := func(u schemas.Unit, want string) {
		t.Helper()
		u.Name, u.Level = "甲", schemas.School
		err := Check(&Content{Units: []schemas.Unit{u}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(schemas.Unit{Code: "a", Division: "410102", SchoolCode: "3141000001"}, "")
	f(schemas.Unit{Code: "a", Division: "4101"}, "not six digits")
	f(schemas.Unit{Code: "a", SchoolCode: "10459"}, "not ten digits")
	f(schemas.Unit{Code: "a\x00b"}, "no space and no slash")
	f(schemas.Unit{Code: "a\xff"}, "no space and no slash")
}
