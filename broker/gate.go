package broker

import "math"

// keepBytes and keepPromises are what an emptied gate keeps allocated: enough for a sensor that sends now and then.
const (
	keepBytes    = 256
	keepPromises = 64
)

// gate is the ordered queue of bytes that wait to leave on one connection. Some may not leave yet: what is written after a message
// was accepted, first of all that message's acknowledgement, waits until the message's fate is known. Fates become known in the order
// messages were accepted, so their number says how far the queue is released. The zero gate is ready. It is guarded by conn.mu.
type gate struct {
	buf     []byte
	base    uint64    // position of buf[0] in the stream of all bytes ever written
	open    []promise // messages whose fate the gate has not been told, oldest first
	settled uint64    // messages that have left open
	pubacks int       // of open: those that owe a PUBACK
}

// promise is a message accepted but not known to be committed.
type promise struct {
	at uint64 // bytes of the stream from here on wait for it
	id uint16 // the packet id of a QoS 2 message; otherwise 0
	of owing
}

// owing says what a promise was made for.
type owing uint8

const (
	forJournal owing = iota // changes of the session
	forQoS1
	forQoS2
)

// raise notes that a message is being accepted: what is written from now on waits for it.
func (g *gate) raise(of owing, id uint16) {
	g.open = append(g.open, promise{at: g.base + uint64(len(g.buf)), id: id, of: of})
	if of == forQoS1 {
		g.pubacks++
	}
}

// lower takes the last raise back: the message was not accepted.
func (g *gate) lower() {
	last := len(g.open) - 1
	if g.open[last].of == forQoS1 {
		g.pubacks--
	}
	g.open = g.open[:last]
}

// write appends b to what waits.
func (g *gate) write(b []byte) { g.buf = append(g.buf, b...) }

// settle forgets the messages among the first fates ones.
func (g *gate) settle(fates uint64) {
	if fates <= g.settled {
		return
	}
	n := fates - g.settled
	for i := range g.open[:n] {
		if g.open[i].of == forQoS1 {
			g.pubacks--
		}
	}
	g.open = g.open[:copy(g.open, g.open[n:])]
	g.settled = fates
	if len(g.open) == 0 && cap(g.open) > keepPromises {
		g.open = nil
	}
}

// ready settles and returns how many bytes may leave.
func (g *gate) ready(fates uint64) int {
	g.settle(fates)
	if len(g.open) == 0 {
		return len(g.buf)
	}
	return int(min(g.open[0].at-g.base, uint64(len(g.buf))))
}

// take moves at most limit bytes that may leave to the end of dst.
func (g *gate) take(dst []byte, limit int, fates uint64) []byte {
	n := min(g.ready(fates), limit)
	if n == 0 {
		return dst
	}
	dst = append(dst, g.buf[:n]...)
	g.buf = g.buf[:copy(g.buf, g.buf[n:])]
	g.base += uint64(n)
	if len(g.buf) == 0 && cap(g.buf) > keepBytes {
		g.buf = nil
	}
	return dst
}

// fail drops every byte that waits for a message after the first fates ones, and lets what is written from now on leave freely.
func (g *gate) fail(fates uint64) {
	g.buf = g.buf[:g.ready(fates)]
	for i := range g.open {
		g.open[i].at = math.MaxUint64
	}
}

// idOf returns the packet id of message number n, counted from 0, when it is of QoS 2 and its fate is open, else 0.
func (g *gate) idOf(n uint64) uint16 {
	if n < g.settled || n-g.settled >= uint64(len(g.open)) {
		return 0
	}
	return g.open[n-g.settled].id
}

// discard drops everything for good.
func (g *gate) discard() { *g = gate{settled: math.MaxUint64} }
