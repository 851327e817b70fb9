package probe

import "time"

// pace is a bucket of tokens whose rate gives way to loss: it falls by a third
// when more than a few answers of a second come late, and rises by a tenth of
// what was asked for in a second without any.
type pace struct {
	asked, rate float64
	tokens      float64
	filled      time.Duration
	adapted     time.Duration
	answers     int // since adapted
	late        int
}

// begin sets the rate that is asked for. A later pass goes on at the rate that
// the one before it had come down to.
func (p *pace) begin(now time.Duration, asked float64, later bool) {
	if !later || p.rate > asked {
		p.rate = asked
	}
	p.asked, p.filled, p.adapted = asked, now, now
	p.tokens, p.answers, p.late = 1, 0, 0
}

// may is how many probes may be sent now. What is saved up is at most that of
// five milliseconds, so that a pause is not followed by a burst.
func (p *pace) may(now time.Duration) int {
	p.tokens = min(p.tokens+p.rate*(now-p.filled).Seconds(), max(p.rate/200, 1))
	p.filled = now
	return int(p.tokens)
}

func (p *pace) took(n int) { p.tokens -= float64(n) }

func (p *pace) answer(late bool) {
	p.answers++
	if late {
		p.late++
	}
}

func (p *pace) adapt(now time.Duration) (rate float64, lowered bool) {
	if now-p.adapted < adaptIn {
		return p.rate, false
	}
	const some = 4 // fewer late answers are chance
	switch {
	case p.late >= some && float64(p.late) >= lossy*float64(p.answers):
		p.rate, lowered = max(p.rate*2/3, p.asked*slowest), true
	case p.late == 0:
		p.rate = min(p.rate+p.asked/10, p.asked)
	}
	p.adapted, p.answers, p.late = now, 0, 0
	return p.rate, lowered
}
