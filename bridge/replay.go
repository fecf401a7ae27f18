package bridge

import (
	"context"
	"errors"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

const (
	// maxReplay is how many missed readings a viewer is sent; one that missed more is better served by a hello.
	maxReplay = 100_000

	// maxSearch is how much of the log is searched for them, whosever readings it holds: a second of one processor.
	maxSearch = 2_000_000

	recallReadings = 4096                 // of memory looked at while Hub.mu is held
	recallBytes    = fragmentBytes        // of frames taken meanwhile
	settleTimeout  = 10 * time.Second     // for the store to commit what memory has forgotten already
	settlePause    = 5 * time.Millisecond // between two looks at it
)

// Log reads what the store has kept; package store does.
type Log interface {
	// ReadingsAfter returns, in rising Seq, readings of the sensors with a Seq above after, without Serial and Key. All of them up to
	// through are in the answer; through is after when nothing more is committed. It reads a bounded stretch at a time.
	// telemetry.ErrNotFound: readings above after may have been deleted for their age.
	ReadingsAfter(ctx context.Context, sensors []int64, after int64) (readings []telemetry.Reading, through int64, err error)
}

// position is how far a viewer has read: all up to seq, in the log of that epoch. An empty epoch is taken on trust.
type position struct {
	epoch string
	seq   int64
}

// The reasons why a viewer's readings cannot be replayed. It gets a hello instead.
const (
	gapEpoch   = "epoch"
	gapPruned  = "pruned"
	gapTooMany = "too_many"
)

// missing is what a viewer is told before the hello that takes the place of a replay: everything after that seq may be missing.
type missing struct {
	after  int64
	reason string
}

// replay brings one session from where it left off to live. It runs in the goroutine that opens the session, before that is in any room,
// at the pace of its peer: what is long ago is read from the store, what is recent from memory, and the session is registered in the very
// critical section that finds nothing left to replay. So between replay and live there is neither gap nor duplicate.
type replay struct {
	hub   *Hub
	s     *session
	seats []seat
	rooms map[int64]*room // those of the seats, by sensor number
	ids   []int64
	epoch string
	at    int64 // all up to this seq has been sent
	sent  int
}

// resume replays what the session missed since from. Where that cannot be it returns what to say before a hello instead. false means that
// the session ended.
func (h *Hub) resume(ctx context.Context, s *session, seats []seat, from position) (*missing, bool) {
	r := &replay{hub: h, s: s, seats: seats, rooms: make(map[int64]*room, len(seats)), epoch: h.cfg.Epoch(), at: from.seq}
	for i := range seats {
		rm := seats[i].room
		r.rooms[rm.id] = rm
		r.ids = append(r.ids, rm.id)
	}
	if reason := r.reachable(ctx, from.epoch); reason != "" {
		return &missing{r.at, reason}, true
	}
	told := h.look(seats)
	if !s.greet(&greeting{epoch: r.epoch, seq: r.at, resumed: true, seats: seats}, true) {
		return nil, false
	}
	for {
		live, reason := r.step(ctx)
		switch {
		case live:
			return nil, r.settle(told)
		case reason == "" && r.sent > maxReplay:
			reason = gapTooMany
		case reason == "" && h.cfg.Epoch() != r.epoch:
			reason = gapEpoch
		}
		if reason != "" {
			return &missing{r.at, reason}, true
		}
		if !s.box.awaitRoom() {
			return nil, false
		}
	}
}

// look fills in the states of the seats as they are now, and returns them.
func (h *Hub) look(seats []seat) map[*room]telemetry.State {
	told := make(map[*room]telemetry.State, len(seats))
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range seats {
		st := &seats[i]
		st.state, st.lastSeen = h.stateOf(st.room), st.room.lastSeen
		told[st.room] = st.state
	}
	return told
}

// settle ends the replay of a session that is registered: it hears which sensors have another state by now than its hello told, and from
// here on what comes live.
func (r *replay) settle(told map[*room]telemetry.State) bool {
	seats, ok := r.hub.stillAllowed(r.s, r.seats)
	if !ok {
		return false
	}
	for i := range seats {
		if st := &seats[i]; told[st.room] != st.state {
			r.s.box.pushHello(stateFrame(st.room.serial, st.state, st.lastSeen), true)
		}
	}
	r.s.box.begin()
	r.s.sender.Flush()
	return true
}

// reachable finds out whether the first reading missed is still there, before the peer is told that it resumes.
func (r *replay) reachable(ctx context.Context, epoch string) (reason string) {
	h := r.hub
	h.mu.Lock()
	end, covered := h.seq, h.memory.covers(r.at)
	h.mu.Unlock()
	switch {
	case epoch != "" && epoch != r.epoch, r.at > end:
		return gapEpoch
	case end-r.at > maxSearch:
		return gapTooMany
	case covered:
		return ""
	}
	_, _, err := h.history.ReadingsAfter(ctx, nil, r.at)
	return r.reasonOf(err)
}

func (r *replay) reasonOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, telemetry.ErrNotFound):
		return gapPruned
	}
	r.hub.log.Warn("replay failed", "err", err)
	return gapTooMany // the store cannot read that far now; what is newest it may
}

