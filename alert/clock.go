package alert

import (
	"context"
	"math"
	"time"

	"sensorcast/telemetry"
)

// Clock tells time. The wall's may be set, forwards and backwards; Mono only ever runs, and on Linux not while the machine is suspended.
type Clock struct {
	Wall func() telemetry.Millis
	Mono func() time.Duration // since any fixed moment
}

func (c Clock) orSystem() Clock {
	if c.Wall == nil {
		c.Wall = telemetry.Now
	}
	if c.Mono == nil {
		start := time.Now()
		c.Mono = func() time.Duration { return time.Since(start) }
	}
	return c
}

// tenths of a second are what deadlines are reckoned in, as moments since origin and as spans.
type tenths uint32

const (
	tenth = 100 * time.Millisecond

	// maxSilence is more than any sensor may be silent for.
	maxSilence = 367 * 24 * time.Hour

	// origin is when a Watch begins: far enough from zero for what was seen before, and from the end for ten years.
	origin = tenths(maxSilence / tenth)

	// pulse is how often the time is looked at. A reading carries the time of the pulse before it, so a deadline is later by slack: a sensor
	// is never told silent too early, and within a second and a half of its time.
	pulse = 500 * time.Millisecond
	slack = tenths(pulse/tenth) + 1

	maxGap   = 2 * time.Second // a process that did not look at the time for longer did not listen either
	maxDrift = 5 * time.Second // nor did one whose wall clock ran ahead by more: the machine slept, or the clock was set

	// minGrace is what every sensor has after the server was away, however short: it has to find its way back.
	minGrace = time.Minute
)

// spanOf rounds up.
func spanOf(d time.Duration) tenths {
	return tenths((min(max(d, 0), maxSilence) + tenth - 1) / tenth)
}

func (t tenths) duration() time.Duration { return time.Duration(t) * tenth }

// timepiece is the Watch's own clock. It stands still while the server could not have heard anybody, and remembers until when the sensors
// are excused for that.
type timepiece struct {
	now       tenths
	ran       time.Duration    // since origin
	mono      time.Duration    // when it was last looked at
	wall      telemetry.Millis // and what the wall said
	steppedAt telemetry.Millis // what the wall said after it ran ahead, for the last time; zero: never

	graceFrom tenths // when the server was back
	grace     tenths // how long it had been away, and one minute at least
}

// advance looks at the clocks and returns for how long the server was away, usually zero.
func (t *timepiece) advance(mono time.Duration, wall telemetry.Millis) (away time.Duration) {
	passed, shown := mono-t.mono, wall.Sub(t.wall)
	t.mono, t.wall = mono, wall
	if passed > maxGap {
		away = passed
	}
	if shown-passed > maxDrift {
		away, t.steppedAt = max(away, shown), wall
	}
	if away > 0 {
		passed = min(passed, pulse)
	}
	t.ran += max(passed, 0)
	t.now = origin + tenths(min(t.ran/tenth, math.MaxUint32-2*time.Duration(origin)))
	return away
}

// excuse gives every sensor as long as the server was away, a minute at least, and what is left of an earlier grace. More than longest
// is of no use to anybody.
func (t *timepiece) excuse(away time.Duration, longest tenths) {
	grace := min(max(spanOf(away), spanOf(minGrace), t.graceLeft()), max(longest, spanOf(minGrace)))
	t.graceFrom, t.grace = t.now, grace
}

func (t *timepiece) graceLeft() tenths {
	if end := t.graceFrom + t.grace; end > t.now {
		return end - t.now
	}
	return 0
}

// deadline is when a sensor that was last heard at, and may be silent for span, is silent: not before it had its grace.
func (t *timepiece) deadline(at, span tenths) tenths {
	return max(at+span+slack, t.graceFrom+min(span, t.grace))
}

// tick is the one goroutine that looks at the time.
func (w *Watch) tick(ctx context.Context) {
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.lookAtTime()
		}
	}
}

func (w *Watch) lookAtTime() {
	mono, wall := w.clock.Mono(), w.clock.Wall()
	w.mu.Lock()
	away := w.advance(mono, wall)
	if away > 0 {
		w.excuse(away, w.longest)
	}
	ripe := w.deadlines.due(w.now) || len(w.returned) > 0
	w.mu.Unlock()
	if away > 0 {
		w.counters.graces.Add(1)
		w.log.Warn("was not listening, or the clock was set: sensors have a grace", "dur", away)
		nudge(w.stepped)
	}
	if ripe {
		nudge(w.ripe)
	}
}

// nudge never blocks: one who is to be woken already needs no second call.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
