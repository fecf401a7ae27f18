package notify

import (
	"time"
	_ "time/tzdata" // machines this small often have no zones of their own

	"sensorcast/telemetry"
)

// Quiet are the hours in which a channel is left alone but for what is critical: every day from From until To by the clock of Zone. To at or
// before From is on the next day. The zero Quiet has none.
type Quiet struct {
	From, To int    // minutes since midnight
	Zone     string // IANA name, e.g. "Europe/Berlin"; empty: no quiet hours
}

// ParseQuiet reads hours as people write them, "22:00" and "07:30"; zone "" is UTC. Errors name the field within quiet_hours.
func ParseQuiet(from, to, zone string) (Quiet, error) {
	q := Quiet{Zone: zone}
	if q.Zone == "" {
		q.Zone = "UTC"
	}
	// "Local" would be the server's own, which means nothing to who writes it.
	if _, err := time.LoadLocation(q.Zone); err != nil || q.Zone == "Local" {
		return Quiet{}, telemetry.Invalid("quiet_hours.time_zone", "must be the name of a time zone such as Europe/Berlin")
	}
	for _, f := range []struct {
		field, text string
		into        *int
	}{{"quiet_hours.from", from, &q.From}, {"quiet_hours.to", to, &q.To}} {
		at, err := time.Parse("15:04", f.text)
		if err != nil {
			return Quiet{}, telemetry.Invalid(f.field, "must be a time of day such as 22:00")
		}
		*f.into = at.Hour()*60 + at.Minute()
	}
	if q.From == q.To {
		return Quiet{}, telemetry.Invalid("quiet_hours.to", "must differ from quiet_hours.from; switch the channel off to be told nothing")
	}
	return q, nil
}

// Clock returns a time of day as people write it.
func Clock(minutes int) string {
	return time.Date(0, 1, 1, 0, minutes, 0, 0, time.UTC).Format("15:04")
}

// Until returns when the quiet that holds at an instant ends; the instant itself when none holds. Where clocks are put forward over the end
// it is over when they are.
func (q Quiet) Until(at telemetry.Millis) telemetry.Millis {
	if q.Zone == "" {
		return at
	}
	zone, err := time.LoadLocation(q.Zone)
	if err != nil {
		return at // known when it was set; better told at night than never
	}
	local := at.Time().In(zone)
	minute := local.Hour()*60 + local.Minute()
	days := 0
	switch {
	case q.From < q.To && (minute < q.From || minute >= q.To):
		return at
	case q.From > q.To && minute >= q.From:
		days = 1
	case q.From > q.To && minute >= q.To:
		return at
	}
	end := time.Date(local.Year(), local.Month(), local.Day()+days, 0, q.To, 0, 0, zone)
	return max(at, telemetry.MillisOf(end))
}
