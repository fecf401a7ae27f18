package bridge

import (
	"sync"
	"time"
)

const (
	maxPending = 256 << 10 // bytes of the stream a session holds before it is conflated
	maxReplies = 64 << 10  // bytes of replies, promised or waiting, before the peer is read no further
	takeBytes  = 64 << 10  // handed to wire at a time
	keepFrames = 64        // capacity a drained queue may keep
)

// outbox is what waits for one socket, in the order it leaves:
//
//	control   a pong, a ping: at most one of each (RFC 6455 §5.5.3 lets the newest ping be answered alone)
//	hello     fragments of one message; nothing but control frames may come between them (RFC 6455 §5.4). What is replayed follows
//	replies   acknowledgements and errors, bounded by reading the peer no further
//	stream    readings and states, bounded by conflation
//	close     the last frame
//
// A push never blocks. Take is for package wire.
type outbox struct {
	counters *counters
	wake     func() // has Take called soon

	mu      sync.Mutex
	changed sync.Cond // for awaitRoom and awaitFlushed

	stream  stream
	hello   queue
	replies queue
	owed    int // bytes of acknowledgements promised, so that there is room for them when the store is done

	pong     string
	wantPong bool
	wantPing bool
	open     bool // the hello is yet to come or under way: until its last fragment is pushed, neither replies nor stream may leave

	last    []byte // the close frame
	closing bool   // nothing is taken in any more
	sent    bool   // the close frame was taken
	flushed bool   // and written, or the socket failed
}

func (o *outbox) init(c *counters, wake func()) {
	o.counters, o.wake = c, wake
	o.open = true
	o.changed.L = &o.mu
}

// push adds a frame to the stream. It reports whether the sender has to be woken.
func (o *outbox) push(f *frame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return false
	}
	return o.stream.push(f, o.counters)
}

// reply adds an acknowledgement or an error.
func (o *outbox) reply(wire []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closing {
		o.replies.push(wire)
	}
}

// promise reserves room for an acknowledgement; settle replaces it by what came of it.
func (o *outbox) promise(bytes int) {
	o.mu.Lock()
	o.owed += bytes
	o.mu.Unlock()
}

func (o *outbox) settle(bytes int, wire []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owed -= bytes
	if wire != nil && !o.closing {
		o.replies.push(wire)
	}
	o.changed.Broadcast()
}

// pushHello adds a fragment of the hello; more says that others follow.
func (o *outbox) pushHello(wire []byte, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = more
	if !o.closing {
		o.hello.push(wire)
	}
}

// begin opens the way for replies and the stream, after what was pushed with more to follow.
func (o *outbox) begin() {
	o.mu.Lock()
	o.open = false
	o.mu.Unlock()
}

// setPong answers a ping, in place of the answer to an earlier one that still waits.
func (o *outbox) setPong(data string) {
	o.mu.Lock()
	o.pong, o.wantPong = data, true
	o.mu.Unlock()
}

func (o *outbox) setPing() {
	o.mu.Lock()
	o.wantPing = true
	o.mu.Unlock()
}

// setPace sets how much time lies between two rounds of readings; zero: everything is sent as it comes.
func (o *outbox) setPace(pace time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closing {
		o.stream.slowTo(pace)
	}
}

// arm has the sender woken when the next round is due. The caller holds mu.
func (o *outbox) arm(slow *backlog, wait time.Duration) {
	if slow.alarm != nil {
		return
	}
	slow.alarm = time.AfterFunc(wait, func() {
		o.mu.Lock()
		slow.alarm = nil
		o.mu.Unlock()
		o.wake()
	})
}

// forget drops what waits of a sensor that is no longer the viewer's to see.
func (o *outbox) forget(rm *room) {
	o.mu.Lock()
	o.stream.forget(rm)
	o.mu.Unlock()
}

