package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Keeper makes entries durable; package store implements it.
type Keeper interface {
	// AppendEntry stores e. Where bucket is not empty and an entry of the same bucket is there, that one's Count rises in its place.
	// When it returns nil the entry will survive a power cut.
	AppendEntry(ctx context.Context, e Entry, bucket string) error
	// Entries returns those that q selects, newest first.
	Entries(ctx context.Context, q Query) ([]Entry, error)
}

// Query selects entries. Zero fields select all.
type Query struct {
	Party    int64  // only what concerns this account
	Actor    string // user name, as of then
	Serial   string // as of then
	SensorID int64
	Action   string
	From, To telemetry.Millis // From ≤ At < To
	Beyond   int64            // continue behind this Seq; zero: from the newest
	Limit    int              // at most this many, > 0
}

// recordTimeout bounds how long an answer waits for its entry.
const recordTimeout = 5 * time.Second

// Trail writes entries down. All methods are safe for concurrent use; it starts no goroutine and needs no closing.
type Trail struct {
	keeper  Keeper
	log     *slog.Logger
	crowd   crowd
	written atomic.Int64
	lost    atomic.Int64
}

// Stats counts entries since the start.
type Stats struct {
	Written int64
	Lost    int64 // the store did not take them; each is in the log
}

// New returns a trail that keeper keeps.
func New(keeper Keeper, log *slog.Logger) *Trail {
	return &Trail{keeper: keeper, log: log.With("component", "audit")}
}

// Judge says what an entry has to say of something that ended in err, and whether it is worth one: mistakes of the input and what the server
// had no time for changed nothing.
func Judge(err error) (o Outcome, worth bool) {
	switch {
	case err == nil:
		return Done, true
	case errors.Is(err, telemetry.ErrForbidden), errors.Is(err, telemetry.ErrUnauthenticated), errors.Is(err, auth.ErrWrongPassword):
		return Refused, true
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "", false
	}
	for _, kind := range []error{telemetry.ErrInvalid, telemetry.ErrNotFound, telemetry.ErrConflict, telemetry.ErrTooMany, telemetry.ErrUnavailable} {
		if errors.Is(err, kind) {
			return "", false
		}
	}
	return Failed, true
}

// Record writes e down and returns when it is durable, or lost: then that is logged and counted. It goes on when ctx ends, for what e
// tells of has happened, but no longer than five seconds.
func (t *Trail) Record(ctx context.Context, e Entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	bucket := t.crowd.bucket(&e)
	if err := t.keeper.AppendEntry(ctx, e, bucket); err != nil {
		t.lost.Add(1)
		t.log.Error("audit entry lost", "action", e.Action, "outcome", e.Outcome, "user", e.Actor.ID, "via", e.Via,
			"remote", e.Address, "sensor", e.Sensor.Serial, "account", e.Account.ID, "err", err)
		return
	}
	t.written.Add(1)
}

// Entries returns those that q selects, newest first. Who may see them is the caller's matter.
func (t *Trail) Entries(ctx context.Context, q Query) ([]Entry, error) {
	return t.keeper.Entries(ctx, q)
}

// Stats returns the counters. It never blocks.
func (t *Trail) Stats() Stats { return Stats{Written: t.written.Load(), Lost: t.lost.Load()} }
