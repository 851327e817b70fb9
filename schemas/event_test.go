package schemas

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCatalogue(t *testing.T) {
	if NumFields >= 256 {
		t.Fatalf("Event.index holds a field's position in a byte: %d fields are too many", NumFields)
	}
	columns := map[string]string{}
	for _, f := range Fields() {
		if f.Zh == "" || f.En == "" {
			t.Errorf("%s: description missing", f.Name)
		}
		switch f.Type {
		case Keyword, Text, Long, Double, Boolean, IP, Date:
		default:
			t.Errorf("%s: unknown type %q", f.Name, f.Type)
		}
		if other, taken := columns[f.Column()]; taken {
			t.Errorf("%s and %s share the column %s", f.Name, other, f.Column())
		}
		columns[f.Column()] = f.Name
	}
}

func TestCheckField(t *testing.T) {
	f := func(name, nearest string) {
		t.Helper()
		err := CheckField(name)
		var unknown *UnknownFieldError
		switch {
		case nearest == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case nearest != "" && !errors.As(err, &unknown):
			t.Errorf("%s: accepted", name)
		case nearest != "" && unknown.Nearest != nearest:
			t.Errorf("%s: nearest %q, want %q", name, unknown.Nearest, nearest)
		}
	}
	f("source.ip", "")
	f("unit", "")
	f("winlog.event_data.TargetUserName", "")
	f("sorce.ip", "source.ip")
	f("dns.question.nam", "dns.question.name")
	f("winlog.event_data.", "winlog.event_id")
}

func TestEventKeepsWhatIsSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e Event
		want := map[FieldID]Value{}
		for range rapid.IntRange(0, 60).Draw(t, "sets") {
			id := FieldID(rapid.IntRange(0, NumFields-1).Draw(t, "id"))
			v := String(rapid.StringN(1, 20, 40).Draw(t, "v"))
			e.Set(id, v)
			want[id] = v
		}
		for id := range FieldID(NumFields) {
			if !e.Get(id).Equal(want[id]) {
				t.Fatalf("%s = %q, want %q", id, e.Get(id).Text(), want[id].Text())
			}
		}
		var decoded map[string]any
		if err := json.Unmarshal(e.AppendJSON(nil), &decoded); err != nil {
			t.Fatalf("not JSON: %v: %s", err, e.AppendJSON(nil))
		}
		if len(decoded) != len(want) {
			t.Fatalf("%d names in JSON, want %d", len(decoded), len(want))
		}
		e.Reset()
		for id := range want {
			if !e.Get(id).IsNone() {
				t.Fatalf("%s survived Reset", id)
			}
		}
	})
}

func TestValueJSON(t *testing.T) {
	f := func(v Value, want string) {
		t.Helper()
		if got := string(v.AppendJSON(nil)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(Value{}, "null")
	f(String(`a"b\`+"\n"), `"a\"b\\\n"`)
	f(String("中文 <&>"), "\"中文 \\u003c\\u0026\\u003e\"")
	f(String("\xff"), "\"\\ufffd\"")
	f(Int(-7), "-7")
	f(Float(0.25), "0.25")
	f(Float(math.NaN()), "null")
	f(Bool(true), "true")
	f(Time(time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)), `"2026-01-02T03:04:05.000006Z"`)
	f(Strings("a", "b"), `["a","b"]`)
}

func TestOriginHeadersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 12, 30)
		o := Origin{
			Stream: "s" + text.Draw(t, "stream"), Seq: rapid.Uint64().Draw(t, "seq"),
			Unit: text.Draw(t, "unit"), Source: text.Draw(t, "source"), Input: text.Draw(t, "input"),
			Format: text.Draw(t, "format"), Received: time.UnixMicro(rapid.Int64Range(0, 1<<50).Draw(t, "received")).UTC(),
			Drill: rapid.Bool().Draw(t, "drill"), Reject: text.Draw(t, "reject"), Preamble: text.Draw(t, "preamble"),
		}
		got, err := ParseOrigin(o.Headers(), "logs", 0, 0, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if got != o {
			t.Fatalf("got %+v, want %+v", got, o)
		}
	})
}

func TestOriginOfForeignRecord(t *testing.T) {
	at := time.Unix(1, 0)
	o, err := ParseOrigin(nil, "logs", 2, 77, at)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := o.EventID(), "logs/2-77"; got != want || !o.Received.Equal(at) {
		t.Errorf("id %s received %v, want %s %v", got, o.Received, want, at)
	}
	o, err = ParseOrigin([]Header{{"stream", []byte("s")}, {"seq", []byte("x")}}, "logs", 0, 5, at)
	if err == nil || o.EventID() != "logs/0-5" {
		t.Errorf("a broken seq: id %s, %v", o.EventID(), err)
	}
}
