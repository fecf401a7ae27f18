package telemetry

import (
	"cmp"
	"fmt"
	"time"
)

// Etiquette is how owners are told of incidents, so that they are told in time and not too often.
type Etiquette struct {
	Many   int           // incidents of one owner from which on there is one digest in place of a notice each, if they are
	Share  int           // also more than so many in a hundred of the owner's sensors
	Gather time.Duration // how long the notice of somebody who has Many sensors waits for others
	Flaps  int           // incidents of one sensor and subject, begun
	Within time.Duration // within this time, from which on the last of them stays open until nothing has begun for as long
	Remind time.Duration // between reminders of what is open and not acknowledged; zero: there are none
}

// Digest reports whether so many incidents of an owner who has so many sensors are told in one.
func (e *Etiquette) Digest(incidents, sensors int) bool {
	return incidents >= max(e.Many, 1) && incidents*100 > e.Share*sensors
}

// InWords says how long d is in one unit, as one would say it: "90 seconds", "10 minutes", "3 hours".
func InWords(d time.Duration) string {
	for _, u := range []struct {
		span time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int64(d.Round(u.span) / u.span); d >= 2*u.span || d == u.span {
			return plural(n, u.name)
		}
	}
	return plural(cmp.Or(int64(d.Round(time.Second)/time.Second), 1), "second")
}

func plural(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
