package main

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

const (
	floodPublishers = 50
	floodMessages   = 64 // in one write: enough that the generator's system calls are not what is measured
)

// flood measures QoS 0 messages that a server has worked through. QoS 0 is answered by nothing, so each publisher ends with one QoS 1
// message: a connection's messages are taken in order, so its acknowledgement means that all before it have been.
func flood(ctx context.Context, s server, length time.Duration) (result, error) {
	if err := s.prepare(ctx, floodPublishers); err != nil {
		return result{}, err
	}
	c, err := newCrew(ctx, s, floodPublishers, 1)
	if err != nil {
		return result{}, err
	}
	defer c.loop.close()
	if _, err := c.flood(length / warmUp); err != nil {
		return result{}, err
	}
	audited, _ := s.(auditor)
	if audited != nil {
		if _, _, err := audited.audit(); err != nil {
			return result{}, err
		}
	}
	var sent int64
	r, err := measured(s, func() (int64, error) {
		sent, err = c.flood(length)
		return sent, err
	})
	if err != nil || audited == nil {
		return r, err
	}
	accepted, shed, err := audited.audit()
	if err == nil && accepted != sent {
		err = fmt.Errorf("lost: %d of %d messages were not accepted", sent-accepted, sent)
	}
	r.note = fmt.Sprintf("%.0f %% shed", 100*float64(shed)/float64(max(1, accepted)))
	return r, err
}

// flood sends until length is over, and returns when all of it has been taken. The closing messages count.
func (c *crew) flood(length time.Duration) (sent int64, err error) {
	chunks := make([][]byte, len(c.members))
	for i, p := range c.members {
		chunks[i] = bytes.Repeat(p.qos0.at(now(), 0), floodMessages)
	}
	for end := now() + int64(length); now() < end; {
		wait := idleWait
		for i, p := range c.members {
			if len(p.out) > 0 {
				continue
			}
			p.out = append(p.out, chunks[i]...)
			sent += floodMessages
			if err := p.flush(); err != nil {
				return sent, err
			}
			if len(p.out) == 0 {
				wait = 0 // it takes more at once
			}
		}
		if err := c.loop.turn(wait); err != nil {
			return sent, err
		}
	}
	for _, p := range c.members {
		c.publish(p, 1, now())
		sent++
	}
	if err := c.flush(); err != nil {
		return sent, err
	}
	return sent, c.settle(idleWait)
}
