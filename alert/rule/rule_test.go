package rule

import (
	"errors"
	"testing"
	"time"

	"sensorcast/telemetry"
)

func ptr(v float64) *float64 { return &v }

func hot() telemetry.Rule {
	return telemetry.Rule{Name: "Too hot", Metric: "temperature", Op: ">", Value: ptr(30), Severity: telemetry.SeverityWarning}
}

func sample(t testing.TB, data string) *Sample {
	t.Helper()
	at, err := time.Parse(time.RFC3339, "2026-01-04T22:30:00Z") // a Sunday
	if err != nil {
		t.Fatal(err)
	}
	s, err := Decode(&telemetry.Reading{Data: []byte(data), Time: telemetry.MillisOf(at)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCondition_JudgesByWhatIsMeasured(t *testing.T) {
	for _, c := range []struct {
		metric, op   string
		value, clear float64
		data         string
		want         Verdict
	}{
		{"t", ">", 30, 30, `{"t":31}`, Broken},
		{"t", ">", 30, 30, `{"t":30}`, Clear},
		{"t", ">", 30, 28, `{"t":29}`, Between},
		{"t", ">", 30, 28, `{"t":28}`, Clear},
		{"t", ">=", 30, 28, `{"t":28}`, Between},
		{"t", "<", 5, 7, `{"t":6}`, Between},
		{"t", "<", 5, 7, `{"t":7}`, Clear},
		{"t", "<=", 5, 5, `{"t":5}`, Broken},
		{"open", "==", 1, 1, `{"open":true}`, Broken},
		{"open", "!=", 0, 0, `{"open":false}`, Clear},
		{"t", ">", 30, 30, `{"h":31}`, Silent},
		{"t", ">", 30, 30, `{"t":null}`, Silent},
		{"t", ">", 30, 30, `{"t":"31"}`, Unusable},
		{"t", ">", 30, 30, `{"t":"NaN"}`, Unusable},
		{"t", ">", 30, 30, `{"t":[31]}`, Unusable},
		{"a.b", ">", 30, 30, `{"a":{"b":31}}`, Broken},
		{"a.b", ">", 30, 30, `{"a.b":1,"a":{"b":31}}`, Clear},
		{"a.b", ">", 30, 30, `{"a":3}`, Silent},
	} {
		r := hot()
		r.Metric, r.Op, r.Value = c.metric, c.op, &c.value
		if c.clear != c.value {
			r.Clear = &c.clear
		}
		condition, err := Compile(&r)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := condition.Judge(sample(t, c.data)); got != c.want {
			t.Errorf("%s %s %v (%v) of %s: got %d, want %d", c.metric, c.op, c.value, c.clear, c.data, got, c.want)
		}
	}
}

func TestCondition_JudgesByExpression(t *testing.T) {
	for text, want := range map[string]Verdict{
		`data.t > 30 and data.h < 50`:                      Broken,
		`data.t > 30 && hour >= 23`:                        Clear,
		`weekday == 0 and hour == 22 and minute == 30`:     Broken,
		`time > 1700000000`:                                Broken,
		`data.mode in ["eco", "off"]`:                      Broken,
		`data.mode == "heat" or data.deep.x - data.t == 1`: Broken,
		`abs(data.t - 21) <= 0.5`:                          Clear,
		`data.nothing > 3`:                                 Silent,
		`data.nothing.more > 3`:                            Silent,
		`(data.nothing ?? 99) > 3`:                         Broken,
		`data.mode > 3`:                                    Unusable,
		`data.t`:                                           Unusable,
		`data["t"] > 30`:                                   Broken,
		`data.mode contains "ec"`:                          Broken,
		`max(data.t, data.h) == 40`:                        Broken,
		`data.on ? data.t > 30 : false`:                    Broken,
	} {
		condition, err := Compile(&telemetry.Rule{Name: "x", Expression: text, Severity: telemetry.SeverityInfo})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, _ := condition.Judge(sample(t, `{"t":31,"h":40,"mode":"eco","on":true,"deep":{"x":32}}`)); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
}

func TestCompile_NamesTheFieldThatIsWrong(t *testing.T) {
	for want, change := range map[string]func(*telemetry.Rule){
		"name":        func(r *telemetry.Rule) { r.Name = "" },
		"metric":      func(r *telemetry.Rule) { r.Metric = "" },
		"op":          func(r *telemetry.Rule) { r.Op = "=" },
		"value":       func(r *telemetry.Rule) { r.Value = nil },
		"clear_value": func(r *telemetry.Rule) { r.Clear = ptr(31) },
		"for_seconds": func(r *telemetry.Rule) { r.For = 8 * 24 * time.Hour },
		"severity":    func(r *telemetry.Rule) { r.Severity = "bad" },
		"expression":  func(r *telemetry.Rule) { *r = telemetry.Rule{Name: "x", Expression: "data.", Severity: "info"} },
	} {
		r := hot()
		change(&r)
		_, err := Compile(&r)
		if field, ok := errors.AsType[*telemetry.FieldError](err); !ok || field.Field != want {
			t.Errorf("got %v, want a mistake in %s", err, want)
		}
	}
}

// What would let a rule take more time or memory than its length says, or reach out of the reading.
func TestExpression_RefusesWhatHasNoBound(t *testing.T) {
	for _, text := range []string{
		`all(data.list, # > 1)`, `any(data.list, true)`, `sum(1..1000000) > 1`, `len(1..1000000) > 1`, `map(data.list, #) == []`,
		`let a = data.s + data.s; let b = a + a; b == "x"`, `data.s matches "(a+)+$"`, `now().Year() > 2000`, `data.s.Foo()`,
		`reduce(data.list, #acc + #) > 1`, `repeat("a", 1000000000) == ""`, `fromJSON(data.s).x`, `data.list[1:] == []`, `{"a": 1}.a == 1`,
		`toJSON(data) == ""`, `get(data, "t") > 1`, `trim(data.s) == ""`, `$env.data.t > 1`, `env.x`, `data.t | abs() > 1; true`, `time.Unix() > 1`,
	} {
		if _, err := Compile(&telemetry.Rule{Name: "x", Expression: text, Severity: telemetry.SeverityInfo}); !errors.Is(err, telemetry.ErrInvalid) {
			t.Errorf("%s: got %v, want it refused", text, err)
		}
	}
}
