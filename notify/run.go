package notify

import (
	"context"
	"sync"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

const (
	lookEvery  = 2 * time.Second // how late a notice nobody woke us for is seen, and a retry or the end of quiet hours
	countEvery = time.Minute     // how old the count of what waits may be
	fanAtOnce  = 100             // notices in one transaction
	readyLimit = 1000            // channels looked at in one round; those of hosts without a place are not among them
)

// Run fans out new notices and sends what is due until ctx ends. What is being sent then is finished, which takes no longer than one
// attempt. What goes wrong is logged and tried again.
func (d *Desk) Run(ctx context.Context) {
	var sending sync.WaitGroup
	defer sending.Wait()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var counted time.Time
	for failing := false; ; {
		err := d.fanOut(ctx)
		if err == nil {
			err = d.dispatch(ctx, &sending)
		}
		if err != nil && !failing && ctx.Err() == nil {
			d.log.Warn("notices are not sent, will be tried again", "err", err)
		}
		failing = err != nil
		if now := time.Now(); now.Sub(counted) >= countEvery {
			counted = now
			d.upkeep(ctx, now)
		}
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-ticker.C:
		}
	}
}

func (d *Desk) upkeep(ctx context.Context, now time.Time) {
	if n, err := d.Keeper.Backlog(ctx); err == nil {
		d.counters.waiting.Store(n)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lanes.forget(now)
}

// fanOut gives every new notice to the channels of its owner that want it.
func (d *Desk) fanOut(ctx context.Context) error {
	for ctx.Err() == nil {
		notices, err := d.Keeper.NewNotices(ctx, fanAtOnce)
		if err != nil || len(notices) == 0 {
			return err
		}
		now := telemetry.Now()
		channels := map[int64][]Channel{}
		fans := make([]Fan, len(notices))
		for i, n := range notices {
			own, known := channels[n.OwnerID]
			if !known {
				if own, err = d.Keeper.Channels(ctx, n.OwnerID); err != nil {
					return err
				}
				channels[n.OwnerID] = own
			}
			fans[i] = Fan{n.ID, postings(n, own, now)}
		}
		if err := d.Keeper.FanOut(ctx, now, fans); err != nil {
			return err
		}
		d.counters.fanned.Add(int64(len(fans)))
		if len(notices) < fanAtOnce {
			return nil
		}
	}
	return nil
}

// postings are the channels a notice goes to, and when.
func postings(n Notice, own []Channel, now telemetry.Millis) (to []Posting) {
	for _, c := range own {
		if !c.Enabled || !n.Severity.AtLeast(c.MinSeverity) {
			continue
		}
		p := Posting{ChannelID: c.ID}
		if until := c.Quiet.Until(now); until > now && n.Severity != Critical {
			p.DueAt = until
		}
		to = append(to, p)
	}
	return to
}

// dispatch starts an attempt on every channel that has something due and whose host has a place.
func (d *Desk) dispatch(ctx context.Context, sending *sync.WaitGroup) error {
	if d.underWay() >= maxSending {
		return nil // the next to end wakes Run
	}
	ready, err := d.Keeper.ReadyChannels(ctx, telemetry.Now(), d.closedHosts(), readyLimit)
	if err != nil {
		return err
	}
	for _, c := range ready {
		if ctx.Err() != nil || d.underWay() >= maxSending {
			return nil
		}
		if !d.enter(c) {
			continue
		}
		sending.Go(func() { // ends by itself, within an attempt once ctx has ended
			b := d.attempt(ctx, c)
			d.leave(c, b)
			if b != noBlame { // otherwise the store fails, which looking again at once would not mend
				d.Wake()
			}
		})
	}
	return nil
}

func (d *Desk) underWay() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.busy)
}

// closedHosts are those nothing can be sent to now. Left in, thousands of channels of one that is down would hide all others.
func (d *Desk) closedHosts() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lanes.closed(time.Now())
}

func (d *Desk) enter(c Channel) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[c.ID] || !d.lanes.enter(c.Host, time.Now()) {
		return false
	}
	d.busy[c.ID] = true
	return true
}

func (d *Desk) leave(c Channel, b blame) {
	d.mu.Lock()
	delete(d.busy, c.ID)
	opened := d.lanes.leave(c.Host, b, time.Now())
	d.mu.Unlock()
	if opened {
		d.log.Warn("host does not work, left alone for a while", "host", c.Host, "dur", circuitFor)
	}
}

// mayHear reports whether the owner of a notice may still know of its sensor.
func (d *Desk) mayHear(n Notice) bool {
	if n.SensorID == 0 {
		return true
	}
	dev, known := d.Directory.Lookup(n.Serial)
	return known && dev.SensorID == n.SensorID && auth.Allowed(auth.Principal{Kind: auth.Person, UserID: n.OwnerID}, auth.View, dev)
}
