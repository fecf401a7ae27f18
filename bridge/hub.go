package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/telemetry"
	"sensorcast/wire"
)

// Hub hands each accepted reading to the sessions that watch its sensor. It is safe for concurrent use.
type Hub struct {
	cfg      Config
	tickets  Tickets
	dir      *auth.Directory
	snaps    Snapshots
	history  Log
	pool     *wire.Pool
	poller   *wire.Poller // nil where the system has none
	log      *slog.Logger
	counters counters
	stop     chan struct{}  // closed by Close
	wg       sync.WaitGroup // admitted connections and the heartbeat

	mu       sync.Mutex
	seq      int64                // last Seq observed
	memory   memory               // of the readings before it
	rooms    map[int64]*room      // by sensor number
	people   map[int64][]*session // by user number: whom a change of authority concerns
	devices  map[int64][]*session // by sensor number: sockets opened by sensors themselves
	beats    [beats][]*session    // every session, spread over one ping interval
	nextBeat int
	admitted int // connections from before the upgrade until after the socket is closed
	stopping bool
	refused  map[string]int64
	closed   map[int]int64
	wake     []*wire.Sender // Observe's; kept to be used again
}

var (
	_ ingest.Observer = (*Hub)(nil)
	_ auth.Watcher    = (*Hub)(nil)
)

// New starts a hub and its heartbeat; Close ends both.
func New(cfg Config, tickets Tickets, dir *auth.Directory, kept Kept, pool *wire.Pool, log *slog.Logger) *Hub {
	h := &Hub{
		cfg:     cfg.withDefaults(),
		tickets: tickets,
		dir:     dir,
		snaps:   kept,
		history: kept,
		pool:    pool,
		log:     log.With("component", "bridge"),
		stop:    make(chan struct{}),
		rooms:   map[int64]*room{},
		people:  map[int64][]*session{},
		devices: map[int64][]*session{},
		refused: map[string]int64{},
		closed:  map[int]int64{},
	}
	h.seq = h.cfg.LastSeq()
	h.memory = memory{lost: h.seq, limit: memoryReadings}
	if h.poller, _ = wire.NewPoller(); h.poller == nil {
		h.log.Info("this system does not watch sockets: each costs a goroutine")
	}
	h.wg.Go(h.heartbeat) // ends when stop is closed
	return h
}

// maxWake is how many senders Observe notes before they are woken: one lock of the pool for all of them.
const maxWake = 4096

// Observe implements ingest.Observer: it encodes each reading once and hands it to everybody who watches its sensor.
func (h *Hub) Observe(rs []telemetry.Reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := &rs[0]
	h.seq = rs[len(rs)-1].Seq
	rm := h.rooms[of.SensorID]
	if rm == nil {
		// A reading may still be on its way when its sensor is deleted: it must not bring the room back.
		if dev, ok := h.dir.Lookup(of.Serial); !ok || dev.SensorID != of.SensorID {
			return
		}
		rm = h.roomLocked(of.SensorID, of.Serial)
	}
	for i := range rs {
		h.showLocked(rm, &rs[i])
		if len(h.wake) >= maxWake || i == len(rs)-1 {
			h.pool.WakeAll(h.wake)
			clear(h.wake)
			h.wake = h.wake[:0]
		}
	}
}

// showLocked remembers r and pushes it to the members of rm.
func (h *Hub) showLocked(rm *room, r *telemetry.Reading) {
	newest := rm.newer(r)
	if newest {
		rm.latest = *r
		rm.latest.Serial = rm.serial
	}
	rm.lastSeen = max(rm.lastSeen, r.ReceivedAt)
	m := memento{room: rm, seq: r.Seq, time: r.Time, received: r.ReceivedAt, data: r.Data}
	if len(rm.members) > 0 {
		m.frame, m.data = h.relayLocked(rm, r, newest)
	}
	h.memory.add(m)
}

