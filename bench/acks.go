package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// idleWait is how long a loop that may sleep sleeps at most.
const idleWait = 10 * time.Millisecond

// acks measures acknowledged QoS 1 publishes: as many as a server answers with window of them under way for each publisher or, with a
// rate, so many a second dealt out to the publishers in turn.
type acks struct {
	publishers, window int
	rate               int64
}

func (a acks) measure(ctx context.Context, s server, length time.Duration) (result, error) {
	if err := s.prepare(ctx, a.publishers); err != nil {
		return result{}, err
	}
	c, err := newCrew(ctx, s, a.publishers, a.window)
	if err != nil {
		return result{}, err
	}
	defer c.loop.close()
	drive := a.pushed
	if a.rate > 0 {
		drive = a.paced
	}
	if err := errors.Join(drive(c, length/warmUp), c.settle(idleWait)); err != nil {
		return result{}, err
	}
	c.timing = true
	r, err := measured(s, func() (int64, error) {
		before := c.acked
		err := drive(c, length)
		return c.acked - before, err
	})
	if err != nil {
		return result{}, err
	}
	if err := c.settle(idleWait); err != nil {
		return result{}, err
	}
	r.figures[p50], r.figures[p99] = c.latency.percentile(50), c.latency.percentile(99)
	return r, nil
}

func (a acks) pushed(c *crew, length time.Duration) error {
	end := now() + int64(length)
	c.again = true
	for _, p := range c.members {
		for id := 1; id <= a.window; id++ {
			c.publish(p, id, now())
		}
	}
	if err := c.flush(); err != nil {
		return err
	}
	err := c.until(idleWait, func() bool { return now() > end })
	c.again = false
	return err
}

// paced counts a latency from when the publish was due: a server that holds one up answers for those behind it, too.
func (a acks) paced(c *crew, length time.Duration) error {
	err := pace(c.loop, a.rate, length, func(i, due int64) error {
		p := c.members[i%int64(a.publishers)]
		id := int(i/int64(a.publishers))%a.window + 1
		if p.sentAt[id-1] != 0 {
			return fmt.Errorf("a publisher has %d publishes unacknowledged: the server does not keep up with %d/s", a.window, a.rate)
		}
		c.publish(p, id, due)
		return p.flush()
	})
	return errors.Join(err, c.err)
}

// pace calls send for each message when it is due, and turns the loop in between without sleeping.
func pace(l *loop, rate int64, length time.Duration, send func(i, due int64) error) error {
	start, n := now(), max(1, int64(length.Seconds()*float64(rate)))
	for i := int64(0); i < n; {
		for due := start + i*int64(time.Second)/rate; i < n && due <= now(); due = start + i*int64(time.Second)/rate {
			if err := send(i, due); err != nil {
				return err
			}
			i++
		}
		if err := l.turn(0); err != nil {
			return err
		}
	}
	return nil
}
