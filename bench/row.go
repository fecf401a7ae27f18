package main

import (
	"context"
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
	unit         string // of its rate or memory
	figures      []figure
	watched      bool // has viewers
	measure      func(ctx context.Context, s server, length time.Duration) (result, error)
}

// rows are all measurements; idle is the number of sockets in the last two.
func rows(idle int) []row {
	return []row{
		{"A", "QoS 0 flat out, 50 publishers", "messages/s", []figure{rate}, false, flood},
		{"B", "QoS 1, 100 publishers, 1 in flight", "acks/s", []figure{rate, p50, p99}, false, acks{publishers: 100, window: 1}.measure},
		{"C", "QoS 1, 10 publishers, 100 in flight", "acks/s", []figure{rate}, false, acks{publishers: 10, window: 100}.measure},
		{"D", "QoS 1 at 2,000/s", "acks/s", []figure{p50, p99}, false, acks{publishers: 100, window: 64, rate: 2000}.measure},
		{"E", "1→1 at 1,000/s", "deliveries/s", []figure{p50, p99}, true, fanout{sensors: 1, viewers: 1, rate: 1000}.measure},
		{"F", "1→1, 64 under way", "deliveries/s", []figure{rate}, true, fanout{sensors: 1, viewers: 1, window: 64}.measure},
		{"G", "1→1000, 4 under way", "deliveries/s", []figure{rate, p99}, true, fanout{sensors: 1, viewers: 1000, window: 4}.measure},
		{"H", "1→1000, bursts at 20/s", "deliveries/s", []figure{p50, p99}, true, fanout{sensors: 1, viewers: 1000, rate: 20}.measure},
		{"I", "100→1000, 100 under way", "deliveries/s", []figure{rate, p99}, true, fanout{sensors: 100, viewers: 1000, window: 100}.measure},
		{"J", "100→1000, 10,000 deliveries/s", "deliveries/s", []figure{p50, p99}, true, fanout{sensors: 100, viewers: 1000, rate: 1000}.measure},
		{"K-viewer", "memory of an idle viewer", "KB", []figure{memory}, true, idleViewers(idle)},
		{"K-device", "memory of an idle MQTT device", "KB", []figure{memory}, false, idleDevices(idle)},
	}
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
