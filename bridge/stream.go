package bridge

// stream is the readings and states that wait for one socket. While they fit they wait in order; when they do not, they are conflated
// (backlog) until the socket has caught up. It is guarded by the outbox.
type stream struct {
	frames []*frame
	head   int // frames[:head] are gone
	bytes  int // of frames[head:]

	slow *backlog // nil while everything fits
}

func (s *stream) empty() bool { return s.head == len(s.frames) && s.slow == nil }

// push adds f and reports whether a sleeping sender has to be woken for it. It does not when something waited already: wire then comes
// back by itself.
func (s *stream) push(f *frame, c *counters) bool {
	if s.slow == nil && s.bytes+len(f.wire) > maxPending {
		s.conflate()
		c.conflated.Add(1)
	}
	if s.slow != nil {
		s.slow.add(f)
		return true
	}
	s.frames = append(s.frames, f)
	s.bytes += len(f.wire)
	return len(s.frames)-s.head == 1
}

// conflate moves what waits into a backlog.
func (s *stream) conflate() {
	s.slow = &backlog{of: map[*room]*lane{}}
	for _, f := range s.frames[s.head:] {
		s.slow.add(f)
	}
	s.frames, s.head, s.bytes = nil, 0, 0
}

// take appends what waits to buf until it holds about takeBytes.
func (s *stream) take(buf []byte, frames int, c *counters) ([]byte, int) {
	if s.slow != nil {
		buf, frames = s.slow.take(buf, frames, c)
		if len(s.slow.of) == 0 {
			s.slow = nil
		}
		return buf, frames
	}
	for s.head < len(s.frames) && (len(buf) == 0 || len(buf)+len(s.frames[s.head].wire) <= takeBytes) {
		f := s.frames[s.head]
		s.frames[s.head] = nil
		s.head++
		s.bytes -= len(f.wire)
		buf = append(buf, f.wire...)
		frames++
	}
	switch {
	case s.head < len(s.frames):
		s.frames, s.head = compact(s.frames, s.head)
	case cap(s.frames) > keepFrames:
		s.frames, s.head = nil, 0
	default:
		s.frames, s.head = s.frames[:0], 0
	}
	return buf, frames
}

// forget drops what waits of one sensor.
func (s *stream) forget(rm *room) {
	if s.slow != nil {
		s.slow.forget(rm)
		if len(s.slow.of) == 0 {
			s.slow = nil
		}
		return
	}
	kept := s.frames[:s.head]
	s.bytes = 0
	for _, f := range s.frames[s.head:] {
		if f.room != rm {
			kept = append(kept, f)
			s.bytes += len(f.wire)
		}
	}
	clear(s.frames[len(kept):])
	s.frames = kept
}

// backlog is the stream of a socket that does not keep up: for each sensor that has something waiting, a lane. It holds no readings; the
// newest is found in the room when its turn comes. So it is bounded by the session's sensors, some 100 bytes each, whatever they send.
type backlog struct {
	of    map[*room]*lane
	order []*lane // by the seq of what each will send; nil where a lane moved on
	head  int
}

// lane is what one sensor has waiting.
type lane struct {
	room  *room
	at    int   // its place in order
	first int64 // seq of the oldest reading waiting; zero: only a state waits
	last  int64 // and of the youngest
	count int64 // how many
	sends int64 // seq of the newest by time, the one that will be sent; zero: only late data waits
	after int64 // how many came after that one, all late
	state *frame
}

// add counts f in. A reading that is the newest of its sensor moves its lane to the end, which keeps the order of seq.
func (b *backlog) add(f *frame) {
	l := b.of[f.room]
	fresh := l == nil
	if fresh {
		l = &lane{room: f.room}
		b.of[f.room] = l
	}
	switch {
	case f.seq == 0:
		l.state = f
	case f.late:
		l.count++
		l.after++
	default:
		l.count++
		l.sends, l.after = f.seq, 0
	}
	if f.seq != 0 {
		if l.first == 0 {
			l.first = f.seq
		}
		l.last = f.seq
	}
	switch {
	case fresh:
	case f.seq != 0 && !f.late:
		b.order[l.at] = nil
	default:
		return
	}
	l.at = len(b.order)
	b.order = append(b.order, l)
	b.tidy()
}

// tidy closes the holes once they are most of the order.
func (b *backlog) tidy() {
	if len(b.order) <= 2*len(b.of)+keepFrames {
		return
	}
	kept := b.order[:0]
	for _, l := range b.order[b.head:] {
		if l != nil {
			l.at = len(kept)
			kept = append(kept, l)
		}
	}
	clear(b.order[len(kept):])
	b.order, b.head = kept, 0
}

// take appends, sensor by sensor, the gap before the newest reading, that reading, the gap of late data after it, and the newest state.
func (b *backlog) take(buf []byte, frames int, c *counters) ([]byte, int) {
	for b.head < len(b.order) && len(buf) < takeBytes {
		l := b.order[b.head]
		if l == nil {
			b.head++
			continue
		}
		newest := l.room.newest.Load()
		if l.sends != 0 && newest.seq != l.sends {
			break // a newer one is being pushed at this moment: it moves the lane and wakes the sender
		}
		if l.sends != 0 && len(buf) > 0 && len(buf)+len(newest.wire) > takeBytes {
			break
		}
		b.order[b.head] = nil
		b.head++
		delete(b.of, l.room)
		var n int
		buf, n = l.append(buf, newest, c)
		frames += n
	}
	return buf, frames
}

// append sends the lane. A gap covers exactly the readings with after < seq < before that were left out.
func (l *lane) append(buf []byte, newest *frame, c *counters) (_ []byte, frames int) {
	after, before, missing := l.first-1, l.last+1, l.count
	if l.sends != 0 {
		if missing = l.count - 1 - l.after; missing > 0 {
			buf = appendGap(buf, l.room.serial, after, l.sends, missing)
			c.dropped.Add(missing)
			frames++
		}
		buf = append(buf, newest.wire...)
		frames++
		after, missing = l.sends, l.after
	}
	if missing > 0 {
		buf = appendGap(buf, l.room.serial, after, before, missing)
		c.dropped.Add(missing)
		frames++
	}
	if l.state != nil {
		buf = append(buf, l.state.wire...)
		frames++
	}
	return buf, frames
}

func (b *backlog) forget(rm *room) {
	if l := b.of[rm]; l != nil {
		b.order[l.at] = nil
		delete(b.of, rm)
	}
}
