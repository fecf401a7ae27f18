package simulator

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// fleet is all sensors of a run.
type fleet struct {
	cfg     *Config
	sensors []*sensor
	meter   *meter
	started time.Time
}

func newFleet(cfg *Config, d *dialer, started time.Time) *fleet {
	f := &fleet{cfg: cfg, meter: newMeter(), started: started}
	runID := strconv.FormatInt(started.UnixMilli(), 36)
	interval := cfg.interval()
	username, password := cfg.Username, cfg.Password
	if user := d.broker.User; user != nil && username == "" {
		username = user.Username()
		password, _ = user.Password()
	}
	for i, spec := range cfg.plan() {
		s := &sensor{
			cfg: cfg, spec: spec, dialer: d, meter: f.meter, log: cfg.Logger.With("sensor", spec.Serial),
			topic: expand(cfg.Topic, spec.Serial), runID: runID, interval: interval,
			// Phases fill the interval evenly; sensor i of n publishes at start + i/n of it, and every interval after.
			due: started.Add(time.Duration(float64(interval) * float64(i) / float64(cfg.Sensors))),
			who: login{clientID: spec.Serial, username: username, password: password, will: expand(cfg.Will, spec.Serial)},
		}
		if len(cfg.Credentials) > 0 {
			s.who.username, s.who.password = spec.Serial, spec.secret
		}
		if cfg.Commands {
			s.commands = newResponder(spec.Serial, cfg.ConnectTimeout, f.meter)
		}
		f.sensors = append(f.sensors, s)
	}
	return f
}

// run starts the sensors at the connect rate and waits until all have ended, reporting the status meanwhile.
func (f *fleet) run(ctx context.Context) {
	f.cfg.Logger.Info("simulation started", "sensors", len(f.sensors), "interval", f.cfg.interval(), "qos", f.cfg.QoS)
	ended := make(chan struct{})
	var reporter, sensors sync.WaitGroup
	reporter.Go(func() { f.reportStatus(ended) }) // stops when ended is closed

	pace := time.Second / time.Duration(f.cfg.ConnectRate)
	for i, s := range f.sensors {
		sleep(ctx, time.Until(f.started.Add(time.Duration(i)*pace)))
		if ctx.Err() != nil {
			break
		}
		sensors.Go(func() { s.run(ctx) }) // stops when ctx ends, or by itself after cfg.Count messages
	}
	sensors.Wait()
	close(ended)
	reporter.Wait()
	f.cfg.Logger.Info("simulation ended", "published", f.meter.published.Load(), "acknowledged", f.meter.acknowledged.Load(), "lost", f.meter.lost.Load())
}

func (f *fleet) reportStatus(ended <-chan struct{}) {
	if f.cfg.OnStatus == nil {
		return
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var last Status
	for {
		select {
		case now := <-ticker.C:
			last = f.meter.status(f.cfg, last, now.Sub(f.started))
			f.cfg.OnStatus(last)
		case <-ended:
			f.cfg.OnStatus(f.meter.status(f.cfg, last, time.Since(f.started)))
			return
		}
	}
}
