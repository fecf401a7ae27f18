package bridge

import (
	"maps"
	"sync/atomic"
)

// Stats is the state of the hub in numbers. Those without "now" only rise.
type Stats struct {
	Sessions  int64            // sockets and event streams open now
	Sensors   int64            // sensors the hub remembers now
	Watched   int64            // of them, those somebody watches now
	Opened    int64            // sockets upgraded
	Streams   int64            // event streams opened; they are sessions too
	Tunnels   int64            // sockets upgraded to carry MQTT; they are no sessions
	Refused   map[string]int64 // upgrades and event streams refused, by reason
	Frames    int64            // frames sent, control frames included
	Bytes     int64            // and their bytes
	Writes    int64            // and the writes they left in: frames per write is what coalescing gains
	Conflated int64            // times a viewer could not keep up
	Dropped   int64            // readings left out for slow viewers, each announced in a gap
	Received  int64            // messages from clients
	Closed    map[int]int64    // sessions ended, by close code
}

// counters are written where things happen; what Hub.mu guards anyway is counted there.
type counters struct {
	opened, streams, tunnels, frames, bytes, writes, conflated, dropped, received atomic.Int64
}

// Stats returns the present numbers. It takes the hub's lock for a moment.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	watched := 0
	for _, rm := range h.rooms {
		if len(rm.members) > 0 {
			watched++
		}
	}
	return Stats{
		Sessions:  int64(h.admitted),
		Sensors:   int64(len(h.rooms)),
		Watched:   int64(watched),
		Opened:    h.counters.opened.Load(),
		Streams:   h.counters.streams.Load(),
		Tunnels:   h.counters.tunnels.Load(),
		Refused:   maps.Clone(h.refused),
		Frames:    h.counters.frames.Load(),
		Bytes:     h.counters.bytes.Load(),
		Writes:    h.counters.writes.Load(),
		Conflated: h.counters.conflated.Load(),
		Dropped:   h.counters.dropped.Load(),
		Received:  h.counters.received.Load(),
		Closed:    maps.Clone(h.closed),
	}
}
