package simulator

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"
)

// drainTimeout is how long a sensor that is told to stop waits for acknowledgements already under way.
const drainTimeout = time.Second

// sensor is one simulated device. One goroutine, run, owns all of it.
type sensor struct {
	cfg    *Config
	spec   Spec
	dialer *dialer
	meter  *meter
	log    *slog.Logger

	topic    string
	who      login
	runID    string // makes reading ids of this run unlike those of any other
	interval time.Duration

	due      time.Time // when the next message is to be made
	readings uint64    // made, for their ids
	made     int       // messages, against cfg.Count
	progress bool      // the present connection got something acknowledged: the next delay starts small again
	outbox   outbox
	commands *responder // nil: does not listen to commands
}

// ending says why a connection ended and so what a sensor does next.
type ending uint8

const (
	endStopped   ending = iota // told to stop: never again
	endFinished                // all messages acknowledged: never again
	endBroken                  // connect again after a delay
	endUnplugged               // connect again when due
)

// run lives the sensor's life until ctx ends or its messages are done. It returns within drainTimeout and a little of the end of ctx.
func (s *sensor) run(ctx context.Context) {
	retry := backoff{min: s.cfg.ReconnectMin, max: s.cfg.ReconnectMax, seed: s.spec.Seed}
	defer s.abandon()
	for connected := false; ctx.Err() == nil; {
		link, err := s.connect(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.meter.connectFailed(err, errors.Is(err, errRefused))
				s.log.Debug("connect failed", "err", err)
			}
			sleep(ctx, retry.next())
			continue
		}
		if connected {
			s.meter.reconnects.Add(1)
		} else { // the ramp-up may have taken longer than an interval; nothing was skipped by that
			s.due = after(s.due.Add(-s.interval), s.interval, time.Now())
			connected = true
		}
		s.meter.connect()
		end := s.converse(ctx, link)
		s.meter.disconnect()
		link.close()
		s.outbox.rewind()

		switch end {
		case endStopped, endFinished:
			return
		case endUnplugged:
			sleep(ctx, time.Until(s.due))
		case endBroken:
			if s.cfg.QoS == 0 { // "at most once" is never sent again
				s.abandon()
			}
			if s.progress {
				retry.reset()
			}
			sleep(ctx, retry.next())
		}
	}
}

// abandon gives up what is in the outbox and counts it.
func (s *sensor) abandon() {
	n := int64(s.outbox.drop())
	if s.cfg.QoS == 0 { // handed over but not written, so never counted as published
		s.meter.refused.Add(n)
		return
	}
	s.meter.lost.Add(n)
}

