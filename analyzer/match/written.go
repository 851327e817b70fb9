package match

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"gopkg.in/yaml.v3"

	"fengsui/schemas"
)

// A hand-written condition is an expression in expr's syntax,
//
//	cidr(source.ip, "10.0.0.0/8") and entropy(dns.question.name) > 3.8
//
// It is read into the same tests as a selection, so all that holds of Sigma's
// values holds here: letters of any case are the same, a field that is missing
// meets no comparison, and whatever the rule asks is indexed. There is no
// arithmetic, no variable and no loop; nothing in it can fail at run time or
// take longer than the text it looks at.

// timeField is what time functions read when they are given no field.
var timeField = []string{schemas.FieldTimestamp.String()}

// privateNets are the networks that no route of the internet leads to: RFC 1918,
// RFC 6598, RFC 4193, loopback and link-local addresses.
var privateNets = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10", "::1/128"}

// expression reads an expression. Its problems name the line within the text.
func (r *reader) expression(n *yaml.Node) *node {
	w := &writer{reader: r, text: n.Value, first: n.Line}
	tree, err := w.parse()
	var out *node
	if err == nil {
		out, err = w.condition(tree)
	}
	if err != nil {
		line := n.Line
		if n.Style&yaml.LiteralStyle != 0 { // the text's lines are the file's
			line += w.line(err)
		}
		r.fail(line, "expr: %s", w.reason(err))
		return nil
	}
	return out
}

// writer reads one expression.
type writer struct {
	*reader
	text  string
	first int // line that it begins at
}

func (w *writer) parse() (ast.Node, error) {
	if len(w.text) > maxConditionBytes {
		return nil, fmt.Errorf("%d bytes are more than %d", len(w.text), maxConditionBytes)
	}
	c := conf.CreateNew()
	expr.DisableAllBuiltins()(c)
	expr.DisableIfOperator()(c)
	c.MaxNodes = maxNodes
	tree, err := parser.ParseWithConfig(w.text, c)
	if err != nil {
		return nil, err
	}
	return tree.Node, nil
}

// nodeError is an error at a place of the text.
type nodeError struct {
	at  ast.Node
	err error
}

func (e *nodeError) Error() string { return e.err.Error() }

func (w *writer) errorf(at ast.Node, format string, args ...any) error {
	return &nodeError{at, fmt.Errorf(format, args...)}
}

// at gives an error of something below a place, unless it has one.
func (w *writer) at(n ast.Node, err error) error {
	var known *nodeError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &nodeError{n, err}
}

// line is how many lines below the text's first the error is, counted from one:
// a literal text begins a line below its key.
func (w *writer) line(err error) int {
	var syntax *file.Error
	if errors.As(err, &syntax) {
		return syntax.Line
	}
	var at *nodeError
	if !errors.As(err, &at) {
		return 1
	}
	before := []rune(w.text)
	return 1 + strings.Count(string(before[:min(at.at.Location().From, len(before))]), "\n")
}

func (w *writer) reason(err error) string {
	var syntax *file.Error
	if errors.As(err, &syntax) {
		return fmt.Sprintf("%s (column %d)", syntax.Message, syntax.Column+1)
	}
	return err.Error()
}

// condition reads what holds or does not.
func (w *writer) condition(n ast.Node) (*node, error) {
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			kid, err := w.condition(n.Node)
			if err != nil {
				return nil, err
			}
			return not(kid), nil
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&", "or", "||":
			kids, err := w.chain(n, n.Operator)
			if err != nil {
				return nil, err
			}
			if n.Operator == "and" || n.Operator == "&&" {
				return and(kids...), nil
			}
			return or(kids...), nil
		}
		out, err := w.comparison(n)
		return out, w.at(n, err)
	case *ast.CallNode:
		out, err := w.call(n)
		return out, w.at(n, err)
	}
	return nil, w.errorf(n, "%s is no condition: compare it with something", n)
}

// chain is the parts of a and b and c.
func (w *writer) chain(n ast.Node, operator string) ([]*node, error) {
	b, ok := n.(*ast.BinaryNode)
	if !ok || b.Operator != operator {
		kid, err := w.condition(n)
		return []*node{kid}, err
	}
	left, err := w.chain(b.Left, operator)
	if err != nil {
		return nil, err
	}
	right, err := w.condition(b.Right)
	return append(left, right), err
}

