package simulator

import (
	"math"
	"time"
)

// epochUTC is when the simulated meters were mounted; counters count from there.
var epochUTC = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func roomTemperature(seed uint64, t time.Time) float64 {
	return between(seed, saltOffset, 20, 22.5) + 1.6*dayCurve(t, 15) +
		0.4*noise(seed, saltSlow, t, 2*time.Hour) + 0.08*noise(seed, saltFast, t, 3*time.Minute)
}

// roomHumidity runs against the temperature: the same water in warmer air.
func roomHumidity(seed uint64, t time.Time) float64 {
	return between(seed, saltHumidity, 38, 52) - 5*dayCurve(t, 15) +
		2*noise(seed, saltHumidity, t, 3*time.Hour) + 0.2*noise(seed, saltFast, t, 5*time.Minute)
}

func outdoorTemperature(seed uint64, t time.Time) float64 {
	return between(seed, saltOffset, 9, 12) + 9*yearCurve(t) + 4*dayCurve(t, 15) +
		3*noise(seed, saltSlow, t, 30*time.Hour) + 0.2*noise(seed, saltFast, t, 5*time.Minute)
}

func outdoorHumidity(seed uint64, t time.Time) float64 {
	h := 72 - 14*dayCurve(t, 15) + 8*noise(seed, saltHumidity, t, 20*time.Hour) + noise(seed, saltFast, t, 10*time.Minute)
	return min(max(h, 15), 100)
}

func pressure(seed uint64, t time.Time) float64 {
	return 1013 + 13*noise(seed, saltPressure, t, 40*time.Hour) + noise(seed, saltSlow, t, 5*time.Hour)
}

func wind(seed uint64, t time.Time) float64 {
	return max(0, 3.5+2.5*noise(seed, saltWind, t, 3*time.Hour)+1.8*noise(seed, saltGust, t, time.Minute))
}

func illuminance(seed uint64, t time.Time) float64 {
	sun := max(0, dayCurve(t, 13)+0.25*yearCurve(t))
	return 70_000 * sun * (0.6 + 0.4*noise(seed, saltCloud, t, 20*time.Minute))
}

const slotSeconds = 15 * 60 // people come and go on the quarter hour

// personsIn is how many people are in a room of that capacity during one quarter of an hour (local Unix seconds / slotSeconds).
func personsIn(seed uint64, slot int64, capacity int) int {
	if unit(seed, saltPresence, uint64(slot/3)) >= busy(slot*slotSeconds) {
		return 0
	}
	return 1 + int(hash(seed, saltPersons, uint64(slot))%uint64(capacity))
}

func roomPersons(seed uint64, t time.Time) float64 {
	return float64(personsIn(seed, localSeconds(t)/slotSeconds, 6))
}

func hallPersons(seed uint64, t time.Time) float64 {
	return float64(personsIn(seed, localSeconds(t)/slotSeconds, 40))
}

func occupied(seed uint64, t time.Time) float64  { return min(roomPersons(seed, t), 1) }
func hallInUse(seed uint64, t time.Time) float64 { return min(hallPersons(seed, t), 1) }

// co2 follows the people in the room with the lag of its ventilation. It is the exact answer of a first-order filter to the steps of
// roomPersons, looked back far enough that what is older has faded to a thousandth: no state, yet no jump.
func co2(seed uint64, t time.Time) float64 {
	const (
		outside, perPerson = 420.0, 95.0 // ppm
		tauSeconds         = 25 * 60.0
		lookback           = 12 // slots: three hours, seven time constants
	)
	local := localSeconds(t)
	slot := local / slotSeconds
	age := float64(local-slot*slotSeconds) + float64(t.Nanosecond())/1e9
	end, start := 1.0, math.Exp(-age/tauSeconds) // weights at the slot's end (now) and start
	step := math.Exp(-slotSeconds / tauSeconds)
	value := outside
	for k := range int64(lookback) {
		value += perPerson * float64(personsIn(seed, slot-k, 6)) * (end - start)
		end, start = start, start*step
	}
	return value + 6*noise(seed, saltCO2, t, 4*time.Minute)
}

// Power is made as the derivative of energy, so that a meter's two numbers agree: a mean, a day curve with its top in the evening,
// and two noises whose steepest slopes together stay below what is left of the mean. Power is therefore never negative and energy
// never falls.
const (
	eveningHour = 19.0
	dayShare    = 0.5 // of the mean power
	slowPeriod  = time.Hour
	slowShare   = 0.08
	fastPeriod  = 5 * time.Minute
	fastShare   = 0.05
)

func meanKilowatts(seed uint64) float64 { return between(seed, saltPower, 0.3, 1.6) }

// powerWatts is the electrical load in W.
func powerWatts(seed uint64, t time.Time) float64 {
	_, slow := noiseSlope(seed, saltSlow, t, slowPeriod)
	_, fast := noiseSlope(seed, saltLoad, t, fastPeriod)
	hours := t.Sub(epochUTC).Hours()
	day := dayShare * math.Cos(2*math.Pi*(hours-eveningHour)/24)
	return 1000 * meanKilowatts(seed) * (1 + day + slowShare*slow + fastShare*fast)
}

// energyKilowattHours is the meter's register since it was mounted, never falling.
func energyKilowattHours(seed uint64, t time.Time) float64 {
	hours := t.Sub(epochUTC).Hours()
	const omega = 2 * math.Pi / 24
	return meanKilowatts(seed) * (hours + dayShare/omega*math.Sin(omega*(hours-eveningHour)) +
		slowShare*slowPeriod.Hours()*noise(seed, saltSlow, t, slowPeriod) +
		fastShare*fastPeriod.Hours()*noise(seed, saltLoad, t, fastPeriod))
}

func voltage(seed uint64, t time.Time) float64 {
	return 231 + 2.5*noise(seed, saltVoltage, t, 10*time.Minute) + 0.4*noise(seed, saltFast, t, 20*time.Second)
}

func current(seed uint64, t time.Time) float64 { return powerWatts(seed, t) / voltage(seed, t) }

// entered is how many people have passed the counter since it was mounted. Within a day it follows the opening hours; the noise bends
// the clock by less than it moves on, so the count never falls.
func entered(seed uint64, t time.Time) float64 {
	local := localSeconds(t) - epochUTC.Unix()
	days := math.Floor(float64(local) / daySeconds)
	hour := hourOfDay(local) + float64(t.Nanosecond())/3.6e12 + 0.07*noise(seed, saltEntered, t, 20*time.Minute)
	perDay := math.Round(between(seed, saltEntered, 150, 900))
	return math.Floor(perDay * (days + smoothstep(7, 20, hour)))
}

// doorOpen is 1 while the door stands open, in steps of half a minute.
func doorOpen(seed uint64, t time.Time) float64 {
	local := localSeconds(t)
	if unit(seed, saltDoor, uint64(local/30)) < 0.25*busy(local) {
		return 1
	}
	return 0
}

// batteryPercent runs down from 100 to 8 over 200 to 500 days, faster towards the end; then someone puts in a new one.
func batteryPercent(seed uint64, t time.Time) float64 {
	life := between(seed, saltBattery, 200, 500) * 24
	hours := t.Sub(epochUTC).Hours() + life*unit(seed, saltBattery, 1)
	_, used := math.Modf(hours/life + 1000) // the thousand keeps times before the epoch positive
	return 100 - 92*math.Pow(used, 1.3)
}

func signalStrength(seed uint64, t time.Time) float64 {
	return between(seed, saltRadio, -82, -48) + 4*noise(seed, saltRadio, t, 2*time.Minute)
}
