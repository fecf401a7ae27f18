package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// crew is the publishers of a row, driven by one loop.
type crew struct {
	loop    *loop
	members []*publisher

	asked, acked int64 // QoS 1 publishes
	again        bool  // an acknowledged publish is sent anew
	timing       bool
	latency      samples
	err          error // the first wrong acknowledgement
}

// newCrew connects sensors 0 to n-1 with room for window unacknowledged publishes each.
func newCrew(ctx context.Context, s server, n, window int) (*crew, error) {
	l, err := newLoop(ctx)
	if err != nil {
		return nil, err
	}
	c := &crew{loop: l, latency: make(samples, 0, 1<<20)}
	c.members, err = connectPublishers(ctx, s, n, l, func(p *publisher) taker {
		p.sentAt = make([]int64, window)
		return func(kind byte, body []byte) { c.take(p, kind, body) }
	})
	if err != nil {
		l.close()
		return nil, err
	}
	return c, nil
}

// connectPublishers connects sensors 0 to n-1 and hands them to the loop.
func connectPublishers(ctx context.Context, s server, n int, l *loop, of func(*publisher) taker) ([]*publisher, error) {
	all := make([]*publisher, n)
	err := each(ctx, "publisher", n, func(i int) (err error) {
		all[i], err = s.publisher(i)
		return err
	})
	for _, p := range all {
		if p != nil {
			err = errors.Join(err, l.add(p.socket, of(p)))
		}
	}
	return all, err
}

// publish writes a QoS 1 publish that was due at a time. Its identifier must be free.
func (c *crew) publish(p *publisher, id int, due int64) {
	p.sentAt[id-1] = due
	p.out = append(p.out, p.qos1.at(due, id)...)
	c.asked++
}

// take is given what a server answers. That may be in any order, though it seldom is.
func (c *crew) take(p *publisher, kind byte, body []byte) {
	id := 0
	if kind == puback && len(body) == 2 {
		id = int(binary.BigEndian.Uint16(body))
	}
	if id < 1 || id > len(p.sentAt) || p.sentAt[id-1] == 0 {
		if c.err == nil {
			c.err = fmt.Errorf("packet %#x % x acknowledges nothing that is under way", kind, body)
		}
		return
	}
	at := now()
	if c.timing {
		c.latency = append(c.latency, at-p.sentAt[id-1])
	}
	p.sentAt[id-1] = 0
	c.acked++
	if c.again {
		c.publish(p, id, at)
	}
}

// settle waits for every acknowledgement that is owed.
func (c *crew) settle(wait time.Duration) error {
	return c.until(wait, func() bool { return c.acked == c.asked })
}

func (c *crew) until(wait time.Duration, done func() bool) error {
	err := c.loop.until(wait, func() bool { return c.err != nil || done() }, func() int64 { return c.acked }, func() error {
		return fmt.Errorf("lost: %d of %d acknowledgements did not come for %v", c.asked-c.acked, c.asked, c.loop.patience)
	})
	if err != nil {
		return err
	}
	return c.err
}

func (c *crew) flush() error {
	for _, p := range c.members {
		if err := p.flush(); err != nil {
			return err
		}
	}
	return nil
}
