// Package cadence learns a sensor's rhythm from the gaps between its readings: how long one usually is, and how long all are but a
// few in a hundred. It keeps eleven bytes, whatever the number of readings, and takes some nanoseconds for each. Package alert keeps one for each sensor.
//
// Gaps are compared by ratio, so that seconds and days are learned alike: what is kept of one is the bits of a float32, which are its
// logarithm as nearly as this needs (a straight line within each octave), and are read back exactly. It is a value, pure, with no clock.
package cadence

import (
	"math"
	"time"
)

const (
	// Enough is how many gaps have to be seen before a rhythm is one.
	Enough = 20

	octave = 1 << 23 // from one number to its double

	// typical is the mean of the first gaps, and then moves by a sixteenth of what a gap differs, of half an octave at most: one outage does
	// not move it, a new setting of the sensor is learned in some dozens of readings.
	weight  = 16
	maxPull = octave / 2

	// long goes up by half of what a gap is longer, of an octave at most, and down with each that is not by a part of its way to typical: an
	// eighth at first, so that what it began with is soon forgotten, and a 516th in the end. For gaps of most shapes it comes to rest where
	// some few in a hundred are longer. One outage raises it by two fifths.
	maxRise = octave
	descent = 8
	settles = 128 // gaps², by which the divisor grows by one

	// margin is how many of its long gaps a sensor may be silent.
	margin  = 3
	floor   = 30 * time.Second
	ceiling = 7 * 24 * time.Hour
	maxGap  = 366 * 24 * time.Hour

	quarter = octave / 4 // what is written down is remembered to this
)

// Rhythm is what was learned. The zero Rhythm knows nothing.
type Rhythm struct {
	typical, long int32 // as scale gives it
	gaps          uint8 // seen; no further than it counts

	keptTypical, keptLong uint8 // what was last written down, in quarters of an octave; zero: nothing was
}

func scale(d time.Duration) int32 {
	return int32(math.Float32bits(float32(min(max(d, time.Millisecond), maxGap).Milliseconds())))
}

func span(x int32) time.Duration {
	return time.Duration(math.Float32frombits(uint32(x))) * time.Millisecond
}

// Of is a rhythm as it was written down. One that is out of bounds is none.
func Of(gaps int, typical, long time.Duration) Rhythm {
	if gaps < Enough || typical <= 0 || long < typical {
		return Rhythm{}
	}
	r := Rhythm{typical: scale(typical), long: scale(long), gaps: uint8(min(gaps, math.MaxUint8))}
	r.Keep()
	return r
}

// Learn takes a gap into account, and reports whether the rhythm has become one, or moved by a good deal since it was last written down.
func (r *Rhythm) Learn(gap time.Duration) (moved bool) {
	x := scale(gap)
	if r.gaps == 0 {
		r.typical, r.long, r.gaps = x, x, 1
		return false
	}
	if r.gaps < math.MaxUint8 {
		r.gaps++
	}
	if n := int32(r.gaps); n <= weight {
		r.typical += (x - r.typical) / n
	} else {
		r.typical += min(max(x-r.typical, -maxPull), maxPull) / weight
	}
	if x > r.long {
		r.long += min(x-r.long, maxRise) / 2
	} else {
		r.long -= (r.long - r.typical) / (descent + int32(r.gaps)*int32(r.gaps)/settles)
	}
	r.long = max(r.long, r.typical)
	return r.gaps >= Enough && (far(r.typical, r.keptTypical) || far(r.long, r.keptLong))
}

// Known reports whether there is a rhythm.
func (r *Rhythm) Known() bool { return r.gaps >= Enough }

// Gaps is how many gaps it was learned from, as far as they are counted.
func (r *Rhythm) Gaps() int { return int(r.gaps) }

// Typical is how long a gap usually is.
func (r *Rhythm) Typical() time.Duration { return span(r.typical) }

// Long is how long all gaps are but a few in a hundred.
func (r *Rhythm) Long() time.Duration { return span(r.long) }

// Silence is how long a sensor of this rhythm may be silent.
func (r *Rhythm) Silence() time.Duration { return min(max(margin*r.Long(), floor), ceiling) }

// Keep notes that the rhythm is written down as it is; Forget that it is not.
func (r *Rhythm) Keep() { r.keptTypical, r.keptLong = coarse(r.typical), coarse(r.long) }

// Forget is the reverse of Keep.
func (r *Rhythm) Forget() { r.keptTypical, r.keptLong = 0, 0 }

// base is one less than the quarter a millisecond lies in.
const base = 127*4 - 1

func coarse(x int32) uint8 { return uint8(x/quarter - base) }

// far reports whether x is more than three eighths of an octave from the middle of a quarter: further than it is from either end, so that
// what trembles there is not written again and again.
func far(x int32, kept uint8) bool {
	middle := (int32(kept)+base)*quarter + quarter/2
	return x-middle > quarter*3/2 || middle-x > quarter*3/2
}