// mirrored are the comparisons as read from the other side.
var mirrored = map[string]string{"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

// comparisons of a field with texts, and with another field.
var (
	ofTexts = map[string]op{
		"==": opIs, "!=": opIs, "<": opLt, "<=": opLte, ">": opGt, ">=": opGte,
		"contains": opHas, "startsWith": opStarts, "endsWith": opEnds, "matches": opRe, "in": opIs,
	}
	ofFields = map[string]op{"==": opSame, "!=": opSame, "contains": opSameHas, "startsWith": opSameStarts, "endsWith": opSameEnds}
)

func (w *writer) comparison(n *ast.BinaryNode) (*node, error) {
	left, operator, right := n.Left, n.Operator, n.Right
	if mirror := mirrored[operator]; mirror != "" && isLiteral(left) && !isLiteral(right) {
		left, operator, right = right, mirror, left
	}
	o, ok := ofTexts[operator]
	if !ok {
		return nil, fmt.Errorf("%s is not an operator of conditions", operator)
	}
	if u, ok := left.(*ast.UnaryNode); ok && (u.Operator == "not" || u.Operator == "!") {
		return nil, fmt.Errorf("not binds more than %s: put brackets around the comparison", operator)
	}
	of, err := w.operand(left)
	if err != nil {
		return nil, err
	}
	if _, ok := right.(*ast.NilNode); ok && (operator == "==" || operator == "!=") {
		if operator == "==" {
			return not(w.there(of)), nil
		}
		return w.there(of), nil
	}
	holds, err := w.holds(o, operator, of, right)
	if err != nil || operator != "!=" {
		return holds, err
	}
	there := []*node{w.there(of)}
	if other := holds.test.other; other != nil {
		there = append(there, w.there(operand{field: other}))
	}
	return and(append(there, not(holds))...), nil
}

// holds is the test that the operator asks for.
func (w *writer) holds(o op, operator string, of operand, right ast.Node) (*node, error) {
	if operator == "in" {
		list, err := w.list(right)
		if err != nil {
			return nil, err
		}
		return w.tested(o, false, of, list...)
	}
	if isLiteral(right) {
		want, err := literalText(right)
		if err != nil {
			return nil, err
		}
		if _, text := right.(*ast.StringNode); text && o >= opGt && o <= opLte {
			return nil, fmt.Errorf("%s compares numbers, and %q is a text", operator, want)
		}
		return w.tested(o, false, of, want)
	}
	other, err := w.operand(right)
	if err != nil {
		return nil, err
	}
	same, ok := ofFields[operator]
	if !ok || of.fn != asIs || other.fn != asIs {
		return nil, fmt.Errorf("%s cannot compare these two", operator)
	}
	return leaf(&test{op: same, field: of.field, other: other.field}), nil
}

// tested is a test of one op, its texts checked.
func (w *writer) tested(o op, cased bool, of operand, want ...string) (*node, error) {
	for i := range want {
		if err := o.check(want[i]); err != nil {
			return nil, err
		}
		if o == opIs || o >= opGt && o <= opLte {
			if err := of.fn.check(want[i]); err != nil {
				return nil, err
			}
		}
		switch {
		case o != opIs:
		case of.fn == asIs:
			want[i] = w.sameForm(w.first, of.field, want[i])
		default:
			want[i] = of.fn.sameForm(want[i])
		}
	}
	t := w.test(o, of, want...)
	t.cased = cased
	return leaf(t), nil
}

// list is what stands to the right of in: [a, b] or 1..9.
func (w *writer) list(n ast.Node) ([]string, error) {
	if b, ok := n.(*ast.BinaryNode); ok && b.Operator == ".." {
		from, ok1 := b.Left.(*ast.IntegerNode)
		to, ok2 := b.Right.(*ast.IntegerNode)
		if !ok1 || !ok2 || from.Value > to.Value || to.Value-from.Value >= maxValues || from.Value < 0 {
			return nil, w.errorf(n, "a range needs two whole numbers, the lesser first, at most %d apart", maxValues)
		}
		var out []string
		for i := from.Value; i <= to.Value; i++ {
			out = append(out, strconv.Itoa(i))
		}
		return out, nil
	}
	array, ok := n.(*ast.ArrayNode)
	if !ok || len(array.Nodes) == 0 {
		return nil, w.errorf(n, "in needs a list such as [1, 2] or 1..9, not %s", n)
	}
	return w.literals(array.Nodes)
}

func (w *writer) literals(ns []ast.Node) ([]string, error) {
	var out []string
	for _, n := range ns {
		text, err := literalText(n)
		if err != nil {
			return nil, w.at(n, err)
		}
		out = append(out, text)
	}
	return out, nil
}

func isLiteral(n ast.Node) bool {
	_, err := literalText(n)
	return err == nil
}

// literalText writes a value as an event's is written.
func literalText(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.BytesNode:
		return string(n.Value), nil
	case *ast.IntegerNode:
		return strconv.Itoa(n.Value), nil
	case *ast.FloatNode:
		return strconv.FormatFloat(n.Value, 'g', -1, 64), nil
	case *ast.BoolNode:
		return strconv.FormatBool(n.Value), nil
	case *ast.UnaryNode:
		switch x := n.Node.(type) {
		case *ast.IntegerNode:
			if n.Operator == "-" {
				return strconv.Itoa(-x.Value), nil
			}
		case *ast.FloatNode:
			if n.Operator == "-" {
				return strconv.FormatFloat(-x.Value, 'g', -1, 64), nil
			}
		}
	}
	return "", fmt.Errorf("a text or a number is needed, not %s", n)
}

