package main

import (
	"context"
	"fmt"
	"time"
)

// figure is one of the things a run finds out.
type figure string

const (
	rate   figure = "rate" // a second
	p50    figure = "p50"  // µs
	p99    figure = "p99"  // µs
	memory figure = "memory"
)

// more is whether more of it is better.
func (f figure) more() bool { return f == rate }

// result is what one run found.
type result struct {
	figures   map[figure]float64
	cpu       float64 // µs of the server's processor time for each message; 0: no times were measured, nor the next two
	generator float64 // share of one processor; near 1 where it may sleep it would be the bottleneck
	foreign   float64 // share of the machine that something else used
	note      string
}

// row is one comparison, with the letter of the project's list of measurements.
type row struct {
	letter, name string
	figures      []figure
	watched      bool // has viewers
	still        bool // is about memory at rest, which does not drift with the machine's speed
	measure      measurement
	eased        func(by int64) measurement // the same at a fraction of its rate; nil: it has no fixed one, or one that all keep up with
}

// measurement makes one run of a row.
type measurement func(ctx context.Context, s server, length time.Duration) (result, error)

// easedFor is the row as a peer can do it.
func (r row) easedFor(c contender) row {
	if r.eased != nil && c.slower > 1 {
		r.measure = r.eased(c.slower)
		r.name = fmt.Sprintf("%s ÷ %d", r.name, c.slower)
	}
	return r
}

// rows are all measurements; idle is the number of sockets in the last two.
func rows(idle int) []row {
	return []row{
		{letter: "A", name: "QoS 0 flat out, 50 publishers", figures: []figure{rate}, measure: flood},
		acknowledged("B", "QoS 1, 100 publishers, 1 in flight", acks{publishers: 100, window: 1}, rate, p50, p99),
		acknowledged("C", "QoS 1, 10 publishers, 100 in flight", acks{publishers: 10, window: 100}, rate),
		acknowledged("D", "QoS 1 at 2,000/s", acks{publishers: 100, window: 64, rate: 2000}, p50, p99),
		delivered("E", "1→1 at 1,000/s", fanout{sensors: 1, viewers: 1, rate: 1000}, p50, p99),
		delivered("F", "1→1, 64 under way", fanout{sensors: 1, viewers: 1, window: 64}, rate),
		delivered("G", "1→1000, 4 under way", fanout{sensors: 1, viewers: 1000, window: 4}, rate, p99),
		delivered("H", "1→1000, bursts at 20/s", fanout{sensors: 1, viewers: 1000, rate: 20}, p50, p99),
		delivered("I", "100→1000, 100 under way", fanout{sensors: 100, viewers: 1000, window: 100}, rate, p99),
		delivered("J", "100→1000, 10,000 deliveries/s", fanout{sensors: 100, viewers: 1000, rate: 1000}, p50, p99),
		{letter: "K-viewer", name: "memory of an idle viewer", figures: []figure{memory}, watched: true, still: true, measure: idleViewers(idle)},
		{letter: "K-device", name: "memory of an idle MQTT device", figures: []figure{memory}, still: true, measure: idleDevices(idle)},
	}
}

func acknowledged(letter, name string, a acks, figures ...figure) row {
	return row{letter: letter, name: name, figures: figures, measure: a.measure}
}

func delivered(letter, name string, f fanout, figures ...figure) row {
	r := row{letter: letter, name: name, figures: figures, watched: true, measure: f.measure}
	if f.rate > 0 && f.viewers > 1 {
		r.eased = func(by int64) measurement {
			f := f
			f.rate = max(1, f.rate/by)
			return f.measure
		}
	}
	return r
}

// warmUp is how much of a run's length goes before what is measured.
const warmUp = 3 // a third

// measured runs drive under the meter. drive returns how many messages it was about.
func measured(s server, drive func() (messages int64, err error)) (result, error) {
	m, err := startMeter(s.pid())
	if err != nil {
		return result{}, err
	}
	n, err := drive()
	if err != nil {
		return result{}, err
	}
	u, err := m.stop()
	if err != nil {
		return result{}, err
	}
	return result{
		figures:   map[figure]float64{rate: float64(n) / u.elapsed.Seconds()},
		cpu:       float64(u.server.Microseconds()) / float64(max(n, 1)),
		generator: u.generator.Seconds() / u.elapsed.Seconds(),
		foreign:   u.foreign,
	}, nil
}
