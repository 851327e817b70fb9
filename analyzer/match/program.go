package match

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
)

// A rule's program is text first: predicates over the catalogue's fields,
//
//	ends(winlog.event_data.Image, "\\reg.exe") and has(winlog.event_data.CommandLine, "save")
//
// in which a ?? b is the first of two fields that the event has. Compiling it
// replaces each predicate by p(n), n being its number among all predicates of
// the engine, so that equal predicates of many rules are one, evaluated once an
// event. What else an expr program may hold stays as it is: a hand-written
// condition will come this way too.

// maxNodes bounds the syntax tree of one program.
const maxNodes = 100_000

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

var reserved = []string{"and", "contains", "else", "endsWith", "false", "if", "in", "let", "matches", "nil", "not", "or", "startsWith", "true"}

// inList is the name of the predicate for a list that the configuration gives.
const inList = "in_list"

// source writes the tree as the text of a program.
func (n *node) source(b *strings.Builder) {
	switch n.kind {
	case andNode, orNode:
		word := " and "
		if n.kind == orNode {
			word = " or "
		}
		b.WriteByte('(')
		for i, k := range n.kids {
			if i > 0 {
				b.WriteString(word)
			}
			k.source(b)
		}
		b.WriteByte(')')
	case notNode:
		b.WriteString("not (")
		n.kids[0].source(b)
		b.WriteByte(')')
	case selectionNode:
		n.kids[0].source(b)
	case testNode:
		n.test.source(b)
	}
}

func (t *test) source(b *strings.Builder) {
	name, want := t.op.String(), t.want
	if t.list != "" {
		name, want = inList, []string{t.list}
	}
	b.WriteString(name)
	if t.cased {
		b.WriteString("_cased")
	}
	b.WriteByte('(')
	comma := ""
	arg := func(write func()) {
		b.WriteString(comma)
		write()
		comma = ", "
	}
	if t.op.ofField() {
		arg(func() {
			if t.fn == asIs {
				fieldSource(b, t.field)
				return
			}
			b.WriteString(t.fn.String() + "(")
			fieldSource(b, t.field)
			b.WriteByte(')')
		})
	}
	if t.other != nil {
		arg(func() { fieldSource(b, t.other) })
	}
	for _, w := range want {
		arg(func() { textSource(b, w) })
	}
	b.WriteByte(')')
}

func fieldSource(b *strings.Builder, fields []string) {
	for i, f := range fields {
		if i > 0 {
			b.WriteString(" ?? ")
		}
		for j, part := range strings.Split(f, ".") {
			switch plain := identifier.MatchString(part) && !slices.Contains(reserved, part); {
			case !plain && j == 0:
				b.WriteString("$env[" + strconv.Quote(part) + "]")
			case !plain:
				b.WriteString("[" + strconv.Quote(part) + "]")
			case j > 0:
				b.WriteString("." + part)
			default:
				b.WriteString(part)
			}
		}
	}
}

// textSource writes a text, or as bytes what is not UTF-8.
func textSource(b *strings.Builder, s string) {
	if utf8.ValidString(s) {
		b.WriteString(strconv.Quote(s))
		return
	}
	b.WriteString(`b"`)
	for i := range len(s) {
		fmt.Fprintf(b, `\x%02x`, s[i])
	}
	b.WriteByte('"')
}

// compiler holds what programs of one engine share.
type compiler struct {
	predicates []*predicate
	byText     map[string]int
	slots      []slotDef
	slotOf     map[string]int
	zone       *time.Location // of times that rules ask for
	lists      map[string][]string
}

// program compiles a text. Whatever calls a predicate goes through p.
func (c *compiler) program(text string) (*vm.Program, error) {
	patch := &predicatePatch{compiler: c}
	program, err := expr.Compile(text,
		expr.Env(map[string]any{"p": func(int) bool { return false }}),
		expr.AsBool(),
		expr.DisableAllBuiltins(),
		expr.MaxNodes(maxNodes),
		expr.Patch(patch))
	if patch.err != nil {
		return nil, patch.err
	}
	return program, err
}

