package resolve

import "time"

const (
	firstWait = time.Second // before a server's pace is known
	leastWait = 250 * time.Millisecond
	mostWait  = 3 * time.Second

	firstWindow = 32
	leastWindow = 4
	mostWindow  = 1000
	// A server should always have something to do and never more than its socket
	// holds: bind9's, of the kernel's usual 208 KiB, takes some 270 small packets.
	fewWaiting  = 96
	manyWaiting = 160
	// baseFor is how long the shortest round trip is believed.
	baseFor = 10 * time.Second
)

// pace bounds the questions in flight to a server and says how long to wait for
// one, from how it has done so far.
//
// The window grows while the server answers as fast as ever, shrinks when
// questions begin to wait there (as TCP Vegas does: what is in flight beyond the
// shortest round trip's worth stands in a queue), and halves when they are lost.
// Time-outs follow the mean round trip and its deviation (RFC 6298).
type pace struct {
	size float64
	used int
	slow bool // no longer doubling

	smooth, vary time.Duration // the mean round trip and its mean deviation
	base         time.Duration // the shortest lately
	baseAt       time.Time

	answers, losses int // since the window was last judged for losses
}

func newPace() pace { return pace{size: firstWindow} }

// room is how many questions more may be sent.
func (p *pace) room() int { return int(p.size) - p.used }

func (p *pace) answered(took time.Duration, now time.Time) {
	full := p.room() <= int(p.size)/4 // only a window that is used says something
	p.used--
	p.answers++
	if p.answers > 4*int(p.size) {
		p.answers, p.losses = 0, 0
	}
	if p.smooth == 0 {
		p.smooth, p.vary = took, took/2
	} else {
		p.vary += ((took - p.smooth).Abs() - p.vary) / 4
		p.smooth += (took - p.smooth) / 8
	}
	if p.base == 0 || took < p.base || now.Sub(p.baseAt) > baseFor {
		p.base, p.baseAt = max(took, time.Microsecond), now
	}
	if !full {
		return
	}
	waiting := p.size * (1 - min(1, float64(p.base)/float64(max(p.smooth, 1))))
	switch {
	case waiting > manyWaiting:
		p.slow = true
		p.size = max(p.size-1/p.size, leastWindow)
	case waiting > fewWaiting:
		p.slow = true
	case p.slow:
		p.size = min(p.size+1/p.size, mostWindow)
	default:
		p.size = min(p.size+1, mostWindow)
	}
}

// lost counts a question that was not answered in time. One in fifty, or the
// only ones there are, halve the window.
func (p *pace) lost(time.Time) {
	p.used--
	p.losses++
	if p.losses*50 <= p.answers {
		return
	}
	p.size, p.slow = max(p.size/2, leastWindow), true
	p.answers, p.losses = 0, -int(p.size) // what was sent before this is not judged again
}

// wait is how long to wait for an answer to a question asked for the n-th time.
func (p *pace) wait(tries int) time.Duration {
	w := firstWait
	if p.smooth > 0 {
		w = max(p.smooth+4*p.vary, leastWait)
	}
	return min(w<<min(tries, 8), mostWait)
}
