package alert

import (
	"context"

	"sensorcast/telemetry"
)

// A sensor that was silent is online the moment it is heard, and its incident is over once what it sent is stored. Until then it is
// remembered here; what a crash makes us forget, a start finds in the store again. A reading of a sensor that is online has nothing to do
// with any of this.

// returnedLocked remembers that the silence of a sensor has ended.
func (w *Watch) returnedLocked(id int64, at telemetry.Millis) {
	w.returned = append(w.returned, telemetry.Return{SensorID: id, At: at})
}

// takeReturned takes at most limit of those that have returned and, as far as is known, not fallen silent since: then the store has never
// heard of the reading, and the silence goes on.
func (w *Watch) takeReturned(limit int) (some []telemetry.Return) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.returned) > 0 && len(some) < limit {
		r := w.returned[0]
		w.returned = w.returned[1:]
		if e := w.roll.find(r.SensorID); e != nil && e.state == online {
			some = append(some, r)
		}
	}
	if len(w.returned) == 0 {
		w.returned = nil
	}
	return some
}

// welcome ends the incidents of those that have returned. Whose reading waits for its commit is looked at again with the next pulse.
func (w *Watch) welcome(ctx context.Context) error {
	w.mu.Lock()
	waiting := len(w.returned)
	w.mu.Unlock()
	for waiting > 0 {
		some := w.takeReturned(min(waiting, decideAtOnce))
		waiting -= decideAtOnce
		if len(some) == 0 {
			continue
		}
		var settled []bool
		err := w.incidents.change(ctx, func() (steps []telemetry.Alert, err error) {
			settled, steps, err = w.keeper.Returned(ctx, some, w.clock.Wall(), w.incidents.etiquette)
			return steps, err
		})
		w.mu.Lock()
		for i, r := range some {
			if err != nil || !settled[i] {
				w.returned = append(w.returned, r)
			}
		}
		w.mu.Unlock()
		if err != nil {
			w.counters.failures.Add(1)
			return err
		}
	}
	return nil
}

// reconcile remembers those whose silence has ended without that being written down: at a start, or should anything ever be forgotten.
func (w *Watch) reconcile(ctx context.Context) error {
	open, err := w.keeper.OpenSilences(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range open {
		if e := w.roll.find(id); e != nil && e.state == online {
			w.returnedLocked(id, e.seen)
		}
	}
	return nil
}
