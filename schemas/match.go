package schemas

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A record of the topic matches is a match in one of two forms: as JSON, which
// begins with a brace and is what was written first, or as
//
//	1                 the version of the form, one byte
//	n, definition     what all matches of one base rule share: deflated JSON, n bytes
//	body              what is the event's own
//
// The definition is a Match without what is the event's own: the rule, how it is
// counted, the fields of the group, and so with each of Next. It travels in every
// record, so that what a record means depends on nothing else, and costs almost
// nothing: it is encoded once and recognised by its bytes.
//
// The body says in a number (n is a varint everywhere) which parts are there, a
// bit for each, and then holds these in the order of the bits, the values of the
// group, and the bodies of Next. A text is its length and its bytes, in UTF-8; a
// list is its length and its elements; a time is seconds since 1970, nanoseconds
// and the zone's seconds east of UTC; a number is 8 bytes, IEEE 754, little
// endian; mining evidence is JSON, as long as a text.
const matchVersion = 1

// The parts of a body, in their order.
const (
	hasEventID = 1 << iota
	hasTime
	hasReceived
	hasUnit
	hasHost
	hasSummary
	hasSatisfied
	hasValues
	hasNumbers
	hasMining
	isDrill

	knownParts = 1<<iota - 1
)

// Bounds of what a record may make its reader hold.
const (
	maxDefinition = 1 << 18 // bytes of JSON; what is larger is written as JSON altogether
	maxNext       = 1024    // matches below one
	maxShapes     = 4096    // definitions remembered
	maxShapeBytes = 8 << 20 // and what they take
)

// ErrMatchVersion says that a record is in a form that this version does not know.
var ErrMatchVersion = errors.New("a match in a form of a later version")

// shape is a definition in both forms.
type shape struct {
	match   Match
	encoded []byte
}

// shapeKey is what shapes are looked for by. What has one key may still differ.
type shapeKey struct {
	kind       MatchKind
	rule, from string
	base       int
	group      uint64 // a hash of its fields, of which a rule may name none
}

