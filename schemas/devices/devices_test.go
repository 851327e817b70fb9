package devices

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestShipped: every file that is part of the program is sound.
func TestShipped(t *testing.T) {
	all, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Vendor == "" && d.Module == "" {
			t.Errorf("%s: whose is it?", d.File)
		}
	}
}

const sound = `id: acme-wall
name: {zh: 墙, en: Wall}
structure: kv
fields:
  src: source.ip
  date + time: {to: "@timestamp", format: "%Y-%m-%d %H:%M:%S", zone: Asia/Shanghai}
  proto: {to: network.transport, map: {"6": tcp}, default: other}
messages:
  - name: one
    if: {a: ["1", "2"]}
    set: {event.category: network}
    when:
      - if: {b: x}
        set: {event.outcome: failure}
`

// TestFaults changes one thing in a sound file: the error names the file, the
// line and what is wrong.
func TestFaults(t *testing.T) {
	if _, err := Read("acme-wall.yaml", []byte(sound)); err != nil {
		t.Fatal(err)
	}
	f := func(from, to, want string) {
		t.Helper()
		text := strings.Replace(sound, from, to, 1)
		if text == sound {
			t.Fatalf("%q is not there", from)
		}
		_, err := Read("acme-wall.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "acme-wall.yaml:") {
			t.Errorf("%s: %v, want %s", to, err, want)
		}
	}
	f("source.ip", "sorce.ip", `acme-wall.yaml:5: unknown field "sorce.ip"; did you mean "source.ip"?`)
	f("source.ip", "src", "acme-wall.yaml:5: src is a short name; write source.ip")
	f("source.ip", "organization.id", "organization.id is not a log's to set")
	f("source.ip", "{to: source.ip, type: port}", "type port does not fit source.ip, which is ip")
	f("source.ip", "{to: labels.x, type: int}", "labels.x holds text as logged")
	f("source.ip", "{to: source.ip, format: iso}", "format, zone and zone_key are of times")
	f("source.ip", "{to: source.ip, typ: ip}", `line 5: a field has no "typ"`)
	f("source.ip", "{to: user, type: address}", "type address is for source and destination")
	f("source.ip", "{to: source.ip, map: nowhere}", `no map "nowhere" in maps`)
	f("source.ip", "[]", "src becomes nothing")
	f("%H:%M:%S", "%H:%Q", "after % come")
	f("Asia/Shanghai", "Asia/Kaifeng", `zone "Asia/Kaifeng" is neither`)
	f("structure: kv", "structure: xml", `structure "xml" is none of kv, csv`)
	f("structure: kv", "structure: csv", "csv needs columns")
	f("structure: kv", "structur: kv", "field structur not found")
	f("category: network", "category: networks", `event.category "networks" is none of ECS's`)
	f("outcome: failure", "outcome: failed", `event.outcome "failed" is none of ECS's`)
	f("id: acme-wall", "id: acme-well", "they must be one")
	f("id: acme-wall", "id: ACME", "is not small letters")
	f("if: {b: x}", "if: {}", "when needs if and set")
	f("name: one", "name: ''", "a message without a name")
	f("zh: 墙, ", "", "name needs zh and en")
}

// TestAllFaults: the faults of all files are said at once.
func TestAllFaults(t *testing.T) {
	_, err := Load(fstest.MapFS{
		"acme-wall.yaml": {Data: []byte(strings.ReplaceAll(sound, "source.ip", "sorce.ip"))},
		"other.yaml":     {Data: []byte("id: [")},
		"readme.txt":     {Data: []byte("no device")},
	})
	if err == nil || !strings.Contains(err.Error(), "acme-wall.yaml:5") || !strings.Contains(err.Error(), "other.yaml") {
		t.Errorf("%v", err)
	}
}

// FuzzRead: no file makes the program fall.
func FuzzRead(f *testing.F) {
	f.Add(sound)
	f.Add("id: a\ndetect: [{keys: [a]}]\nheader: x\nstructure: {kind: kv, nested: {a: csv}}")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := Read("acme-wall.yaml", []byte(text)); err == nil && d.ID != "acme-wall" {
			t.Fatalf("%q is accepted", d.ID)
		}
	})
}
