package alert

import (
	"context"
	"fmt"
	"time"

	"sensorcast/telemetry"
)

// Door knows how sensors stand with the door they come through; *broker.Broker does.
type Door interface {
	// Standing tells of one sensor. It touches memory only and never blocks.
	Standing(serial string) telemetry.Standing
}

// Consult sets the door that is asked why a sensor is silent. It is called while the program is wired up.
func (w *Watch) Consult(d Door) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.door = d
}

// Suspect sets who is asked, before sensors are blamed, why the server itself would not hear them; nil says that it does. It may take some
// seconds. It is called while the program is wired up.
func (w *Watch) Suspect(hears func(context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hears = hears
}

// explain says why a sensor is silent, as things stand at this moment. Nothing is guessed: what happened before its last reading did not
// make it silent, and what happened before our start nobody remembers.
func (w *Watch) explain(l *telemetry.Liveness, now telemetry.Millis) (telemetry.Cause, string) {
	w.mu.Lock()
	door, span, usual := w.door, w.normally.duration(), ""
	if e := w.roll.find(l.SensorID); e != nil {
		span = w.spanOf(e).duration()
		if e.learned && e.rhythm.Known() {
			usual = usually(e.rhythm.Typical())
		}
	}
	started := w.started
	w.mu.Unlock()
	var s telemetry.Standing
	if door != nil {
		s = door.Standing(l.Serial)
	}
	message := "no reading for " + telemetry.InWords(span) + usual
	cause, words := causeOf(s, l.LastSeenAt, started, now)
	if words != "" {
		message += "; " + words
	}
	return cause, message
}

// causeOf judges by what came last.
func causeOf(s telemetry.Standing, seen, started, now telemetry.Millis) (telemetry.Cause, string) {
	gone, refusal := s.Departure, s.LastRefusal
	switch {
	case s.Connected:
		return telemetry.CauseNoData, "it is connected all the same"
	case refusal != nil && refusal.At >= max(seen, gone.At):
		return telemetry.CauseRefused, fmt.Sprintf("it was not let in at %s: %s", clockTime(refusal.At, now), refusal.Reason)
	case gone.At != 0 && gone.At >= seen:
		return gone.Cause, departed(gone, now)
	case seen < started:
		return telemetry.CauseNotBack, "it has not come back since the server was started at " + clockTime(started, now)
	}
	return telemetry.CauseUnknown, ""
}

func departed(d telemetry.Departure, now telemetry.Millis) string {
	at := clockTime(d.At, now)
	switch d.Cause {
	case telemetry.CauseDisconnected:
		return "it disconnected at " + at
	case telemetry.CauseKeepAlive:
		return "its connection was lost (keep-alive) at " + at
	case telemetry.CauseWill:
		return fmt.Sprintf("its connection was lost at %s, its will says %q", at, d.Detail)
	case telemetry.CauseClosed:
		return fmt.Sprintf("the server closed its connection at %s: %s", at, d.Detail)
	}
	return "its connection was lost at " + at
}

// clockTime prints a time in UTC, with its day where that is not today.
func clockTime(at, now telemetry.Millis) string {
	t := at.Time()
	if t.Truncate(24 * time.Hour).Equal(now.Time().Truncate(24 * time.Hour)) {
		return t.Format("15:04 UTC")
	}
	return t.Format("15:04 UTC on 2 January")
}

// usually is what is said of a rhythm.
func usually(typical time.Duration) string {
	return ", usually there is one every " + telemetry.InWords(typical)
}
