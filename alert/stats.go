package alert

import (
	"sync/atomic"

	"sensorcast/telemetry"
)

type counters struct {
	silent, online, neverSeen, graces, failures, audits, mismatches, spared atomic.Int64
	opened, acknowledged, resolved, rhythms                                 atomic.Int64
}

// countAlert counts a step by what it has made of the incident.
func (c *counters) countAlert(a *telemetry.Alert) {
	switch {
	case a.ResolvedAt != 0:
		c.resolved.Add(1)
	case a.AcknowledgedAt != 0:
		c.acknowledged.Add(1)
	default:
		c.opened.Add(1)
	}
}

func (c *counters) count(s telemetry.State) {
	switch s {
	case telemetry.StateSilent:
		c.silent.Add(1)
	case telemetry.StateOnline:
		c.online.Add(1)
	case telemetry.StateNeverSeen:
		c.neverSeen.Add(1)
	}
}

// Stats are counts since the start, except where they say "now".
type Stats struct {
	Silent     int64 // steps to silent
	Online     int64 // steps to online, a sensor's first included
	NeverSeen  int64 // steps back to never_seen, because the first reading could not be stored
	Graces     int64 // times the server had not listened, or the clock ran ahead
	Failures   int64 // times the store could not mark sensors or keep a heartbeat
	Spared     int64 // silences held back because the server did not hear itself
	Audits     int64 // comparisons with the store
	Mismatches int64 // sensors that differed in the last one; anything but 0 is a defect

	AlertsOpened, AlertsAcknowledged, AlertsResolved int64 // steps of incidents
	Rhythms                                          int64 // times the rhythm of a sensor was written down

	OnlineNow, SilentNow, NeverSeenNow int // sensors in each state now
}

// Stats returns the present figures.
func (w *Watch) Stats() Stats {
	c := &w.counters
	s := Stats{
		Silent: c.silent.Load(), Online: c.online.Load(), NeverSeen: c.neverSeen.Load(), Graces: c.graces.Load(),
		Failures: c.failures.Load(), Spared: c.spared.Load(), Audits: c.audits.Load(), Mismatches: c.mismatches.Load(),
		AlertsOpened: c.opened.Load(), AlertsAcknowledged: c.acknowledged.Load(), AlertsResolved: c.resolved.Load(), Rhythms: c.rhythms.Load(),
	}
	w.mu.Lock()
	s.OnlineNow, s.SilentNow, s.NeverSeenNow = w.states[online], w.states[silent], w.states[neverSeen]
	w.mu.Unlock()
	return s
}
