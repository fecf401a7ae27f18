package format

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"sensorcast/telemetry"
)

// envelope reads {"time"?,"id"?,"data":{…}} or ThingsBoard's {"ts"?,"values":{…}}. It is one only when it has no other keys and its
// data is an object; anything else is plain metrics that happen to use such a name. body is compact and valid.
func envelope(body []byte) (p Point, ok bool, err error) {
	if body[0] != '{' {
		return p, false, nil // an array's element
	}
	var when, id, data, ts, values []byte
	for s := (scanner{text: body, at: 1}); !s.accept('}'); s.accept(',') {
		name, value := s.member()
		switch string(name) {
		case `"time"`:
			when = value
		case `"id"`:
			id = value
		case `"data"`:
			data = value
		case `"ts"`:
			ts = value
		case `"values"`:
			values = value
		default:
			return p, false, nil
		}
	}
	at, field := when, "time"
	switch {
	case data != nil && ts == nil && values == nil:
	case values != nil && when == nil && data == nil:
		data, at, field = values, ts, "ts"
	default:
		return p, false, nil
	}
	if data[0] != '{' {
		return p, false, nil
	}
	if p.Given, err = instant(field, at); err != nil {
		return Point{}, false, err
	}
	if p.ID, err = identifier(id); err != nil {
		return Point{}, false, err
	}
	p.Data = bytes.Clone(data) // or else the least data could keep the largest payload in a queue that is bounded by bytes
	return p, true, nil
}

// member reads a name and its value in compact, valid text.
func (s *scanner) member() (name, value []byte) {
	from := s.at
	s.quoted()
	colon := s.at
	s.at++
	s.value(0)
	return s.text[from:colon], s.text[colon+1 : s.at]
}

func absent(raw []byte) bool { return raw == nil || string(raw) == "null" }

// identifier reads a string, or a number, which identifies by its digits.
func identifier(raw []byte) (string, error) {
	if absent(raw) {
		return "", nil
	}
	id := string(raw)
	switch raw[0] {
	case '"':
		id = unquote(raw)
	case '{', '[', 't', 'f':
		return "", telemetry.Invalid("id", "must be a string or a number")
	}
	if id == "" || len(id) > maxIDBytes {
		return "", telemetry.Invalid("id", "must have 1 to %d bytes", maxIDBytes)
	}
	return id, nil
}

// unquote returns what a valid JSON string stands for.
func unquote(raw []byte) (s string) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	_ = json.Unmarshal(raw, &s)
	return s
}

// Unix times are told apart by magnitude: as seconds each bound lies beyond the year 5000, as the next finer unit before 1974.
const (
	maxSeconds = 1e11
	maxMillis  = 1e14
	maxMicros  = 1e17
)

// instant reads RFC 3339, or Unix seconds, milliseconds, microseconds or nanoseconds.
func instant(field string, raw []byte) (telemetry.Millis, error) {
	if absent(raw) {
		return 0, nil
	}
	if raw[0] == '"' {
		t, err := time.Parse(time.RFC3339, unquote(raw))
		if err != nil || t.Year() < 0 || t.Year() > 9999 {
			return 0, telemetry.Invalid(field, "must be RFC 3339 or a Unix time")
		}
		return telemetry.MillisOf(t), nil
	}
	// Integers are read as such: a float would lose the milliseconds of a nanosecond time.
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil && n >= 0 { // 0: a clock that was never set
		switch {
		case n < maxSeconds:
			return telemetry.Millis(n * 1000), nil
		case n < maxMillis:
			return telemetry.Millis(n), nil
		case n < maxMicros:
			return telemetry.Millis(n / 1000), nil
		}
		return telemetry.Millis(n / 1_000_000), nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err != nil || f < 0 || f >= 1e19:
		return 0, telemetry.Invalid(field, "must be RFC 3339 or a Unix time")
	case f < maxSeconds:
		return telemetry.Millis(f * 1000), nil
	case f < maxMillis:
		return telemetry.Millis(f), nil
	case f < maxMicros:
		return telemetry.Millis(f / 1000), nil
	}
	return telemetry.Millis(f / 1_000_000), nil
}
