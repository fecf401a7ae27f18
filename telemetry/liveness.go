package telemetry

import "time"

// Liveness is what silence is judged by.
type Liveness struct {
	SensorID     int64
	Serial       string // empty where many are listed
	LastSeenAt   Millis
	SilentFrom   Millis        // as in Status
	SilenceAfter time.Duration // zero: the server's default
	Learned      bool          // it goes by its Cadence, once there is one
	Cadence      Cadence       // as last kept; only where many are listed
}

// State is Status.State.
func (l *Liveness) State() State {
	s := Status{LastSeenAt: l.LastSeenAt, SilentFrom: l.SilentFrom}
	return s.State()
}

// Cadence is the rhythm a sensor was found to have.
type Cadence struct {
	Gaps    int           // between readings, that it was learned from; more than some are not counted
	Typical time.Duration // a gap as it usually is
	Long    time.Duration // but for a few in a hundred, no gap is longer
}

// Opening is what it takes to open incidents in the store.
type Opening struct {
	At        Millis
	Etiquette Etiquette

	// Explain says why the sensor is silent, and all there is to say of it in words. It is called within the transaction, of sensors that are
	// found silent just then, and touches memory only.
	Explain func(l *Liveness) (Cause, string)
}

// Return is a sensor that was silent and sent something at that time.
type Return struct {
	SensorID int64
	At       Millis
}

// Heartbeat is what a server that ran before left behind for telling, at the next start, how long nobody listened.
type Heartbeat struct {
	At         Millis // the last sign of life; zero: none yet
	SteppedAt  Millis // just after the wall clock last ran ahead, by a correction or while the machine slept; zero: it never did
	GraceUntil Millis // until when no sensor was to be found silent
}
