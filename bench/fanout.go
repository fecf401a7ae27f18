package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// timedViewers of a row that pushes are asked for latencies; of a row with a rate all are.
const timedViewers = 16

// A row that pushes goes on beyond its length until what may be under way has come and gone so many times, or a rate would be a matter of
// where a batch of a slow server fell; but not beyond so many lengths.
const (
	turnovers   = 2
	longestPush = 5
)

// fanout measures deliveries of QoS 0 readings to viewers, who are dealt out to the sensors in turn: with as many readings under way as
// window says or, with a rate, so many readings a second. A reading is under way until all its viewers have it.
type fanout struct {
	sensors, viewers int
	window, rate     int64
}

func (f fanout) measure(ctx context.Context, s server, length time.Duration) (result, error) {
	if err := s.prepare(ctx, f.sensors); err != nil {
		return result{}, err
	}
	a, err := f.gather(ctx, s)
	if err != nil {
		return result{}, err
	}
	defer a.loop.close()
	drive := f.pushed
	if f.rate > 0 {
		drive = f.paced
	}
	if err := errors.Join(drive(a, length/warmUp), a.settle()); err != nil {
		return result{}, err
	}
	a.timing = true
	r, err := measured(s, func() (int64, error) {
		before := a.delivered
		err := drive(a, length)
		if err == nil && a.delivered == before {
			err = fmt.Errorf("nothing was delivered in %d times %v", longestPush, length)
		}
		return a.delivered - before, err
	})
	if err != nil {
		return result{}, err
	}
	if err := errors.Join(a.settle(), a.check()); err != nil {
		return result{}, err
	}
	r.figures[p50], r.figures[p99] = a.latency.percentile(50), a.latency.percentile(99)
	return r, nil
}

func (f fanout) pushed(a *audience, length time.Duration) error {
	start, each := now(), int64(f.viewers/f.sensors)
	enough := a.delivered + turnovers*f.window*each
	over := func() bool {
		past := now() - start
		return past > int64(length) && a.delivered >= enough || past > longestPush*int64(length)
	}
	return a.until(over, func() error {
		for a.sent-a.delivered/each < f.window {
			if err := a.publish(now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// paced counts a latency from when the reading was due, not from when the generator came to it. The last ones' deliveries belong to it:
// where bursts are few they are much of the work.
func (f fanout) paced(a *audience, length time.Duration) error {
	err := pace(a.loop, f.rate, length, func(_, due int64) error { return a.publish(due) })
	if err != nil {
		return err
	}
	return a.settle()
}

// gather opens the viewers, then the sensors.
func (f fanout) gather(ctx context.Context, s server) (*audience, error) {
	l, err := newLoop(ctx)
	if err != nil {
		return nil, err
	}
	a := &audience{loop: l, latency: make(samples, 0, 1<<20)}
	viewers := make([]*viewer, f.viewers)
	err = each(ctx, "viewer", f.viewers, func(i int) (err error) {
		viewers[i], err = s.viewer(i % f.sensors)
		return err
	})
	for i, v := range viewers {
		if v != nil {
			timed := f.rate > 0 || i%max(1, f.viewers/timedViewers) == 0
			err = errors.Join(err, a.admit(v, timed))
		}
	}
	if err == nil {
		a.senders, err = connectPublishers(ctx, s, f.sensors, l, func(*publisher) taker { return func(byte, []byte) {} })
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return a, nil
}
