package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sensorcast/telemetry"
)

const (
	maxBatch     = 256              // steps in one transaction, and commands expired in one: some milliseconds of the store's one writer
	commitWithin = 10 * time.Second // what a batch may wait for its turn to be written
	retryExpiry  = time.Second      // after the store failed
	lookEvery    = time.Minute      // how late expiry may be written down after somebody set the clock; it is in force at once
)

// job is a step on its way to the committer and back.
type job struct {
	step *Step
	done chan error // has room for the one answer
}

var errStopped = fmt.Errorf("commands are not taken any more: %w", telemetry.ErrUnavailable)

// commit has Run make the step durable. ctx ends the wait for Run, not the transaction, whose end is worth waiting for: it tells what happened.
func (o *Outbox) commit(ctx context.Context, s *Step) error {
	j := &job{step: s, done: make(chan error, 1)}
	select {
	case o.jobs <- j:
		return <-j.done
	case <-o.stopped:
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", telemetry.ErrUnavailable, ctx.Err())
	}
}

// Run writes what the other methods hand in, and writes down what expires, until ctx ends. It is called once. What it has taken it finishes;
// who comes later gets telemetry.ErrUnavailable. It returns nil.
func (o *Outbox) Run(ctx context.Context) error {
	defer close(o.stopped)
	c := &committer{outbox: o, next: telemetry.Now()} // what expired while the server was down comes first
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case j := <-o.jobs:
			c.commit(j)
		case <-timer.C:
			c.expire(ctx)
		case <-ctx.Done():
			return nil
		}
		timer.Reset(c.pause())
	}
}

// committer is Run's own.
type committer struct {
	outbox  *Outbox
	next    telemetry.Millis // when the next command expires; zero: none waits
	failing bool             // the last attempt to write down what expired failed; said once
	jobs    []*job
	steps   []*Step
}

// commit makes first and everybody who waits by now durable together, and answers each.
func (c *committer) commit(first *job) {
	c.gather(first)
	ctx, cancel := context.WithTimeout(context.Background(), commitWithin)
	err := c.outbox.keeper.CommitCommands(ctx, c.steps)
	cancel()
	c.outbox.counters.commits.Add(1)
	for _, s := range c.steps {
		if err == nil && s.Taken {
			c.taken(s)
		}
	}
	for _, j := range c.jobs {
		j.done <- err
	}
	clear(c.jobs) // data and replies must not stay alive in a quiet server
	clear(c.steps)
}

func (c *committer) gather(first *job) {
	c.jobs, c.steps = append(c.jobs[:0], first), append(c.steps[:0], first.step)
	for len(c.jobs) < maxBatch {
		select {
		case j := <-c.outbox.jobs:
			c.jobs, c.steps = append(c.jobs, j), append(c.steps, j.step)
		default:
			return
		}
	}
}

func (c *committer) taken(s *Step) {
	c.outbox.counters.count(s.Command.State)
	switch {
	case s.Command.State == Queued:
		if c.next == 0 || s.Command.ExpiresAt < c.next {
			c.next = s.Command.ExpiresAt
		}
	case s.Was == Queued:
		c.outbox.release(s.Command.SensorID, 1)
	}
}

// expire writes down what has expired, one batch at a time, so that those who hand something in get their turn between two.
func (c *committer) expire(ctx context.Context) {
	now := telemetry.Now()
	if c.next == 0 || now < c.next {
		return
	}
	expired, next, err := c.outbox.keeper.ExpireCommands(ctx, now, maxBatch)
	if err != nil {
		if !c.failing && !errors.Is(err, context.Canceled) {
			c.outbox.log.Warn("expired commands are not written down, will be tried again", "err", err)
		}
		c.failing, c.next = true, now.Add(retryExpiry)
		return
	}
	c.failing, c.next = false, next
	for sensor, n := range expired {
		c.outbox.release(sensor, n)
		c.outbox.counters.expired.Add(int64(n))
	}
}

// pause is how long to sleep. The timer does not see the clock being set, so it is never longer than lookEvery.
func (c *committer) pause() time.Duration {
	if c.next == 0 {
		return lookEvery
	}
	return min(max(0, time.Until(c.next.Time())), lookEvery)
}