// relayLocked pushes r to the members of rm and notes in wake who is to be woken. It returns the frame and r.Data as it lies in it.
func (h *Hub) relayLocked(rm *room, r *telemetry.Reading, newest bool) (f *frame, data []byte) {
	f = &frame{room: rm, seq: r.Seq, late: !newest}
	f.wire, data = readingFrame(r)
	if newest {
		rm.latest.Data = data
		rm.newest.Store(f)
	}
	for _, s := range rm.members {
		if s.box.push(f) {
			h.wake = append(h.wake, s.sender)
		}
	}
	return f, data
}

// roomLocked finds the room of a sensor or makes it.
func (h *Hub) roomLocked(id int64, serial string) *room {
	rm := h.rooms[id]
	if rm == nil {
		rm = &room{id: id, serial: serial}
		h.rooms[id] = rm
	}
	return rm
}

// Reasons a connection is not admitted.
var (
	errStopping = errors.New("the server is stopping")
	errFull     = errors.New("the server has as many connections as it can take")
)

// admit counts a connection in before it costs anything; release counts it out.
func (h *Hub) admit() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopping:
		return errStopping
	case h.admitted >= h.cfg.MaxSessions:
		return errFull
	}
	h.admitted++
	h.wg.Add(1)
	return nil
}

func (h *Hub) release() {
	h.mu.Lock()
	h.admitted--
	h.mu.Unlock()
	h.wg.Done()
}

// enter makes s known to the heartbeat, to Close and to changes of authority. False means that the hub is stopping, or that the session has
// ended already: nobody would take it out again.
func (h *Hub) enter(s *session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopping || s.left {
		return false
	}
	s.beat = h.nextBeat
	h.nextBeat = (h.nextBeat + 1) % beats
	h.beats[s.beat] = append(h.beats[s.beat], s)
	index, key := h.indexOf(s)
	index[key] = append(index[key], s)
	s.entered = true
	return true
}

// leave is the reverse of enter and of every registration, counted under the code the session ends with. Only the first call counts.
func (h *Hub) leave(s *session, code int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.left {
		return
	}
	s.left = true
	h.closed[code]++
	for _, rm := range s.rooms {
		rm.members = without(rm.members, s)
	}
	s.rooms, s.added = nil, nil
	if !s.entered {
		return
	}
	h.beats[s.beat] = without(h.beats[s.beat], s)
	index, key := h.indexOf(s)
	if index[key] = without(index[key], s); len(index[key]) == 0 {
		delete(index, key)
	}
}

func (h *Hub) indexOf(s *session) (map[int64][]*session, int64) {
	if s.device {
		return h.devices, s.principal.SensorID
	}
	return h.people, s.principal.UserID
}

// without removes s, not keeping the order. An emptied slice is given back: most rooms are watched by nobody for most of the time.
func without(list []*session, s *session) []*session {
	i := slices.Index(list, s)
	if i < 0 {
		return list
	}
	last := len(list) - 1
	list[i] = list[last]
	list[last] = nil
	if last == 0 {
		return nil
	}
	return list[:last]
}

// Close refuses new connections, ends every session with 1012 after what waits for it, and returns when all are gone. A peer that does not
// finish the closing handshake is cut off after Config.CloseTimeout, and everybody when ctx ends. It may be called more than once.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	if !h.stopping {
		h.stopping = true
		close(h.stop)
	}
	all := h.sessionsLocked()
	h.mu.Unlock()
	if h.poller != nil {
		defer h.poller.Close() // who is killed after it is told without it
	}
	for _, s := range all {
		s.end(CloseRestart, retryAfter("the server is restarting", spreadOver(len(all))), true)
	}
	gone := make(chan struct{})
	go func() { // ends with the last session; those are cut off below
		h.wg.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	for _, s := range all {
		s.kill()
	}
	return fmt.Errorf("close sessions: %w", ctx.Err())
}

func (h *Hub) sessionsLocked() []*session {
	var all []*session
	for _, group := range h.beats {
		all = append(all, group...)
	}
	return all
}
