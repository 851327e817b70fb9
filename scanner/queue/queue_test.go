package queue

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fengsui/internal/hours"
	"fengsui/schemas"
)

var start = time.Date(2026, 11, 28, 2, 0, 0, 0, time.UTC)

const testLease = 15 * time.Second

func task(job, unit string, shard, of int, class schemas.ScanClass) schemas.ScanTask {
	return schemas.ScanTask{
		Job: job, Shard: strconv.Itoa(shard), Shards: of, Kind: schemas.TaskSweep, Class: class, Unit: unit, By: "test", Ports: "1-1000",
		Targets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, Created: start, Expires: start.Add(24 * time.Hour),
	}
}

func free(*schemas.ScanTask) ([]schemas.ScanShare, bool) { return nil, true }

func agent(name string) schemas.ScanAgent { return schemas.ScanAgent{Instance: name, Scanner: name} }

// take has one scanner claim what is next and read its own claim.
func take(t interface{ Fatalf(string, ...any) }, q *Queue, name string, now time.Time) (schemas.ScanEvent, bool) {
	e, ok := q.Next(now, agent(name), free)
	if ok && (!q.Event(e, now) || !q.Mine(e)) {
		t.Fatalf("a claim of what is free does not count: %+v", e)
	}
	return e, ok
}

func end(e schemas.ScanEvent, kind schemas.ScanEventKind, o schemas.ScanOutcome) schemas.ScanEvent {
	e.Kind, e.Outcome, e.Shares = kind, o, nil
	return e
}

func TestFirstClaimWins(t *testing.T) {
	q := New(testLease)
	q.Task(task("j", "u", 1, 1, ""), start)
	a, _ := q.Next(start, agent("a"), free)
	b, _ := q.Next(start, agent("b"), free)
	if !q.Event(a, start) || q.Event(b, start) || !q.Mine(a) || q.Mine(b) || !q.Decided(b) {
		t.Fatal("the first claim does not win")
	}
	if q.Event(a, start) {
		t.Error("a claim that came twice counts twice")
	}
	if _, ok := q.Next(start, agent("b"), free); ok {
		t.Error("a shard that is held is offered")
	}
	if q.Event(end(b, schemas.ScanSettled, schemas.ShardDone), start) {
		t.Error("who lost the claim settles the shard")
	}
	// a is not heard any more.
	late := start.Add(testLease)
	c, ok := take(t, q, "b", late)
	if !ok || c.Epoch != 2 || q.Mine(a) {
		t.Fatalf("not taken over: %+v, %v", c, ok)
	}
	if q.Event(end(a, schemas.ScanSettled, schemas.ShardDone), late) {
		t.Error("a lease that was taken over settles the shard")
	}
	q.State("agent/b", &schemas.ScanState{Agent: &schemas.ScanAgent{Instance: "b"}}, late.Add(testLease-1))
	if _, ok := q.Next(late.Add(2*testLease-2), agent("a"), free); ok {
		t.Error("taken from one that was heard")
	}
	if !q.Event(end(c, schemas.ScanReleased, schemas.ShardRetry), late) {
		t.Error("not given back")
	}
	d, _ := take(t, q, "a", late)
	if _, failures, _ := q.Claimed(d); failures != 1 {
		t.Errorf("%d failures", failures)
	}
	if !q.Event(end(d, schemas.ScanSettled, schemas.ShardDone), late) {
		t.Error("not settled")
	}
	if _, ok := q.Next(late.Add(time.Hour), agent("a"), free); ok {
		t.Error("a shard that is settled is offered")
	}
}

// What a second vantage should look at is left to others for a while, if there
// are any.
func TestSecondVantage(t *testing.T) {
	q := New(testLease)
	second := task("j", "u", 1, 1, schemas.ScanConfirm)
	second.NotBy = "a"
	q.Task(second, start)
	f := func(name string, after time.Duration, want bool) {
		t.Helper()
		if _, ok := q.Next(start.Add(after), agent(name), free); ok != want {
			t.Errorf("offered to %s after %v: %v", name, after, ok)
		}
	}
	f("a", 0, true) // there is nobody else
	q.State("agent/b", &schemas.ScanState{Agent: &schemas.ScanAgent{Instance: "b", Scanner: "b"}}, start)
	f("a", 0, false)
	f("b", 0, true)
	f("a", testLease, true) // the other is gone
	q.State("agent/b", &schemas.ScanState{Agent: &schemas.ScanAgent{Instance: "b", Scanner: "b"}}, start.Add(testLease))
	f("a", testLease, false)
	f("a", wished, true) // nobody wanted it
}

