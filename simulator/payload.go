package simulator

import (
	"strconv"
	"time"
)

// Dialect is how a reading is written down.
type Dialect string

// The dialects. Envelope and SenML carry the sensor's own time, so that a resent message is recognised as the same reading; a
// resent Plain one is stored twice.
const (
	Envelope Dialect = "envelope" // {"time":"…","id":"…","data":{"temperature":21.43}}
	Plain    Dialect = "plain"    // {"temperature":21.43}
	SenML    Dialect = "senml"    // [{"bt":1767225600.123,"n":"temperature","u":"Cel","v":21.43}], RFC 8428
)

var dialects = []Dialect{Envelope, Plain, SenML}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// appendReading writes one reading of spec at t. The id must be unique among the readings of this sensor, over runs too.
func (d Dialect) appendReading(b []byte, spec *Spec, t time.Time, id string) []byte {
	switch d {
	case SenML:
		b = append(b, '[')
		b = appendRecords(b, spec, t)
		return append(b, ']')
	case Plain:
		return appendData(b, spec, t)
	}
	b = append(b, `{"time":"`...)
	b = t.UTC().AppendFormat(b, timeFormat)
	b = append(b, `","id":"`...)
	b = append(b, id...)
	b = append(b, `","data":`...)
	b = appendData(b, spec, t)
	return append(b, '}')
}

// appendBatch writes several past readings as one message: an array of envelopes, or one SenML pack whose base time moves on.
func (d Dialect) appendBatch(b []byte, spec *Spec, times []time.Time, id func() string) []byte {
	b = append(b, '[')
	for i, t := range times {
		if i > 0 {
			b = append(b, ',')
		}
		if d == SenML {
			b = appendRecords(b, spec, t)
		} else {
			b = d.appendReading(b, spec, t, id())
		}
	}
	return append(b, ']')
}

func appendData(b []byte, spec *Spec, t time.Time) []byte {
	b = append(b, '{')
	for i := range spec.Profile.Metrics {
		m := &spec.Profile.Metrics[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, m.Name)
		b = append(b, ':')
		b = m.appendValue(b, spec.Seed, t)
	}
	return append(b, '}')
}

// appendRecords writes SenML records, the first with the base time, which holds until the next one (RFC 8428 §4.1).
func appendRecords(b []byte, spec *Spec, t time.Time) []byte {
	for i := range spec.Profile.Metrics {
		m := &spec.Profile.Metrics[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		if i == 0 {
			b = append(b, `"bt":`...)
			b = strconv.AppendFloat(b, float64(t.UnixMilli())/1000, 'f', 3, 64)
			b = append(b, ',')
		}
		b = append(b, `"n":`...)
		b = strconv.AppendQuote(b, m.Name)
		if m.Unit != "" {
			b = append(b, `,"u":`...)
			b = strconv.AppendQuote(b, m.Unit)
		}
		switch {
		case m.Switch:
			b = append(b, `,"vb":`...)
		case len(m.Labels) > 0:
			b = append(b, `,"vs":`...)
		default:
			b = append(b, `,"v":`...)
		}
		b = m.appendValue(b, spec.Seed, t)
		b = append(b, '}')
	}
	return b
}
