package main

import (
	"context"
	"errors"
	"time"
)

const (
	firstSockets = 50               // opened before the count, so that what a server needs once is not in it
	settling     = 10 * time.Second // idle is idle: a collector has had its time
)

// idleViewers measures a server's memory per viewer that is connected and is sent nothing.
func idleViewers(n int) func(context.Context, server, time.Duration) (result, error) {
	return func(ctx context.Context, s server, _ time.Duration) (result, error) {
		return idle(ctx, s, 1, n, func(int) (*socket, error) {
			v, err := s.viewer(0)
			if err != nil {
				return nil, err
			}
			return v.socket, nil
		})
	}
}

// idleDevices measures a server's memory per logged-in sensor that sends nothing.
func idleDevices(n int) func(context.Context, server, time.Duration) (result, error) {
	return func(ctx context.Context, s server, _ time.Duration) (result, error) {
		return idle(ctx, s, firstSockets+n, n, func(i int) (*socket, error) {
			p, err := s.publisher(i)
			if err != nil {
				return nil, err
			}
			return p.socket, nil
		})
	}
}

func idle(ctx context.Context, s server, sensors, n int, open func(i int) (*socket, error)) (result, error) {
	if err := s.prepare(ctx, sensors); err != nil {
		return result{}, err
	}
	l, err := newLoop(ctx)
	if err != nil {
		return result{}, err
	}
	defer l.close()
	fill := func(from, to int) (kb float64, err error) {
		sockets := make([]*socket, to-from)
		err = each(ctx, "connection", to-from, func(i int) (err error) {
			sockets[i], err = open(from + i)
			return err
		})
		for _, c := range sockets {
			if c != nil {
				err = errors.Join(err, l.add(c, func(byte, []byte) {}))
			}
		}
		if err != nil {
			return 0, err
		}
		for end := now() + int64(settling); now() < end; { // a server that closes one of them makes this fail
			if err := l.turn(idleWait); err != nil {
				return 0, err
			}
		}
		return residentKB(s.pid())
	}
	before, err := fill(0, firstSockets)
	if err != nil {
		return result{}, err
	}
	after, err := fill(firstSockets, firstSockets+n)
	return result{figures: map[figure]float64{memory: (after - before) / float64(n)}}, err
}
