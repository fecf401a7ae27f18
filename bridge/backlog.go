package bridge

import (
	"cmp"
	"slices"
	"time"
)

// holdBytes bounds the readings a backlog keeps alive for the round it is sending.
const holdBytes = 128 << 10

// backlog is the stream of a viewer that gets less than everything: the newest of each sensor, and for the rest its gap. It works in
// rounds. What comes is gathered in a lane for each sensor; when the socket is ready for a round, the lanes are cut into what will be
// said: first every gap, then the newest readings in the order of seq.
//
// The gaps go first because a viewer resumes from the highest seq it has read: whatever lies below that must have been sent or
// announced, also that of sensors whose turn had not come when the socket broke.
//
// A backlog is bounded by the session's sensors, some 200 bytes each whatever they send, and by holdBytes. What is over that, a round
// finds in the sensor's room, or, when a newer one has come by then, announces as left out.
type backlog struct {
	lanes map[*room]*lane // what came since the last cut

	gaps  []gap  // of the round being sent; gaps[:told] are gone
	turns []turn // turns[:sent] are gone
	told  int
	sent  int

	pace  time.Duration // between the beginnings of two rounds, when the viewer asked for less; zero: as fast as the socket takes them
	due   time.Time     // when the next may begin
	alarm *time.Timer   // wakes the sender then; nil: nothing waits for it
}

// lane is what one sensor has waiting for the next round.
type lane struct {
	first  int64  // seq of the oldest reading waiting; zero: only a state or an alert waits
	last   int64  // and of the youngest
	count  int64  // how many
	after  int64  // how many came after newest, all late
	newest *frame // the newest by time, which will be sent; nil: only late data waits
	state  *frame
	alert  *frame
	missed bool // its sensor lost its turn in the round before
}

// gap is what a round leaves out of one sensor: its readings with after < seq < before. A nil room: nothing any more.
type gap struct {
	room                 *room
	after, before, count int64
}

// turn is what a round sends of one sensor. A nil room: nothing any more.
type turn struct {
	room   *room
	seq    int64  // of the reading; zero: there is none
	frame  *frame // the reading; nil: too much to be held
	state  *frame
	alert  *frame
	missed bool
}

func newBacklog() *backlog { return &backlog{lanes: map[*room]*lane{}} }

// between reports whether a round is over and the next has not been cut.
func (b *backlog) between() bool { return b.told == len(b.gaps) && b.sent == len(b.turns) }

func (b *backlog) empty() bool { return b.between() && len(b.lanes) == 0 }

// add counts f in.
func (b *backlog) add(f *frame) {
	l := b.lanes[f.room]
	if l == nil {
		l = &lane{}
		b.lanes[f.room] = l
	}
	switch {
	case f.alert:
		l.alert = f
		return
	case f.seq == 0:
		l.state = f
		return
	}
	if l.first == 0 {
		l.first = f.seq
	}
	l.last = f.seq
	l.count++
	if f.late {
		l.after++
	} else {
		l.newest, l.after = f, 0
	}
}

// cut makes a round of what has gathered.
func (b *backlog) cut() {
	b.gaps, b.turns, b.told, b.sent = make([]gap, 0, len(b.lanes)), make([]turn, 0, len(b.lanes)), 0, 0
	for rm, l := range b.lanes {
		t := turn{room: rm, state: l.state, alert: l.alert, missed: l.missed}
		before := l.last + 1
		if l.newest != nil {
			t.seq, t.frame = l.newest.seq, l.newest
			before = t.seq
			l.count--
		}
		b.announce(gap{rm, l.first - 1, before, l.count - l.after})
		if l.newest != nil {
			b.announce(gap{rm, t.seq, l.last + 1, l.after})
		} else {
			b.announce(gap{rm, l.first - 1, before, l.after})
		}
		if t.seq != 0 || t.state != nil || t.alert != nil {
			b.turns = append(b.turns, t)
		}
	}
	clear(b.lanes)
	slices.SortFunc(b.gaps, func(x, y gap) int { return cmp.Compare(x.after, y.after) })
	slices.SortFunc(b.turns, func(x, y turn) int { return cmp.Compare(x.seq, y.seq) })
	held := b.hold(0, true) // who went without last time comes first, so that nobody always does
	b.hold(held, false)
}

func (b *backlog) announce(g gap) {
	if g.count > 0 {
		b.gaps = append(b.gaps, g)
	}
}

// hold lets go of the readings that are too much, counting those of the sensors that missed their last turn, or of the others.
func (b *backlog) hold(held int, missed bool) int {
	for i := range b.turns {
		t := &b.turns[i]
		if t.frame == nil || t.missed != missed {
			continue
		}
		if held+len(t.frame.wire) > holdBytes {
			t.frame = nil
			continue
		}
		held += len(t.frame.wire)
	}
	return held
}

// take appends the round to buf until it holds about takeBytes.
func (b *backlog) take(buf []byte, frames int, c *counters) ([]byte, int) {
	for ; b.told < len(b.gaps) && len(buf) < takeBytes; b.told++ {
		if g := &b.gaps[b.told]; g.room != nil {
			buf = b.leaveOut(buf, g, c)
			frames++
		}
	}
	if b.told < len(b.gaps) {
		return buf, frames
	}
	for ; b.sent < len(b.turns); b.sent++ {
		t := &b.turns[b.sent]
		if t.room == nil {
			continue
		}
		f := t.reading()
		if f != nil && len(buf) > 0 && len(buf)+len(f.wire) > takeBytes {
			return buf, frames
		}
		var n int
		buf, n = b.play(buf, t, f, c)
		frames += n
		t.frame = nil
	}
	b.gaps, b.turns, b.told, b.sent = nil, nil, 0, 0
	return buf, frames
}

// reading finds what the turn promised; nil when there is none or a newer one has taken its place.
func (t *turn) reading() *frame {
	if t.frame != nil || t.seq == 0 {
		return t.frame
	}
	if f := t.room.newest.Load(); f != nil && f.seq == t.seq {
		return f
	}
	return nil
}

func (b *backlog) play(buf []byte, t *turn, f *frame, c *counters) (_ []byte, frames int) {
	switch {
	case f != nil:
		buf = append(buf, f.wire...)
		frames++
	case t.seq != 0:
		buf = b.leaveOut(buf, &gap{t.room, t.seq - 1, t.seq + 1, 1}, c)
		frames++
		if l := b.lanes[t.room]; l != nil {
			l.missed = true
		}
	}
	for _, more := range []*frame{t.state, t.alert} {
		if more != nil {
			buf = append(buf, more.wire...)
			frames++
		}
	}
	return buf, frames
}

func (b *backlog) leaveOut(buf []byte, g *gap, c *counters) []byte {
	c.dropped.Add(g.count)
	reason := "slow"
	if b.pace > 0 {
		reason = "rate"
	}
	return appendGap(buf, g.room.serial, g.after, g.before, g.count, reason)
}

// forget drops what waits of one sensor.
func (b *backlog) forget(rm *room) {
	delete(b.lanes, rm)
	for i := range b.gaps {
		if b.gaps[i].room == rm {
			b.gaps[i] = gap{}
		}
	}
	for i := range b.turns {
		if b.turns[i].room == rm {
			b.turns[i] = turn{}
		}
	}
}
