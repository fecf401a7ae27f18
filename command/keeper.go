package command

import (
	"context"

	"sensorcast/telemetry"
)

// Keeper makes commands durable; package store implements it. Its errors are of kind telemetry.ErrUnavailable when trying again may help.
type Keeper interface {
	// CommitCommands takes the steps, in their order, in one transaction, and fills in what came of each. When it returns nil they will
	// survive a power cut; otherwise none was taken. Calls do not overlap.
	CommitCommands(ctx context.Context, steps []*Step) error
	// ExpireCommands moves queued commands whose ExpiresAt has come, at most limit, to Expired. It returns how many of each sensor those
	// were, and when the next of the others expires, zero when none waits.
	ExpireCommands(ctx context.Context, now telemetry.Millis, limit int) (expired map[int64]int, next telemetry.Millis, err error)
	// Commands returns those that q selects.
	Commands(ctx context.Context, q Query) ([]Command, error)
	// WaitingCommands counts the queued commands of each sensor that has any.
	WaitingCommands(ctx context.Context) (map[int64]int, error)
}

// Step is one change in the life of a command. Command.State says which: Queued adds Command; the others move the command of that SensorID
// and ID on, where State.Follows allows it, and set the times and the reply that are given here and not there yet.
type Step struct {
	Command Command
	At      telemetry.Millis

	// What came of it, for the Keeper to fill in, as it does Command.Order of a new one.
	Found bool  // the sensor of a new command, or the command, is there
	Taken bool  // something was changed
	Was   State // the state before; empty for a new one
}

// Query selects commands of one sensor.
type Query struct {
	SensorID    int64
	State       State            // as of Now; empty: all
	Now         telemetry.Millis // the instant State is judged at
	OldestFirst bool
	Beyond      int64 // continue behind this Order, in the asked direction; zero: from the start
	Limit       int   // at most this many, > 0
}