func (s *sensor) connect(ctx context.Context) (*link, error) {
	s.progress = false
	l, err := openLink(ctx, s.dialer, s.who, s.cfg.KeepAlive, s.commands.handler())
	if err != nil {
		return nil, err
	}
	if err := s.commands.subscribe(ctx, l); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// converse publishes on one connection until it ends. Each turn hands over what may be sent, then waits for the first thing to happen.
func (s *sensor) converse(ctx context.Context, l *link) ending {
	due := time.NewTimer(time.Until(s.due))
	defer due.Stop()
	overdue := time.NewTicker(max(s.cfg.AckTimeout/4, time.Millisecond))
	defer overdue.Stop()
	ready := make(chan struct{})
	close(ready)

	for {
		finished := s.cfg.Count > 0 && s.made >= s.cfg.Count
		if finished && s.outbox.len() == 0 {
			return endFinished
		}
		var makeNext <-chan time.Time
		if !finished && s.outbox.len() < s.cfg.InFlight {
			makeNext = due.C
		}
		var sendNext, acked <-chan struct{}
		if s.outbox.next(s.cfg.InFlight) != nil {
			sendNext = ready
		}
		if m := s.outbox.oldest(); m != nil {
			acked = m.token.Done()
		}
		select {
		case <-ctx.Done():
			s.drain(l)
			return endStopped
		case err := <-l.lost:
			s.meter.failed(err)
			s.log.Debug("connection lost", "err", err)
			return endBroken
		case <-acked:
			if !s.settle() {
				return endBroken
			}
		case <-sendNext:
			if err := s.handOver(l); err != nil && !l.open() { // an open link is only slow: the next turn tries again
				s.meter.failed(err)
				return endBroken
			}
		case now := <-makeNext:
			if s.whenDue(now) {
				return endUnplugged
			}
			due.Reset(time.Until(s.due))
		case now := <-overdue.C:
			if m := s.outbox.oldest(); m != nil && now.Sub(m.latest) > s.cfg.AckTimeout {
				s.meter.failed(errAckTimeout)
				return endBroken
			}
		}
	}
}

var errAckTimeout = errors.New("no acknowledgement in time")

// whenDue makes the message that is due, or keeps silent if it is the sensor's hour to; it reports whether the plug is pulled as well.
func (s *sensor) whenDue(now time.Time) bool {
	if until, unplugged, silent := s.cfg.Faults.silence(s.spec.Seed, now); silent {
		s.meter.silences.Add(1)
		s.due = after(s.due, s.interval, until)
		return unplugged
	}
	s.make(now)
	next := after(s.due, s.interval, now)
	s.meter.skipped.Add(int64(next.Sub(s.due)/s.interval) - 1)
	s.due = next
	return false
}

// after is the first moment of the grid due, due+interval, … that lies after t and after due: a sensor keeps its phase for ever.
func after(due time.Time, interval time.Duration, t time.Time) time.Time {
	steps := max(t.Sub(due)/interval, 0) + 1
	return due.Add(steps * interval)
}

// make puts the next message into the outbox.
func (s *sensor) make(now time.Time) {
	var payload []byte
	strike := s.cfg.Faults.strike(s.spec.Seed, uint64(s.made))
	s.made++
	if strike == faultLate {
		times := make([]time.Time, lateReadings)
		for i := range times {
			times[i] = now.Add(-lateBy - time.Duration(lateReadings-1-i)*max(s.interval, time.Second))
		}
		payload = s.cfg.Dialect.appendBatch(nil, &s.spec, times, s.readingID)
		s.meter.late.Add(1)
	} else {
		payload = s.cfg.Dialect.appendReading(make([]byte, 0, 192), &s.spec, now, s.readingID())
	}
	if strike == faultGarbage {
		payload = spoil(payload)
		s.meter.garbage.Add(1)
	}
	s.outbox.push(payload)
	if strike == faultDuplicate {
		s.outbox.push(payload)
		s.meter.duplicates.Add(1)
	}
}

func (s *sensor) readingID() string {
	s.readings++
	return s.runID + "-" + strconv.FormatUint(s.readings, 10)
}

// handOver gives the next message to the connection; an error says that it was not taken.
func (s *sensor) handOver(l *link) error {
	m := s.outbox.next(s.cfg.InFlight)
	now := time.Now()
	token := l.publish(s.topic, s.cfg.QoS, m.payload)
	select {
	case <-token.Done():
		if err := token.Error(); err != nil {
			return err
		}
	default:
	}
	switch {
	case !m.first.IsZero():
		s.meter.resent.Add(1)
	case s.cfg.QoS > 0: // at QoS 0 it counts when it is written, since nothing else will tell
		s.meter.published.Add(1)
	}
	if m.first.IsZero() {
		m.first = now
	}
	m.token, m.latest = token, now
	s.outbox.sent++
	return nil
}

// settle takes the oldest message off the books. It reports false when the message failed instead, which only a broken connection does.
func (s *sensor) settle() bool {
	if err := s.outbox.oldest().token.Error(); err != nil {
		s.meter.failed(err)
		return false
	}
	m := s.outbox.pop()
	s.progress = true
	if s.cfg.QoS == 0 {
		s.meter.published.Add(1)
		return true
	}
	s.meter.acknowledge(time.Since(m.first))
	if s.cfg.OnAcknowledged != nil {
		s.cfg.OnAcknowledged(s.spec.Serial, m.payload)
	}
	return true
}

// drain waits for the acknowledgements of what is already out.
func (s *sensor) drain(l *link) {
	deadline := time.NewTimer(drainTimeout)
	defer deadline.Stop()
	for m := s.outbox.oldest(); m != nil; m = s.outbox.oldest() {
		select {
		case <-m.token.Done():
			if !s.settle() {
				return
			}
		case <-l.lost:
			return
		case <-deadline.C:
			return
		}
	}
}
