// Package input says what an input of the collector is. An input frames: it
// turns bytes into lines and says who sent them. It never looks into a line for
// its meaning, and never speaks to Kafka.
package input

import (
	"context"
	"time"
)

// Line is one framed record on its way to the collector.
type Line struct {
	Value    []byte    // owned by the receiver of the line
	Source   string    // who sent it: an address, or a file's path
	Received time.Time // when it was read
	Format   string    // where the input knows better than its configuration; else ""
	Unit     string    // of the sender, where it has proved who it is (a token, a certificate); else ""
	Preamble string    // the header lines of the file that the line came from (Zeek's #fields); else ""
	Reject   string    // why it is no whole record of the framing; it becomes a dead letter

	// Stream and Seq are given by an input that can read the same line again
	// after a restart (a file: its identity and the line's offset), so that the
	// line keeps its id. Otherwise Stream is "" and the collector gives both.
	Stream string
	Seq    uint64
}

// MaxValue bounds a line's Value, so that it fits into a Kafka record together
// with its headers. Of a longer line an input keeps the beginning, with a Reject
// that says how long it was.
const MaxValue = 8<<20 - 256<<10

// Sink takes lines over from inputs.
type Sink interface {
	// Put takes the lines over, and the slice with them, waiting while the
	// collector is full. The sink calls done, if not nil, once all of them are
	// durable: acknowledged by Kafka or on disk in the spool. The lines of calls
	// that follow each other keep their order, and so do the calls of done, which
	// must not block. An error is the context's, or says that the collector has
	// stopped: the lines were not taken.
	Put(ctx context.Context, lines []Line, done func()) error
}

// Input reads from its source until ctx ends, or to the end of what it was
// given, and returns nil then.
type Input interface {
	Run(ctx context.Context, sink Sink) error
}
