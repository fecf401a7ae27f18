package simulator

import (
	"math"
	"time"
)

// Signal is a physical quantity over time. It is pure: the same seed and time give the same value, in any order of asking, which is
// what lets a test know what a sensor sent. Time of day is taken in t's location, so afternoons are warm where the fleet runs.
type Signal func(seed uint64, t time.Time) float64

// Salts keep the random parts of one sensor independent of each other.
const (
	saltOffset uint64 = iota + 1
	saltSlow
	saltFast
	saltHumidity
	saltPressure
	saltWind
	saltGust
	saltCloud
	saltPower
	saltLoad
	saltVoltage
	saltPresence
	saltPersons
	saltDoor
	saltRadio
	saltBattery
	saltCO2
	saltEntered
	saltFault
	saltSilence
	saltUnplug
	saltJitter
)

// hash is splitmix64 over the three words: a stateless random number.
func hash(seed, salt, n uint64) uint64 {
	x := seed + salt*0x9e3779b97f4a7c15 + n*0xd1342543de82ef95
	for range 2 { // the second round separates neighbouring seeds
		x += 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return x
}

// unit is hash as a number in [0, 1).
func unit(seed, salt, n uint64) float64 { return float64(hash(seed, salt, n)>>11) / (1 << 53) }

// between spreads sensors over [lo, hi): the same place for a sensor for ever.
func between(seed, salt uint64, lo, hi float64) float64 { return lo + (hi-lo)*unit(seed, salt, 0) }

// noise is smooth value noise in [-1, 1]: random at every multiple of period, eased in between, so its slope is at most 3/period.
func noise(seed, salt uint64, t time.Time, period time.Duration) float64 {
	value, _ := noiseSlope(seed, salt, t, period)
	return value
}

// noiseSlope also gives the derivative, in units per period.
func noiseSlope(seed, salt uint64, t time.Time, period time.Duration) (value, slope float64) {
	nanos := t.UnixNano()
	cell := nanos / int64(period)
	if nanos%int64(period) < 0 { // before 1970: division truncates, the lattice must not
		cell--
	}
	f := float64(nanos-cell*int64(period)) / float64(period)
	a, b := 2*unit(seed, salt, uint64(cell))-1, 2*unit(seed, salt, uint64(cell+1))-1
	return a + (b-a)*f*f*(3-2*f), (b - a) * 6 * f * (1 - f)
}

const daySeconds = 86400

// localSeconds is the Unix time as a clock on the wall would count it.
func localSeconds(t time.Time) int64 {
	_, offset := t.Zone()
	return t.Unix() + int64(offset)
}

// hourOfDay is the time of day in hours, [0, 24).
func hourOfDay(local int64) float64 {
	return float64(((local%daySeconds)+daySeconds)%daySeconds) / 3600
}

// dayCurve is a cosine over the day in [-1, 1] with its top at peakHour.
func dayCurve(t time.Time, peakHour float64) float64 {
	return math.Cos(2 * math.Pi * (hourOfDay(localSeconds(t)) - peakHour) / 24)
}

// yearCurve is a cosine over the year in [-1, 1] with its top in late July.
func yearCurve(t time.Time) float64 {
	return math.Cos(2 * math.Pi * float64(t.YearDay()-205) / 365.25)
}

// busy is how likely a working place is in use at that moment of the week, 0 to 1.
func busy(local int64) float64 {
	weekday := ((local/daySeconds)%7 + 4) % 7 // 1970-01-01 was a Thursday
	hour := hourOfDay(local)
	switch {
	case weekday == 0 || weekday == 6:
		if hour >= 10 && hour < 17 {
			return 0.1
		}
		return 0.01
	case hour >= 12 && hour < 13:
		return 0.35
	case hour >= 8 && hour < 18:
		return 0.75
	case hour >= 7 && hour < 20:
		return 0.3
	}
	return 0.02
}

// smoothstep rises from 0 at lo to 1 at hi and is flat outside.
func smoothstep(lo, hi, x float64) float64 {
	f := min(max((x-lo)/(hi-lo), 0), 1)
	return f * f * (3 - 2*f)
}
