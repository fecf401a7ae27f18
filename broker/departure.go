package broker

import (
	"errors"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// maxWillRunes is how much of a will is told to people; it may be anything.
const maxWillRunes = 200

// departures remembers, for each sensor without a connection, how its last one ended: the answer to "why is it silent?". Only sensors that
// exist are in it, so it is no larger than the registry. It begins empty: what ended before the start, by our own stop first of all, says
// nothing of a sensor.
type departures struct {
	mu   sync.Mutex
	last map[string]telemetry.Departure // guarded by mu: by serial
}

func (d *departures) note(serial string, what telemetry.Departure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last[serial] = what
}

func (d *departures) of(serial string) telemetry.Departure {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last[serial]
}

func (d *departures) forget(serial string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.last, serial)
}

// Standing tells how the sensor stands with the front door. It is safe for concurrent use and touches memory only.
func (b *Broker) Standing(serial string) telemetry.Standing {
	return telemetry.Standing{
		Connected: b.sessions.connected(serial), Departure: b.departures.of(serial), LastRefusal: b.refusals.of(serial),
	}
}

// departed notes how the connection ended, unless that is because we stop. Where another one took its session over, that forgets it again.
func (b *Broker) departed(c *conn) {
	p := c.principal
	if p.Kind != auth.Sensor || b.closing.Load() {
		return
	}
	if dev, known := b.dir.Lookup(p.Serial); !known || dev.SensorID != p.SensorID {
		return
	}
	d := telemetry.Departure{At: telemetry.Now()}
	will := c.session.willText()
	switch closed := c.closedFor.Load(); {
	case c.parted:
		d.Cause = telemetry.CauseDisconnected
	case closed != nil:
		d.Cause, d.Detail = telemetry.CauseClosed, closed.Reason
	case will != "":
		d.Cause, d.Detail = telemetry.CauseWill, will
	case c.ended && errors.Is(c.why, os.ErrDeadlineExceeded): // not the deadline that Close sets
		d.Cause = telemetry.CauseKeepAlive
	default:
		d.Cause = telemetry.CauseLost
	}
	b.departures.note(p.Serial, d)
}

// willText is what the session's will says, if that is text.
func (s *session) willText() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.will == nil {
		return ""
	}
	return inText(s.will.Message.Payload)
}

// inText returns a payload as words for people: one line, with no more than maxWillRunes and nothing that does not print; empty if it is no text.
func inText(payload []byte) string {
	if !utf8.Valid(payload) {
		return ""
	}
	text := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, string(payload[:min(len(payload), 4*maxWillRunes)]))
	text = strings.ToValidUTF8(text, "")
	if runes := []rune(text); len(runes) > maxWillRunes {
		text = string(runes[:maxWillRunes])
	}
	return strings.TrimSpace(text)
}