func keyOf(m *Match) shapeKey {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range m.Group {
		for _, c := range []byte(m.Group[i].Field) {
			h = (h ^ uint64(c)) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return shapeKey{m.Kind, m.Rule.ID, m.From, m.Base, h}
}

// MatchEncoder writes matches as records. Its zero value is ready. It is not safe
// for concurrent use. A match's correlation must not be changed any more.
type MatchEncoder struct {
	shapes map[shapeKey]*shape
	z      *flate.Writer
}

// Append appends the record of a match. It fails where JSON would: for a number
// that is none, and a year beyond 9999. As in JSON, bytes that are not UTF-8
// become U+FFFD.
func (e *MatchEncoder) Append(dst []byte, m *Match) ([]byte, error) {
	s, err := e.shape(m)
	if err != nil {
		return dst, fmt.Errorf("encoding what the matches of rule %s share: %w", m.Rule.ID, err)
	}
	if s == nil {
		text, err := json.Marshal(m)
		return append(dst, text...), err
	}
	start := len(dst)
	dst = append(dst, matchVersion)
	dst = binary.AppendUvarint(dst, uint64(len(s.encoded)))
	dst = append(dst, s.encoded...)
	if dst, err = appendBody(dst, m); err != nil {
		return dst[:start], fmt.Errorf("encoding a match of event %s: %w", m.EventID, err)
	}
	return dst, nil
}

// shape is the definition of a match, or nil for one that is too large.
func (e *MatchEncoder) shape(m *Match) (*shape, error) {
	key := keyOf(m)
	if s := e.shapes[key]; s != nil && sameShape(&s.match, m) {
		return s, nil
	}
	s := &shape{match: shapeOf(m)}
	text, err := json.Marshal(&s.match)
	if err != nil || len(text) > maxDefinition || s.match.nexts() > maxNext {
		return nil, err
	}
	if s.encoded, err = e.deflate(text); err != nil {
		return nil, err
	}
	if e.shapes == nil || len(e.shapes) >= maxShapes {
		e.shapes = map[shapeKey]*shape{}
	}
	e.shapes[key] = s
	return s, nil
}

func (e *MatchEncoder) deflate(text []byte) ([]byte, error) {
	var out bytes.Buffer
	if e.z == nil {
		z, err := flate.NewWriter(nil, flate.BestCompression)
		if err != nil {
			return nil, err
		}
		e.z = z
	}
	e.z.Reset(&out)
	if _, err := e.z.Write(text); err != nil {
		return nil, err
	}
	err := e.z.Close()
	return out.Bytes(), err
}

// shapeOf is a match without what is the event's own.
func shapeOf(m *Match) Match {
	s := Match{Kind: m.Kind, Rule: m.Rule, Quiet: m.Quiet, Correlation: m.Correlation, Base: m.Base, From: m.From}
	for i := range m.Group {
		s.Group = append(s.Group, GroupValue{Field: m.Group[i].Field})
	}
	for i := range m.Next {
		s.Next = append(s.Next, shapeOf(&m.Next[i]))
	}
	return s
}

// sameShape says that s is the shape of m.
func sameShape(s, m *Match) bool {
	return s.Correlation == m.Correlation && s.Base == m.Base && s.Quiet == m.Quiet && s.From == m.From && s.Kind == m.Kind &&
		s.Rule.ID == m.Rule.ID && s.Rule.Title == m.Rule.Title && s.Rule.Level == m.Rule.Level && slices.Equal(s.Rule.Tags, m.Rule.Tags) &&
		slices.EqualFunc(s.Group, m.Group, func(a, b GroupValue) bool { return a.Field == b.Field }) &&
		slices.EqualFunc(s.Next, m.Next, func(a, b Match) bool { return sameShape(&a, &b) })
}

// nexts counts the matches below one.
func (m *Match) nexts() int {
	n := len(m.Next)
	for i := range m.Next {
		n += m.Next[i].nexts()
	}
	return n
}

// partsOf says which parts a body has.
func partsOf(m *Match) (parts uint64) {
	for i, there := range [...]bool{
		m.EventID != "", !m.Time.IsZero(), !m.Received.IsZero(), m.Unit != "", m.Host != "", m.Summary != "",
		len(m.Satisfied) > 0, len(m.Values) > 0, len(m.Numbers) > 0, m.Mining != nil, m.Drill,
	} {
		if there {
			parts |= 1 << i
		}
	}
	return parts
}

func appendBody(dst []byte, m *Match) (_ []byte, err error) {
	parts := partsOf(m)
	dst = binary.AppendUvarint(dst, parts)
	if parts&hasEventID != 0 {
		dst = appendText(dst, m.EventID)
	}
	if parts&hasTime != 0 {
		dst, err = appendTime(dst, m.Time)
	}
	if parts&hasReceived != 0 && err == nil {
		dst, err = appendTime(dst, m.Received)
	}
	if parts&hasUnit != 0 {
		dst = appendText(dst, m.Unit)
	}
	if parts&hasHost != 0 {
		dst = appendText(dst, m.Host)
	}
	if parts&hasSummary != 0 {
		dst = appendText(dst, m.Summary)
	}
	if parts&hasSatisfied != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(m.Satisfied)))
		for i := range m.Satisfied {
			s := &m.Satisfied[i]
			dst = appendText(appendText(appendText(dst, s.Selection), s.Field), s.Value)
		}
	}
	if parts&hasValues != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(m.Values)))
		for _, v := range m.Values {
			dst = appendText(dst, v)
		}
	}
	if parts&hasNumbers != 0 && err == nil {
		dst, err = appendNumbers(dst, m.Numbers)
	}
	if parts&hasMining != 0 && err == nil {
		var text []byte
		text, err = json.Marshal(m.Mining)
		dst = append(binary.AppendUvarint(dst, uint64(len(text))), text...)
	}
	for i := range m.Group {
		dst = appendText(dst, m.Group[i].Value)
	}
	for i := 0; i < len(m.Next) && err == nil; i++ {
		dst, err = appendBody(dst, &m.Next[i])
	}
	return dst, err
}

