package alert

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"sensorcast/telemetry"
)

// drawer is a Rulebook of rules over all sensors up to a number, and of a log that repeats one reading.
type drawer struct {
	Rulebook
	rules   int
	sensors int64
}

func (d drawer) RulesOf(context.Context, []int64) (all []telemetry.Rule, _ error) {
	for i := range d.rules {
		r := *hot(0)
		r.Order, r.Value = int64(i+1), number(float64(100+i))
		all = append(all, r)
	}
	return all, nil
}

func (d drawer) Coverage(context.Context, []int64, []int64) (all []telemetry.RuleCover, _ error) {
	for sensor := range d.sensors {
		for rule := range d.rules {
			all = append(all, telemetry.RuleCover{RulePair: telemetry.RulePair{Rule: int64(rule + 1), Sensor: sensor + 1}})
		}
	}
	return all, nil
}

func (drawer) RuleHolds(context.Context) ([]telemetry.RuleHold, int64, error) { return nil, 0, nil }

func (drawer) Readings(context.Context, telemetry.ReadingQuery) ([]telemetry.Reading, error) {
	return nil, nil
}

func (drawer) LastSeq() int64 { return 0 }

func judges(b *testing.B, rules int, sensors int64) *Rules {
	b.Helper()
	w := New(Config{}, fleet{}, nil, slog.New(slog.DiscardHandler))
	r := NewRules(drawer{rules: rules, sensors: sensors}, w, slog.New(slog.DiscardHandler))
	if err := r.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkRules_ObserveOthers is what a reading costs whose sensor no rule judges, beside 10,000 that one does.
func BenchmarkRules_ObserveOthers(b *testing.B) {
	r := judges(b, 1, 10_000)
	reading := telemetry.Reading{SensorID: 20_000, Seq: 1}
	b.ReportAllocs()
	for b.Loop() {
		r.Observe([]telemetry.Reading{reading})
	}
}

// BenchmarkRules_Judge is what a reading costs that rules judge and none breaks, the look into the store left out.
func BenchmarkRules_Judge(b *testing.B) {
	for _, rules := range []int{1, 10, 1000} {
		b.Run(fmt.Sprint(rules), func(b *testing.B) {
			r := judges(b, rules, 1)
			page := []telemetry.Reading{{SensorID: 1, Data: []byte(`{"t":21.5,"h":40,"battery":{"v":3.1}}`)}}
			b.ReportAllocs()
			for seq := int64(1); b.Loop(); seq++ {
				page[0].Seq, page[0].Time = seq, telemetry.Millis(seq)
				if err := r.judgePage(b.Context(), page, seq); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