func TestStops(t *testing.T) {
	q := New(testLease)
	q.Task(task("j", "u", 1, 1, ""), start)
	q.Task(task("k", "u", 1, 1, ""), start)
	f := func(want string) {
		t.Helper()
		e, _ := q.Next(start, agent("a"), free)
		if e.Job != want {
			t.Errorf("job %q is next, want %q", e.Job, want)
		}
	}
	stop := func(job string) *schemas.ScanState {
		return &schemas.ScanState{Stop: &schemas.ScanStop{Job: job, By: "me"}}
	}
	f("j")
	q.State("stop/j", stop("j"), start)
	f("k")
	if s, ok := q.Stopped("j"); !ok || s.By != "me" {
		t.Errorf("%+v, %v", s, ok)
	}
	q.State("stop/*", stop(schemas.AllJobs), start)
	f("")
	if _, ok := q.Stopped("other"); !ok {
		t.Error("a job goes on though everything is stopped")
	}
	q.State("stop/*", nil, start)
	f("k")
	q.State("stop/j", nil, start)
	f("j")
}

func TestWaitsAndExpires(t *testing.T) {
	q := New(testLease)
	one := task("j", "u", 1, 2, "")
	one.NotBefore = start.Add(time.Hour)
	q.Task(one, start)
	if _, ok := q.Next(start, agent("a"), free); ok {
		t.Error("offered before its hours")
	}
	e, ok := take(t, q, "a", start.Add(time.Hour))
	if !ok {
		t.Fatal("not offered in its hours")
	}
	back := end(e, schemas.ScanReleased, schemas.ShardOffHours)
	back.NotBefore = start.Add(30 * time.Hour)
	q.Event(back, start)
	if j := q.Jobs(start.Add(2 * time.Hour))[0]; j.Waiting != 1 || !j.Next.Equal(back.NotBefore) {
		t.Errorf("%+v", j)
	}
	if e, ok = take(t, q, "a", start.Add(2*time.Hour)); !ok { // whether its hours are open is asked each time
		t.Fatal("not offered though nothing is against it any more")
	}
	back = end(e, schemas.ScanReleased, schemas.ShardRetry)
	back.NotBefore = start.Add(30 * time.Hour)
	q.Event(back, start)
	if _, ok := q.Next(start.Add(23*time.Hour), agent("a"), free); ok {
		t.Error("offered before what was said when it was given back")
	}
	if e, ok := q.Next(start.Add(25*time.Hour), agent("a"), func(*schemas.ScanTask) ([]schemas.ScanShare, bool) { return nil, false }); !ok || e.Job != "j" {
		t.Error("nobody is to say that it expired")
	}
	q.Forget(start.Add(25 * time.Hour))
	if len(q.Jobs(start)) != 1 {
		t.Error("forgotten too soon")
	}
	q.Forget(start.Add(49 * time.Hour))
	if len(q.Jobs(start)) != 0 {
		t.Error("kept for ever")
	}
	q.Task(one, start.Add(49*time.Hour))
	if len(q.shards) != 0 {
		t.Error("a task of long ago is taken")
	}
}

