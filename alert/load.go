package alert

import (
	"context"
	"fmt"
	"time"

	"sensorcast/alert/cadence"
	"sensorcast/telemetry"
)

const pageSensors = 10_000 // asked of the store at a time

// Load learns of all sensors and how long nobody listened. It is called once, before anything else.
func (w *Watch) Load(ctx context.Context) error {
	last, err := w.keeper.Heartbeat(ctx)
	if err != nil {
		return fmt.Errorf("load heartbeat: %w", err)
	}
	wall := w.clock.Wall()
	err = w.everySensor(ctx, func(page []telemetry.Liveness) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := range page {
			w.loadLocked(&page[i], wall, last.SteppedAt)
		}
	})
	if err != nil {
		return fmt.Errorf("load sensors: %w", err)
	}
	if err := w.reconcile(ctx); err != nil {
		return fmt.Errorf("load silences: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started, w.heard = wall, min(last.At, wall)
	w.steppedAt = last.SteppedAt
	away := max(wall.Sub(last.At), last.GraceUntil.Sub(wall))
	if wall < last.At {
		away = maxSilence // nobody knows, so everybody has all the time there is, as at the very first start
	}
	w.excuse(away, w.longest)
	w.deadlines = make(deadlines, 0, w.states[online]+w.states[online]/16)
	for high, p := range w.roll {
		for low := range p {
			if e := &p[low]; e.state == online {
				e.due = w.deadlineOf(e)
				w.deadlines = append(w.deadlines, deadline{e.due, high<<pageBits | int64(low)})
			}
		}
	}
	w.deadlines.order()
	return nil
}

// loadLocked enters a sensor with the age of its last reading. Of one from before the wall clock ran ahead the age cannot be known.
func (w *Watch) loadLocked(l *telemetry.Liveness, wall, steppedAt telemetry.Millis) {
	var age time.Duration
	if l.LastSeenAt >= steppedAt {
		age = wall.Sub(l.LastSeenAt)
	}
	e := w.roll.place(l.SensorID)
	e.seen, e.at, e.silence = l.LastSeenAt, origin-min(spanOf(age), origin), spanOf(l.SilenceAfter)
	e.learned, e.rhythm = l.Learned, cadence.Of(l.Cadence.Gaps, l.Cadence.Typical, l.Cadence.Long)
	w.moveLocked(e, stateOf(l))
	w.spanOf(e) // for longest
}

// everySensor asks the store for all sensors, page by page.
func (w *Watch) everySensor(ctx context.Context, each func([]telemetry.Liveness)) error {
	for after := int64(0); ; {
		page, err := w.keeper.Liveness(ctx, after, pageSensors)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		each(page)
		after = page[len(page)-1].SensorID
	}
}
