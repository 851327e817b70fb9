package schemas

import (
	"fmt"
	"strconv"
	"time"
)

// Header is one header of a Kafka record.
type Header struct {
	Key   string
	Value []byte
}

// Origin is where a raw record came from. The collector gives it once, in the
// record's headers, and it never changes after.
//
// Stream and Seq together are the event's id. Within one partition of the topic
// a stream's records stand in the order of Seq, so a consumer that has stored
// (stream, seq) knows every record of that stream with a lower or equal Seq to
// be a repetition.
type Origin struct {
	Stream   string    // a run of a collector's input, or a file's identity
	Seq      uint64    // counts up within the stream; for a file, the line's byte offset
	Unit     string    // code of the unit that the input belongs to
	Source   string    // who sent it: an address, or a file's path; the record's key
	Input    string    // name of the input in the collector's configuration
	Format   string    // name of the parser, or "auto"
	Received time.Time // when the collector accepted it
	Drill    bool      // belongs to an exercise
	Preamble string    // header lines of the file it came from (Zeek's #fields), newline between; else ""
	Reject   string    // why the collector could not take it as a record of its format: it goes straight to the dead letters
}

// The names of the headers. Those of who sent are known outside, since who counts
// records need not read all of them; and those that differ from line to line,
// since who writes many need not encode the others for each.
const (
	headerStream   = "stream"
	HeaderSeq      = "seq"
	HeaderUnit     = "unit"
	headerSource   = "source"
	HeaderInput    = "input"
	headerFormat   = "format"
	HeaderReceived = "received"
	headerDrill    = "drill"
	headerPreamble = "preamble"
	headerReject   = "reject"
)

// HeaderName is the text of a header's key. The names of an origin's headers, which
// every record has, are the constants above and cost no memory.
func HeaderName(key []byte) string {
	switch string(key) {
	case headerStream:
		return headerStream
	case HeaderSeq:
		return HeaderSeq
	case HeaderUnit:
		return HeaderUnit
	case headerSource:
		return headerSource
	case HeaderInput:
		return HeaderInput
	case headerFormat:
		return headerFormat
	case HeaderReceived:
		return HeaderReceived
	case headerDrill:
		return headerDrill
	case headerPreamble:
		return headerPreamble
	case headerReject:
		return headerReject
	}
	return string(key)
}

// EventID is the id of the event that the record becomes.
func (o Origin) EventID() string { return o.Stream + "-" + strconv.FormatUint(o.Seq, 10) }

// Headers encodes the origin. Received is in microseconds since 1970.
func (o Origin) Headers() []Header {
	hs := make([]Header, 0, 10)
	add := func(k, v string) {
		if v != "" {
			hs = append(hs, Header{k, []byte(v)})
		}
	}
	add(headerStream, o.Stream)
	add(HeaderSeq, strconv.FormatUint(o.Seq, 10))
	add(HeaderUnit, o.Unit)
	add(headerSource, o.Source)
	add(HeaderInput, o.Input)
	add(headerFormat, o.Format)
	add(HeaderReceived, strconv.FormatInt(o.Received.UnixMicro(), 10))
	add(headerPreamble, o.Preamble)
	add(headerReject, o.Reject)
	if o.Drill {
		add(headerDrill, "1")
	}
	return hs
}

// ParseOrigin decodes a record's headers. A record that another producer wrote
// has no stream: then its place in the topic is its id, and at is when the
// broker took it; so it is with a record whose headers are broken, beside the
// error. Unknown headers are left alone.
func ParseOrigin(headers []Header, topic string, partition int, offset int64, at time.Time) (Origin, error) {
	foreign := Origin{Stream: fmt.Sprintf("%s/%d", topic, partition), Seq: uint64(offset), Received: at} //nolint:gosec // Kafka's offsets are not negative
	o := Origin{Received: at}
	for _, h := range headers {
		v := string(h.Value)
		switch h.Key {
		case headerStream:
			o.Stream = v
		case HeaderSeq:
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				return foreign, fmt.Errorf("header %s=%q of %s/%d offset %d: not a number", h.Key, v, topic, partition, offset)
			}
			o.Seq = n
		case HeaderUnit:
			o.Unit = v
		case headerSource:
			o.Source = v
		case HeaderInput:
			o.Input = v
		case headerFormat:
			o.Format = v
		case HeaderReceived:
			us, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return foreign, fmt.Errorf("header %s=%q of %s/%d offset %d: not a number", h.Key, v, topic, partition, offset)
			}
			o.Received = time.UnixMicro(us).UTC()
		case headerDrill:
			o.Drill = v == "1"
		case headerPreamble:
			o.Preamble = v
		case headerReject:
			o.Reject = v
		}
	}
	if o.Stream == "" {
		o.Stream, o.Seq = foreign.Stream, foreign.Seq
	}
	return o, nil
}
