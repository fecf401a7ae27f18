package alert

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Listener is told of every step of every incident: opened, acknowledged, resolved.
type Listener interface {
	// AlertChanged is called once for each step, in order, after it is durable. It touches memory only and never blocks.
	AlertChanged(a telemetry.Alert)
}

// Ledger keeps incidents; package store does. Who may see them is not its matter.
type Ledger interface {
	// Alerts returns a page of incidents, newest first.
	Alerts(ctx context.Context, q telemetry.AlertQuery) ([]telemetry.Alert, error)
	// Alert returns one by its public id; telemetry.ErrNotFound.
	Alert(ctx context.Context, id string) (telemetry.Alert, error)
	// Acknowledge notes who looks after one, unless that is settled or it is over, and reports whether it did; telemetry.ErrNotFound.
	Acknowledge(ctx context.Context, id, by string, at telemetry.Millis) (a telemetry.Alert, changed bool, err error)
	// Timeline returns a page of what happened to a sensor, newest first.
	Timeline(ctx context.Context, q telemetry.TimelineQuery) ([]telemetry.Event, error)
	// Announce writes the notices that are due by now and resolves what has kept away for long enough. It returns what it resolved, and
	// whether it is to be called again at once.
	Announce(ctx context.Context, now telemetry.Millis, e telemetry.Etiquette) (steps []telemetry.Alert, more bool, err error)
}

// The etiquette that is not for the operator to set.
const (
	many     = 10
	share    = 20
	gather   = 50 * time.Second // and up to a beat more
	flaps    = 4
	flapping = time.Hour
)

// Incidents is what people and listeners know of incidents. Whatever opens or resolves one goes through it, so that all hear of the steps in
// the order they were made durable. Its methods are safe for concurrent use; those that take a context wait for the store.
type Incidents struct {
	ledger    Ledger
	dir       *auth.Directory
	clock     Clock
	etiquette telemetry.Etiquette
	log       *slog.Logger
	counters  *counters
	turn      chan struct{} // holds one token: whoever has it changes incidents and tells of it
	listeners []Listener    // changed under turn
}

func newIncidents(ledger Ledger, dir *auth.Directory, cfg Config, log *slog.Logger, c *counters) *Incidents {
	i := &Incidents{
		ledger: ledger,
		dir:    dir,
		clock:  cfg.Clock,
		etiquette: telemetry.Etiquette{
			Many: many, Share: share, Gather: gather, Flaps: flaps, Within: flapping, Remind: cfg.RemindEvery,
		},
		log:      log,
		counters: c,
		turn:     make(chan struct{}, 1),
	}
	i.turn <- struct{}{}
	return i
}

// Tell adds listeners for good. It is called while the program is wired up.
func (i *Incidents) Tell(to ...Listener) {
	<-i.turn
	i.listeners = append(i.listeners, to...)
	i.turn <- struct{}{}
}

// change applies a change to the store and tells of the steps that it has made, while no other is made.
func (i *Incidents) change(ctx context.Context, apply func() ([]telemetry.Alert, error)) error {
	select {
	case <-i.turn:
	case <-ctx.Done():
		return fmt.Errorf("%w: wait for incidents: %w", telemetry.ErrUnavailable, ctx.Err())
	}
	defer func() { i.turn <- struct{}{} }()
	steps, err := apply()
	if err != nil {
		return err
	}
	for _, a := range steps {
		i.counters.countAlert(&a)
		for _, to := range i.listeners {
			to.AlertChanged(a)
		}
	}
	return nil
}

// List returns incidents of the sensors p may view, newest first; Serials is filled in here, but for one that is asked for by itself:
// telemetry.ErrNotFound for a sensor that is unknown or not p's to know of.
func (i *Incidents) List(ctx context.Context, p auth.Principal, serial string, q telemetry.AlertQuery) ([]telemetry.Alert, error) {
	if serial == "" {
		q.Serials = i.dir.SerialsOf(p)
	} else if _, err := i.sensorFor(p, auth.View, serial); err != nil {
		return nil, err
	} else {
		q.Serials = []string{serial}
	}
	if len(q.Serials) == 0 {
		return nil, nil
	}
	return i.ledger.Alerts(ctx, q)
}

// Show returns an incident of a sensor p may view. telemetry.ErrNotFound.
func (i *Incidents) Show(ctx context.Context, p auth.Principal, id string) (telemetry.Alert, error) {
	a, err := i.ledger.Alert(ctx, id)
	if err != nil {
		return telemetry.Alert{}, err
	}
	if err := i.mine(p, auth.View, &a); err != nil {
		return telemetry.Alert{}, err
	}
	return a, nil
}

// Acknowledge says that p, who may manage the sensor, looks after the incident: there are no reminders of it any more. One that is over, or
// acknowledged by somebody, is left as it is. telemetry.ErrNotFound, and telemetry.ErrForbidden where p may only watch.
func (i *Incidents) Acknowledge(ctx context.Context, p auth.Principal, id string) (a telemetry.Alert, err error) {
	if a, err = i.ledger.Alert(ctx, id); err != nil {
		return telemetry.Alert{}, err
	}
	if err = i.mine(p, auth.Manage, &a); err != nil {
		return telemetry.Alert{}, err
	}
	err = i.change(ctx, func() ([]telemetry.Alert, error) {
		var changed bool
		a, changed, err = i.ledger.Acknowledge(ctx, id, p.Username, i.clock.Wall())
		if err != nil || !changed {
			return nil, err
		}
		return []telemetry.Alert{a}, nil
	})
	return a, err
}

// Timeline returns what happened to a sensor p may view, newest first; SensorID is filled in here. telemetry.ErrNotFound.
func (i *Incidents) Timeline(ctx context.Context, p auth.Principal, serial string, q telemetry.TimelineQuery) ([]telemetry.Event, error) {
	dev, err := i.sensorFor(p, auth.View, serial)
	if err != nil {
		return nil, err
	}
	q.SensorID = dev.SensorID
	return i.ledger.Timeline(ctx, q)
}

// mine is sensorFor with the incident's sensor.
func (i *Incidents) mine(p auth.Principal, action auth.Action, a *telemetry.Alert) error {
	dev, err := i.sensorFor(p, action, a.Serial)
	if err == nil && dev.SensorID != a.SensorID {
		return fmt.Errorf("alert: %w", telemetry.ErrNotFound)
	}
	return err
}

// sensorFor finds the sensor when p may do action on it. Who may not even view it learns no more than that there is nothing.
func (i *Incidents) sensorFor(p auth.Principal, action auth.Action, serial string) (auth.Device, error) {
	dev, known := i.dir.Lookup(serial)
	switch {
	case known && auth.Allowed(p, action, dev):
		return dev, nil
	case known && auth.Allowed(p, auth.View, dev):
		return auth.Device{}, fmt.Errorf("the sensor may be watched, not managed: %w", telemetry.ErrForbidden)
	}
	return auth.Device{}, fmt.Errorf("sensor: %w", telemetry.ErrNotFound)
}

// announce has the store do what is due.
func (i *Incidents) announce(ctx context.Context) {
	for more := true; more && ctx.Err() == nil; {
		err := i.change(ctx, func() (steps []telemetry.Alert, err error) {
			steps, more, err = i.ledger.Announce(ctx, i.clock.Wall(), i.etiquette)
			return steps, err
		})
		if err != nil {
			if ctx.Err() == nil {
				i.counters.failures.Add(1)
				i.log.Warn("notices not written, will be tried again", "err", err)
			}
			return
		}
	}
}
