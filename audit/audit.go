// Package audit is the trail of who did what to which account or sensor, and of who was refused it.
//
//	api ────────┐
//	            ├──Record──► Trail ──► store          the answer waits for its entry
//	bridge ─────┘                        │
//	              GET /audit ◄──Entries──┘            admins see all, people what concerns them
//
// Invariants:
//
//   - What was answered is in the trail: Record returns when its entry is durable. Where the store fails, what was done stays done; the loss is
//     logged and counted.
//   - An entry says what things were called then, and holds numbers that are never given again: who has a serial or a name later is
//     not shown what came before.
//   - No value of a field is in it that could be a secret: details are names of fields, and words of our own.
//   - What strangers can cause is bounded: what is refused is counted in one entry a minute for each of them, and for no more than a hundred.
//
// Locks: crowd.mu is a leaf, held for memory work only.
package audit

import (
	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Entry is one thing that was done, or refused. It is a value.
type Entry struct {
	Seq     int64 // position in the trail, rising; given by the store
	At      telemetry.Millis
	Action  string // the operation's name, such as "rotate-secret"
	Outcome Outcome
	Count   int64 // how often that was within a minute; 1 unless it was refused or failed

	Actor   Account // who did it; zero: the operator where Via is Shell, a stranger otherwise
	Via     Via
	ViaID   string // of the session or API token
	Address string // where it came from; empty: not known, or the shell

	Sensor  Sensor  // that it was done to; zero: none
	Account Account // the same

	Detail map[string]any // small; nil: nothing to say
}

// Account is a person by number, and by user name as of then.
type Account struct {
	ID   int64
	Name string
}

// Sensor is a sensor by number, and by serial and owner as of then.
type Sensor struct {
	ID      int64
	Serial  string
	OwnerID int64
}

// Outcome is what became of it.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused" // it was not theirs to do, or they could not prove that it was
	Failed  Outcome = "failed"  // the server failed; how far it had come its log says
)

// Via is what the actor proved it was them with.
type Via string

// The ways.
const (
	Nothing Via = ""        // yet: they logged in or registered, or tried to
	Session Via = "session" // that they had logged in
	Token   Via = "token"   // an API token
	Shell   Via = "shell"   // that they may open the server's files
)

// Of is a sensor as an entry names it.
func Of(dev auth.Device) Sensor {
	return Sensor{ID: dev.SensorID, Serial: dev.Serial, OwnerID: dev.OwnerID}
}

// By begins an entry of something that p asks for now.
func By(p auth.Principal, action string) Entry {
	e := Entry{At: telemetry.Now(), Action: action, Count: 1, Actor: Account{ID: p.UserID, Name: p.Username}}
	switch {
	case p.TokenID != "":
		e.Via, e.ViaID = Token, p.TokenID
	case p.SessionID != "":
		e.Via, e.ViaID = Session, p.SessionID
	}
	return e
}

// Parties are the accounts that an entry concerns, each once: who did it, whom it was done to, and whose the sensor was.
func (e *Entry) Parties() []int64 {
	var all []int64
	for _, id := range [...]int64{e.Actor.ID, e.Account.ID, e.Sensor.OwnerID} {
		if id != 0 && (len(all) == 0 || all[0] != id && all[len(all)-1] != id) {
			all = append(all, id)
		}
	}
	return all
}
