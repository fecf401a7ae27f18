package rule

import (
	"encoding/json"
	"fmt"
	"strings"

	"sensorcast/telemetry"
)

// Sample is a reading, decoded once for all the conditions that judge it.
type Sample struct {
	data map[string]any
	at   telemetry.Millis
	env  map[string]any // what expressions see; nil: no one has looked

	values int // in env, as far as they were counted
}

// Decode reads the metrics of a reading.
func Decode(r *telemetry.Reading) (*Sample, error) {
	s := &Sample{at: r.Time}
	if err := json.Unmarshal(r.Data, &s.data); err != nil {
		return nil, fmt.Errorf("decode reading: %w", err)
	}
	return s, nil
}

// metric is the name of one, and its parts where it has dots.
type metric struct {
	name  string
	parts []string // at least two, or none
}

func metricOf(name string) metric {
	m := metric{name: name}
	if parts := strings.Split(name, "."); len(parts) > 1 {
		m.parts = parts
	}
	return m
}

// in looks for the metric: by its whole name first, then part by part.
func (m metric) in(data map[string]any) (any, bool) {
	if v, ok := data[m.name]; ok || m.parts == nil {
		return v, ok
	}
	for i, part := range m.parts {
		v, ok := data[part]
		if !ok || i == len(m.parts)-1 {
			return v, ok
		}
		if data, ok = v.(map[string]any); !ok {
			return nil, false
		}
	}
	return nil, false
}

// number is what a value counts as: switches are 1 and 0. JSON has no NaN.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
