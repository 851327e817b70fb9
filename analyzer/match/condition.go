package match

import (
	"fmt"
	"strings"
)

// Limits on what one condition may be.
const (
	maxConditionBytes = 16 << 10
	maxConditionDepth = 100
)

// condition parses a Sigma condition. Specification 2.1.0, "Condition": from
// least to most binding or, and, not, x of pattern, brackets.
type condition struct {
	tokens     []string
	next       int
	depth      int
	names      []string // of the selections, in order
	selections map[string]*node
}

func parseCondition(text string, names []string, selections map[string]*node) (*node, error) {
	if len(text) > maxConditionBytes {
		return nil, fmt.Errorf("condition of %d bytes is longer than %d", len(text), maxConditionBytes)
	}
	for _, sep := range []string{"(", ")", "|"} {
		text = strings.ReplaceAll(text, sep, " "+sep+" ")
	}
	c := &condition{tokens: strings.Fields(text), names: names, selections: selections}
	n, err := c.whole()
	if err != nil && strings.ContainsAny(text, "（）｜") {
		err = fmt.Errorf("%w; （ ） ｜ are an input method's, ( ) | are meant", err)
	}
	return n, err
}

func (c *condition) whole() (*node, error) {
	n, err := c.or()
	if err != nil {
		return nil, err
	}
	switch t := c.peek(); t {
	case "":
		return n, nil
	case "|":
		return nil, fmt.Errorf("condition: aggregation after | (Sigma 1) is not supported; write a correlation")
	default:
		return nil, fmt.Errorf("condition: %q is not expected here", t)
	}
}

func (c *condition) peek() string {
	if c.next < len(c.tokens) {
		return c.tokens[c.next]
	}
	return ""
}

// take steps over the token if it is the word.
func (c *condition) take(word string) bool {
	if !strings.EqualFold(c.peek(), word) {
		return false
	}
	c.next++
	return true
}

func (c *condition) or() (*node, error)  { return c.chain("or", orNode, c.and) }
func (c *condition) and() (*node, error) { return c.chain("and", andNode, c.not) }

func (c *condition) chain(word string, kind nodeKind, part func() (*node, error)) (*node, error) {
	var kids []*node
	for {
		n, err := part()
		if err != nil {
			return nil, err
		}
		kids = append(kids, n)
		if !c.take(word) {
			return join(kind, kids), nil
		}
	}
}

func (c *condition) not() (*node, error) {
	if c.depth++; c.depth > maxConditionDepth {
		return nil, fmt.Errorf("condition: nested deeper than %d", maxConditionDepth)
	}
	defer func() { c.depth-- }()
	if c.take("not") {
		n, err := c.not()
		if err != nil {
			return nil, err
		}
		return not(n), nil
	}
	return c.primary()
}

func (c *condition) primary() (*node, error) {
	if c.take("(") {
		n, err := c.or()
		if err != nil {
			return nil, err
		}
		if !c.take(")") {
			return nil, fmt.Errorf("condition: ) is missing")
		}
		return n, nil
	}
	t := c.peek()
	if t == "" {
		return nil, fmt.Errorf("condition: ends too early")
	}
	c.next++
	if c.take("of") {
		return c.quantity(t)
	}
	if s := c.selections[t]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("condition: no selection is named %q, only %s", t, c.known())
}

// known are the selections' names, for people.
func (c *condition) known() string {
	const enough = 8
	if len(c.names) > enough {
		return strings.Join(c.names[:enough], ", ") + ", …"
	}
	return strings.Join(c.names, ", ")
}

// quantity reads what follows "1 of" and "all of".
func (c *condition) quantity(count string) (*node, error) {
	what := c.peek()
	c.next++
	var chosen []*node
	for _, name := range c.names {
		if c.chosen(what, name) {
			chosen = append(chosen, c.selections[name])
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("condition: %s of %s: no selection has such a name, there are only %s", count, what, c.known())
	}
	switch strings.ToLower(count) {
	case "1", "any":
		return or(chosen...), nil
	case "all":
		return and(chosen...), nil
	}
	return nil, fmt.Errorf("condition: not supported: %s of", count)
}

// chosen says whether the selection is one of them, or fits the pattern.
// Selections that begin with an underscore are left out of "them".
func (c *condition) chosen(what, name string) bool {
	if strings.EqualFold(what, "them") {
		return !strings.HasPrefix(name, "_")
	}
	return starMatch(what, name)
}

// starMatch says whether the name fits a pattern in which * alone is a wildcard.
func starMatch(what, name string) bool {
	var p pattern
	for i, part := range strings.Split(what, "*") {
		if i > 0 {
			p = append(p, elem{kind: many})
		}
		p = append(p, literal(part)...)
	}
	return p.normal().match(name)
}