// A class passes the next, whatever came first, and nothing else does.
// A shard that nobody came to before its hours ended waits for the next ones, and
// is not for anybody to begin.
func TestUnbegunShardWaitsForItsHours(t *testing.T) {
	q := New(testLease)
	night := task("j", "u", 1, 2, "")
	night.Hours = "22:00-06:00"
	q.Task(night, start)
	unreadable := task("other", "u", 1, 1, "")
	unreadable.Hours = "when the moon is full"
	q.Task(unreadable, start)
	f := func(at string, waits bool, until string) {
		t.Helper()
		when := func(s string) time.Time {
			t.Helper()
			out, err := time.ParseInLocation(time.DateTime, s, hours.Zone)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		for _, j := range q.Jobs(when(at)) {
			wanted := waits && j.ID == "j"
			if (j.Waiting == 1) != wanted || (j.Queued == 1) == wanted || wanted && !j.Next.Equal(when(until)) {
				t.Errorf("at %s: %+v", at, j)
			}
		}
	}
	day := start.In(hours.Zone).Format(time.DateOnly)
	f(day+" 21:59:59", true, day+" 22:00:00")
	f(day+" 22:00:00", false, "")
	f(day+" 05:59:59", false, "")
	f(day+" 06:00:00", true, day+" 22:00:00")
}

// Hours that nobody knows of but the registry are said by who would claim, once,
// and cost the unit no turn. Hours that never come are no reason to ask for ever.
func TestClosedHoursAreSaid(t *testing.T) {
	q := New(testLease)
	q.Task(task("j", "u", 1, 1, ""), start)
	closed := func(*schemas.ScanTask) ([]schemas.ScanShare, bool) { return nil, false }
	state := func(at time.Time, waiting, queued int) {
		t.Helper()
		if j := q.Jobs(at)[0]; j.Waiting != waiting || j.Queued != queued {
			t.Errorf("at %v: %+v", at, j)
		}
	}
	say := func(at, until time.Time) {
		t.Helper()
		e, ok := q.Next(at, agent("a"), closed)
		if !ok {
			t.Fatal("nobody is to say that it waits")
		}
		q.Event(e, at)
		back := end(e, schemas.ScanReleased, schemas.ShardOffHours)
		back.NotBefore = until
		q.Event(back, at)
		if tag := q.turnsOf(schemas.ScanInteractive).tags["u"]; tag != 0 {
			t.Errorf("the unit is charged %v for nothing", tag)
		}
	}
	silent := func(at time.Time) {
		t.Helper()
		if e, ok := q.Next(at, agent("a"), closed); ok {
			t.Errorf("it is said again: %+v", e)
		}
	}
	state(start, 0, 1)
	say(start, start.Add(time.Hour))
	state(start, 1, 0)
	silent(start)
	silent(start.Add(time.Hour - time.Second))
	if _, ok := q.Next(start, agent("a"), free); !ok {
		t.Error("they begin sooner than was said, and it is not offered")
	}
	say(start.Add(time.Hour), time.Time{}) // other hours by then, which never come
	silent(start.Add(2 * time.Hour))
}

func TestClasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New(testLease)
		classes := []schemas.ScanClass{schemas.ScanInteractive, schemas.ScanConfirm, schemas.ScanPeriodic}
		left := map[schemas.ScanClass]int{}
		for i := range rapid.IntRange(1, 30).Draw(t, "tasks") {
			class := rapid.SampledFrom(classes).Draw(t, "class")
			unit := rapid.SampledFrom([]string{"u", "v", "w"}).Draw(t, "unit")
			q.Task(task(fmt.Sprint("j", class, i/3), unit, i, 99, class), start)
			left[class]++
		}
		for {
			e, ok := take(t, q, "a", start)
			if !ok {
				break
			}
			got, _, _ := q.Claimed(e)
			for _, class := range classes {
				if class == got.Class {
					break
				}
				if left[class] > 0 {
					t.Fatalf("%s before %d of %s", got.Class, left[class], class)
				}
			}
			left[got.Class]--
		}
		for class, n := range left {
			if n != 0 {
				t.Fatalf("%d of %s are never offered", n, class)
			}
		}
	})
}

// Between two units that both have shards waiting all the while, what was given
// differs by no more than the two largest shards, however many jobs either has.
func TestUnitsAreServedEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New(testLease)
		units := []string{"u", "v", "w"}
		waiting, largest := map[string]int{}, 0.0
		n := 0
		add := func(unit string) {
			k := task(fmt.Sprint("job", n/7), unit, n, 99, "")
			k.Ports = "1-" + strconv.Itoa(rapid.IntRange(1, 60_000).Draw(t, "ports"))
			k.Targets = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
			n++
			q.Task(k, start)
			waiting[unit]++
			largest = max(largest, Cost(&k))
		}
		for _, unit := range units {
			for range rapid.IntRange(0, 12).Draw(t, "at first") {
				add(unit)
			}
		}
		// Since both of a pair have something waiting, what each was given.
		type pair struct{ a, b string }
		since := map[pair]map[string]float64{}
		for range 60 {
			if rapid.IntRange(0, 3).Draw(t, "more") == 0 {
				add(rapid.SampledFrom(units).Draw(t, "unit"))
			}
			for _, a := range units {
				for _, b := range units {
					if waiting[a] == 0 || waiting[b] == 0 {
						delete(since, pair{a, b})
					} else if since[pair{a, b}] == nil {
						since[pair{a, b}] = map[string]float64{}
					}
				}
			}
			e, ok := take(t, q, "a", start)
			if !ok {
				continue
			}
			k, _, _ := q.Claimed(e)
			waiting[k.Unit]--
			for p, given := range since {
				given[k.Unit] += Cost(&k)
				if d := given[p.a] - given[p.b]; d > 2*largest+1e-9 {
					t.Fatalf("%s was given %.1f more than %s, and the largest shard costs %.1f", p.a, d, p.b, largest)
				}
			}
			q.Event(end(e, schemas.ScanSettled, schemas.ShardDone), start)
		}
	})
}

