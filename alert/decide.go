package alert

import (
	"context"

	"sensorcast/telemetry"
)

const (
	decideAtOnce = 50 // sensors marked, or returned, in one transaction, which holds up commits of readings for some milliseconds

	retryAfter = tenths(50) // after the store could not

	// deafFor is how long sensors are not blamed once the server was found not to hear: they need some of it to come back.
	deafFor = tenths(600)

	// doubtAfter is how long is waited where the store knows of an earlier last reading than was observed: it may be waiting for its commit.
	doubtAfter = tenths(300)
)

// suspect is a sensor whose time has come.
type suspect struct {
	id   int64
	at   tenths // what its entry said
	seen telemetry.Millis
}

// decide takes the steps to silent as their deadlines come, and ends the incidents of those that have returned. It waits for the store, so it is not the goroutine that looks at the time.
func (w *Watch) decide(ctx context.Context) {
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-w.ripe:
		}
		err := w.welcome(ctx)
		for err == nil && ctx.Err() == nil {
			some := w.takeDue()
			if len(some) == 0 {
				break
			}
			if deaf := w.listens(ctx); deaf != nil {
				w.spare(some, deaf)
				continue
			}
			err = w.judge(ctx, some)
		}
		if err != nil && !failing && ctx.Err() == nil {
			w.log.Warn("silences not begun or ended, will be tried again", "err", err)
		}
		failing = err != nil
	}
}

// listens returns why the server does not hear its sensors; nil when it does. It asks before anybody is blamed.
func (w *Watch) listens(ctx context.Context) error {
	w.mu.Lock()
	hears := w.hears
	w.mu.Unlock()
	if hears == nil {
		return nil
	}
	return hears(ctx)
}

// spare gives sensors more time because the server does not hear.
func (w *Watch) spare(some []suspect, deaf error) {
	w.counters.spared.Add(int64(len(some)))
	w.log.Debug("silences held back, the server does not hear itself", "sensors", len(some), "err", deaf)
	w.postpone(some, deafFor)
}

// postpone has the sensors judged again after a time.
func (w *Watch) postpone(some []suspect, by tenths) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range some {
		if e := w.roll.find(s.id); e != nil {
			w.awaitLocked(e, s.id, w.now+by)
		}
	}
}

// takeDue takes from the heap sensors whose time has come, and gives those that were heard of meanwhile their new place.
func (w *Watch) takeDue() (some []suspect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for looked := 0; looked < decideAtOnce || len(some) == 0; looked++ {
		if !w.deadlines.due(w.now) {
			break
		}
		d := w.deadlines.pop()
		e := w.roll.find(d.sensor)
		if e == nil || e.due != d.at {
			continue
		}
		if at := w.deadlineOf(e); at > w.now && e.state == online {
			w.awaitLocked(e, d.sensor, at)
			continue
		}
		e.due = 0
		some = append(some, suspect{d.sensor, e.at, e.seen})
	}
	return some
}

// judge has the store mark the sensors and open their incidents, and takes the steps that follow: states before incidents.
func (w *Watch) judge(ctx context.Context, some []suspect) error {
	due := make([]telemetry.Liveness, len(some))
	for i, s := range some {
		due[i] = telemetry.Liveness{SensorID: s.id, LastSeenAt: s.seen}
	}
	err := w.incidents.change(ctx, func() ([]telemetry.Alert, error) {
		now := w.clock.Wall()
		facts, steps, err := w.keeper.Silence(ctx, due, telemetry.Opening{
			At:        now,
			Etiquette: w.incidents.etiquette,
			Explain:   func(l *telemetry.Liveness) (telemetry.Cause, string) { return w.explain(l, now) },
		})
		if err == nil {
			for i := range some {
				w.settle(some[i], &facts[i])
			}
		}
		return steps, err
	})
	if err != nil {
		w.counters.failures.Add(1)
		w.postpone(some, retryAfter)
	}
	return err
}

// settle brings an entry in line with what the store has made of it. A reading that came while the store was at it is not lost: the
// sensor is silent by what is durable, and online again.
func (w *Watch) settle(s suspect, fact *telemetry.Liveness) {
	w.steps.Lock()
	defer w.steps.Unlock()
	w.mu.Lock()
	e := w.roll.find(s.id)
	if e == nil || fact.SensorID == 0 { // deleted; the announcement is on its way
		w.mu.Unlock()
		return
	}
	heard := e.at != s.at
	steps := make([]telemetry.StateChange, 0, 2)
	switch stateOf(fact) {
	case silent:
		steps = append(steps, step(fact))
		if heard {
			back := step(fact)
			back.State, back.LastSeenAt = telemetry.StateOnline, e.seen
			steps = append(steps, back)
			w.returnedLocked(s.id, e.seen)
			break
		}
		e.seen = fact.LastSeenAt
		w.moveLocked(e, silent)
	case online:
		if !heard {
			// What was observed last is not what is stored: it was stored before under an earlier arrival, or could not be stored.
			e.seen = fact.LastSeenAt
			w.awaitLocked(e, s.id, w.now+doubtAfter)
		}
	case neverSeen:
		switch {
		case heard:
		case s.seen == 0: // the second time: its first reading was never stored
			steps = append(steps, step(fact))
			w.moveLocked(e, neverSeen)
		default:
			e.seen = 0
			w.awaitLocked(e, s.id, w.now+doubtAfter)
		}
	}
	if heard {
		w.awaitLocked(e, s.id, w.deadlineOf(e))
	}
	w.mu.Unlock()
	for _, c := range steps {
		w.tellLocked(c)
	}
}

func step(l *telemetry.Liveness) telemetry.StateChange {
	return telemetry.StateChange{SensorID: l.SensorID, Serial: l.Serial, State: l.State(), LastSeenAt: l.LastSeenAt}
}
