package main

import "fmt"

// audience is the viewers of a row and the sensors they watch, driven by one loop.
type audience struct {
	loop    *loop
	senders []*publisher
	viewers []*viewer // viewer i watches sensor i modulo the number of senders

	sent, delivered int64
	timing          bool
	latency         samples
}

// admit hands a viewer to the loop.
func (a *audience) admit(v *viewer, timed bool) error {
	a.viewers = append(a.viewers, v)
	return a.loop.add(v.socket, func(kind byte, body []byte) {
		if !v.reading(kind, body) {
			return
		}
		v.got++
		a.delivered++
		if timed && a.timing {
			if at, ok := stamped(body); ok {
				a.latency = append(a.latency, now()-at)
			}
		}
	})
}

// publish sends one reading of the next sensor, in a write of its own as sensors do.
func (a *audience) publish(due int64) error {
	p := a.senders[a.sent%int64(len(a.senders))]
	a.sent++
	p.out = append(p.out, p.qos0.at(due, 0)...)
	return p.flush()
}

// owed is how many deliveries all that was sent must make.
func (a *audience) owed() int64 { return a.sent * int64(len(a.viewers)/len(a.senders)) }

// until turns without sleeping, with before called ahead of each turn.
func (a *audience) until(done func() bool, before func() error) error {
	var failed error
	err := a.loop.until(0,
		func() bool { failed = before(); return failed != nil || done() },
		func() int64 { return a.delivered },
		func() error {
			return fmt.Errorf("lost: %d of %d deliveries did not come for %v", a.owed()-a.delivered, a.owed(), a.loop.patience)
		})
	if failed != nil {
		return failed
	}
	return err
}

// settle waits for every delivery that is owed.
func (a *audience) settle() error {
	return a.until(func() bool { return a.delivered >= a.owed() }, func() error { return nil })
}

// check makes sure that each viewer had each reading of its sensor once. Sensors send in turn, so the first ones may be one ahead.
func (a *audience) check() error {
	sensors := int64(len(a.senders))
	for i, v := range a.viewers {
		sensor := int64(i) % sensors
		if want := (a.sent - sensor + sensors - 1) / sensors; v.got != want {
			return fmt.Errorf("lost or doubled: viewer %d had %d readings of %d", i, v.got, want)
		}
	}
	return nil
}
