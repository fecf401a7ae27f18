package alert

import (
	"sensorcast/alert/cadence"
	"sensorcast/telemetry"
)

// state is telemetry.State in a byte.
type state uint8

const (
	absent state = iota // no such sensor
	neverSeen
	online
	silent
	stateCount
)

func (s state) word() telemetry.State {
	switch s {
	case online:
		return telemetry.StateOnline
	case silent:
		return telemetry.StateSilent
	}
	return telemetry.StateNeverSeen
}

func stateOf(l *telemetry.Liveness) state {
	switch l.State() {
	case telemetry.StateOnline:
		return online
	case telemetry.StateSilent:
		return silent
	}
	return neverSeen
}

// entry is what is kept of a sensor: 40 bytes. What each reading touches lies together at its front.
type entry struct {
	seen    telemetry.Millis // arrival of its last reading
	at      tenths           // the same by the Watch's own clock, or a little earlier
	state   state
	learned bool   // its rhythm says how long it may be silent, once it has one
	silence tenths // how long it may be silent otherwise; zero: as long as others
	due     tenths // its key in the heap; zero: it is not there. One there under another key is void
	rhythm  cadence.Rhythm
}

const pageBits = 6

// page holds sensors with neighbouring ids. Ids are given in turn, so pages are full but for the gaps that deleted sensors leave, and a million
// sensors are sixteen thousand pages without a pointer in them.
type page [1 << pageBits]entry

// roll is all sensors by id.
type roll map[int64]*page

func (r roll) find(id int64) *entry {
	if p := r[id>>pageBits]; p != nil {
		if e := &p[id&(1<<pageBits-1)]; e.state != absent {
			return e
		}
	}
	return nil
}

// place returns where the sensor is to be entered, or is.
func (r roll) place(id int64) *entry {
	p := r[id>>pageBits]
	if p == nil {
		p = new(page)
		r[id>>pageBits] = p
	}
	return &p[id&(1<<pageBits-1)]
}

func (r roll) remove(id int64) {
	p := r[id>>pageBits]
	if p == nil {
		return
	}
	p[id&(1<<pageBits-1)] = entry{}
	if *p == (page{}) {
		delete(r, id>>pageBits)
	}
}
