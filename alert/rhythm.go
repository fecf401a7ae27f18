package alert

import (
	"context"

	"sensorcast/telemetry"
)

const (
	maxMoved     = 10_000 // rhythms waiting to be written down; beyond it they wait in their sensors
	keepAtOnce   = 500    // written in one transaction
	gapTolerance = 2 * pulse
)

// heardLocked notes that the sensor was heard.
func (w *Watch) heardLocked(e *entry, r *telemetry.Reading) {
	if w.now != e.at { // what comes within one pulse is one burst
		w.learnLocked(e, r)
	}
	e.seen, e.at = r.ReceivedAt, w.now
}

// learnLocked learns from the gap before the reading, if that is the sensor's: not where we did not listen for a part of it, nor where the
// wall clock was set in it.
func (w *Watch) learnLocked(e *entry, r *telemetry.Reading) {
	if e.seen == 0 || e.at <= w.graceFrom {
		return
	}
	gap, passed := r.ReceivedAt.Sub(e.seen), (w.now - e.at).duration()
	if d := gap - passed; gap <= 0 || d > gapTolerance || d < -gapTolerance {
		return
	}
	if !e.rhythm.Learn(gap) || len(w.moved) >= maxMoved {
		return
	}
	e.rhythm.Keep()
	w.moved = append(w.moved, r.SensorID)
	if !e.learned || e.due == 0 {
		return
	}
	e.at = w.now
	if at := w.deadlineOf(e); at < e.due { // what came first is found when it comes; what comes earlier than thought has to be told the heap
		w.awaitLocked(e, r.SensorID, at)
	}
}

// spanOf is how long the sensor may be silent.
func (w *Watch) spanOf(e *entry) tenths {
	span := e.silence
	switch {
	case e.learned && e.rhythm.Known():
		span = spanOf(e.rhythm.Silence())
	case span == 0:
		span = w.normally
	}
	w.longest = max(w.longest, span)
	return span
}

// Cadence returns a sensor's rhythm; known is false until there is one. It touches memory only.
func (w *Watch) Cadence(sensorID int64) (c telemetry.Cadence, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.roll.find(sensorID)
	if e == nil || !e.rhythm.Known() {
		return telemetry.Cadence{}, false
	}
	return cadenceOf(e), true
}

func cadenceOf(e *entry) telemetry.Cadence {
	return telemetry.Cadence{Gaps: e.rhythm.Gaps(), Typical: e.rhythm.Typical(), Long: e.rhythm.Long()}
}

// keepRhythms writes down those that have moved. One that could not be written is so when its sensor is heard again.
func (w *Watch) keepRhythms(ctx context.Context) {
	for {
		some := w.takeMoved()
		if len(some) == 0 {
			return
		}
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatTimeout)
		err := w.keeper.KeepCadences(limited, some)
		cancel()
		if err == nil {
			w.counters.rhythms.Add(int64(len(some)))
			continue
		}
		w.counters.failures.Add(1)
		w.log.Warn("rhythms of sensors not kept", "err", err)
		w.mu.Lock()
		for id := range some {
			if e := w.roll.find(id); e != nil {
				e.rhythm.Forget()
			}
		}
		w.mu.Unlock()
		return
	}
}

func (w *Watch) takeMoved() map[int64]telemetry.Cadence {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.moved), keepAtOnce)
	some := make(map[int64]telemetry.Cadence, n)
	for _, id := range w.moved[:n] {
		if e := w.roll.find(id); e != nil {
			some[id] = cadenceOf(e)
		}
	}
	if w.moved = w.moved[n:]; len(w.moved) == 0 {
		w.moved = nil
	}
	return some
}