func TestShares(t *testing.T) {
	q := New(testLease)
	for i := range 3 {
		q.Task(task("j", "u", i+1, 3, ""), start)
	}
	want := func(n int) Shares {
		return func(*schemas.ScanTask) ([]schemas.ScanShare, bool) {
			return []schemas.ScanShare{{Of: "10.0.0.0/8", Cap: 100, Want: n}}, true
		}
	}
	a, ok := q.Next(start, agent("a"), want(60))
	if !ok || a.Shares[0].Want != 60 {
		t.Fatalf("%+v", a)
	}
	late, _ := q.Next(start, agent("c"), want(60)) // has not seen a's claim
	late.Shard = "3"
	q.Event(a, start)
	b, ok := q.Next(start, agent("b"), want(60))
	if !ok || b.Shares[0].Want != 40 || !q.Event(b, start) || !q.Fits(b, start) {
		t.Fatalf("%+v", b)
	}
	if _, ok := q.Next(start, agent("d"), want(60)); ok {
		t.Error("more than the cap is offered")
	}
	if !q.Event(late, start) || q.Fits(late, start) {
		t.Error("one that came last is not told that the cap is reached")
	}
	if !q.Fits(a, start) || !q.Fits(b, start) {
		t.Error("those before it are")
	}
}

// world is scanners that read the same two topics with delays of their own, and
// say what they do after delays.
type world struct {
	t      *rapid.T
	now    time.Time
	log    []schemas.ScanEvent
	signs  []schemas.ScanAgent // with the time when each was sent
	agents []*scannerOf
}

type sending struct {
	event   *schemas.ScanEvent
	sign    bool
	at, due time.Time
}

type scannerOf struct {
	name        string
	q           *Queue
	read, signs int // how far in each topic
	behind      time.Time
	out         []sending // on the way to the topics, in order
	alive       time.Time // when the last sign that arrived was sent
	nextSign    time.Time
	claim       *schemas.ScanEvent
	working     *schemas.ScanEvent
	until       time.Time
	dead        bool
}

func (w *world) add(name string, tasks []schemas.ScanTask) *scannerOf {
	s := &scannerOf{name: name, q: New(testLease)}
	s.q.Current(w.now)
	for _, k := range tasks {
		s.q.Task(k, w.now)
	}
	w.agents = append(w.agents, s)
	return s
}

func (w *world) delay(label string) time.Duration {
	return time.Duration(rapid.IntRange(0, 20).Draw(w.t, label)) * 100 * time.Millisecond
}

func (s *scannerOf) send(w *world, e *schemas.ScanEvent) {
	due := w.now.Add(w.delay("sending"))
	if n := len(s.out); n > 0 && s.out[n-1].due.After(due) {
		due = s.out[n-1].due
	}
	s.out = append(s.out, sending{event: e, sign: e == nil, at: w.now, due: due})
}

// step is a tenth of a second of everybody.
func (w *world) step(settle map[string]int) {
	w.now = w.now.Add(100 * time.Millisecond)
	for _, s := range w.agents {
		for len(s.out) > 0 && !s.out[0].due.After(w.now) { // also of one that has died since
			if o := s.out[0]; o.sign {
				w.signs = append(w.signs, schemas.ScanAgent{Instance: s.name, Scanner: s.name, Time: o.at})
				s.alive = o.at
			} else {
				w.log = append(w.log, *o.event)
			}
			s.out = s.out[1:]
		}
	}
	for _, s := range w.agents {
		if !s.dead {
			s.step(w, settle)
		}
	}
}

