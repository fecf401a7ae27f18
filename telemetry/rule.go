package telemetry

import "time"

// Rule says what must not be measured. It judges the readings of one sensor, or of all with a tag, as long as its maker may manage them.
type Rule struct {
	Order    int64  // the store's number, rising
	ID       string // the public id: 26 lower-case letters and digits, random
	Revision int64  // rises with each change of what it watches for
	UserID   int64  // who made it

	Name     string
	SensorID int64  // zero: those with Tag
	Serial   string // of that sensor
	Tag      string

	Metric     string   // dotted: a.b is b in the object a, unless there is a metric of that very name; empty: Expression decides
	Op         string   // >, >=, <, <=, ==, !=
	Value      *float64 // what Metric is compared with
	Clear      *float64 // it is over once the comparison with this does not hold either; nil: with Value
	Expression string

	For       time.Duration // how long it must hold before it is an incident
	Severity  Severity
	Enabled   bool
	CreatedAt Millis
	UpdatedAt Millis
}

// RuleQuery selects a page of a person's rules, oldest first.
type RuleQuery struct {
	UserID int64
	Beyond int64 // only those of a higher Order
	Limit  int   // at most this many, > 0
}

// RulePair is a rule and a sensor whose readings it judges.
type RulePair struct{ Rule, Sensor int64 }

// RuleCover is a pair as the store finds it.
type RuleCover struct {
	RulePair
	Serial string
}

// RuleHold is a pair whose rule holds, for not long enough yet, or with an incident.
type RuleHold struct {
	RulePair
	Revision int64   // of the rule that judged; not filled in by the store
	Since    Millis  // arrival of the first reading it holds for; zero: there is an incident
	Value    float64 // measured then
}

// RuleStep is what readings make of a pair: an incident that opens, or ends.
type RuleStep struct {
	RulePair
	Revision int64  // of the rule that judged
	Opens    bool   // false: it ends
	At       Millis // when
	Severity Severity
	Message  string
}

// RuleJudgement is what a stretch of the log has made of rules.
type RuleJudgement struct {
	Through int64      // the Seq up to which everything is judged
	Steps   []RuleStep // in their order
	Waiting []RuleHold // pairs that hold for not long enough yet and did not, as of Through
	Over    []RulePair // pairs that waited and do no more
}

// RulePreview is what a rule would have done.
type RulePreview struct {
	From      Millis // what arrived before is not looked at
	Sensors   int    // that it would judge
	Readings  int    // that were looked at
	Fired     int    // incidents it would have opened
	Times     []RuleFiring
	Truncated bool // not all was looked at
}

// RuleFiring is an incident that would have been.
type RuleFiring struct {
	Serial   string
	From, To Millis // To zero: it would be open now
}
