package auth

import (
	"context"
	"fmt"

	"sensorcast/telemetry"
)

// ErrReused says that a refresh token was presented again after its time: somebody holds a copy, so the whole session is over.
var ErrReused = fmt.Errorf("refresh token was used before: %w", telemetry.ErrUnauthenticated)

// ReusedError is ErrReused with the account whose session it was.
type ReusedError struct{ UserID int64 }

// Error is that of ErrReused.
func (e *ReusedError) Error() string { return ErrReused.Error() }

// Unwrap returns ErrReused.
func (e *ReusedError) Unwrap() error { return ErrReused }

// Session is one login of a person. Its refresh tokens rotate inside it (they are its family); it ends by logout, reuse or expiry.
type Session struct {
	ID        string // 26 lower-case letters and digits, random
	UserID    int64
	CreatedAt telemetry.Millis
	ExpiresAt telemetry.Millis // absolute: refreshing does not move it
	LastUse   Use              // the login, or the newest refresh
}

// Use is when and from where a session was opened or refreshed.
type Use struct {
	At      telemetry.Millis
	Address string // empty: unknown
	Client  string // what the client called itself, cut; empty: nothing
}

// Sessions is what package auth needs of the store for sessions. All methods are safe for concurrent use, atomic, and durable when they return nil.
type Sessions interface {
	// CreateSession stores s with the hash of its first refresh token, unspent.
	CreateSession(ctx context.Context, s Session, refreshHash []byte) error

	// RotateRefresh spends the refresh token whose hash is old and adds next, unspent, to the same session. In one transaction, now being
	// use.At:
	//
	//	old unknown, its session ended, or now ≥ ExpiresAt     → telemetry.ErrUnauthenticated (not ErrReused); nothing changes
	//	old unspent                                            → spent, with grace until graceUntil; next added as its successor
	//	old spent, now < its grace, no successor of it spent   → next added as one more successor of old (a sibling); its grace stays as it was
	//	old spent otherwise                                    → the session ends at now; the session and ErrReused
	//
	// So a lost reply can be repeated, two tabs that refresh at once both go on with a successor of their own, each sibling rotates further like
	// any token and is recognised when it comes again, and a token whose successor has been used is never accepted. Spent hashes are remembered
	// for at least a day; a forgotten one is unknown. The session is returned with nil, use being its last, and with ErrReused, its last use as it was.
	RotateRefresh(ctx context.Context, old, next []byte, use Use, graceUntil telemetry.Millis) (Session, error)

	// LiveSessions returns those sessions of the account that have neither ended nor expired at now, newest login first and among those of one
	// instant by id, descending: at most limit of them (at least one), after the session of that place; the zero Session starts at the newest.
	LiveSessions(ctx context.Context, userID int64, now telemetry.Millis, after Session, limit int) ([]Session, error)

	// LiveSession returns the session of that id when it is one LiveSessions would list; telemetry.ErrNotFound.
	LiveSession(ctx context.Context, userID int64, now telemetry.Millis, id string) (Session, error)

	// EndSession ends the session; its refresh tokens are worthless from then on. Ending an ended or unknown one is no error and moves no time.
	EndSession(ctx context.Context, id string, at telemetry.Millis) error

	// EndSessions ends every live session of the account but except ("" for none) and returns the ids of those it ended.
	EndSessions(ctx context.Context, userID int64, except string, at telemetry.Millis) ([]string, error)

	// EndedSince returns the sessions ended at or after since, by id, with when; also those of accounts deleted since. It refills the list of
	// dead sessions at boot, so an access token that outlives its session does not come back to life with a restart.
	EndedSince(ctx context.Context, since telemetry.Millis) (map[string]telemetry.Millis, error)

	// SpendToken notes that the token of that id, which would be good until expires, was used. Of all calls with one id, over restarts too,
	// the first is told so. It may be forgotten once it has expired.
	SpendToken(ctx context.Context, id string, expires telemetry.Millis) (first bool, err error)
}
