// Package format turns what sensors send into readings: the payload dialects. It is pure: bytes and a clock value in, points out.
// Package ingest calls it for every message, whatever door the message came through.
//
// The dialect follows from the topic and the shape the contract names, never from guessing at bytes:
//
//	sensors/{serial}/telemetry           {"temperature":21.5,"door":{"open":true}}   an object of metrics, kept as sent
//	                                     21.5   true   "text"                         a bare JSON scalar becomes {"value":…}
//	                                     {"time":…,"id":…,"data":{…}}                 an envelope; ThingsBoard's {"ts","values"} too
//	                                     [{"time":…,"data":{…}}, …]                   a batch of envelopes
//	                                     [{"bn":…,"n":…,"v":…}, …]                    SenML (RFC 8428)
//	sensors/{serial}/telemetry/{metric}  21.5   "text"   text                         one raw value becomes {"<metric>":…}
//
// Numbers are never converted, so that a 19-digit integer leaves as it came. Every result is valid, compact, UTF-8 JSON: a browser
// closes a WebSocket on anything else (RFC 6455 §8.1), and one sensor must not be able to cut its viewers off.
package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"sensorcast/telemetry"
)

// Bounds on one payload beside its length, which the door limits.
const (
	maxDepth       = 16   // nesting; deeper costs every reader of the history recursion
	maxBatch       = 1000 // readings in one message: one message must not fill the queue
	maxTextBytes   = 4096 // unquoted text on …/telemetry/{metric}
	maxMetricBytes = 64
	maxIDBytes     = 128
)

// Point is one reading as its sender described it.
type Point struct {
	Given telemetry.Millis // the time the sender gave, however impossible; zero: none
	ID    string           // the id the sender gave; empty: none
	Data  []byte           // compact JSON object; may share memory with the payload
}

// Decode appends the readings of one payload to dst. metric is the last level of …/telemetry/{metric}, or empty; now is what relative
// times are relative to. The error is of kind telemetry.ErrInvalid and says what is wrong without repeating the payload; dst then
// comes back as it was.
func Decode(dst []Point, metric string, payload []byte, now telemetry.Millis) ([]Point, error) {
	if metric != "" {
		data, err := rawValue(metric, payload)
		if err != nil {
			return dst, err
		}
		return append(dst, Point{Data: data}), nil
	}
	body, named, err := compact(payload)
	if err != nil {
		return dst, telemetry.Invalid("payload", "%v", err)
	}
	switch body[0] {
	case '{':
		p, err := object(body, named)
		if err != nil {
			return dst, err
		}
		return append(dst, p), nil
	case '[':
		if isPack(body) {
			return pack(dst, body, now)
		}
		return batch(dst, body)
	}
	if bytes.Equal(body, []byte("null")) {
		return dst, telemetry.Invalid("payload", "is null; send an object of metrics or a value")
	}
	return append(dst, Point{Data: wrap("value", body)}), nil
}

// rawValue makes {"metric": value} of a payload that is JSON of any kind, or else text.
func rawValue(metric string, payload []byte) ([]byte, error) {
	if len(metric) > maxMetricBytes || !utf8.ValidString(metric) {
		return nil, telemetry.Invalid("topic", "a metric name is at most %d bytes of UTF-8", maxMetricBytes)
	}
	switch body, _, err := compact(payload); err {
	case nil:
		return wrap(metric, body), nil
	case errDeep:
		return nil, telemetry.Invalid("payload", "%v", err)
	}
	text := bytes.TrimSpace(payload)
	switch {
	case len(text) == 0:
		return nil, telemetry.Invalid("payload", "is empty")
	case len(text) > maxTextBytes:
		return nil, telemetry.Invalid("payload", "text is longer than %d bytes", maxTextBytes)
	case !utf8.Valid(text):
		return nil, telemetry.Invalid("payload", "is neither JSON nor UTF-8 text")
	}
	quoted, err := json.Marshal(string(text))
	if err != nil {
		return nil, fmt.Errorf("quote text: %w", err)
	}
	return wrap(metric, quoted), nil
}

func wrap(key string, value []byte) []byte {
	quoted, _ := json.Marshal(key) // a string always marshals
	b := make([]byte, 0, len(quoted)+len(value)+3)
	b = append(b, '{')
	b = append(b, quoted...)
	b = append(b, ':')
	b = append(b, value...)
	return append(b, '}')
}

// batch reads an array of envelopes.
func batch(dst []Point, body []byte) ([]Point, error) {
	out := dst
	for s := (scanner{text: body, at: 1}); !s.accept(']'); s.accept(',') {
		from, n := s.at, len(out)-len(dst)
		s.value(0)
		p, is, err := envelope(body[from:s.at])
		switch {
		case n == maxBatch:
			err = telemetry.Invalid("payload", "a batch holds at most %d readings", maxBatch)
		case err != nil:
			err = fmt.Errorf("reading %d: %w", n, err)
		case !is:
			err = telemetry.Invalid("payload", `reading %d of the batch is not of the form {"time":…,"id":…,"data":{…}}`, n)
		}
		if err != nil {
			clear(out[len(dst):]) // dst may be reused: what lies beyond its end must not keep a payload alive
			return dst, err
		}
		out = append(out, p)
	}
	if len(out) == len(dst) {
		return dst, telemetry.Invalid("payload", "is an empty batch")
	}
	return out, nil
}

// object reads a JSON object: an envelope, or the metrics themselves. Nearly every message is plain metrics; only one that has an
// envelope's member (named) is taken apart.
func object(body []byte, named bool) (Point, error) {
	if named {
		if p, is, err := envelope(body); err != nil || is {
			return p, err
		}
	}
	return Point{Data: body}, nil
}
