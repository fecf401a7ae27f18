package api

import (
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/telemetry"
)

// Timestamp is an instant as the API prints it: RFC 3339 in UTC with exactly three decimals, or null for zero.
type Timestamp telemetry.Millis

// Schema describes a Timestamp; fields that may be null say so with a tag.
func (Timestamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Examples: []any{"2026-01-31T08:15:00.000Z"}}
}

// MarshalJSON prints the instant.
func (t Timestamp) MarshalJSON() ([]byte, error) { return telemetry.Millis(t).AppendJSON(nil), nil }

// parseTime reads a query parameter whose format huma has checked; empty is zero, which means no bound.
func parseTime(name, s string) (telemetry.Millis, error) {
	if s == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, telemetry.Invalid(name, "must be an RFC 3339 time such as 2026-01-31T08:15:00Z")
	}
	return telemetry.MillisOf(t), nil
}
