// Package command is the outbox of what people ask of their sensors: it keeps each command until its sensor has it, hours or days later,
// and what the sensor answered.
//
//	api, bridge ──Create──► Outbox ──committer──► store
//	                          │ CommandQueued
//	                          ▼
//	broker ──Next──► sensors/{serial}/commands ──────────────► sensor
//	broker ──Delivered──◄── its PUBACK ──────────────────────────┤
//	broker ──Answered───◄── sensors/{serial}/commands/reply ─────┘
//
// Invariants:
//
//   - What Create returned is durable, and Next offers it until the sensor has acknowledged it or it has expired: at least once, whatever
//     stops in between. Likewise what Delivered and Answered returned nil for.
//   - Order rises with the commits: who sees a command sees every earlier one of its sensor. Asking Next for what comes after the last
//     one sent therefore misses none and keeps the order.
//   - From the millisecond ExpiresAt on a command is expired for everybody who asks, written down or not. Only the sensor's own word, which
//     proves that it got the command in time, is worth more than the clock.
//   - Whether something waits for a sensor is answered from memory, so 10,000 sensors that reconnect cost no read of the database, and
//     what they acknowledge is written in groups: one transaction takes all that came while the last one was being written.
//   - The policy is asked, in memory, before the store; what is unknown and what is someone else's end alike.
//
// Locks: Outbox.mu guards the counts of what waits and the watchers. It is a leaf, held for memory work only.
package command

import (
	"bytes"
	"encoding/json"

	"sensorcast/telemetry"
)

// Command is one thing a person asked a sensor to do. It is a value; Data and Reply are shared and must never be written to.
type Command struct {
	ID          string // public: 26 lower-case letters and digits, random
	Order       int64  // position among all commands, rising, with holes; given by the store, never given twice
	SensorID    int64
	Serial      string
	Name        string
	Data        json.RawMessage // any JSON, compact
	State       State
	CreatedAt   telemetry.Millis
	CreatedBy   string // the user name of who asked
	ExpiresAt   telemetry.Millis
	DeliveredAt telemetry.Millis // when the sensor acknowledged it; zero: not yet
	AnsweredAt  telemetry.Millis // when its reply came; zero: not yet
	Reply       json.RawMessage  // the whole reply, compact; nil: none
}

// State is how far a command has come.
type State string

// The states. A command begins as Queued; Answered and Failed are for ever.
const (
	Queued    State = "queued"    // waits for its sensor
	Delivered State = "delivered" // acknowledged by the sensor, which may or may not reply
	Answered  State = "answered"  // replied to with ok true
	Failed    State = "failed"    // replied to with ok false
	Expired   State = "expired"   // its time ran out before the sensor acknowledged it
)

// Known reports whether s is one of the states.
func (s State) Known() bool {
	switch s {
	case Queued, Delivered, Answered, Failed, Expired:
		return true
	}
	return false
}

// Follows reports whether a command may move from was to s. The first reply counts. An acknowledgement or reply that was under way when the
// time ran out counts too: what the sensor got it got.
func (s State) Follows(was State) bool {
	switch s {
	case Expired:
		return was == Queued
	case Delivered:
		return was == Queued || was == Expired
	case Answered, Failed:
		return was == Queued || was == Expired || was == Delivered
	}
	return false
}

// StateAt is the state at now: a queued command is expired from ExpiresAt on, before that is written down.
func (c *Command) StateAt(now telemetry.Millis) State {
	if c.State == Queued && now >= c.ExpiresAt {
		return Expired
	}
	return c.State
}

// Message is what is published to the sensor: {"id","name","data"}.
func (c *Command) Message() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // data goes out as it came in
	_ = enc.Encode(struct {
		ID   string          `json:"id"`
		Name string          `json:"name"`
		Data json.RawMessage `json:"data"`
	}{c.ID, c.Name, c.Data}) // two strings and checked JSON always marshal
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
