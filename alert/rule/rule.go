// Package rule is the judgement of readings by rules, without a clock, a store or a goroutine: what a rule may say (Compile), what one reading is
// by it (Condition.Judge), and what becomes of a sensor by one verdict after the other (State).
//
// Invariants: a verdict depends on the rule and the reading alone; it takes bounded time and memory, whatever the reading holds and whoever wrote the
// rule (see expression.go); a reading that says nothing of what the rule watches changes nothing.
package rule

import (
	"math"
	"time"

	"sensorcast/telemetry"
)

// Bounds of what a rule may say.
const (
	maxName       = 100 // characters
	maxMetric     = 200
	maxExpression = 1000 // bytes
	maxFor        = 7 * 24 * time.Hour
)

// Verdict is what a reading is by a condition.
type Verdict uint8

// The verdicts.
const (
	Silent   Verdict = iota // the reading says nothing of it
	Unusable                // it says something that cannot be compared
	Clear                   // all is well
	Between                 // the condition does not hold, and not so clearly that an incident is over
	Broken                  // the condition holds
)

// Condition is what a rule watches for, ready to judge. It is safe for concurrent use.
type Condition struct {
	metric     metric
	op         string
	value      float64
	clear      float64
	expression *expression // in place of all above; nil: there is none
}

// Compile checks what a rule says. Its mistakes are of kind telemetry.ErrInvalid and name the field.
func Compile(r *telemetry.Rule) (*Condition, error) {
	if r.Name == "" {
		return nil, telemetry.Invalid("name", "is needed")
	}
	if err := telemetry.CheckText("name", r.Name, maxName, false); err != nil {
		return nil, err
	}
	if r.For < 0 || r.For > maxFor {
		return nil, telemetry.Invalid("for_seconds", "must be 0 to %d", int(maxFor.Seconds()))
	}
	switch r.Severity {
	case telemetry.SeverityInfo, telemetry.SeverityWarning, telemetry.SeverityCritical:
	default:
		return nil, telemetry.Invalid("severity", "must be info, warning or critical")
	}
	if r.Expression != "" {
		return compileExpression(r)
	}
	return compileComparison(r)
}

func compileComparison(r *telemetry.Rule) (*Condition, error) {
	switch {
	case r.Metric == "":
		return nil, telemetry.Invalid("metric", "is needed where there is no expression")
	case !isOp(r.Op):
		return nil, telemetry.Invalid("op", "must be one of >, >=, <, <=, ==, !=")
	case r.Value == nil || math.IsNaN(*r.Value) || math.IsInf(*r.Value, 0):
		return nil, telemetry.Invalid("value", "must be a number")
	}
	if err := telemetry.CheckText("metric", r.Metric, maxMetric, false); err != nil {
		return nil, err
	}
	c := &Condition{metric: metricOf(r.Metric), op: r.Op, value: *r.Value, clear: *r.Value}
	if r.Clear != nil {
		c.clear = *r.Clear
		switch {
		case math.IsNaN(c.clear) || math.IsInf(c.clear, 0):
			return nil, telemetry.Invalid("clear_value", "must be a number")
		case r.Op == "==" || r.Op == "!=":
			return nil, telemetry.Invalid("clear_value", "goes with >, >=, < and <= only")
		case r.Op[0] == '>' && c.clear > c.value:
			return nil, telemetry.Invalid("clear_value", "must not be above value")
		case r.Op[0] == '<' && c.clear < c.value:
			return nil, telemetry.Invalid("clear_value", "must not be below value")
		}
	}
	return c, nil
}

// compileExpression refuses what stands beside an expression and would say something else.
func compileExpression(r *telemetry.Rule) (*Condition, error) {
	switch {
	case r.Metric != "":
		return nil, telemetry.Invalid("metric", "does not go with an expression")
	case r.Op != "":
		return nil, telemetry.Invalid("op", "does not go with an expression")
	case r.Value != nil:
		return nil, telemetry.Invalid("value", "does not go with an expression")
	case r.Clear != nil:
		return nil, telemetry.Invalid("clear_value", "does not go with an expression")
	}
	e, err := newExpression(r.Expression)
	if err != nil {
		return nil, err
	}
	return &Condition{expression: e}, nil
}

// Judge says what a reading is, and what was measured; zero where an expression decides.
func (c *Condition) Judge(s *Sample) (Verdict, float64) {
	if c.expression != nil {
		return c.expression.judge(s), 0
	}
	found, there := c.metric.in(s.data)
	if !there || found == nil {
		return Silent, 0
	}
	v, ok := number(found)
	switch {
	case !ok:
		return Unusable, 0
	case holds(c.op, v, c.value):
		return Broken, v
	case holds(c.op, v, c.clear):
		return Between, v
	}
	return Clear, v
}

func isOp(op string) bool {
	switch op {
	case ">", ">=", "<", "<=", "==", "!=":
		return true
	}
	return false
}

func holds(op string, v, than float64) bool {
	switch op {
	case ">":
		return v > than
	case ">=":
		return v >= than
	case "<":
		return v < than
	case "<=":
		return v <= than
	case "==":
		return v == than
	}
	return v != than
}