// predicatePatch replaces predicates by calls of p.
type predicatePatch struct {
	compiler *compiler
	err      error
}

func (v *predicatePatch) Visit(n *ast.Node) {
	call, ok := (*n).(*ast.CallNode)
	if !ok || v.err != nil {
		return
	}
	name, ok := call.Callee.(*ast.IdentifierNode)
	if !ok || name.Value == "p" {
		return
	}
	if _, ok := lookupFunction(name.Value); ok { // the predicate around it comes next
		return
	}
	id, err := v.compiler.predicate(name.Value, call.Arguments)
	if err != nil {
		v.err = err
		return
	}
	ast.Patch(n, &ast.CallNode{Callee: &ast.IdentifierNode{Value: "p"}, Arguments: []ast.Node{&ast.IntegerNode{Value: id}}})
}

// predicate finds or makes the predicate that a call stands for.
func (c *compiler) predicate(name string, args []ast.Node) (int, error) {
	base, cased := strings.CutSuffix(name, "_cased")
	listed := base == inList
	if listed {
		base = opIs.String()
	}
	o := op(slices.Index(opNames[:], base)) //nolint:gosec // checked below
	if slices.Index(opNames[:], base) < 0 {
		return 0, fmt.Errorf("program: no function is named %s", name)
	}
	t := test{op: o, cased: cased}
	if o.ofField() {
		if len(args) == 0 {
			return 0, fmt.Errorf("program: %s needs a field", name)
		}
		field := args[0]
		if call, ok := field.(*ast.CallNode); ok && len(call.Arguments) == 1 {
			if f, ok := lookupFunction(call.Callee.String()); ok {
				t.fn, field = f, call.Arguments[0]
			}
		}
		var err error
		if t.field, err = fieldNames(field); err != nil {
			return 0, err
		}
		args = args[1:]
	}
	if o >= opSame && o <= opSameEnds {
		if len(args) != 1 {
			return 0, fmt.Errorf("program: %s needs two fields", name)
		}
		other, err := fieldNames(args[0])
		if err != nil {
			return 0, err
		}
		t.other, args = other, nil
	}
	for _, a := range args {
		switch a := a.(type) {
		case *ast.StringNode:
			t.want = append(t.want, a.Value)
		case *ast.BytesNode:
			t.want = append(t.want, string(a.Value))
		case *ast.IntegerNode:
			t.want = append(t.want, strconv.Itoa(a.Value))
		default:
			return 0, fmt.Errorf("program: %s needs texts after its field", name)
		}
	}
	if listed {
		if len(t.want) != 1 {
			return 0, fmt.Errorf("program: %s needs the name of one list", name)
		}
		t.list = t.want[0]
		t.want = c.lists[t.list]
	}
	return c.intern(&t)
}

// fieldNames reads a field, or several joined by ??, from a program.
func fieldNames(n ast.Node) ([]string, error) {
	if b, ok := n.(*ast.BinaryNode); ok && b.Operator == "??" {
		left, err := fieldNames(b.Left)
		if err != nil {
			return nil, err
		}
		right, err := fieldNames(b.Right)
		return append(left, right...), err
	}
	name, err := fieldName(n)
	return []string{name}, err
}

func fieldName(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.ChainNode:
		return fieldName(n.Node)
	case *ast.IdentifierNode:
		return n.Value, nil
	case *ast.MemberNode:
		property, ok := n.Property.(*ast.StringNode)
		if !ok {
			break
		}
		if root, ok := n.Node.(*ast.IdentifierNode); ok && root.Value == "$env" {
			return property.Value, nil
		}
		parent, err := fieldName(n.Node)
		return parent + "." + property.Value, err
	}
	return "", fmt.Errorf("program: %s is not a field", n)
}

// predicateCall is the number of the predicate that a call of p names.
func predicateCall(n *ast.CallNode) (int, bool) {
	name, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || name.Value != "p" || len(n.Arguments) != 1 {
		return 0, false
	}
	id, ok := n.Arguments[0].(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	return id.Value, true
}
