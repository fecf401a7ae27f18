package rule

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"sensorcast/telemetry"
)

// expression is a condition in the words of expr-lang/expr, of which it may use what takes time and memory in proportion to its length
// and to the reading: comparisons, sums, and, or, not, in, ?:, ??, and some functions of numbers. There are no loops, no ranges, no regular expressions,
// no variables that could double a text again and again, and nothing that reaches out of the reading.
type expression struct{ program *vm.Program }

const (
	maxNodes    = 50
	maxValues   = 256    // of a reading, in all its lists and objects; one with more is of no use to expressions
	maxVMMemory = 10_000 // of the machine's own units: elements of the arrays and maps it makes
	maxText     = 256    // bytes of a text an expression sees; a longer one is cut
)

// What an expression may name.
var (
	operators = set("and", "&&", "or", "||", "not", "!", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "**", "^", "in", "??",
		"contains", "startsWith", "endsWith")
	arithmetic = set("+", "-", "*", "/", "%", "**", "^")
	functions  = set("abs", "ceil", "floor", "round", "max", "min", "len", "int", "float", "lower")
	names      = set("data", "time", "hour", "minute", "weekday")
)

// surroundings are the types of what an expression sees.
var surroundings = map[string]any{"data": map[string]any{}, "time": 0, "hour": 0, "minute": 0, "weekday": 0}

func newExpression(text string) (*expression, error) {
	if len(text) > maxExpression {
		return nil, telemetry.Invalid("expression", "must be at most %d bytes long", maxExpression)
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, telemetry.Invalid("expression", "%s", reason(err))
	}
	g := &grammar{}
	ast.Walk(&tree.Node, g)
	if g.nodes > maxNodes {
		return nil, telemetry.Invalid("expression", "is too long: %d parts, %d are the most", g.nodes, maxNodes)
	}
	if sum, ok := tree.Node.(*ast.BinaryNode); ok && arithmetic[sum.Operator] {
		return nil, telemetry.Invalid("expression", "must be true or false, not a number")
	}
	if g.foreign != "" {
		return nil, telemetry.Invalid("expression", "may not use %s", g.foreign)
	}
	options := []expr.Option{expr.Env(surroundings), expr.AsBool(), expr.MaxNodes(10 * maxNodes), expr.DisableAllBuiltins()}
	for name := range functions {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(text, options...)
	if err != nil {
		return nil, telemetry.Invalid("expression", "%s", reason(err))
	}
	return &expression{program}, nil
}

// judge gives Silent where something it needs is not in the reading. An expression has no value in between.
func (e *expression) judge(s *Sample) Verdict {
	surroundings := s.surroundings()
	if s.values > maxValues {
		return Unusable
	}
	machine := vm.VM{MemoryBudget: maxVMMemory}
	result, err := machine.Run(e.program, surroundings)
	holds, ok := result.(bool)
	switch {
	case err != nil && strings.Contains(err.Error(), "<nil>"), err == nil && result == nil:
		return Silent
	case err != nil || !ok:
		return Unusable
	case holds:
		return Broken
	}
	return Clear
}

// surroundings are what expressions see of the reading, made once. Time is the reading's own, in UTC; Sunday is day 0.
func (s *Sample) surroundings() map[string]any {
	if s.env == nil {
		t := s.at.Time().UTC()
		data, _ := s.cut(s.data).(map[string]any)
		s.env = map[string]any{"data": data, "time": int(t.Unix()), "hour": t.Hour(), "minute": t.Minute(), "weekday": int(t.Weekday())}
	}
	return s.env
}

// cut counts and copies values, up to what is too many, with their texts cut to maxText, so that sums of texts stay small.
func (s *Sample) cut(v any) any {
	if s.values++; s.values > maxValues {
		return nil
	}
	switch v := v.(type) {
	case string:
		return strings.ToValidUTF8(v[:min(len(v), maxText)], "")
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = s.cut(v[i])
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(v))
		for name := range v {
			all[name] = s.cut(v[name])
		}
		return all
	}
	return v
}

// grammar looks for what an expression may not hold.
type grammar struct {
	nodes   int
	foreign string // the first of it, in words
}

// Visit implements ast.Visitor.
func (g *grammar) Visit(node *ast.Node) {
	g.nodes++
	switch n := (*node).(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode, *ast.ConstantNode, *ast.ConditionalNode,
		*ast.ArrayNode, *ast.ChainNode, *ast.MemberNode:
	case *ast.IdentifierNode:
		g.only(names, n.Value, "the name ")
	case *ast.UnaryNode:
		g.only(operators, n.Operator, "the operator ")
	case *ast.BinaryNode:
		g.only(operators, n.Operator, "the operator ")
	case *ast.BuiltinNode:
		g.only(functions, n.Name, "the function ")
	case *ast.CallNode:
		if name, ok := n.Callee.(*ast.IdentifierNode); ok {
			g.only(functions, name.Value, "the function ")
			break
		}
		g.refuse("methods")
	default:
		g.refuse(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", n), "*ast."), "Node") + " parts")
	}
}

func (g *grammar) only(allowed map[string]bool, name, sort string) {
	if !allowed[name] {
		g.refuse(sort + name)
	}
}

func (g *grammar) refuse(what string) {
	if g.foreign == "" {
		g.foreign = what
	}
}

// reason is the first line of an error, which says what and where; the others quote the expression.
func reason(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func set(all ...string) map[string]bool {
	m := make(map[string]bool, len(all))
	for _, s := range all {
		m[s] = true
	}
	return m
}