func appendText(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // each byte that is not of a character becomes one
	}
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendTime(dst []byte, t time.Time) ([]byte, error) {
	if y := t.Year(); y < 0 || y > 9999 {
		return dst, fmt.Errorf("the year %d", y)
	}
	_, east := t.Zone()
	dst = binary.AppendVarint(dst, t.Unix())
	dst = binary.AppendUvarint(dst, uint64(t.Nanosecond())) //nolint:gosec // not negative
	return binary.AppendVarint(dst, int64(east)), nil
}

func appendNumbers(dst []byte, numbers []float64) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(len(numbers)))
	for _, v := range numbers {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return dst, fmt.Errorf("the number %v", v)
		}
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst, nil
}

// MatchDecoder reads records as matches. Its zero value is ready. It is not safe
// for concurrent use. Matches of one definition share what that says: rule and
// correlation must not be changed.
type MatchDecoder struct {
	shapes map[string]*Match // by their encoded bytes
	bytes  int               // of these
	zone   *time.Location    // the last that was met
	east   int               // and its offset
}

// Decode reads a record, of which it keeps nothing, into m. What it cannot read
// it refuses: with ErrMatchVersion what only a later version knows.
func (d *MatchDecoder) Decode(record []byte, m *Match) error {
	*m = Match{}
	if len(record) == 0 {
		return errors.New("an empty record")
	}
	switch record[0] {
	case '{':
		return json.Unmarshal(record, m)
	case matchVersion:
	default:
		return fmt.Errorf("%w: its first byte is %d", ErrMatchVersion, record[0])
	}
	n, size := binary.Uvarint(record[1:])
	if size <= 0 || n > uint64(len(record)-1-size) {
		return errShort
	}
	body := record[1+size:]
	s, err := d.shape(body[:n])
	if err != nil {
		return fmt.Errorf("reading the definition: %w", err)
	}
	*m = *s
	r := bodyReader{d: d, text: string(body[n:])}
	r.match(s, m)
	if r.err == nil && r.text != "" {
		r.err = fmt.Errorf("%d bytes after the end", len(r.text))
	}
	return r.err
}

var errShort = errors.New("it ends too soon")

