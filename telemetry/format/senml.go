package format

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"sensorcast/telemetry"
)

// senmlVersion is the newest version of RFC 8428 §4.4 that is understood; a pack that says it is newer must not be processed.
const senmlVersion = 10

// maxRelative is where SenML times stop being relative to now (RFC 8428 §4.5.3).
const maxRelative = 1 << 28

// record is one SenML record, base fields applied; raw JSON text where it says so.
type record struct {
	base, name string
	time       float64
	value      []byte // raw
	sum        []byte // raw
}

// isPack reports whether an array is SenML rather than envelopes: its first record is an object with a name and no envelope's member.
func isPack(body []byte) bool {
	if len(body) < 2 || body[1] != '{' {
		return false
	}
	named := false
	for s := (scanner{text: body, at: 2}); !s.accept('}'); s.accept(',') {
		name, _ := s.member()
		switch string(name) {
		case `"n"`, `"bn"`:
			named = true
		case `"data"`, `"values"`:
			return false
		}
	}
	return named
}

// pack reads SenML in JSON (RFC 8428). Records of one time become one reading. A metric is called by its record's own name, or by the
// full one where the pack has several base names: a topic belongs to one sensor, so its base name says nothing new. Units are dropped.
func pack(dst []Point, body []byte, now telemetry.Millis) ([]Point, error) {
	records, err := senmlRecords(body)
	if err != nil {
		return dst, err
	}
	full := false
	for _, r := range records {
		full = full || r.base != records[0].base
	}
	var groups []group
	for i := range records {
		r := &records[i]
		if r.value == nil && r.sum == nil {
			continue // only base fields
		}
		groups = addTo(groups, senmlTime(r.time, now), metricOf(r, full), r)
	}
	if len(groups) == 0 {
		return dst, telemetry.Invalid("payload", "is a SenML pack without values")
	}
	for _, g := range groups {
		dst = append(dst, Point{Given: g.at, Data: append(g.data, '}')})
	}
	return dst, nil
}

// group gathers the values of one time.
type group struct {
	at   telemetry.Millis
	has  map[string]bool
	data []byte // JSON object without its closing brace
}

func addTo(groups []group, at telemetry.Millis, metric string, r *record) []group {
	n := len(groups)
	if n == 0 || groups[n-1].at != at || groups[n-1].has[metric] { // the same metric twice is two readings
		groups = append(groups, group{at: at, has: map[string]bool{}})
		n++
	}
	g := &groups[n-1]
	g.has[metric] = true
	if r.value != nil {
		g.put(metric, r.value)
	}
	if r.sum != nil {
		g.put(metric+"_sum", r.sum)
	}
	return groups
}

func (g *group) put(metric string, value []byte) {
	sep := byte(',')
	if len(g.data) == 0 {
		sep = '{'
	}
	quoted, _ := json.Marshal(metric) // a string always marshals
	g.data = append(append(append(append(g.data, sep), quoted...), ':'), value...)
}

func metricOf(r *record, full bool) string {
	if full || r.name == "" {
		return strings.TrimRight(r.base+r.name, ":/")
	}
	return r.name
}

// senmlTime resolves a time (RFC 8428 §4.5.3): zero is none, small ones are relative to now.
func senmlTime(t float64, now telemetry.Millis) telemetry.Millis {
	switch {
	case t == 0:
		return 0
	case t < maxRelative:
		return max(now+telemetry.Millis(math.Round(t*1000)), 0)
	}
	return telemetry.Millis(math.Round(t * 1000))
}

// bases are the base fields in force; they carry on from record to record until set anew (§4.1).
type bases struct {
	name             string
	time, value, sum float64
}

// senmlRecords reads the records and applies the base fields.
func senmlRecords(body []byte) ([]record, error) {
	var (
		all  []record
		base bases
	)
	for s := (scanner{text: body, at: 1}); !s.accept(']'); s.accept(',') {
		from, n := s.at, len(all)
		s.value(0)
		item := s.text[from:s.at]
		if n == maxBatch || item[0] != '{' {
			return nil, telemetry.Invalid("payload", "record %d: a SenML pack is an array of at most %d objects", n, maxBatch)
		}
		var r record
		for m := (scanner{text: item, at: 1}); !m.accept('}'); m.accept(',') {
			if label, value := m.member(); !r.set(string(label), value, &base) {
				return nil, telemetry.Invalid("payload", "record %d of the SenML pack: label %s is not usable", n, label)
			}
		}
		r.base, r.time = base.name, base.time+r.time
		r.value, r.sum = plus(r.value, base.value), plus(r.sum, base.sum)
		if math.Abs(r.time) > maxSeconds {
			return nil, telemetry.Invalid("t", "record %d of the SenML pack has an impossible time", n)
		}
		if name := r.base + r.name; (r.value != nil || r.sum != nil) && (name == "" || len(name) > maxIDBytes) {
			return nil, telemetry.Invalid("n", "record %d of the SenML pack must have a name of at most %d bytes", n, maxIDBytes)
		}
		all = append(all, r)
	}
	return all, nil
}

// set takes one field and reports whether it is usable. A record has one value at most (§4.2).
func (r *record) set(label string, value []byte, base *bases) (ok bool) {
	switch label {
	case `"bn"`:
		base.name, ok = text(value)
	case `"bt"`:
		base.time, ok = number(value)
	case `"bv"`:
		base.value, ok = number(value)
	case `"bs"`:
		base.sum, ok = number(value)
	case `"bver"`:
		version, is := number(value)
		ok = is && version <= senmlVersion
	case `"n"`:
		r.name, ok = text(value)
	case `"t"`:
		r.time, ok = number(value)
	case `"s"`:
		_, ok = number(value)
		r.sum = value
	case `"v"`, `"vs"`, `"vd"`, `"vb"`:
		ok = r.value == nil && ofKind(label, value)
		r.value = value
	default:
		ok = !strings.HasSuffix(label, `_"`) // such a label must be understood (§4.4)
	}
	return ok
}

func ofKind(label string, value []byte) (ok bool) {
	switch label {
	case `"v"`:
		_, ok = number(value)
	case `"vb"`:
		ok = value[0] == 't' || value[0] == 'f'
	default:
		_, ok = text(value)
	}
	return ok
}

// plus adds a base to a number; without a base the number stays exactly as it was sent.
func plus(raw []byte, base float64) []byte {
	if raw == nil || base == 0 || raw[0] == '"' || raw[0] == 't' || raw[0] == 'f' {
		return raw
	}
	f, _ := strconv.ParseFloat(string(raw), 64)
	if f += base; math.IsInf(f, 0) {
		return raw
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64)
}

func number(raw []byte) (f float64, ok bool) {
	f, err := strconv.ParseFloat(string(raw), 64)
	return f, err == nil // a number beyond a float's range is an error too
}

func text(raw []byte) (s string, ok bool) {
	if raw[0] != '"' {
		return "", false
	}
	return unquote(raw), true
}
