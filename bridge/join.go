package bridge

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"sensorcast/auth"
)

const (
	snapshotSensors = 100 // asked of the store at a time; as many as one ticket can name
	snapshotTimeout = 10 * time.Second
)

// join brings a session from the upgrade to live: it learns what the store knows, registers, says hello; or, where it has been here before,
// replays what it missed since from. False means that it ended.
//
// Why there is neither gap nor duplicate: S is the last Seq observed when the session is registered, under Hub.mu as is every Observe. A
// reading up to S was observed by this process, and then it is in its room's memory, or is older than the process, and then it was in the
// store when the store was asked, before registration, and was folded into the room. So the rooms hold what is newest up to S. A reading
// after S finds the session registered. Nothing the store answered is beyond S, for it was observed before it was committed.
func (h *Hub) join(ctx context.Context, s *session, serials []string, from *position) bool {
	if s.all {
		serials = h.dir.SerialsOf(s.principal)
	}
	if len(serials) > maxSensors {
		s.end(ClosePolicy, "more than "+strconv.Itoa(maxSensors)+" sensors: ask a ticket for fewer", false)
		return false
	}
	seats, err := h.survey(ctx, serials)
	if err != nil {
		h.log.Warn("hello failed", "err", err)
		s.end(CloseOverloaded, retryAfter("the server cannot read the sensors' state now", overloadSpread), false)
		return false
	}
	var lost *missing
	if from != nil && !s.device {
		var ok bool
		if lost, ok = h.resume(ctx, s, seats, *from); lost == nil {
			return ok
		}
	}
	seq, seats := h.register(s, seats)
	seats, ok := h.stillAllowed(s, seats)
	if !ok {
		return false
	}
	if lost != nil {
		s.box.pushHello(wholeGapFrame(lost.after, seq+1, lost.reason), true)
	}
	return s.greet(&greeting{epoch: h.cfg.Epoch(), seq: seq, seats: seats}, false)
}

// survey asks the store for the sensors and folds its answer into their rooms.
func (h *Hub) survey(ctx context.Context, serials []string) ([]seat, error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	seats := make([]seat, 0, len(serials))
	for chunk := range slices.Chunk(serials, snapshotSensors) {
		sensors, err := h.snaps.Snapshot(ctx, chunk)
		if err != nil {
			return nil, fmt.Errorf("snapshot of %d sensors: %w", len(chunk), err)
		}
		h.mu.Lock()
		for i := range sensors {
			rm := h.roomLocked(sensors[i].ID, sensors[i].Serial)
			rm.fold(&sensors[i])
			seats = append(seats, seat{room: rm, name: sensors[i].Name})
		}
		h.mu.Unlock()
	}
	return seats, nil
}

// register is the one critical section of joining: membership, S and what is newest, together.
func (h *Hub) register(s *session, seats []seat) (seq int64, taken []seat) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seq, h.registerLocked(s, seats)
}

// registerLocked makes the session a member of the rooms of its seats and returns the seats as they are now, without those that are no
// more. A sensor's own session watches nothing.
func (h *Hub) registerLocked(s *session, seats []seat) (taken []seat) {
	taken = seats[:0]
	for _, seat := range seats {
		rm := seat.room
		if h.rooms[rm.id] != rm || s.left { // deleted meanwhile, or the session ended
			continue
		}
		if !s.device {
			s.rooms = append(s.rooms, rm) // auth.MintTicket and SerialsOf name each once
			rm.members = append(rm.members, s)
		}
		seat.state, seat.lastSeen, seat.latest = h.stateOf(rm), rm.lastSeen, rm.latest
		taken = append(taken, seat)
	}
	s.joined = true
	for _, rm := range s.added {
		if h.rooms[rm.id] == rm {
			h.addLocked(s, rm)
		}
	}
	s.added = nil
	return taken
}

// stillAllowed checks, now that every later change of authority finds the session, that none came between redeeming the ticket and here.
// It returns the seats of sensors that still exist; false means that the session ended.
func (h *Hub) stillAllowed(s *session, seats []seat) ([]seat, bool) {
	if !h.tickets.Live(s.principal) {
		s.end(CloseAuthorityEnded, "logged out", false)
		return nil, false
	}
	action := auth.View
	if s.device {
		action = auth.Publish
	}
	kept, lost := seats[:0], false
	for _, seat := range seats {
		dev, ok := h.dir.Lookup(seat.room.serial)
		switch {
		case !ok || dev.SensorID != seat.room.id:
			h.sensorRemoved(auth.Change{SensorID: seat.room.id, Serial: seat.room.serial})
		case !auth.Allowed(s.principal, action, dev):
			h.accessLost(s, seat.room)
			lost = true
		default:
			kept = append(kept, seat)
		}
	}
	switch {
	case len(kept) > 0 || s.all:
		return kept, true
	case lost:
		s.end(CloseAccessLost, "access to the sensor has ended", false)
	default:
		s.end(CloseSensorDeleted, "the sensor was deleted", false)
	}
	return nil, false
}
