package rule

import "sensorcast/telemetry"

// Phase is how a sensor stands with a rule.
type Phase uint8

// The phases.
const (
	Calm    Phase = iota
	Waiting       // the rule holds, and has not for long enough
	Firing        // there is an incident
)

// State is what is remembered of a sensor by one rule. The zero State is calm.
type State struct {
	Phase Phase
	Since telemetry.Millis // arrival of the first reading the rule holds for, without a break; while Waiting
	Value float64          // measured last, of those it holds for
}

// Step is what a verdict does to an incident.
type Step uint8

// The steps.
const (
	None Step = iota
	Opens
	Ends
)

// After returns the state after a reading that arrived at that time. A rule that need not hold for any time fires at once. Whether one that waits
// has waited for long enough is the caller's to see, before the next reading and when the time has come.
func (s State) After(v Verdict, value float64, at telemetry.Millis, atOnce bool) (State, Step) {
	switch {
	case v == Broken && s.Phase == Calm && atOnce:
		return State{Phase: Firing, Since: at, Value: value}, Opens
	case v == Broken && s.Phase == Calm:
		return State{Phase: Waiting, Since: at, Value: value}, None
	case v == Broken:
		s.Value = value
	case v == Clear && s.Phase == Firing:
		return State{}, Ends
	case (v == Clear || v == Between) && s.Phase == Waiting:
		return State{}, None
	}
	return s, None
}

// Fired is a waiting state when the time has come.
func (s State) Fired() State {
	s.Phase = Firing
	return s
}
