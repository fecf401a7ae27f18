// Package simulator is a seeded fleet of MQTT sensors with believable signals. It stands at the very start of a reading's way,
// where devices stand: it connects to a broker (Sensorcast's own or any other) over real sockets, publishes telemetry, and counts
// what came of it. `sensorcast simulate` runs it against any broker, `sensorcast demo` against the server in the same process, and
// package bench as the load.
//
//	signal.go, profile.go   what is measured: pure functions of (seed, time)
//	payload.go, fault.go    how it is written down, and what goes wrong with it on purpose
//	sensor.go, outbox.go    one sensor: publish, await the acknowledgement, resend after a lost connection
//	link.go, dial.go        one MQTT connection; paho lives here and nowhere else in Sensorcast
//	fleet.go                many sensors, started at a bounded rate and stopped together
//	meter.go, report.go     what was counted
//	credentials.go, provision.go   who the sensors are, and making sure the server knows them
//
// Invariants:
//   - The same seed, serial and time give the same value; two serials never share a series.
//   - At QoS 1 and 2, published = acknowledged + lost in every [Report]: a message is counted once however often it is resent, and
//     is lost only if the run ended before its acknowledgement came.
//   - A sensor has at most Config.InFlight messages unacknowledged, and sends what was unacknowledged again, first and in order,
//     after a reconnect.
//   - Cancelling ends a run within two seconds, whatever the broker does.
//
// Locks: meter.mu guards the latency histogram and the last error, link.mu the socket under a connection; neither is held while
// the other is taken. Everything else of a sensor belongs to that sensor's one goroutine.
package simulator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNeverConnected is returned by Run when connections were tried and not one was accepted.
var ErrNeverConnected = errors.New("no sensor could connect")

// Run simulates the fleet described by cfg until ctx ends, cfg.Duration is over or every sensor has had cfg.Count messages
// acknowledged, and returns what was counted. It blocks; all its goroutines have been told to stop when it returns, which is at
// most two seconds after ctx ends. Several runs may go on at once.
//
// The end of ctx is a normal end, not an error. Errors: telemetry.ErrInvalid joined with one FieldError per wrong field of cfg, a
// CA file that cannot be read, and ErrNeverConnected (with the Report) when not one connection came about.
func Run(ctx context.Context, cfg Config) (Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return Report{}, err
	}
	dialer, err := newDialer(cfg.Broker, cfg.CAFile, cfg.ConnectTimeout)
	if err != nil {
		return Report{}, err
	}
	started := time.Now()
	ctx, cancel := bounded(ctx, cfg.Duration)
	defer cancel()
	f := newFleet(&cfg, dialer, started)
	f.run(ctx)

	report := f.meter.report(&cfg, dialer.String(), started, time.Now())
	if report.ConnectedPeak == 0 && report.LastError != "" {
		return report, fmt.Errorf("%w: %s", ErrNeverConnected, report.LastError)
	}
	return report, nil
}

// bounded returns a context that ends with ctx or after d, if d is not zero, but knows no deadline: net.Dialer would read it and fail
// with a time-out a moment before the context ends, and the end of a run would be counted as an unreachable broker.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, cancel)
	stop := func() bool { return true }
	if d > 0 {
		stop = time.AfterFunc(d, cancel).Stop
	}
	return run, func() { detach(); stop(); cancel() }
}
