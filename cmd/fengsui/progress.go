package main

import (
	"fmt"
	"io"
	"time"
)

// progress shows on a terminal how far long work is; elsewhere it is silent.
type progress struct {
	w    io.Writer
	last time.Time
	used bool
}

func newProgress(w io.Writer, flags *globalFlags) *progress {
	if flags.json || !isTerminal(w) {
		return &progress{}
	}
	return &progress{w: w}
}

// line shows a line in place of the last, at most five times a second.
func (p *progress) line(format string, args ...any) {
	if p.w == nil || time.Since(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.used = time.Now(), true
	fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
}

// done clears the line.
func (p *progress) done() {
	if p.used {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
