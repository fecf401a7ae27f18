package alert

import "sync/atomic"

type ruleCounters struct {
	rules, sensors, holding                      atomic.Int64
	readings, late, unusable, previews, failures atomic.Int64
}

// RuleStats are counts since the start, except where they say "now".
type RuleStats struct {
	Readings int64 // judged
	Late     int64 // older than one judged before, which moves nothing
	Unusable int64 // values that cannot be compared: texts, lists
	Previews int64
	Failures int64 // times the store could not be asked or written

	RulesNow   int // that are known
	SensorsNow int // that are judged by any
	HoldingNow int // pairs of a rule and a sensor it holds for, with an incident or not yet
}

// Stats returns the present figures.
func (r *Rules) Stats() RuleStats {
	c := &r.counters
	return RuleStats{
		Readings: c.readings.Load(), Late: c.late.Load(), Unusable: c.unusable.Load(), Previews: c.previews.Load(), Failures: c.failures.Load(),
		RulesNow: int(c.rules.Load()), SensorsNow: int(c.sensors.Load()), HoldingNow: int(c.holding.Load()),
	}
}
