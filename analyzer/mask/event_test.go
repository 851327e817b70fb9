package mask

import (
	"strings"
	"testing"

	"fengsui/schemas"
)

// TestEvent: every text of an event is masked: fields, lists, open fields, whole
// numbers of open fields, names by the name of their field, and these names
// wherever else they stand.
func TestEvent(t *testing.T) {
	var ev schemas.Event
	ev.Original = `{"xm":"李小四","phone":13800000000,"bytes":13800000000,"msg":"李小四 is 410105203503071016"}`
	ev.SetString(schemas.FieldMessage, "李小四 is 410105203503071016")
	ev.SetString(schemas.FieldUserName, "13800000000")
	ev.SetString(schemas.FieldSourceIP, "192.0.2.1")
	ev.SetInt(schemas.FieldSourceBytes, 13800000000)
	ev.Set(schemas.FieldTags, schemas.Strings("a", "tel 13800000000", "b"))
	ev.SetOpen("labels.xm", schemas.Strings("李小四", "欧阳"))
	ev.SetOpen("labels.phone", schemas.Int(13800000000))
	ev.SetOpen("labels.float", schemas.Float(13800000000))
	ev.SetOpen("labels.bytes", schemas.Int(13800000000))
	ev.SetOpen("labels.ms", schemas.Int(1763800000000))
	ev.SetOpen("labels.sfzh", schemas.String("410105350307101"))
	ev.SetOpen("labels.old_id_card", schemas.Int(410105350307101))
	ev.SetOpen("labels.imei", schemas.Int(410105350307101))
	ev.SetOpen("labels.lxdh", schemas.Int(8613800000000))
	ev.SetOpen("labels.ratio", schemas.Float(13800000000.5))
	tags := ev.Get(schemas.FieldTags)
	m := newMasker(t, DefaultConfig())
	s := m.NewScope()
	match := schemas.Match{
		Host: "pc-13800000000", Summary: "李小四 is 4101052035…", Values: []string{"13800000000", "x"},
		Group:     []schemas.GroupValue{{Field: "user.name", Value: "13800000000"}, {Field: "labels.xm", Value: "李小四"}},
		Satisfied: []schemas.Satisfied{{Field: "labels.xm", Value: "欧阳"}, {Field: "source.ip", Value: "192.0.2.1"}},
		Next:      []schemas.Match{{Values: []string{"欧阳 13800000000"}}},
		Mining:    &schemas.MiningEvidence{Detail: "-u 13800000000"},
	}
	shared, evidence := match.Satisfied, match.Mining
	s.Begin(&ev)
	s.Match(&match)
	s.Event(&ev)

	f := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	f("original", ev.Original, `{"xm":"**","phone":"138****0000","bytes":13800000000,"msg":"** is 410105********1016"}`)
	f("message", ev.Str(schemas.FieldMessage), "** is 410105********1016")
	f("user", ev.Str(schemas.FieldUserName), "138****0000")
	f("ip", ev.Str(schemas.FieldSourceIP), "192.0.2.1")
	f("bytes", ev.Get(schemas.FieldSourceBytes).Text(), "13800000000")
	f("tags", ev.Get(schemas.FieldTags).Text(), "a, tel 138****0000, b")
	f("tags as they were", tags.Text(), "a, tel 13800000000, b")
	f("names", ev.Lookup("labels.xm").Text(), "**, **")
	f("phone", ev.Lookup("labels.phone").Text(), "138****0000")
	f("float", ev.Lookup("labels.float").Text(), "138****0000")
	f("open bytes", ev.Lookup("labels.bytes").Text(), "13800000000")
	f("ms", ev.Lookup("labels.ms").Text(), "1763800000000")
	f("old id", ev.Lookup("labels.sfzh").Text(), "410105*****7101")
	f("old id as a number", ev.Lookup("labels.old_id_card").Text(), "410105*****7101")
	f("no old id", ev.Lookup("labels.imei").Text(), "410105350307101")
	f("with the country's prefix", ev.Lookup("labels.lxdh").Text(), "86138****0000")
	f("ratio", ev.Lookup("labels.ratio").Text(), "1.38000000005e+10")

	f("host", match.Host, "pc-138****0000")
	f("summary", match.Summary, "** is **********…")
	f("group", match.Group[0].Value+match.Group[1].Value, "138****0000**")
	f("satisfied", match.Satisfied[0].Value+match.Satisfied[1].Value, "**192.0.2.1")
	f("what others share", shared[0].Value+evidence.Detail, "欧阳-u 13800000000")
	f("values", strings.Join(match.Values, ","), "138****0000,x")
	f("next", match.Next[0].Values[0], "** 138****0000")
	f("mining", match.Mining.Detail, "-u 138****0000")
	if n := s.Counts(); n[Phone] < 8 || n[Name] < 6 || n[ID] < 2 || n[Email] != 0 {
		t.Errorf("counted %v", n)
	}
	if n := s.Counts(); n != [NumClasses]uint64{} {
		t.Errorf("counted again %v", n)
	}

	// The next event's names are its own.
	var next schemas.Event
	next.SetString(schemas.FieldMessage, "李小四")
	s.Begin(&next)
	s.Event(&next)
	f("the next event", next.Str(schemas.FieldMessage), "李小四")
}

// TestEventTwice: an event that was masked is left as it is.
func TestEventTwice(t *testing.T) {
	for _, do := range []Action{Hide, Reverse} {
		s := newMasker(t, all(do)).NewScope()
		var ev schemas.Event
		fillEvent(&ev)
		ev.SetString(schemas.FieldUserName, "13800000000")
		ev.SetOpen("labels.xm", schemas.String("Zhang San"))
		ev.SetOpen("labels.n", schemas.Int(410105203503071016))
		ev.SetString(schemas.FieldMessage, "Zhang San has 13800000000")
		for range 2 {
			s.Begin(&ev)
			s.Event(&ev)
		}
		once := string(ev.AppendJSON(nil))
		s.Begin(&ev)
		s.Event(&ev)
		if twice := string(ev.AppendJSON(nil)); twice != once || strings.Contains(once, "Zhang") || strings.Contains(once, "410105203503071016") {
			t.Errorf("once  %s\ntwice %s", once, twice)
		}
	}
}

// TestNoEventCostsNothing: no allocation for an event without personal data.
func TestNoEventCostsNothing(t *testing.T) {
	var ev schemas.Event
	fillEvent(&ev)
	s := newMasker(t, DefaultConfig()).NewScope()
	if n := testing.AllocsPerRun(100, func() { s.Begin(&ev); s.Event(&ev) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestOff: nothing is looked for.
func TestOff(t *testing.T) {
	s := newMasker(t, all(Off)).NewScope()
	var ev schemas.Event
	ev.Original = "姓名：张三 13800000000"
	ev.SetOpen("labels.xm", schemas.String("张三"))
	s.Begin(&ev)
	s.Event(&ev)
	if ev.Original != "姓名：张三 13800000000" || ev.Lookup("labels.xm").Str() != "张三" {
		t.Error(string(ev.AppendJSON(nil)))
	}
}
