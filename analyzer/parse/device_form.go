package parse

import "slices"

// formed is a device made ready for lines of one form: where the device speaks of
// keys by their numbers, it speaks of them by their places in the line, and of
// those alone that the line has.
type formed struct {
	usable  bool
	numbers []int    // of the keys, by place
	base    *program // nil until a line asks for it
	kinds   []kind   // the messages that such a line can be
}

type kind struct {
	message *message
	conds   []condition
	program *program // likewise
}

// leftover is a key that is kept where no field takes it.
type leftover struct {
	place int
	label string
}

// readForm reads a line that has the form of an earlier one: what read does, in
// fewer steps. false is another line, and the event as it was.
func (r *deviceReader) readForm(d *device, h *header) bool {
	if r.forms == nil || len(d.byID) > 0 && len(d.byID[h.msgid]) > 0 {
		return false
	}
	body := noSpaces(h.content)
	which, n := r.forms.Read(r.values, body)
	if which < 0 {
		return false
	}
	values := r.values[:n+len(specials)]
	for i, v := range values[:n] {
		if d.isEmpty(v) {
			values[i] = ""
		}
	}
	of := h.specials()
	copy(values[n:], of[:])
	said, taken := r.said, r.taken
	r.said, r.taken = values, r.stamps[:len(values)]
	clear(r.taken)
	p := r.choosePlaced(d, &r.formed[which], body, h.msgid)
	if p != nil {
		for i := range d.constants {
			d.constants[i].apply(r.ev)
		}
		r.apply(d, p)
		r.leaveOf(p)
	}
	r.said, r.taken = said, taken
	clear(values)
	return p != nil
}

// choosePlaced is choose for a line of a form. nil is a line that must be read again.
func (r *deviceReader) choosePlaced(d *device, f *formed, body, id string) *program {
	if !f.usable {
		return nil
	}
	made, of := &f.base, &d.base
	for i := range f.kinds {
		k := &f.kinds[i]
		if !r.hold(k.conds) || !k.message.says(body, id) {
			continue
		}
		if k.message.own {
			return nil
		}
		made, of = &k.program, &k.message.program
		break
	}
	if *made == nil {
		*made = r.place(d, f.numbers, of)
	}
	return *made
}

// leaveOf is leave for a line of a form.
func (r *deviceReader) leaveOf(p *program) {
	for i := range p.left {
		l := &p.left[i]
		if v := r.said[l.place]; v != "" && r.taken[l.place]&isUsed == 0 {
			r.keep(l.label, v)
		}
	}
}

// learn has lines of the form that the line has, whose pairs were just read, read
// by readForm.
func (r *deviceReader) learn(d *device) {
	if r.forms == nil {
		return
	}
	if which := r.forms.Learn(r.pairs, r.lex); which >= 0 {
		r.formed = append(r.formed[:which], r.form(d))
	}
}

// form makes a device ready for lines with the keys of this one.
func (r *deviceReader) form(d *device) formed {
	f := formed{}
	for i := range r.pairs {
		f.numbers = append(f.numbers, int(r.pairs[i].Number)-1)
	}
	b, ok := r.bind(d, f.numbers)
	if !ok {
		return formed{}
	}
	for _, i := range d.byRest {
		m := &d.messages[i]
		if conds, ok := b.conditions(m.conds); ok {
			f.kinds = append(f.kinds, kind{message: m, conds: conds})
		}
	}
	f.usable = true
	return f
}

// binding says at which places of a line the keys stand, by their numbers; -1 is
// nowhere.
type binding []int

// bind finds the places. false is a line in which a key comes twice, or has the name
// of a special.
func (r *deviceReader) bind(d *device, numbers []int) (b binding, ok bool) {
	b = slices.Repeat(binding{-1}, r.lex.Len())
	for i, n := range d.special {
		b[n] = len(numbers) + i
	}
	for i, n := range numbers {
		if b[n] >= 0 {
			return nil, false
		}
		b[n] = i
	}
	return b, true
}

// place is a program for lines with the keys of these numbers.
func (r *deviceReader) place(d *device, numbers []int, p *program) *program {
	b, _ := r.bind(d, numbers)
	to := &program{set: p.set}
	goals := map[int]int{}
	for _, s := range p.steps {
		s.keys = slices.Clone(s.keys)
		for i, n := range s.keys {
			s.keys[i] = b[n]
		}
		if slices.Contains(s.keys, -1) { // all must be there
			continue
		}
		if s.zoneKey >= 0 {
			s.zoneKey = b[s.zoneKey]
		}
		if _, ok := goals[s.goal]; !ok {
			goals[s.goal] = len(goals)
		}
		s.goal = goals[s.goal]
		to.steps = append(to.steps, s)
		to.goal = append(to.goal, goal{int32(s.keys[0]), int32(s.goal)}) //nolint:gosec // few
	}
	to.goals = len(goals)
	for _, w := range p.when {
		if conds, ok := b.conditions(w.conds); ok {
			to.when = append(to.when, clause{conds, w.set, w.line})
		}
	}
	for i, n := range numbers {
		ignored := !p.keepRest
		if n < len(p.ignore) {
			ignored = ignored || p.ignore[n]
		} else {
			ignored = ignored || d.matchesIgnore(p, r.lex.Word(n))
		}
		if !ignored {
			to.left = append(to.left, leftover{i, r.label(n, r.lex.Word(n))})
		}
	}
	return to
}

// conditions are those of keys that the line has; false: those of the others do
// not hold.
func (b binding) conditions(conds []condition) (out []condition, ok bool) {
	for _, c := range conds {
		switch n := b[c.key]; {
		case n >= 0:
			out = append(out, condition{n, c.wants})
		case !c.holds(""):
			return nil, false
		}
	}
	return out, true
}
