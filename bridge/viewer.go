package bridge

import (
	"encoding/json"
	"fmt"
	"time"
)

// maxOffences is how often a viewer may try to send readings before it is shown the door.
const maxOffences = 5

// viewer answers the messages of a person's session. Viewers may command their sensors and cannot inject readings.
type viewer struct {
	session  *session
	commands Commander
	offences int
}

func (v *viewer) message(text []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		v.refuse("malformed", "a message is a JSON object with a type", nil)
		return nil
	}
	var kind string
	json.Unmarshal(fields["type"], &kind) // absent or no string: stays empty
	id := plainID(fields["id"])
	_, data := fields["data"]
	switch {
	case kind == "reading", kind == "" && data:
		v.refuse("read_only", "this connection only watches: a sensor publishes with a ticket of its own or over MQTT", id)
		if v.offences++; v.offences >= maxOffences {
			return &violation{ClosePolicy, "this connection is read-only"}
		}
	case kind == "command":
		v.command(fields, id)
	case kind == "rate":
		v.rate(fields["max_per_second"], id)
	case kind == "":
		v.refuse("malformed", "a message needs a type", id)
	default:
		v.refuse("unknown_type", "this server does not know messages of that type", id)
	}
	return nil
}

// The bounds of a rate; zero means no limit. The slowest is as long as a forgotten tab may reasonably wait.
const (
	minRate = 0.01
	maxRate = 1000
)

var rateBounds = fmt.Sprintf("must be a number from %v to %v, or 0 for no limit", minRate, maxRate)

// paceOf returns the time between two readings of a sensor, zero without a limit. Not ok: out of bounds, or no number.
func paceOf(perSecond float64) (pace time.Duration, ok bool) {
	switch {
	case perSecond == 0:
		return 0, true
	case perSecond >= minRate && perSecond <= maxRate:
		return time.Duration(float64(time.Second) / perSecond), true
	}
	return 0, false
}

// rate lets the viewer ask for at most so many readings a second of each sensor. What is left out is announced.
func (v *viewer) rate(raw json.RawMessage, id []byte) {
	var perSecond float64
	err := json.Unmarshal(raw, &perSecond)
	pace, ok := paceOf(perSecond)
	if err != nil || !ok {
		v.refuse("malformed", "max_per_second "+rateBounds, id)
		return
	}
	v.session.box.setPace(pace)
	if id != nil {
		v.session.box.reply(ackFrame(id))
	}
	v.session.sender.Wake()
}

func (v *viewer) refuse(code, message string, id []byte) {
	v.session.box.reply(errorFrame(code, message, "", id))
	v.session.sender.Wake()
}

// maxIDBytes bounds an id as JSON text; package telemetry/format takes 128 bytes of it unquoted.
const maxIDBytes = 256

// plainID returns an id fit to be repeated to its sender: a short string or number; else nothing.
func plainID(raw json.RawMessage) []byte {
	if len(raw) == 0 || len(raw) > maxIDBytes {
		return nil
	}
	switch c := raw[0]; {
	case c == '"', c == '-', c >= '0' && c <= '9':
		return raw
	}
	return nil
}
