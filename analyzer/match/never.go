package match

import (
	"slices"

	"fengsui/schemas"
)

// answer is what is known of a tree before an event is there. The negation of an
// answer is its negative, and the answers of and and or are the least and the
// greatest of their parts'.
type answer int8

const (
	never answer = iota - 1
	perhaps
	always
)

// never says that no event of the log source can meet the tree: what its own
// parts say of one another and of the fields that the log source is told by
// already excludes it. It finds the common mistakes, not all there are.
func (n *node) never(source *schemas.SigmaSource) bool {
	return !slices.ContainsFunc(source.When, func(all []schemas.SigmaTerm) bool { return n.given(all) != never })
}

// given is what the tree is for an event that has these terms, as far as that
// alone tells.
func (n *node) given(terms []schemas.SigmaTerm) answer {
	switch n.kind {
	case testNode:
		return n.test.given(terms)
	case notNode:
		return -n.kids[0].given(terms)
	case orNode:
		out := never
		for _, k := range n.kids {
			out = max(out, k.given(terms))
		}
		return out
	case andNode:
		if n.contradicts() {
			return never
		}
	}
	out := always
	for _, k := range n.kids {
		out = min(out, k.given(terms))
	}
	return out
}

// contradicts says that something is wanted and not wanted.
func (n *node) contradicts() bool {
	var parts []*node
	var collect func(*node)
	collect = func(n *node) {
		if n.kind != andNode {
			parts = append(parts, n)
			return
		}
		for _, k := range n.kids {
			collect(k)
		}
	}
	collect(n)
	return slices.ContainsFunc(parts, func(p *node) bool { return p.kind == notNode && slices.Contains(parts, p.kids[0]) })
}

// given is a test of a field that the log source is told by. The event has one
// of the term's values, in any case of letters.
func (t *test) given(terms []schemas.SigmaTerm) answer {
	if !t.op.ofField() || t.other != nil || t.cased || t.fn != asIs || t.op == opRe || len(t.field) != 1 {
		return perhaps
	}
	i := slices.IndexFunc(terms, func(term schemas.SigmaTerm) bool { return term.Field == t.field[0] })
	switch {
	case i < 0:
		return perhaps
	case t.op == opExists:
		return always
	case t.op == opNull:
		return never
	case slices.Contains(terms[i].Values, "*"):
		return perhaps
	}
	letters := t.allLetters(t.want)
	met := 0
	for _, v := range terms[i].Values {
		if t.meets(v, letters) {
			met++
		}
	}
	switch met {
	case 0:
		return never
	case len(terms[i].Values):
		return always
	}
	return perhaps
}
