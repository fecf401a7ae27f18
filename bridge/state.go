package bridge

import (
	"sensorcast/telemetry"
	"sensorcast/wire"
)

// StateChanged tells those who watch the sensor of its step, before any reading that is observed after it. It touches memory only and
// never blocks.
func (h *Hub) StateChanged(c telemetry.StateChange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rm := h.rooms[c.SensorID]
	if rm == nil {
		return // nobody watches
	}
	rm.lastSeen = c.LastSeenAt
	h.tellLocked(&frame{room: rm, wire: stateFrame(rm.serial, c.State, c.LastSeenAt)})
}

// AlertChanged tells those who watch the sensor of a step of an incident. It touches memory only and never blocks.
func (h *Hub) AlertChanged(a telemetry.Alert) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rm := h.rooms[a.SensorID]
	if rm == nil || len(rm.members) == 0 {
		return
	}
	h.tellLocked(&frame{room: rm, wire: alertFrame(rm.serial, &a), alert: true})
}

// tellLocked pushes what is no reading to the members of its room.
func (h *Hub) tellLocked(f *frame) {
	var wake []*wire.Sender
	for _, s := range f.room.members {
		if s.box.push(f) {
			wake = append(wake, s.sender)
		}
	}
	h.pool.WakeAll(wake)
}

// stateOf is what whoever enters the room is told.
func (h *Hub) stateOf(rm *room) telemetry.State {
	if h.cfg.StateOf != nil {
		state, _ := h.cfg.StateOf(rm.id)
		return state
	}
	if rm.lastSeen == 0 {
		return telemetry.StateNeverSeen
	}
	return telemetry.StateOnline
}
