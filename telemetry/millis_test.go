package telemetry

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestMillis_PrintsUTCWithThreeDecimals(t *testing.T) {
	for _, tc := range []struct {
		m    Millis
		want string
	}{
		{0, ""},
		{1, "1970-01-01T00:00:00.001Z"},
		{-1, "1969-12-31T23:59:59.999Z"},
		{1716200000000, "2024-05-20T10:13:20.000Z"},
		{1716200000120, "2024-05-20T10:13:20.120Z"},
		{MillisOf(time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.FixedZone("", -3600))), "2024-03-01T00:59:59.999Z"},
		{MillisOf(time.Time{}), ""},
	} {
		if got := tc.m.String(); got != tc.want {
			t.Errorf("Millis(%d).String() = %q, want %q", tc.m, got, tc.want)
		}
	}
}

func TestMillis_ReadsAnyOffsetAndPrecision(t *testing.T) {
	for text, want := range map[string]Millis{
		`null`:                             0,
		`"2024-05-20T12:13:20+02:00"`:      1716200000000,
		`"2024-05-20T10:13:20.1234567Z"`:   1716200000123,
		`"2024-05-20T10:13:20.999999999Z"`: 1716200000999,
	} {
		got := Millis(77)
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("Unmarshal(%s) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{`""`, `"yesterday"`, `5`, `{}`, `"2024-05-20"`, `"2024-13-01T00:00:00Z"`} {
		if err := json.Unmarshal([]byte(text), new(Millis)); err == nil {
			t.Errorf("Unmarshal(%s) succeeded, want an error", text)
		}
	}
}

func TestMillis_SurvivesJSONAndTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		last := MillisOf(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
		// Zero is "never" and has no instant.
		m := Millis(rapid.Int64Range(int64(MillisOf(time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC))), int64(last)).Filter(func(n int64) bool { return n != 0 }).Draw(t, "m"))
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("Marshal(%d) = %v", m, err)
		}
		var back Millis
		if err := json.Unmarshal(text, &back); err != nil || back != m {
			t.Fatalf("%d became %s and then %d, %v", m, text, back, err)
		}
		if got := MillisOf(m.Time()); got != m {
			t.Fatalf("MillisOf(Millis(%d).Time()) = %d", m, got)
		}
		if got := MillisOf(m.Time().Add(999 * time.Microsecond)); got != m {
			t.Fatalf("a fraction of a millisecond moved %d to %d", m, got)
		}
	})
}

func TestMillis_AddAndSub(t *testing.T) {
	const m = Millis(1716200000000)
	if got := m.Add(1500*time.Millisecond + 999*time.Microsecond); got != m+1500 {
		t.Errorf("Add = %d, want %d", got, m+1500)
	}
	if got := m.Sub(m + 250); got != -250*time.Millisecond {
		t.Errorf("Sub = %v, want -250ms", got)
	}
}

func BenchmarkMillis_AppendJSON(b *testing.B) {
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = Millis(1716200000123).AppendJSON(buf[:0])
	}
}
