package telemetry

import "time"

// Millis is an instant as UTC milliseconds since the Unix epoch. Zero means "never".
type Millis int64

// layoutMillis is RFC 3339 in UTC with exactly three decimals, as every interface of the server prints times.
const layoutMillis = "2006-01-02T15:04:05.000Z"

// Now returns the present wall-clock instant.
func Now() Millis { return Millis(time.Now().UnixMilli()) }

// MillisOf converts t, dropping what is finer than a millisecond. The zero time becomes zero.
func MillisOf(t time.Time) Millis {
	if t.IsZero() {
		return 0
	}
	return Millis(t.UnixMilli())
}

// Time converts to a time in UTC. Zero becomes the zero time.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// Add returns m moved by d, dropping what is finer than a millisecond.
func (m Millis) Add(d time.Duration) Millis { return m + Millis(d.Milliseconds()) }

// Sub returns m − o, which must be less than 292 years apart.
func (m Millis) Sub(o Millis) time.Duration { return time.Duration(m-o) * time.Millisecond }

// String prints RFC 3339 in UTC with milliseconds, or "" for zero.
func (m Millis) String() string {
	if m == 0 {
		return ""
	}
	return string(m.AppendTo(nil))
}

// AppendTo appends what String prints of a non-zero m to b.
func (m Millis) AppendTo(b []byte) []byte {
	return time.UnixMilli(int64(m)).UTC().AppendFormat(b, layoutMillis)
}

// AppendJSON appends m as a JSON string, or null for zero.
func (m Millis) AppendJSON(b []byte) []byte {
	if m == 0 {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = m.AppendTo(b)
	return append(b, '"')
}

// MarshalJSON writes an RFC 3339 string, or null for zero.
func (m Millis) MarshalJSON() ([]byte, error) { return m.AppendJSON(nil), nil }

// UnmarshalJSON reads what MarshalJSON writes, with any offset and precision.
func (m *Millis) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*m = 0
		return nil
	}
	var t time.Time
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	*m = MillisOf(t)
	return nil
}
