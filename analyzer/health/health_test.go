package health

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fengsui/analyzer/parse"
	"fengsui/schemas"
)

var (
	monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	web    = Source{Unit: "10", Source: "192.0.2.1", Input: "syslog", Format: "syslog"}
)

// story is a watch and what it has found so far.
type story struct {
	t *testing.T
	w *Watch
}

func begin(t *testing.T, change ...func(*Config)) *story {
	cfg := DefaultConfig()
	for _, f := range change {
		f(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return &story{t, New(cfg)}
}

// speak sends a record every so often from one time to another, and says what
// was found.
func (s *story) speak(id Source, from, to time.Time, every time.Duration) (found []Finding) {
	for at := from; !at.After(to); at = at.Add(every) {
		found = append(found, s.w.Note(id, at, at, false)...)
	}
	return found
}

func (s *story) want(what string, found []Finding, want ...string) {
	s.t.Helper()
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%s %s %s", f.Kind, f.Source.Source, f.observed()))
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		s.t.Errorf("%s: found %q, want %q", what, got, want)
	}
}

// TestSilence: a source that spoke every minute is missed after a quarter of an
// hour, once, and its return is told.
func TestSilence(t *testing.T) {
	s := begin(t)
	noon := monday.Add(12 * time.Hour)
	s.want("while it speaks", s.speak(web, monday, noon, time.Minute))
	s.want("after 15 minutes", s.w.Silent(noon.Add(15*time.Minute)))
	s.want("after 16", s.w.Silent(noon.Add(16*time.Minute)), "source_silent 192.0.2.1 16m0s")
	s.want("after 17: told already", s.w.Silent(noon.Add(17*time.Minute)))
	back := noon.Add(2 * time.Hour)
	s.want("back", s.w.Note(web, back, back, false), "source_resumed 192.0.2.1 2h0m")
	s.want("and on", s.speak(web, back.Add(time.Minute), back.Add(time.Hour), time.Minute))
	s.want("silent again", s.w.Silent(back.Add(90*time.Minute)), "source_silent 192.0.2.1 30m0s")
}

// TestUsual: what happens every night, or every weekend, is not reported once it
// has happened twice; what happened once is not learned.
func TestUsual(t *testing.T) {
	office := func(s *story, day int) []Finding {
		from := monday.AddDate(0, 0, day).Add(8 * time.Hour)
		found := s.speak(web, from, from.Add(10*time.Hour), time.Minute)
		for at := from.Add(10 * time.Hour); at.Before(from.Add(24 * time.Hour)); at = at.Add(time.Minute) {
			found = append(found, s.w.Silent(at)...)
		}
		return found
	}
	s := begin(t)
	for day := range 10 {
		found := office(s, day)
		told := slices.ContainsFunc(found, func(f Finding) bool { return f.Kind == Silent })
		if told != (day < 2) || day > 2 && len(found) > 0 { // day 2 begins by telling of night 1's end
			t.Errorf("day %d: %+v", day, found)
		}
	}

	// An outage of three hours is reported, and the next one as soon as the first.
	s = begin(t)
	s.speak(web, monday, monday.Add(36*time.Hour), time.Minute)
	end := monday.Add(36 * time.Hour)
	s.want("outage", s.w.Silent(end.Add(16*time.Minute)), "source_silent 192.0.2.1 16m0s")
	s.speak(web, end.Add(3*time.Hour), end.Add(30*time.Hour), time.Minute)
	end = end.Add(30 * time.Hour)
	s.want("next", s.w.Silent(end.Add(16*time.Minute)), "source_silent 192.0.2.1 16m0s")
}

// TestNotRegular: a file that is imported, a source that has said three things
// and one whose gaps are longer are no silences.
func TestNotRegular(t *testing.T) {
	s := begin(t)
	file, rare, slow := web, web, web
	file.Source, rare.Source, slow.Source = "/tmp/import.log", "192.0.2.2", "192.0.2.3"
	s.speak(file, monday, monday.Add(5*time.Minute), time.Second)
	s.speak(rare, monday, monday.Add(4*time.Hour), 2*time.Hour)
	s.speak(slow, monday, monday.Add(20*time.Hour), time.Hour)
	s.want("none", s.w.Silent(monday.Add(22*time.Hour+59*time.Minute)))
	s.want("slow, at three times its gap", s.w.Silent(monday.Add(23*time.Hour+time.Minute)), "source_silent 192.0.2.3 3h1m")
}

// TestRestart: after a restart silence is counted from then on; a source that
// fell silent before is missed all the same, and by the same event.
func TestRestart(t *testing.T) {
	before := begin(t)
	before.speak(web, monday, monday.Add(6*time.Hour), time.Minute)
	told := before.w.Silent(monday.Add(6*time.Hour + 16*time.Minute))

	after := begin(t)
	began := monday.Add(7 * time.Hour)
	for at := monday; at.Before(monday.Add(6 * time.Hour)); at = at.Add(15 * time.Minute) {
		after.w.Seed(web, at, at.Add(14*time.Minute), 15, began)
	}
	after.w.Seed(web, monday.Add(6*time.Hour), monday.Add(6*time.Hour), 1, began)
	after.want("at once", after.w.Silent(began.Add(10*time.Minute)))
	again := after.w.Silent(began.Add(16 * time.Minute))
	after.want("again", again, "source_silent 192.0.2.1 1h16m")
	if a, b := told[0].Origin(), again[0].Origin(); a.EventID() != b.EventID() {
		t.Errorf("one silence is two events: %s and %s", a.EventID(), b.EventID())
	}

	// While Kafka was away nothing could be heard of anybody.
	deaf := begin(t)
	deaf.speak(web, monday, monday.Add(6*time.Hour), time.Minute)
	deaf.w.Deaf(monday.Add(8 * time.Hour))
	deaf.want("just back", deaf.w.Silent(monday.Add(8*time.Hour+time.Minute)))
	deaf.want("still silent", deaf.w.Silent(monday.Add(8*time.Hour+16*time.Minute)), "source_silent 192.0.2.1 2h16m")
}

// TestSpool: a collector that was cut off sends the past: it is no surge, and the
// silence ends with it.
func TestSpool(t *testing.T) {
	s := begin(t, func(c *Config) { c.SurgeAtLeast = 50 })
	s.speak(web, monday, monday.Add(30*time.Hour), time.Minute)
	cut := monday.Add(30 * time.Hour)
	s.want("cut off", s.w.Silent(cut.Add(20*time.Minute)), "source_silent 192.0.2.1 20m0s")
	var found []Finding
	for at := cut.Add(time.Minute); at.Before(cut.Add(5 * time.Hour)); at = at.Add(time.Minute) {
		found = append(found, s.w.Note(web, at, cut.Add(5*time.Hour), false)...)
	}
	s.want("the spool", found, "source_resumed 192.0.2.1 1m0s")
	s.want("now", s.w.Silent(cut.Add(5*time.Hour+10*time.Minute)))
}

// TestLoud: three times the usual busiest hour, and an hour of which a tenth
// cannot be parsed, are told once an hour; a first day has nothing to compare.
func TestLoud(t *testing.T) {
	s := begin(t, func(c *Config) { c.SurgeAtLeast, c.LettersAtLeast = 100, 20 })
	s.want("first day", s.speak(web, monday, monday.Add(time.Hour), 10*time.Second))
	s.want("as ever", s.speak(web, monday.Add(time.Hour), monday.Add(48*time.Hour), time.Minute))
	loud := monday.Add(48*time.Hour + time.Minute)
	// Days before: 361 on the first, 60 on the second: 60 is usual.
	s.want("loud", s.speak(web, loud, loud.Add(50*time.Minute), 10*time.Second), "source_surged 192.0.2.1 121")

	hour := monday.Add(60 * time.Hour)
	var found []Finding
	for i := range 200 {
		found = append(found, s.w.Note(web, hour.Add(time.Duration(i)*time.Second), hour, i%10 == 0)...)
	}
	s.want("letters", found, "source_resumed 192.0.2.1 11h9m", "source_surged 192.0.2.1 121", "dead_letters_rising 192.0.2.1 20")
	hour = hour.Add(time.Hour)
	found = nil
	for i := range 2000 {
		found = append(found, s.w.Note(web, hour.Add(time.Duration(i)*100*time.Millisecond), hour, i%50 == 0)...)
	}
	s.want("few of many", found, "source_resumed 192.0.2.1 56m41s", "source_surged 192.0.2.1 121")
}

// TestBounded: the longest unheard source is forgotten first.
func TestBounded(t *testing.T) {
	s := begin(t, func(c *Config) { c.MaxSources = 2 })
	for _, name := range []string{"a", "b", "a", "c"} {
		s.speak(Source{Source: name}, monday, monday, time.Minute)
	}
	if s.w.Len() != 2 || s.w.Evicted() != 1 || s.w.sources[Source{Source: "b"}] != nil {
		t.Errorf("%d sources, %d evicted", s.w.Len(), s.w.Evicted())
	}
}

// TestRecord: a finding is a record that the parser of json reads, by the
// catalogue's names, with its owner and what it is about.
func TestRecord(t *testing.T) {
	f := Finding{Kind: Silent, Source: web, Mark: monday, At: monday.Add(time.Hour), Since: monday, Gap: time.Hour, Usual: time.Minute}
	ev := &schemas.Event{Origin: f.Origin(), Original: string(f.Record())}
	if err := parse.Parse(ev); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"event.dataset": Dataset, "event.module": "fengsui", "event.action": "source_silent", "organization.id": "10",
		"host.name": "192.0.2.1", "labels.source": "192.0.2.1", "labels.input": "syslog", "labels.observed": "1h0m", "labels.usual": "1m0s",
		"message": "日志源 192.0.2.1（syslog） 已静默 1h0m，平时最长 1m0s / no log for 1h0m, usually 1m0s at most",
	} {
		if got := ev.Lookup(field).Str(); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if !Own(&ev.Origin) || Own(&schemas.Origin{Stream: "collector/1"}) {
		t.Error("a finding is not told from other records")
	}
}

// TestOnce: whatever is said and when, a silence is told once, only after the
// configured time, and never of a source that was just heard.
func TestOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := New(DefaultConfig())
		now, heard := monday, map[string]time.Time{}
		told := map[string]bool{}
		for range rapid.IntRange(1, 300).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 3600).Draw(rt, "wait")) * time.Second)
			name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "who")
			if rapid.IntRange(0, 3).Draw(rt, "what") > 0 {
				for _, f := range w.Note(Source{Source: name}, now, now, false) {
					if id := f.Origin().EventID(); f.Kind == Silent || told[id] {
						rt.Fatalf("%s by a record: %+v", f.Kind, f)
					}
				}
				heard[name] = now
				continue
			}
			for _, f := range w.Silent(now) {
				id := f.Origin().EventID()
				if quiet := now.Sub(heard[f.Source.Source]); told[id] || quiet <= DefaultConfig().Silence {
					rt.Fatalf("told again or too soon: %+v, last heard %v ago", f, quiet)
				}
				told[id] = true
			}
		}
	})
}
