package alert

import (
	"context"
	"time"

	"sensorcast/telemetry"
)

const (
	beatEvery   = 10 * time.Second
	beatTimeout = 5 * time.Second
	auditEvery  = 30 // beats
	maxDoubts   = 1000
)

// upkeep beats, and with it has done what is due of incidents, and compares now and then what is remembered with what is stored.
func (w *Watch) upkeep(ctx context.Context) {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	var doubts []suspect
	for beats := 1; ; beats++ {
		w.beat(ctx)
		w.keepRhythms(ctx)
		w.incidents.announce(ctx)
		select {
		case <-ctx.Done():
			w.keepRhythms(ctx)
			w.beat(ctx)
			return
		case <-w.stepped:
			continue
		case <-ticker.C:
		}
		switch beats % auditEvery {
		case 0:
			doubts = w.audit(ctx)
		case 1:
			w.confirm(ctx, doubts)
			doubts = nil
		}
	}
}

// beat leaves word of how things stand, also when ctx has ended: the last beat is the one that tells of a clean stop.
func (w *Watch) beat(ctx context.Context) {
	wall := w.clock.Wall()
	w.mu.Lock()
	h := telemetry.Heartbeat{At: wall, SteppedAt: w.steppedAt, GraceUntil: wall.Add(w.graceLeft().duration())}
	w.mu.Unlock()
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatTimeout)
	defer cancel()
	if err := w.keeper.Beat(limited, h); err != nil {
		w.counters.failures.Add(1)
		w.log.Warn("heartbeat not kept", "err", err)
	}
}

// audit returns the sensors of which memory and store do not say the same. Most often one of them has just moved.
func (w *Watch) audit(ctx context.Context) (doubts []suspect) {
	err := w.everySensor(ctx, func(page []telemetry.Liveness) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := range page {
			if e, ok := w.agreesLocked(&page[i]); !ok && len(doubts) < maxDoubts {
				doubts = append(doubts, suspect{id: page[i].SensorID, at: e.at})
			}
		}
	})
	if err != nil && ctx.Err() == nil {
		w.log.Warn("audit of silent sensors failed", "err", err)
	}
	if err := w.reconcile(ctx); err != nil && ctx.Err() == nil {
		w.log.Warn("audit of silences failed", "err", err)
	}
	w.counters.audits.Add(1)
	return doubts
}

// confirm looks again, a beat later, at what the audit found. What then stands as it stood is a mistake.
func (w *Watch) confirm(ctx context.Context, doubts []suspect) {
	wrong := 0
	for _, s := range doubts {
		found, err := w.keeper.Liveness(ctx, s.id-1, 1)
		if err != nil {
			return
		}
		if len(found) == 0 || found[0].SensorID != s.id {
			continue // deleted
		}
		w.mu.Lock()
		e, ok := w.agreesLocked(&found[0])
		if !ok && e.at == s.at {
			wrong++
		}
		w.mu.Unlock()
	}
	w.counters.mismatches.Store(int64(wrong))
	if wrong > 0 {
		w.log.Error("remembered and stored states of sensors differ", "sensors", wrong)
	}
}

// agreesLocked compares a sensor. One that is being decided is left alone.
func (w *Watch) agreesLocked(l *telemetry.Liveness) (entry, bool) {
	e := w.roll.find(l.SensorID)
	if e == nil {
		return entry{}, false
	}
	deciding := e.state == online && e.due == 0
	return *e, deciding || e.state == stateOf(l) && e.silence == spanOf(l.SilenceAfter) && e.learned == l.Learned
}