// step replays the next stretch. live: nothing was left, and the session is registered.
func (r *replay) step(ctx context.Context) (live bool, reason string) {
	frames, covered, live := r.recall()
	if covered {
		r.push(frames)
		return live, ""
	}
	return false, r.read(ctx)
}

// recall takes the next stretch from memory. Having come to its end, it registers the session.
func (r *replay) recall() (frames [][]byte, covered, live bool) {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.memory.covers(r.at) {
		return nil, false, false
	}
	bytes, i := 0, h.memory.after(r.at)
	for stop := min(h.memory.count, i+recallReadings); i < stop && bytes < recallBytes; i++ {
		m := h.memory.at(i)
		r.at = m.seq
		if r.rooms[m.room.id] != m.room || !r.s.mayWatch(m.room) {
			continue
		}
		wire := m.wire()
		frames = append(frames, wire)
		bytes += len(wire)
	}
	if i < h.memory.count {
		return frames, true, false
	}
	r.at = h.seq
	r.seats = h.registerLocked(r.s, r.seats)
	return frames, true, true
}

// read takes the next stretch from the store. What memory has forgotten and the store not yet committed is waited for.
func (r *replay) read(ctx context.Context) (reason string) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		readings, through, err := r.hub.history.ReadingsAfter(ctx, r.ids, r.at)
		if err != nil {
			return r.reasonOf(err)
		}
		if through > r.at {
			r.at = through
			r.pushReadings(readings)
			return ""
		}
		select {
		case <-ctx.Done():
			return gapTooMany
		case <-time.After(settlePause):
		}
	}
}

func (r *replay) pushReadings(readings []telemetry.Reading) {
	frames := make([][]byte, 0, len(readings))
	for i := range readings {
		rd := &readings[i]
		rm := r.rooms[rd.SensorID]
		if rm == nil || !r.s.mayWatch(rm) {
			continue
		}
		rd.Serial = rm.serial
		wire, _ := readingFrame(rd)
		frames = append(frames, wire)
	}
	r.push(frames)
}

func (r *replay) push(frames [][]byte) {
	if len(frames) == 0 {
		return
	}
	r.sent += len(frames)
	for _, wire := range frames {
		r.s.box.pushHello(wire, true)
	}
	r.s.sender.Flush()
}

// mayWatch asks the policy of now about one sensor: a replay can take a while, and until it is over no change of authority finds the
// session in a room.
func (s *session) mayWatch(rm *room) bool {
	dev, ok := s.hub.dir.Lookup(rm.serial)
	return ok && dev.SensorID == rm.id && auth.Allowed(s.principal, auth.View, dev)
}