// close makes wire the last frame; false means another one is already. With drain, what waits goes out before it; without, nothing does.
// What would not drain is dropped either way: an unfinished hello, and the backlog of a socket that does not keep up.
func (o *outbox) close(wire []byte, drain bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return false
	}
	o.closing, o.last = true, wire
	if !drain || o.open || o.stream.slow != nil {
		o.clear()
	}
	o.changed.Broadcast()
	return true
}

// fail gives up: nothing will be written any more.
func (o *outbox) fail() {
	o.mu.Lock()
	o.closing, o.sent, o.flushed = true, true, true
	o.clear()
	o.changed.Broadcast()
	o.mu.Unlock()
}

func (o *outbox) clear() {
	o.hello, o.replies, o.stream = queue{}, queue{}, stream{}
}

// awaitRoom blocks until hello and replies have room. False means that the outbox is closing.
func (o *outbox) awaitRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closing && o.hello.bytes+o.replies.bytes+o.owed > maxReplies {
		o.changed.Wait()
	}
	return !o.closing
}

// awaitFlushed blocks until the close frame has left for the kernel or cannot.
func (o *outbox) awaitFlushed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.flushed {
		o.changed.Wait()
	}
}

// Take implements wire.Source.
func (o *outbox) Take(buf []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sent { // wire asks again only when the write before is complete
		if !o.flushed {
			o.flushed = true
			o.changed.Broadcast()
		}
		return buf
	}
	before := len(buf)
	buf, frames := o.take(buf)
	if len(buf) > before {
		o.counters.frames.Add(int64(frames))
		o.counters.bytes.Add(int64(len(buf) - before))
		o.counters.writes.Add(1)
	}
	return buf
}

func (o *outbox) take(buf []byte) (_ []byte, frames int) {
	if o.wantPong {
		buf = appendControl(buf, opPong, o.pong)
		o.pong, o.wantPong = "", false
		frames++
	}
	if o.wantPing {
		buf = appendControl(buf, opPing, "")
		o.wantPing = false
		frames++
	}
	waiting := o.hello.bytes + o.replies.bytes
	buf, frames = o.hello.take(buf, frames)
	if !o.open && o.hello.empty() {
		buf, frames = o.replies.take(buf, frames)
		if o.replies.empty() {
			var wait time.Duration
			buf, frames, wait = o.stream.take(buf, frames, o.counters)
			if wait > 0 {
				o.arm(o.stream.slow, wait)
			}
		}
	}
	if o.hello.bytes+o.replies.bytes < waiting {
		o.changed.Broadcast()
	}
	if o.last != nil && o.hello.empty() && o.replies.empty() && o.stream.empty() {
		buf = append(buf, o.last...)
		o.sent = true
		frames++
	}
	return buf, frames
}

// queue is a first-in-first-out of encoded frames.
type queue struct {
	items [][]byte
	head  int
	bytes int
}

func (q *queue) empty() bool { return q.bytes == 0 }

func (q *queue) push(wire []byte) {
	q.items = append(q.items, wire)
	q.bytes += len(wire)
}

// take appends frames to buf until it holds about takeBytes.
func (q *queue) take(buf []byte, frames int) ([]byte, int) {
	for q.head < len(q.items) && (len(buf) == 0 || len(buf)+len(q.items[q.head]) <= takeBytes) {
		wire := q.items[q.head]
		q.items[q.head] = nil
		q.head++
		q.bytes -= len(wire)
		buf = append(buf, wire...)
		frames++
	}
	switch {
	case q.head < len(q.items):
		q.items, q.head = compact(q.items, q.head)
	case cap(q.items) > keepFrames:
		q.items, q.head = nil, 0
	default:
		q.items, q.head = q.items[:0], 0
	}
	return buf, frames
}

// compact moves what is left of a queue to its front once at least half of it is gone, so that it does not creep through memory.
func compact[T any](items []T, head int) ([]T, int) {
	if head < len(items)-head {
		return items, head
	}
	n := copy(items, items[head:])
	clear(items[n:])
	return items[:n], 0
}
