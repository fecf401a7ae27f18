package store

import (
	"context"
	"time"
)

// step is one kind of background work. run does at most rows' worth of it in one turn on the writer and returns how much it did; 0
// means none is left for now.
type step struct {
	name    string
	run     func(ctx context.Context, rows int) (done int, err error)
	pace    pace
	failing bool // the last time it did; said once
}

const (
	// tick is how long Run sleeps when there is nothing to do and nobody wakes it.
	tick = time.Second

	// restShare is how many times as long as a turn took the writer is left alone afterwards while others want it.
	restShare = 3
)

// Run does what can wait: it extends the history index, deletes what is expired or belongs to deleted sensors, forgets old sessions,
// tokens, commands, notices and entries of the audit trail, and keeps the write-ahead log small. It returns nil when ctx ends. Errors are logged and the work tried again; without
// Run the store is correct, only slower and larger by and by.
func (d *DB) Run(ctx context.Context) error {
	steps := []*step{
		{name: "index", run: d.advanceIndex},
		{name: "purge", run: d.purge},
		{name: "expire", run: d.expire},
		{name: "forget sessions", run: d.forgetSessions},
		{name: "forget commands", run: d.forgetCommands},
		{name: "forget notices", run: d.forgetNotices},
		{name: "forget tokens", run: d.forgetTokens},
		{name: "forget letters", run: d.forgetLetters},
		{name: "forget creations", run: d.forgetCreations},
		{name: "forget audit", run: d.forgetEntries},
		{name: "forget alerts", run: d.forgetAlerts},
		{name: "truncate log", run: d.truncate},
	}
	for ctx.Err() == nil {
		idle := true
		for _, s := range steps {
			if d.turn(ctx, s) {
				idle = false
			}
		}
		if idle {
			d.sleep(ctx, tick, d.wake)
		}
	}
	return nil
}

// turn runs s once and then, unless nobody else wants to write or the index must catch up, rests. It reports whether there may be more to do.
func (d *DB) turn(ctx context.Context, s *step) (more bool) {
	served := d.write.served.Load()
	done, err := s.run(ctx, s.pace.rows())
	if err != nil {
		if !s.failing && ctx.Err() == nil {
			d.log.Warn("background work failed, will be tried again", "step", s.name, "err", err)
		}
		s.failing = true
		return false
	}
	s.failing = false
	if done == 0 {
		return false
	}
	held := time.Duration(d.write.held.Load())
	d.counters.steps.Add(1)
	d.counters.stepTime.Add(int64(held))
	s.pace.adapt(held)
	if young, old := d.tail.sizes(); d.write.served.Load() != served && young+old < catchUp {
		d.sleep(ctx, restShare*held, nil)
	}
	return true
}

// sleep waits for dur, for wake, or for ctx.
func (d *DB) sleep(ctx context.Context, dur time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(dur)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// nudge wakes Run. It never blocks.
func (d *DB) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

const (
	turnTarget = 5 * time.Millisecond // how long one turn may hold up commits, and with them acknowledgements
	minRows    = 250
	maxRows    = 16_000
)

// pace finds how many rows fit into turnTarget on this machine with this data.
type pace struct{ size int }

func (p *pace) rows() int { return max(p.size, minRows) }

func (p *pace) adapt(held time.Duration) {
	switch {
	case held > turnTarget:
		p.size = max(p.rows()/2, minRows)
	case held < turnTarget/2:
		p.size = min(p.rows()*2, maxRows)
	}
}
