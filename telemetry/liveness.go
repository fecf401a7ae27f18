package telemetry

import "time"

// Liveness is what silence is judged by.
type Liveness struct {
	SensorID     int64
	Serial       string // empty where many are listed
	LastSeenAt   Millis
	SilentFrom   Millis        // as in Status
	SilenceAfter time.Duration // zero: the server's default
}

// State is Status.State.
func (l *Liveness) State() State {
	s := Status{LastSeenAt: l.LastSeenAt, SilentFrom: l.SilentFrom}
	return s.State()
}

// Heartbeat is what a server that ran before left behind for telling, at the next start, how long nobody listened.
type Heartbeat struct {
	At         Millis // the last sign of life; zero: none yet
	SteppedAt  Millis // just after the wall clock last ran ahead, by a correction or while the machine slept; zero: it never did
	GraceUntil Millis // until when no sensor was to be found silent
}
