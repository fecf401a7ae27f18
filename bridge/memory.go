package bridge

import (
	"sort"

	"sensorcast/telemetry"
)

// The bounds of what the hub remembers of the log: seconds of a busy server, hours of a quiet one.
const (
	memoryReadings = 1 << 15
	memoryBytes    = 8 << 20
)

// memory is the end of the log of all sensors, for viewers that come back soon after they left: what is in it need not be asked of the
// store, which may not have committed it yet. It is guarded by Hub.mu.
type memory struct {
	ring  []memento // in rising seq, beginning at head
	head  int
	count int
	bytes int   // of data
	lost  int64 // every reading after this seq is here
	limit int   // readings
}

// memento is one reading: encoded if it was, else what it takes to.
type memento struct {
	room     *room
	seq      int64
	time     telemetry.Millis
	received telemetry.Millis
	data     []byte // as it came, or as it lies in frame
	frame    *frame // nil: not encoded
}

// wire returns the frame's bytes, encoding them the first time.
func (m *memento) wire() []byte {
	if m.frame == nil {
		wire, data := readingFrame(&telemetry.Reading{Serial: m.room.serial, Seq: m.seq, Time: m.time, ReceivedAt: m.received, Data: m.data})
		m.frame, m.data = &frame{room: m.room, seq: m.seq, wire: wire}, data
	}
	return m.frame.wire
}

// add remembers a reading and forgets the oldest ones that are too much.
func (m *memory) add(r memento) {
	for m.count > 0 && (m.count == m.limit || m.bytes+len(r.data) > memoryBytes) {
		m.drop()
	}
	if m.count == len(m.ring) {
		m.grow()
	}
	m.ring[(m.head+m.count)&(len(m.ring)-1)] = r
	m.count++
	m.bytes += len(r.data)
}

func (m *memory) drop() {
	oldest := &m.ring[m.head]
	m.lost = oldest.seq
	m.bytes -= len(oldest.data)
	*oldest = memento{}
	m.head = (m.head + 1) & (len(m.ring) - 1)
	m.count--
}

// grow doubles the ring, whose size is a power of two.
func (m *memory) grow() {
	ring := make([]memento, max(64, 2*len(m.ring)))
	for i := range m.count {
		ring[i] = *m.at(i)
	}
	m.ring, m.head = ring, 0
}

func (m *memory) at(i int) *memento { return &m.ring[(m.head+i)&(len(m.ring)-1)] }

// covers reports whether every reading after that seq is remembered.
func (m *memory) covers(seq int64) bool { return seq >= m.lost }

// after returns the place of the oldest reading after that seq.
func (m *memory) after(seq int64) int {
	return sort.Search(m.count, func(i int) bool { return m.at(i).seq > seq })
}