func (s *scannerOf) step(w *world, settle map[string]int) {
	if rapid.IntRange(0, 200).Draw(w.t, "lags") == 0 {
		s.behind = w.now.Add(w.delay("reading") * 10)
	}
	if !w.now.Before(s.behind) {
		for ; s.signs < len(w.signs); s.signs++ {
			a := w.signs[s.signs]
			s.q.State("agent/"+a.Instance, &schemas.ScanState{Agent: &a}, w.now)
			if a.Instance == s.name {
				s.q.Current(a.Time)
			}
		}
		for ; s.read < len(w.log); s.read++ {
			s.q.Event(w.log[s.read], w.now)
		}
	}
	if !w.now.Before(s.nextSign) {
		s.nextSign = w.now.Add(testLease / 5)
		s.send(w, nil)
	}
	fenced := w.now.Sub(s.alive) >= testLease*2/3
	switch {
	case s.working != nil && (fenced || !s.q.Mine(*s.working)):
		e := end(*s.working, schemas.ScanReleased, schemas.ShardAbandoned)
		s.send(w, &e)
		s.working = nil
	case s.working != nil && !w.now.Before(s.until):
		e := end(*s.working, schemas.ScanSettled, schemas.ShardDone)
		s.send(w, &e)
		s.working = nil
		settle[e.Key()]++
	case s.working != nil:
	case s.claim != nil:
		if !s.q.Decided(*s.claim) {
			break
		}
		if s.q.Mine(*s.claim) && s.q.Fits(*s.claim, w.now) && !fenced {
			s.working, s.until = s.claim, w.now.Add(w.delay("working")*10)
		} else if s.q.Mine(*s.claim) {
			e := end(*s.claim, schemas.ScanReleased, schemas.ShardAbandoned)
			s.send(w, &e)
		}
		s.claim = nil
	case !fenced && len(s.out) == 0:
		if e, ok := s.q.Next(w.now, agent(s.name), capped); ok {
			s.claim = &e
			s.send(w, &e)
		}
	}
}

// Every shard of units "c…" is of one network whose rate is bounded.
func capped(k *schemas.ScanTask) ([]schemas.ScanShare, bool) {
	if k.Unit[0] != 'c' {
		return nil, true
	}
	return []schemas.ScanShare{{Of: "net", Cap: 100, Want: 60}}, true
}

// However the topics are delayed and whoever dies: no shard is lost, none is
// worked on by two at once, no bounded rate is exceeded, and all come to the
// same view.
func TestScannersShareWork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: start}
		var tasks []schemas.ScanTask
		for i := range rapid.IntRange(1, 10).Draw(t, "shards") {
			tasks = append(tasks, task("j", rapid.SampledFrom([]string{"a", "c"}).Draw(t, "unit"), i+1, 10, ""))
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "scanners") {
			w.add(fmt.Sprint("s", i), tasks)
		}
		settle := map[string]int{}
		spare := 0
		for step := 0; ; step++ {
			w.step(settle)
			if len(w.agents) > 1 && step < 600 && rapid.IntRange(0, 150).Draw(t, "dies") == 0 {
				s := rapid.SampledFrom(w.agents).Draw(t, "who")
				if !s.dead {
					s.dead = true
					spare++
					w.add(fmt.Sprint("spare", spare), tasks)
				}
			}
			holds, used := map[string]string{}, 0
			for _, s := range w.agents {
				if s.dead || s.working == nil {
					continue
				}
				key := s.working.Key()
				if other, twice := holds[key]; twice {
					t.Fatalf("after %v %s is worked on by %s and %s", w.now.Sub(start), key, other, s.name)
				}
				holds[key] = s.name
				for _, share := range s.working.Shares {
					used += share.Want
				}
			}
			if used > 100 {
				t.Fatalf("%d of 100 are used: %v", used, holds)
			}
			fresh := New(testLease)
			if step%50 != 0 {
				continue
			}
			for _, k := range tasks {
				fresh.Task(k, w.now)
			}
			for _, e := range w.log {
				fresh.Event(e, w.now)
			}
			if j := fresh.Jobs(w.now)[0]; j.Done == len(tasks) {
				break
			}
			if step > 20_000 {
				t.Fatalf("not done after %v: %+v", w.now.Sub(start), fresh.Jobs(w.now))
			}
		}
		for i := range tasks {
			if settle[tasks[i].Key()] == 0 {
				t.Fatalf("%s is done, and nobody did it", tasks[i].Key())
			}
		}
		// Everybody who reads all of it sees the same.
		for _, s := range w.agents {
			for ; s.read < len(w.log); s.read++ {
				s.q.Event(w.log[s.read], w.now)
			}
			for key, one := range s.q.shards {
				if other := w.agents[0].q.shards[key]; one.epoch != other.epoch || one.settled != other.settled || (one.lease == nil) != (other.lease == nil) {
					t.Fatalf("%s sees %+v of %s, %s sees %+v", s.name, one, key, w.agents[0].name, other)
				}
			}
		}
	})
}

