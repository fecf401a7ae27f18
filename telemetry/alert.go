package telemetry

import (
	"encoding/json"
	"time"
)

// Alert is an incident: what was wrong with a sensor from one moment to another. A sensor has at most one open incident of a subject.
type Alert struct {
	Order    int64  // the store's number, rising
	ID       string // the public id: 26 lower-case letters and digits, random
	SensorID int64
	Serial   string
	Name     string // of the sensor
	OwnerID  int64  // whom notices of it are for

	Kind     AlertKind
	Cause    Cause
	Severity Severity
	Message  string // in words

	OpenedAt       Millis
	ResolvedAt     Millis // zero: it is open
	AcknowledgedAt Millis // zero: nobody has said that they look after it
	AcknowledgedBy string // user name

	Episodes int  // how often what is wrong began: more than once only while it is flapping
	Flapping bool // it came and went so often that it stays open until it has kept away for a while
}

// AlertKind is what sort of thing is wrong.
type AlertKind string

// The kinds.
const (
	AlertSilent    AlertKind = "silent"    // nothing was heard of the sensor
	AlertThreshold AlertKind = "threshold" // what it measured broke a rule
)

// AlertState is whether an incident is over.
type AlertState string

// The states.
const (
	AlertOpen     AlertState = "open"
	AlertResolved AlertState = "resolved"
)

// Severity is how much an incident matters.
type Severity string

// The severities.
const (
	SeverityInfo     Severity = "info"
	SeverityWarning  Severity = "warning"
	SeverityCritical Severity = "critical"
)

// Graver returns the one that matters more.
func Graver(a, b Severity) Severity {
	for _, s := range []Severity{SeverityCritical, SeverityWarning} {
		if a == s || b == s {
			return s
		}
	}
	return SeverityInfo
}

// KeepResolved is how long incidents are kept after they were resolved.
const KeepResolved = 90 * 24 * time.Hour

// State tells whether the incident is over.
func (a *Alert) State() AlertState {
	if a.ResolvedAt != 0 {
		return AlertResolved
	}
	return AlertOpen
}

// MarshalJSON writes the incident as everybody is shown it: REST, frames, MQTT and notices alike.
func (a Alert) MarshalJSON() ([]byte, error) {
	var by *string
	if a.AcknowledgedBy != "" {
		by = &a.AcknowledgedBy
	}
	return json.Marshal(struct {
		ID             string     `json:"id"`
		Serial         string     `json:"serial_no"`
		Name           string     `json:"name"`
		Kind           AlertKind  `json:"kind"`
		Cause          Cause      `json:"cause"`
		Severity       Severity   `json:"severity"`
		State          AlertState `json:"state"`
		Message        string     `json:"message"`
		OpenedAt       Millis     `json:"opened_at"`
		ResolvedAt     Millis     `json:"resolved_at"`
		AcknowledgedAt Millis     `json:"acknowledged_at"`
		AcknowledgedBy *string    `json:"acknowledged_by"`
		Flapping       bool       `json:"flapping"`
		Episodes       int        `json:"episodes"`
	}{
		a.ID, a.Serial, a.Name, a.Kind, a.Cause, a.Severity, a.State(), a.Message, a.OpenedAt, a.ResolvedAt, a.AcknowledgedAt, by,
		a.Flapping, a.Episodes,
	})
}

// Called is the sensor as people call it.
func (a *Alert) Called() string {
	if a.Name == "" || a.Name == a.Serial {
		return a.Serial
	}
	return a.Name + " (" + a.Serial + ")"
}

// Title says in a few words how things stand.
func (a *Alert) Title() string {
	switch silent := a.Kind == AlertSilent; {
	case silent && a.ResolvedAt != 0:
		return a.Called() + " is back"
	case a.ResolvedAt != 0:
		return a.Called() + " is well again"
	case silent && a.Flapping:
		return a.Called() + " keeps falling silent"
	case silent:
		return a.Called() + " is silent"
	}
	return a.Called() + " needs a look"
}

// Event is one thing that happened to a sensor.
type Event struct {
	Order   int64 // among events of one moment
	At      Millis
	What    string // created, silent, online, opened, resolved, acknowledged
	AlertID string // the public id of the incident it belongs to; empty: none
	Text    string // of an incident its message, of an acknowledgement who gave it
}
