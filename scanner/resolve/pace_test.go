package resolve

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

func questions(n int) func(func(Question) bool) {
	return func(yield func(Question) bool) {
		for i := range n {
			if !yield(Question{Name: fmt.Sprintf("n%d.example", i), Type: dns.TypeA}) {
				return
			}
		}
	}
}

// each asks n questions and counts how they end: each exactly once.
func each(t *testing.T, c *Client, n int) (answered, unanswered int) {
	t.Helper()
	ended := map[string]int{}
	err := c.Each(t.Context(), questions(n), func(q Question, a Answer, err error) error {
		ended[q.Name]++
		switch {
		case err == nil && a.RCode == "NOERROR" && len(a.Values) == 1:
			answered++
		case errors.Is(err, ErrNoAnswer):
			unanswered++
		default:
			t.Errorf("%v: %+v, %v", q, a, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, times := range ended {
		if times != 1 {
			t.Errorf("%s ended %d times", name, times)
		}
	}
	if len(ended) != n {
		t.Errorf("%d of %d questions ended", len(ended), n)
	}
	return answered, unanswered
}

func openAt(t *testing.T, o Options, servers ...netip.AddrPort) *Client {
	t.Helper()
	c, err := Open(servers, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A server that drops one in five of what it is sent is asked less at a time, and
// nothing is lost.
func TestNothingIsLostWhenAServerDrops(t *testing.T) {
	at := serve(t, func(n int, q *dns.Msg) []*dns.Msg {
		if n%5 == 0 {
			return nil
		}
		return []*dns.Msg{reply(q, 0, "192.0.2.1")}
	})
	c := openAt(t, Options{}, at)
	const n = 500
	answered, unanswered := each(t, c, n)
	if answered+unanswered != n || unanswered > n/20 {
		t.Errorf("%d answered, %d not", answered, unanswered)
	}
	if c.Repeated() < n/10 {
		t.Errorf("only %d were repeated", c.Repeated())
	}
	s := c.servers[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pace.slow || s.pace.used != 0 || len(s.flying) != 0 {
		t.Errorf("pace %+v, %d in flight", s.pace, len(s.flying))
	}
}

// Beside a server that says nothing, another answers everything; and one that
// fails is answered for, once each.
func TestAnotherServerAnswers(t *testing.T) {
	good := serve(t, func(_ int, q *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(q, 0, "192.0.2.1")} })
	refusing := serve(t, func(_ int, q *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(q, dns.RcodeRefused, "")} })
	silent := serve(t, func(int, *dns.Msg) []*dns.Msg { return nil })
	for _, bad := range []netip.AddrPort{refusing, silent} {
		if answered, _ := each(t, openAt(t, Options{}, bad, good), 100); answered != 100 {
			t.Errorf("%d of 100 answered", answered)
		}
	}
	c := openAt(t, Options{}, refusing, good)
	if a, err := c.Ask(t.Context(), "x.example", dns.TypeA); err != nil || !a.Second || a.Server != good {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := c.PutTo(t.Context(), 0, Question{Name: "x.example", Type: dns.TypeA}); err != nil || a.RCode != "REFUSED" {
		t.Errorf("%+v, %v", a, err)
	}
}

// No more questions are sent than the rate allows, repeated ones too.
func TestRate(t *testing.T) {
	var sent atomic.Int64
	at := serve(t, func(_ int, q *dns.Msg) []*dns.Msg {
		sent.Add(1)
		return []*dns.Msg{reply(q, 0, "192.0.2.1")}
	})
	c := openAt(t, Options{Rate: 200}, at)
	begin := time.Now()
	each(t, c, 100)
	if took := time.Since(begin); float64(sent.Load()) > 2+200*took.Seconds()+1 {
		t.Errorf("%d questions in %v", sent.Load(), took)
	}
}

// Whoever stops listening gets no more, and Close ends what is under way.
func TestEachEndsEarly(t *testing.T) {
	silent := serve(t, func(int, *dns.Msg) []*dns.Msg { return nil })
	good := serve(t, func(_ int, q *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(q, 0, "192.0.2.1")} })
	stop := errors.New("stop")
	got := 0
	err := openAt(t, Options{}, good).Each(t.Context(), questions(100_000), func(Question, Answer, error) error {
		if got++; got == 10 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || got != 10 {
		t.Errorf("%v after %d", err, got)
	}
	c, err := Open([]netip.AddrPort{silent}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, c.Close)
	ended := 0
	if err := c.Each(t.Context(), questions(300), func(_ Question, _ Answer, err error) error {
		ended++
		if !errors.Is(err, errClosed) {
			t.Errorf("%v", err)
		}
		return nil
	}); err != nil || ended != 300 {
		t.Errorf("%v, %d ended", err, ended)
	}
}

// Whatever happens to questions: the window stays within its bounds, what is in
// flight is counted rightly, and time-outs stay within theirs.
func TestPace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPace()
		now := time.Unix(1000, 0)
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 5), 1, 2000).Draw(t, "steps") {
			now = now.Add(time.Millisecond)
			switch {
			case step <= 2 && p.room() > 0:
				p.used++
			case p.used > 0 && step == 5:
				p.lost(now)
			case p.used > 0:
				p.answered(time.Duration(step+1)*700*time.Microsecond, now)
			}
			if p.size < leastWindow || p.size > mostWindow || p.used < 0 {
				t.Fatalf("%+v", p)
			}
			if w := p.wait(step); w < leastWait || w > mostWait {
				t.Fatalf("waits %v", w)
			}
		}
	})
}

// A server whose queue grows is given no more than it can hold; one that answers
// at once is given more and more.
func TestPaceFollowsTheServer(t *testing.T) {
	f := func(what string, rtt func(used int) time.Duration, low, high float64) {
		t.Helper()
		p, now := newPace(), time.Unix(1000, 0)
		for range 100_000 {
			for p.room() > 0 {
				p.used++
			}
			now = now.Add(10 * time.Microsecond)
			p.answered(rtt(p.used), now)
		}
		if p.size < low || p.size > high {
			t.Errorf("%s: window %.0f, want %.0f to %.0f", what, p.size, low, high)
		}
	}
	// Ten microseconds a question, one after the other.
	f("near and busy", func(used int) time.Duration { return time.Duration(used+1) * 10 * time.Microsecond }, fewWaiting, manyWaiting*1.5)
	f("far and idle", func(int) time.Duration { return 50 * time.Millisecond }, mostWindow, mostWindow)
}