func TestJobs(t *testing.T) {
	q := New(testLease)
	for i := range 4 {
		q.Task(task("j", "u", i+1, 4, ""), start)
	}
	first, _ := take(t, q, "a", start)
	over := end(first, schemas.ScanSettled, schemas.ShardDone)
	over.Seconds, over.Seen = 100, 7
	q.Event(over, start.Add(100*time.Second))
	take(t, q, "a", start.Add(100*time.Second))
	take(t, q, "b", start.Add(100*time.Second))
	j := q.Jobs(start.Add(110 * time.Second))[0]
	// Three are left of which two have run ten seconds each: (300 - 20) / 2.
	if j.Done != 1 || j.Running != 2 || j.Queued != 1 || j.Seen != 7 || j.Percent != 25 || j.Left != 140*time.Second || len(j.Agents) != 2 || j.Over() {
		t.Errorf("%+v", j)
	}
	odd := New(testLease) // shards whose costs do not add up to their sum
	for i, target := range []string{"10.0.0.0/24", "10.0.1.0/29", "10.0.2.0/31"} {
		k := task("odd", "u", i+1, 3, "")
		k.Targets, k.Ports = []netip.Prefix{netip.MustParsePrefix(target)}, fmt.Sprint("1-", 7*i+3)
		odd.Task(k, start)
	}
	for range 3 {
		e, _ := take(t, odd, "a", start)
		odd.Event(end(e, schemas.ScanSettled, schemas.ShardDone), start)
	}
	if j := odd.Jobs(start)[0]; j.Percent != 100 || j.State != schemas.JobDone {
		t.Errorf("%+v", j)
	}
	j = q.Jobs(start.Add(100*time.Second + testLease))[0] // nobody is heard
	if j.Running != 0 || j.Queued != 3 {
		t.Errorf("%+v", j)
	}
	j = q.Jobs(start.Add(25 * time.Hour))[0]
	if j.Expired != 3 || !j.Over() || j.Left != 0 {
		t.Errorf("%+v", j)
	}
}

// Parts together are the job, whatever becomes of its shards, and whose they are is no
// matter of anybody's turn.
func TestParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, plain := New(testLease), New(testLease)
		n := rapid.IntRange(1, 12).Draw(t, "shards")
		for i := range n {
			k := task("j", "p", i+1, n, "")
			plain.Task(k, start)
			k.Units = rapid.SampledFrom([][]string{{"a"}, {"a", "b"}, {"b"}}).Draw(t, "units")
			q.Task(k, start)
		}
		k := task("old", "p", 1, 1, "") // says nothing of it
		q.Task(k, start)
		plain.Task(k, start)
		for range rapid.IntRange(0, n+1).Draw(t, "claimed") {
			e, _ := take(t, q, "s", start)
			if same, _ := take(t, plain, "s", start); same.Job != e.Job || same.Shard != e.Shard {
				t.Fatalf("%s is next, and without units %s", e.Key(), same.Key())
			}
			o := rapid.SampledFrom([]schemas.ScanOutcome{schemas.ShardDone, schemas.ShardFailed, schemas.ShardRefused, schemas.ShardExpired, schemas.ShardRetry, ""}).Draw(t, "outcome")
			kind := schemas.ScanSettled
			if o == schemas.ShardRetry {
				kind = schemas.ScanReleased
			}
			if e = end(e, kind, o); o == "" {
				continue // it runs
			}
			e.NotBefore = start.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "later")) * time.Minute)
			q.Event(e, start)
			plain.Event(e, start)
		}
		now := start.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 60 * 25}).Draw(t, "minutes")) * time.Minute)
		var sum, job schemas.ScanProgress
		var cost, over float64
		for _, p := range q.Parts(now) {
			if p.Job != "j" || len(p.Units) == 0 {
				t.Fatalf("%+v", p)
			}
			cost, over = cost+p.Cost, over+p.Settled
			sum.Add(p.ScanProgress)
		}
		for i, jobs := 0, q.Jobs(now); i < len(jobs); i++ {
			if jobs[i].ID == "j" {
				job = jobs[i].ScanProgress
			}
		}
		if math.Abs(100*over/cost-job.Percent) > 1e-9 {
			t.Fatalf("%v %%, and of the job %v", 100*over/cost, job.Percent)
		}
		if sum.Percent = job.Percent; sum != job {
			t.Fatalf("the parts are %+v, the job %+v", sum, job)
		}
	})
}

