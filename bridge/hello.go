package bridge

import (
	"strconv"

	"sensorcast/telemetry"
)

const protocolVersion = 1

// fragmentBytes is how much of a hello is encoded at a time. It goes out in fragments (RFC 6455 §5.4), so that a viewer of 20,000
// sensors costs no more memory than one of a hundred.
const fragmentBytes = 48 << 10

// seat is one sensor of a hello.
type seat struct {
	room     *room
	name     string
	state    telemetry.State
	lastSeen telemetry.Millis
	latest   telemetry.Reading
}

// greeting is what a hello says. A resumed one tells no readings: they are replayed.
type greeting struct {
	epoch   string
	seq     int64 // everything up to it is in the hello, or has been read by the viewer before
	resumed bool
	seats   []seat
}

// greet sends a hello, in fragments where it is long, and waits for the peer to take them. more: what comes next is a replay, not live.
func (s *session) greet(g *greeting, more bool) bool {
	first := byte(opText)
	b := payload(512)
	b = append(b, `{"type":"hello","protocol":`...)
	b = strconv.AppendInt(b, protocolVersion, 10)
	b = append(b, `,"epoch":`...)
	b = appendString(b, g.epoch)
	b = append(b, `,"seq":`...)
	b = strconv.AppendInt(b, g.seq, 10)
	b = append(b, `,"resumed":`...)
	b = strconv.AppendBool(b, g.resumed)
	b = append(b, `,"sensors":[`...)
	for i := range g.seats {
		if i > 0 {
			b = append(b, ',')
		}
		b = g.seats[i].append(b, g.resumed)
		if len(b) >= fragmentBytes && i < len(g.seats)-1 {
			s.box.pushHello(seal(first, b), true)
			s.sender.Flush()
			if !s.box.awaitRoom() {
				return false
			}
			first, b = opContinuation, payload(fragmentBytes*5/4)
		}
	}
	s.box.pushHello(seal(final|first, append(b, ']', '}')), more)
	s.sender.Flush()
	return true
}

func (st *seat) append(b []byte, resumed bool) []byte {
	b = append(b, `{"serial_no":"`...)
	b = append(b, st.room.serial...)
	b = append(b, `","name":`...)
	b = appendString(b, st.name)
	b = append(b, `,"state":"`...)
	b = append(b, st.state...)
	b = append(b, `","last_seen_at":`...)
	b = st.lastSeen.AppendJSON(b)
	switch {
	case resumed:
		return append(b, '}')
	case st.latest.Seq == 0:
		return append(b, `,"reading":null}`...)
	}
	b = append(b, `,"reading":{`...)
	b = appendReading(b, &st.latest)
	return append(b, '}')
}