// shape is the definition of that encoding.
func (d *MatchDecoder) shape(encoded []byte) (*Match, error) {
	if s := d.shapes[string(encoded)]; s != nil {
		return s, nil
	}
	z := flate.NewReader(bytes.NewReader(encoded))
	text, err := io.ReadAll(io.LimitReader(z, maxDefinition+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxDefinition {
		return nil, fmt.Errorf("more than %d bytes", maxDefinition)
	}
	var m Match
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	s := shapeOf(&m) // nothing of a later version, or that does not belong there
	if n := s.nexts(); n > maxNext {
		return nil, fmt.Errorf("%d matches below it", n)
	}
	if d.bytes += len(encoded) + len(text); d.shapes == nil || len(d.shapes) >= maxShapes || d.bytes > maxShapeBytes {
		d.shapes, d.bytes = map[string]*Match{}, len(encoded)+len(text)
	}
	d.shapes[string(encoded)] = &s
	return &s, nil
}

// bodyReader reads what is left of a body. After the first error it reads
// nothing.
type bodyReader struct {
	d    *MatchDecoder
	text string
	err  error
}

// match reads the body of a match that is its shape so far.
func (r *bodyReader) match(s, m *Match) {
	parts := r.number()
	if parts&^knownParts != 0 && r.err == nil {
		r.err = fmt.Errorf("%w: parts %b", ErrMatchVersion, parts)
	}
	if parts&hasEventID != 0 {
		m.EventID = strings.Clone(r.string()) // it is kept for as long as a window, and the rest is not
	}
	if parts&hasTime != 0 {
		m.Time = r.time()
	}
	if parts&hasReceived != 0 {
		m.Received = r.time()
	}
	if parts&hasUnit != 0 {
		m.Unit = r.string()
	}
	if parts&hasHost != 0 {
		m.Host = r.string()
	}
	if parts&hasSummary != 0 {
		m.Summary = r.string()
	}
	if parts&hasSatisfied != 0 {
		m.Satisfied = make([]Satisfied, r.count(3))
		for i := range m.Satisfied {
			m.Satisfied[i] = Satisfied{r.string(), r.string(), r.string()}
		}
	}
	if parts&hasValues != 0 {
		m.Values = make([]string, r.count(1))
		for i := range m.Values {
			m.Values[i] = r.string()
		}
	}
	if parts&hasNumbers != 0 {
		m.Numbers = make([]float64, r.count(8))
		for i := range m.Numbers {
			m.Numbers[i] = r.float()
		}
	}
	if parts&hasMining != 0 {
		r.mining(m)
	}
	m.Drill = parts&isDrill != 0
	if len(s.Group) > 0 {
		m.Group = make([]GroupValue, len(s.Group))
		for i := range m.Group {
			m.Group[i] = GroupValue{s.Group[i].Field, r.string()}
		}
	}
	if len(s.Next) > 0 && r.err == nil {
		m.Next = slices.Clone(s.Next)
		for i := range m.Next {
			r.match(&s.Next[i], &m.Next[i])
		}
	}
}

func (r *bodyReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.text = ""
}

func (r *bodyReader) mining(m *Match) {
	text := r.string()
	if r.err != nil {
		return
	}
	m.Mining = &MiningEvidence{}
	if err := json.Unmarshal([]byte(text), m.Mining); err != nil {
		r.fail(fmt.Errorf("reading mining evidence: %w", err))
	}
}

func (r *bodyReader) number() uint64 {
	var v uint64
	for i := 0; i < len(r.text) && i < binary.MaxVarintLen64; i++ {
		b := r.text[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.text = r.text[i+1:]
			return v
		}
	}
	r.fail(errShort)
	return 0
}

func (r *bodyReader) signed() int64 {
	v := r.number()
	return int64(v>>1) ^ -int64(v&1) //nolint:gosec // zigzag
}

// count is the length of a list whose elements take so many bytes at least.
func (r *bodyReader) count(each int) int {
	n := r.number()
	if n > uint64(len(r.text)/each) { //nolint:gosec // not negative
		r.fail(errShort)
		return 0
	}
	return int(n) //nolint:gosec // bounded
}

func (r *bodyReader) string() string {
	n := r.count(1)
	s := r.text[:n]
	r.text = r.text[n:]
	if !utf8.ValidString(s) {
		r.fail(errors.New("a text that is not UTF-8"))
		return ""
	}
	return s
}

func (r *bodyReader) float() float64 {
	if len(r.text) < 8 {
		r.fail(errShort)
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64([]byte(r.text[:8])))
	r.text = r.text[8:]
	if math.IsNaN(v) || math.IsInf(v, 0) {
		r.fail(fmt.Errorf("the number %v", v))
	}
	return v
}

func (r *bodyReader) time() time.Time {
	sec, nsec, east := r.signed(), r.number(), r.signed()
	const day = 24 * 60 * 60
	if sec < -1<<40 || sec > 1<<40 || nsec >= 1e9 || east <= -day || east >= day {
		r.fail(errors.New("a time that is none"))
		return time.Time{}
	}
	t := time.Unix(sec, int64(nsec)).In(r.d.in(int(east))) //nolint:gosec // bounded
	if y := t.Year(); y < 0 || y > 9999 {
		r.fail(fmt.Errorf("the year %d", y))
	}
	return t
}

// in is the zone so far east of UTC.
func (d *MatchDecoder) in(east int) *time.Location {
	if east == 0 {
		return time.UTC
	}
	if d.zone == nil || d.east != east {
		d.zone, d.east = time.FixedZone("", east), east
	}
	return d.zone
}
