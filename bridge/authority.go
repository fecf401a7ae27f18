package bridge

import (
	"slices"

	"sensorcast/auth"
	"sensorcast/wire"
)

// AuthorityChanged implements auth.Watcher: it closes the sessions that lost their ground and moves those that watch all sensors of a person
// into the room of a new one. Sessions being opened are caught by the checks after their registration (see join).
func (h *Hub) AuthorityChanged(c auth.Change) {
	switch c.Kind {
	case auth.SensorAdded, auth.ShareAdded:
		h.sensorAdded(c)
	case auth.SensorRemoved:
		h.sensorRemoved(c)
	case auth.ShareRemoved:
		h.shareRemoved(c)
	case auth.SecretRotated:
		h.endAll(h.devices, c.SensorID, "the sensor's secret was rotated", func(*session) bool { return true })
	case auth.SessionEnded:
		h.endAll(h.people, c.UserID, "logged out", func(s *session) bool { return s.principal.SessionID == c.SessionID })
	case auth.UserEnded:
		h.endAll(h.people, c.UserID, "the account's sessions were ended", func(s *session) bool {
			return s.principal.TokenID == "" && (c.SessionID == "" || s.principal.SessionID != c.SessionID)
		})
	case auth.TokenEnded:
		h.endAll(h.people, c.UserID, "the API token was revoked or has expired", func(s *session) bool { return s.principal.TokenID == c.TokenID })
	}
}

// endAll closes the sessions under key that match, with 4401. What waits for them is not sent any more.
func (h *Hub) endAll(index map[int64][]*session, key int64, reason string, match func(*session) bool) {
	var ended []*session
	h.mu.Lock()
	for _, s := range index[key] {
		if match(s) {
			ended = append(ended, s)
		}
	}
	h.mu.Unlock()
	for _, s := range ended {
		s.end(CloseAuthorityEnded, reason, false)
	}
}

func (h *Hub) sensorAdded(c auth.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	dev, ok := h.dir.Lookup(c.Serial)
	if !ok || dev.SensorID != c.SensorID {
		return // gone again
	}
	var wake []*wire.Sender
	for _, s := range h.people[c.UserID] {
		if !s.all || !auth.Allowed(s.principal, auth.View, dev) { // an API token may be for other sensors
			continue
		}
		rm := h.roomLocked(c.SensorID, c.Serial)
		if !s.joined {
			s.added = append(s.added, rm) // join takes it up
			continue
		}
		if h.addLocked(s, rm) {
			wake = append(wake, s.sender)
		}
	}
	h.pool.WakeAll(wake)
}

// addLocked registers s for a sensor that was not in its hello and tells it so.
func (h *Hub) addLocked(s *session, rm *room) bool {
	if len(s.rooms) >= maxSensors || !s.watch(rm) {
		return false
	}
	return s.box.push(&frame{room: rm, wire: stateFrame(rm.serial, h.stateOf(rm), rm.lastSeen)})
}

// sensorRemoved empties the sensor's room: what waits of it is dropped, sessions that came for nothing else are closed with 4404, the
// others are told. The sensor's own sockets close.
func (h *Hub) sensorRemoved(c auth.Change) {
	h.mu.Lock()
	var watching []*session
	if rm := h.rooms[c.SensorID]; rm != nil {
		watching, rm.members = rm.members, nil
		delete(h.rooms, c.SensorID)
		for _, s := range watching {
			s.unwatch(rm)
		}
	}
	ended := append([]*session(nil), h.devices[c.SensorID]...)
	told := watching[:0]
	for _, s := range watching {
		if len(s.rooms) == 0 && !s.all {
			ended = append(ended, s)
		} else {
			told = append(told, s)
		}
	}
	h.mu.Unlock()
	for _, s := range told {
		s.box.reply(errorFrame("sensor_deleted", "the sensor was deleted", c.Serial, nil))
		s.sender.Wake()
	}
	for _, s := range ended {
		s.end(CloseSensorDeleted, "the sensor was deleted", false)
	}
}

// shareRemoved takes a sensor away from the sessions of somebody it was shared with.
func (h *Hub) shareRemoved(c auth.Change) {
	h.mu.Lock()
	rm := h.rooms[c.SensorID]
	watching := append([]*session(nil), h.people[c.UserID]...)
	h.mu.Unlock()
	if rm == nil {
		return
	}
	for _, s := range watching {
		h.accessLost(s, rm)
	}
}

// accessLost takes a sensor away from a session that may watch it no more: what waits of it is dropped. One that came for nothing else is closed
// with 4403, another is told. One that does not watch the sensor is left alone, so it does no harm to find the loss out twice.
func (h *Hub) accessLost(s *session, rm *room) {
	h.mu.Lock()
	s.added = slices.DeleteFunc(s.added, func(other *room) bool { return other == rm })
	watched := slices.Contains(s.rooms, rm)
	if watched {
		rm.members = without(rm.members, s)
		s.unwatch(rm)
	}
	over := len(s.rooms) == 0 && !s.all
	h.mu.Unlock()
	switch {
	case watched && over:
		s.end(CloseAccessLost, "access to the sensor has ended", false)
	case watched:
		s.box.reply(errorFrame("access_lost", "access to the sensor has ended", rm.serial, nil))
		s.sender.Wake()
	}
}
