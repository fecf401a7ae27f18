package alert

import (
	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Observe implements ingest.Observer: the readings' sensor is online. If it was not, watchers hear of that before Observe returns, so
// before observers that come after the Watch see the readings. What came together is one sign of life.
func (w *Watch) Observe(rs []telemetry.Reading) {
	r := &rs[len(rs)-1]
	w.mu.Lock()
	if e := w.roll.find(r.SensorID); e != nil && e.state == online {
		w.heardLocked(e, r)
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	w.comeBack(r)
}

func (w *Watch) comeBack(r *telemetry.Reading) {
	w.steps.Lock()
	defer w.steps.Unlock()
	w.mu.Lock()
	e := w.roll.find(r.SensorID)
	if e == nil {
		// New, and its announcement is still to come; or deleted while the reading was on its way, and not to be brought back.
		if e = w.enterLocked(r.Serial, r.SensorID); e == nil {
			w.mu.Unlock()
			return
		}
	}
	was := e.state
	w.heardLocked(e, r)
	if was == silent {
		w.returnedLocked(r.SensorID, r.ReceivedAt)
	}
	if was != online {
		w.moveLocked(e, online)
		w.awaitLocked(e, r.SensorID, w.deadlineOf(e))
	}
	w.mu.Unlock()
	if was != online {
		w.tellLocked(telemetry.StateChange{SensorID: r.SensorID, Serial: r.Serial, State: telemetry.StateOnline, LastSeenAt: r.ReceivedAt})
	}
}

// AuthorityChanged implements auth.Watcher: it follows the registry.
func (w *Watch) AuthorityChanged(c auth.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch c.Kind {
	case auth.SensorAdded, auth.SensorChanged:
		if e := w.enterLocked(c.Serial, c.SensorID); e != nil {
			e.silence, e.learned = spanOf(c.SilenceAfter), c.SilenceLearned
			if at := w.deadlineOf(e); e.due > at { // when it is later, that shows when the earlier one comes
				w.awaitLocked(e, c.SensorID, at)
			}
		}
	case auth.SensorRemoved:
		if e := w.roll.find(c.SensorID); e != nil {
			w.states[e.state]--
			w.roll.remove(c.SensorID)
		}
	}
}

// enterLocked finds a sensor, or enters it if the Directory has it. It is asked under mu: a sensor is removed there before its removal
// is announced, so what is entered here by mistake is removed by that announcement.
func (w *Watch) enterLocked(serial string, id int64) *entry {
	if e := w.roll.find(id); e != nil {
		return e
	}
	if dev, ok := w.dir.Lookup(serial); !ok || dev.SensorID != id {
		return nil
	}
	e := w.roll.place(id)
	w.moveLocked(e, neverSeen)
	return e
}

func (w *Watch) moveLocked(e *entry, to state) {
	if e.state != absent {
		w.states[e.state]--
	}
	w.states[to]++
	e.state = to
}

// deadlineOf is when the sensor is silent if nothing comes.
func (w *Watch) deadlineOf(e *entry) tenths {
	return w.deadline(e.at, w.spanOf(e))
}

func (w *Watch) awaitLocked(e *entry, id int64, at tenths) {
	e.due = at
	w.deadlines.push(at, id)
}
