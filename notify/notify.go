// Package notify is how people are told: it carries each notice of an alert to the channels its owner set up, and keeps at it until it
// arrived or a day has passed.
//
//	alert ──notices, in the transaction of the incident──► store
//	                                                         │ NewNotices, FanOut        every new notice × its owner's channels
//	                                                         ▼
//	Desk ──Run──► lanes (per host) ── one channel at a time ── guarded client ──► webhook, ntfy, Telegram, Slack, …
//	                                                       └── Postman ─────────► e-mail
//	                                                         │ Settle
//	                                                         ▼
//	                                                       store
//
// Invariants:
//   - A notice is fanned out exactly once, and what was fanned out is sent at least once or has failed in writing, whatever stops in between.
//     A notice has one id for ever, which is how a receiver tells a repetition.
//   - Within a channel notices go in order: while one is tried again the later ones wait behind it. Only what is critical overtakes those
//     that quiet hours hold back, which are summed up in one message after.
//   - Nobody is told of a sensor they may not view at that moment, whatever held when it happened.
//   - No connection is made to an address that is not public, unless the operator allowed its network (guard.go). It is judged when it is
//     dialled, so no spelling of a URL, no name server and no redirect gets around it.
//   - What a channel's address holds is sealed at rest and shown to nobody, not even its owner, after it was set. Errors are put in our own
//     words (outcome.go): what libraries say may repeat a URL.
//   - A receiver that hangs, is slow or is down costs others nothing: each host has two places at most, and none while its circuit is open.
//
// Locks: Desk.mu guards what is under way; it is a leaf, held for memory work only.
package notify

import (
	"encoding/json"
	"time"

	"sensorcast/telemetry"
)

// Severity is how grave a matter is, and of a channel how grave it must be.
type Severity string

// The severities, mildest first.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical" // gets through quiet hours
)

// Known reports whether s is one of the severities.
func (s Severity) Known() bool { return s == Info || s == Warning || s == Critical }

// AtLeast reports whether s is as grave as least. A severity of a newer server's is taken for a warning.
func (s Severity) AtLeast(least Severity) bool { return s.rank() >= least.rank() }

func (s Severity) rank() int {
	switch s {
	case Info:
		return 0
	case Critical:
		return 2
	}
	return 1
}

// Notice is something an owner is to be told. Who wrote it did so in the transaction of what it tells.
type Notice struct {
	ID        int64  // the store's, rising
	UID       string // public, and the same however often it is sent
	What      string // opened, resolved, reminder, digest
	OwnerID   int64
	SensorID  int64  // zero: of no single sensor
	Serial    string // of that sensor as of now; empty: it is gone
	Severity  Severity
	Title     string
	Body      string          // plain text, may be lines
	Data      json.RawMessage // an object, for machines
	CreatedAt telemetry.Millis
}

// State is how far a delivery has come.
type State string

// The states. A delivery begins as Waiting; the others are for ever.
const (
	Waiting State = "waiting"
	Sent    State = "sent"
	Failed  State = "failed" // given up; the delivery's Error says why
)

// Delivery is one notice on its way to one channel.
type Delivery struct {
	ID        int64 // rising with the notices of a channel
	ChannelID int64
	Notice    Notice
	State     State
	Attempts  int
	DueAt     telemetry.Millis // not to be sent before: the end of the quiet hours it is held back by; zero: it is not
	SettledAt telemetry.Millis // when it was sent or given up; zero: not yet
	Error     string           // why the last attempt failed, in words
}

// Bounds on what is kept.
const (
	MaxChannels = 20                  // of one person
	KeepSettled = 30 * 24 * time.Hour // a delivery that waits no longer is deleted after this
)