// Of a job's shards those that run come first, then what went wrong, and what is
// done last; each says what it is about after its targets are forgotten.
func TestShards(t *testing.T) {
	q := New(testLease)
	for i := range 5 {
		q.Task(task("j", "u", i+1, 5, ""), start)
	}
	other := task("other", "u", 1, 1, "")
	other.Targets = append(other.Targets, netip.MustParsePrefix("192.0.2.1/32"))
	q.Task(other, start)
	settle := func(kind schemas.ScanEventKind, o schemas.ScanOutcome, more schemas.ScanEvent) {
		t.Helper()
		e, _ := take(t, q, "a", start)
		e = end(e, kind, o)
		e.Error, e.NotBefore, e.Seen, e.Seconds = more.Error, more.NotBefore, more.Seen, more.Seconds
		if !q.Event(e, start) {
			t.Fatalf("%+v does not count", e)
		}
	}
	settle(schemas.ScanSettled, schemas.ShardDone, schemas.ScanEvent{Seen: 7, Seconds: 2})
	settle(schemas.ScanSettled, schemas.ShardRefused, schemas.ScanEvent{Error: "out of scope"})
	settle(schemas.ScanReleased, schemas.ShardRetry, schemas.ScanEvent{Error: "no route", NotBefore: start.Add(time.Minute)})
	take(t, q, "b", start)
	var got []string
	for _, s := range q.Shards("j", start) {
		got = append(got, fmt.Sprintf("%s %s %s %d %s", s.Shard, s.State, s.About, s.Attempts, s.Error))
	}
	want := "4 running 10.0.0.0/24 1 |2 refused 10.0.0.0/24 1 out of scope|3 waiting 10.0.0.0/24 1 no route|5 queued 10.0.0.0/24 0 |1 done 10.0.0.0/24 1 "
	if text := strings.Join(got, "|"); text != want {
		t.Errorf("%s\nwant %s", text, want)
	}
	all := q.Shards("j", start)
	if !all[0].Since.Equal(start) || !all[2].Next.Equal(start.Add(time.Minute)) || all[4].Seen != 7 || all[4].Seconds != 2 || all[4].Scanner != "a" {
		t.Errorf("%+v", all)
	}
	if one := q.Shards("other", start); len(one) != 1 || one[0].About != "10.0.0.0/24 +1" {
		t.Errorf("%+v", one)
	}
	if none := q.Shards("nobody", start); none == nil || len(none) != 0 {
		t.Errorf("%+v", none)
	}
	if j := q.Jobs(start)[1]; j.ID != "other" || j.State != schemas.JobQueued {
		t.Errorf("%+v", j)
	}
	if j := q.Jobs(start)[0]; j.State != schemas.JobRunning || j.Refused != 1 || j.Waiting != 1 {
		t.Errorf("%+v", j)
	}
}

func BenchmarkNext(b *testing.B) {
	q := New(testLease)
	for job := range 10 {
		for i := range 10_000 {
			q.Task(task(fmt.Sprint("j", job), fmt.Sprint("u", job), i, 10_000, ""), start)
		}
	}
	b.ResetTimer()
	for range b.N {
		if _, ok := q.Next(start, agent("a"), free); !ok {
			b.Fatal("nothing")
		}
	}
}

// BenchmarkFold is what is told of a hundred thousand shards: by jobs, and by whose
// networks they look at, a unit's and often a neighbour's.
func BenchmarkFold(b *testing.B) {
	q := New(testLease)
	for job := range 10 {
		for i := range 10_000 {
			k := task(fmt.Sprint("j", job), "p", i, 10_000, "")
			k.Units = []string{fmt.Sprint("u", i/3)}
			if i%3 == 0 {
				k.Units = append(k.Units, fmt.Sprint("v", i/3))
			}
			q.Task(k, start)
		}
	}
	b.Run("jobs", func(b *testing.B) {
		for range b.N {
			q.Jobs(start)
		}
	})
	b.Run("parts", func(b *testing.B) {
		for range b.N {
			q.Parts(start)
		}
	})
}
