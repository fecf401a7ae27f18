package notify

import (
	"testing"
	"time"

	"sensorcast/telemetry"
)

func TestQuiet_EndsByTheClockOfItsZone(t *testing.T) {
	for _, tc := range []struct {
		from, to, zone string
		at, want       string // RFC 3339; want empty: it is not quiet
	}{
		{"22:00", "07:00", "", "2026-01-10T21:59:59Z", ""},
		{"22:00", "07:00", "", "2026-01-10T22:00:00Z", "2026-01-11T07:00:00Z"},
		{"22:00", "07:00", "", "2026-01-11T06:59:59Z", "2026-01-11T07:00:00Z"},
		{"22:00", "07:00", "", "2026-01-11T07:00:00Z", ""},
		{"12:00", "13:30", "", "2026-01-11T12:30:00Z", "2026-01-11T13:30:00Z"},
		{"12:00", "13:30", "", "2026-01-11T11:59:00Z", ""},
		{"12:00", "13:30", "", "2026-01-11T13:30:00Z", ""},
		{"22:00", "07:00", "Europe/Berlin", "2026-01-10T21:00:00Z", "2026-01-11T06:00:00Z"},
		{"22:00", "07:00", "Europe/Berlin", "2026-07-10T20:00:00Z", "2026-07-11T05:00:00Z"},
		{"22:00", "07:00", "America/New_York", "2026-01-11T03:00:00Z", "2026-01-11T12:00:00Z"},
		{"22:00", "07:00", "Asia/Kolkata", "2026-01-10T16:30:00Z", "2026-01-11T01:30:00Z"},
		// The night of 29 March 2026 has no 02:30 in Berlin, that of 25 October two.
		{"22:00", "02:30", "Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"},
		{"22:00", "07:00", "Europe/Berlin", "2026-03-28T21:00:00Z", "2026-03-29T05:00:00Z"},
		{"22:00", "07:00", "Europe/Berlin", "2026-10-24T20:00:00Z", "2026-10-25T06:00:00Z"},
	} {
		q, err := ParseQuiet(tc.from, tc.to, tc.zone)
		if err != nil {
			t.Errorf("%+v: %v", tc, err)
			continue
		}
		at, err := time.Parse(time.RFC3339, tc.at)
		if err != nil {
			t.Fatal(err)
		}
		want := at
		if tc.want != "" {
			if want, err = time.Parse(time.RFC3339, tc.want); err != nil {
				t.Fatal(err)
			}
		}
		if got := q.Until(telemetry.MillisOf(at)); !got.Time().Equal(want) {
			t.Errorf("%s-%s %s at %s: got %s, want %s", tc.from, tc.to, tc.zone, tc.at, got.Time().UTC(), want)
		}
		if Clock(q.From) != tc.from || Clock(q.To) != tc.to {
			t.Errorf("%s-%s reads back as %s-%s", tc.from, tc.to, Clock(q.From), Clock(q.To))
		}
	}
	if at := telemetry.Now(); (Quiet{}).Until(at) != at {
		t.Error("no quiet hours are quiet")
	}
}

// Whatever the minute, waiting until the end is over then, and within a day and the hour clocks may be put by.
func TestQuiet_AlwaysEnds(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia"} {
		for _, hours := range [][2]string{{"22:00", "07:00"}, {"00:00", "23:59"}, {"02:15", "02:45"}, {"23:59", "00:00"}, {"12:00", "11:59"}} {
			q, err := ParseQuiet(hours[0], hours[1], zone)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for at := start; at.Before(start.AddDate(1, 0, 0)); at = at.Add(67 * time.Minute) {
				end := q.Until(telemetry.MillisOf(at)).Time()
				if end.Before(at) || end.Sub(at) > 26*time.Hour {
					t.Fatalf("%s %v at %s: ends %s", zone, hours, at, end)
				}
			}
		}
	}
}
