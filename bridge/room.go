package bridge

import (
	"sync/atomic"

	"sensorcast/telemetry"
)

// room is what the hub knows of one sensor: who watches it and what is newest. There is one for each sensor that sent something since
// the start or was ever watched, so their number is bounded by that of the sensors. It is found by the sensor's number, not by its serial:
// a serial may be given to another owner's sensor, a number never is.
//
// Everything but newest is guarded by Hub.mu.
type room struct {
	id     int64
	serial string

	members []*session

	latest   telemetry.Reading // newest by time, the higher Seq among equals; Seq zero: none
	lastSeen telemetry.Millis

	// newest is the frame of the newest reading pushed to the members, where backlogs find what they could not hold. It is stored before it is
	// pushed.
	newest atomic.Pointer[frame]
}

// newer reports whether r moves what is newest. Late data never does.
func (rm *room) newer(r *telemetry.Reading) bool {
	return r.Time > rm.latest.Time || r.Time == rm.latest.Time && r.Seq > rm.latest.Seq || rm.latest.Seq == 0
}

// fold merges what the store knows. It was read before, so it can only be older than or the same as what the room learnt since the start.
func (rm *room) fold(s *telemetry.Sensor) {
	rm.lastSeen = max(rm.lastSeen, s.Status.LastSeenAt)
	if l := s.Status.Latest; l != nil && rm.newer(l) {
		rm.latest = *l
		rm.latest.Serial = rm.serial
	}
}
