package match

import (
	"strconv"
	"unsafe"

	"github.com/expr-lang/expr/vm"

	"fengsui/schemas"
)

// state is what one goroutine needs to try rules on one event after another.
// Everything in it is worked out at most once an event, when first asked for.
type state struct {
	engine *Engine
	ev     *schemas.Event
	raw    *Raw      // of a record that was not parsed yet
	live   *livePlan // of the event
	vm     vm.VM
	env    map[string]any

	turn  uint32 // this event's number; what was written in another turn is stale
	slots []slot // of the engine's fields
	known []knownEntry
	list  []string // texts of this event's slots
	buf   []byte   // and the memory of those that had to be made
	event words    // all texts of the event
	key   []byte
	tried []int32         // rules of the plan that this event may meet
	hits  []int32         // and those of which the formula holds
	fired []*CompiledRule // correlations that it counts for

	common common // what matches of this event repeat

	// What outlives the event.
	values  *values
	missing []*entry // of each slot: what its absence makes true
	finding *finding
	plans   map[string]*livePlan
	planned uint64   // how many were made
	counts  []uint32 // of atoms, while triggers are chosen
}

type knownEntry struct {
	turn  uint32
	value valueRef // whose it is, if it is remembered
	entry *entry
}

// slot is one field's value in this event, as texts in state.list.
type slot struct {
	turn, foldedTurn uint32
	from, to         int32 // none when equal
	foldFrom         int32 // the same texts in one case, when foldedTurn is now
}

func (s *slot) there() bool { return s.from < s.to }

type words struct {
	turn  uint32
	texts []string
}

func newState(e *Engine) *state {
	s := &state{
		engine:  e,
		slots:   make([]slot, len(e.slots)),
		known:   make([]knownEntry, len(e.slots)+1),
		values:  newValues(len(e.slots)),
		finding: newFinding(e),
		plans:   map[string]*livePlan{},
		counts:  make([]uint32, len(e.index.atoms)),
	}
	s.findMissing()
	s.env = map[string]any{"p": s.p}
	return s
}

// findMissing works out what the absence of each slot makes true.
func (s *state) findMissing() {
	s.missing = s.missing[:0]
	for i := range s.engine.slots {
		s.finding.begin()
		s.finding.add(s.engine.index.values[i].missing...)
		s.missing = append(s.missing, s.finding.result(s.engine.index))
	}
}

// begin takes the next event.
func (s *state) begin(ev *schemas.Event) {
	s.ev = ev
	s.list, s.buf = s.list[:0], s.buf[:0]
	s.forget()
	if s.turn++; s.turn == 0 {
		clear(s.slots)
		clear(s.known)
		for _, p := range s.plans {
			clear(p.turns)
		}
		s.event.turn = 0
		s.turn = 1
	}
}

// p is the function that programs call.
func (s *state) p(id int) bool {
	p := s.engine.predicates[id]
	if p.test.other != nil {
		return p.compares(s)
	}
	slot := s.engine.wordSlot()
	if p.slot >= 0 {
		slot = int32(p.slot) //nolint:gosec // bounded by the rules
	}
	return s.predicateHolds(slot, int32(id)) //nolint:gosec // as above
}

// holds runs a rule's program.
func (s *state) holds(r *CompiledRule) bool {
	out, err := s.vm.Run(r.program, s.env)
	if err != nil {
		s.engine.failures.Add(1)
		return false
	}
	return out == true
}

func (s *state) value(id int) *slot {
	v := &s.slots[id]
	if v.turn != s.turn {
		v.turn = s.turn
		v.from = int32(len(s.list)) //nolint:gosec // a record is at most 1 MiB
		s.list = s.appendTexts(s.list, s.engine.slots[id].lookup(s.ev))
		v.to = int32(len(s.list)) //nolint:gosec // as above
	}
	return v
}

// texts are a value's texts as they are, or in one case.
func (s *state) texts(v *slot, raw bool) []string {
	if raw {
		return s.list[v.from:v.to]
	}
	if v.foldedTurn != s.turn {
		v.foldedTurn = s.turn
		v.foldFrom = int32(len(s.list)) //nolint:gosec // a record is at most 1 MiB
		for i := v.from; i < v.to; i++ {
			s.list = append(s.list, s.fold(s.list[i]))
		}
	}
	return s.list[v.foldFrom : v.foldFrom+v.to-v.from]
}

// slotTexts are a slot's texts as they are.
func (s *state) slotTexts(slot int) []string {
	if s.raw != nil {
		if text, known := s.raw.texts(int32(slot)); known { //nolint:gosec // bounded by the rules
			return text
		}
	}
	v := s.value(slot)
	return s.list[v.from:v.to]
}

// words are all texts of the event.
func (s *state) words() []string {
	if s.event.turn != s.turn {
		s.event.turn = s.turn
		out := s.event.texts[:0]
		if s.ev.Original != "" {
			out = append(out, s.ev.Original)
		}
		s.ev.Each(func(_ schemas.FieldID, v schemas.Value) { out = s.appendTexts(out, v) })
		for _, o := range s.ev.Open() {
			out = s.appendTexts(out, o.Value)
		}
		s.event.texts = out
	}
	return s.event.texts
}

func (s *state) appendTexts(dst []string, v schemas.Value) []string {
	switch v.Kind() {
	case schemas.None:
		return dst
	case schemas.KindString:
		return append(dst, v.Str())
	case schemas.KindInt:
		from := len(s.buf)
		s.buf = strconv.AppendInt(s.buf, v.Int(), 10)
		return append(dst, s.made(from))
	case schemas.KindList:
		for _, e := range v.List() {
			dst = s.appendTexts(dst, e)
		}
		return dst
	}
	return append(dst, v.Text())
}

func (s *state) fold(text string) string {
	if foldedAlready(text) {
		return text
	}
	from := len(s.buf)
	s.buf = appendFold(s.buf, text)
	return s.made(from)
}

// made is the text at the end of the buffer. It lives until the next event: a
// buffer that grows leaves the old memory to the texts made in it.
func (s *state) made(from int) string {
	if from == len(s.buf) {
		return ""
	}
	return unsafe.String(&s.buf[from], len(s.buf)-from)
}
