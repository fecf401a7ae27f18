package bridge

import "time"

// stream is the readings and states that wait for one socket. While they fit they wait in order; when they do not, or when the viewer
// asked for fewer, they are conflated (backlog) until the socket has caught up. It is guarded by the outbox.
type stream struct {
	frames []*frame
	head   int // frames[:head] are gone
	bytes  int // of frames[head:]

	slow *backlog // nil while everything fits and nobody asked for less; what is left in frames is older than all in it, and on its way there
}

// conflateStep is how many frames are moved into the backlog, at least, with each that comes: many viewers watch the same sensors, and so are
// too slow at the same reading, for which everybody else would wait.
const conflateStep = 4

func (s *stream) empty() bool { return s.head == len(s.frames) && (s.slow == nil || s.slow.empty()) }

// push adds f and reports whether the sender has to be woken for it. It need not be when more than one frame waited already: wire has
// been told then that there is more than one.
func (s *stream) push(f *frame, c *counters) bool {
	if s.slow == nil && s.bytes+len(f.wire) > maxPending {
		s.slow = newBacklog()
		c.conflated.Add(1)
	}
	if s.slow != nil && s.head == len(s.frames) {
		s.slow.add(f)
		return s.slow.alarm == nil
	}
	s.frames = append(s.frames, f)
	s.bytes += len(f.wire)
	if s.slow != nil {
		s.conflate(conflateStep)
		return s.slow.alarm == nil
	}
	return len(s.frames)-s.head <= 2
}

// conflate moves frames into the backlog: n of the oldest, and more while too much waits.
func (s *stream) conflate(n int) {
	for ; s.head < len(s.frames) && (n > 0 || s.bytes > maxPending); n-- {
		f := s.frames[s.head]
		s.frames[s.head] = nil
		s.head++
		s.bytes -= len(f.wire)
		s.slow.add(f)
	}
	if s.head == len(s.frames) {
		s.frames, s.head = nil, 0
	}
}

// slowTo sets how much time lies between two rounds of the backlog; zero lifts the limit.
func (s *stream) slowTo(pace time.Duration) {
	if s.slow == nil {
		if pace == 0 {
			return
		}
		s.slow = newBacklog()
		s.conflate(len(s.frames))
	}
	s.slow.pace, s.slow.due = pace, time.Time{}
	if s.slow.alarm != nil {
		s.slow.alarm.Stop()
		s.slow.alarm = nil
	}
}

// take appends what waits to buf until it holds about takeBytes. wait says that the rest has to wait so long for its turn.
func (s *stream) take(buf []byte, frames int, c *counters) (_ []byte, _ int, wait time.Duration) {
	if s.slow != nil {
		return s.takeSlow(buf, frames, time.Now(), c)
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
	return buf, frames, 0
}

func (s *stream) takeSlow(buf []byte, frames int, now time.Time, c *counters) (_ []byte, _ int, wait time.Duration) {
	s.conflate(len(s.frames))
	for {
		buf, frames = s.slow.take(buf, frames, c)
		switch {
		case !s.slow.between():
			return buf, frames, 0 // buf is full
		case len(s.slow.lanes) == 0:
			if s.slow.pace == 0 {
				s.slow = nil
			}
			return buf, frames, 0
		case now.Before(s.slow.due):
			return buf, frames, s.slow.due.Sub(now)
		case len(buf) >= takeBytes:
			return buf, frames, 0
		}
		s.slow.cut()
		s.slow.due = now.Add(s.slow.pace)
	}
}

// forget drops what waits of one sensor.
func (s *stream) forget(rm *room) {
	if s.slow != nil {
		s.slow.forget(rm)
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