// operand reads a field, or a function of one.
func (w *writer) operand(n ast.Node) (operand, error) {
	call, ok := n.(*ast.CallNode)
	if !ok {
		fields, err := w.fields(n)
		return operand{field: fields}, err
	}
	fn, ok := lookupFunction(call.Callee.String())
	if !ok {
		return operand{}, w.errorf(n, "no function of a field is named %s", call.Callee)
	}
	if len(call.Arguments) == 0 && fn.ofTime() {
		return operand{fn, timeField}, nil
	}
	if len(call.Arguments) != 1 {
		return operand{}, w.errorf(n, "%s needs one field", fn)
	}
	fields, err := w.fields(call.Arguments[0])
	return operand{fn, fields}, err
}

// fields are the catalogue's, of a name that the log source or the catalogue
// knows, or of several joined by ??.
func (w *writer) fields(n ast.Node) ([]string, error) {
	names, err := fieldNames(n)
	if err != nil {
		return nil, w.errorf(n, "%s is not a field", n)
	}
	var out []string
	for _, name := range names {
		fields, err := w.source.Fields(name)
		if err != nil {
			return nil, w.at(n, err)
		}
		w.meant(w.first, name)
		out = append(out, fields...)
	}
	return out, nil
}

// call reads a function that holds or does not: a predicate of programs, or one
// that is written by means of them.
func (w *writer) call(n *ast.CallNode) (*node, error) {
	name, args := n.Callee.String(), n.Arguments
	switch name {
	case "unit_under":
		return w.wanting(opIs, operand{field: []string{schemas.FieldFengsuiUnitPath.String()}}, args)
	case "asset_has_tag":
		return w.wanting(opIs, operand{field: []string{schemas.FieldFengsuiAssetTags.String()}}, args)
	}
	base, cased := strings.CutSuffix(name, "_cased")
	o := op(max(slices.Index(opNames[:], base), 0)) //nolint:gosec // few ops
	switch {
	case name == "contains_any" || name == "contains_all":
		o = opHas
	case name == "is_private":
		o = opCIDR
	case name == inList:
		o = opIs
	case o.String() != base || cased && !o.folds():
		return nil, fmt.Errorf("no function is named %s", name)
	}
	var of operand
	if o.ofField() {
		if len(args) == 0 {
			return nil, fmt.Errorf("%s needs a field", name)
		}
		var err error
		if of, err = w.operand(args[0]); err != nil {
			return nil, err
		}
		args = args[1:]
	}
	switch {
	case name == inList:
		return w.inList(of, args)
	case name == "is_private":
		if len(args) > 0 {
			return nil, fmt.Errorf("%s needs one field", name)
		}
		return w.tested(o, false, of, slices.Clone(privateNets)...)
	case o >= opSame && o <= opSameEnds:
		return w.same(o, cased, of, name, args)
	case o == opExists || o == opNull:
		if len(args) > 0 {
			return nil, fmt.Errorf("%s needs one field", name)
		}
		if o == opNull {
			return not(w.there(of)), nil
		}
		return w.there(of), nil
	}
	out, err := w.wanting(o, of, args)
	if err != nil {
		return nil, err
	}
	out.test.cased = cased
	if name != "contains_all" {
		return out, nil
	}
	var all []*node
	for _, want := range out.test.want {
		all = append(all, leaf(w.test(o, of, want)))
	}
	return and(all...), nil
}

// wanting is a test with its texts as arguments.
func (w *writer) wanting(o op, of operand, args []ast.Node) (*node, error) {
	want, err := w.literals(args)
	if err != nil {
		return nil, err
	}
	if len(want) == 0 {
		return nil, fmt.Errorf("no text or number is given to look for")
	}
	return w.tested(o, false, of, want...)
}

func (w *writer) same(o op, cased bool, of operand, name string, args []ast.Node) (*node, error) {
	if len(args) != 1 || of.fn != asIs {
		return nil, fmt.Errorf("%s needs two fields", name)
	}
	other, err := w.fields(args[0])
	return leaf(&test{op: o, cased: cased, field: of.field, other: other}), err
}

// inList is a test whose texts are a list of the configuration.
func (w *writer) inList(of operand, args []ast.Node) (*node, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("%s needs a field and the name of a list", inList)
	}
	name, ok := args[0].(*ast.StringNode)
	if !ok {
		return nil, fmt.Errorf("%s needs the name of a list, not %s", inList, args[0])
	}
	list, ok := w.opt.Lists[name.Value]
	if !ok {
		return nil, w.errorf(args[0], "the configuration has no list %q", name.Value)
	}
	t := w.test(opIs, of, list...)
	t.list = name.Value
	return leaf(t), nil
}

// folds says that letters of both cases are the same to the op, unless it is
// cased.
func (o op) folds() bool {
	switch o {
	case opRe, opWordRe, opCIDR, opExists, opNull, opGt, opGte, opLt, opLte:
		return false
	}
	return true
}
