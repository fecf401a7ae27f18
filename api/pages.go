package api

import (
	"encoding/base64"
	"encoding/binary"

	"sensorcast/telemetry"
)

// position is where a page of readings, or of commands, which have no time, ended. As a cursor it is opaque to clients: base64url of a version byte and two varints.
type position struct {
	time telemetry.Millis
	seq  int64
}

const (
	cursorVersion  = 1
	maxCursorBytes = 64 // far above any real one; decoding is bounded before it begins
)

func (p position) cursor() string {
	b := []byte{cursorVersion}
	b = binary.AppendVarint(b, int64(p.time))
	b = binary.AppendVarint(b, p.seq)
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads what cursor wrote; empty is the zero position, from the start. It accepts exactly one spelling of each position.
func parseCursor(s string) (position, error) {
	if s == "" {
		return position{}, nil
	}
	broken := telemetry.Invalid("cursor", "is not a cursor of this list")
	if len(s) > maxCursorBytes {
		return position{}, broken
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) == 0 || b[0] != cursorVersion {
		return position{}, broken
	}
	time, n := binary.Varint(b[1:])
	if n <= 0 {
		return position{}, broken
	}
	seq, m := binary.Varint(b[1+n:])
	p := position{time: telemetry.Millis(time), seq: seq}
	if m <= 0 || seq <= 0 || p.cursor() != s {
		return position{}, broken
	}
	return p, nil
}
