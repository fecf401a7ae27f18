package simulator

import (
	"time"

	"sensorcast/telemetry"
)

// Defaults of zero Faults fields.
const (
	DefaultSilenceFor   = 2 * time.Minute
	DefaultSilenceEvery = 15 * time.Minute
)

const (
	lateReadings = 5                // in one late message
	lateBy       = 30 * time.Second // its newest reading is that old
)

// Faults are what goes wrong on purpose, decided by the seed. Shares lie between 0 (never, the default) and 1 (always).
type Faults struct {
	Silence      float64       // share of the sensors that fall silent, over and over; half of the silences also drop the connection
	SilenceFor   time.Duration // how long each time; default DefaultSilenceFor
	SilenceEvery time.Duration // from one beginning to the next; default DefaultSilenceEvery
	Duplicate    float64       // share of the messages sent twice, byte for byte
	Garbage      float64       // share of the messages cut off in the middle
	Late         float64       // share of the messages that carry five past readings instead; not in the Plain dialect
}

func (f Faults) withDefaults() Faults {
	setDefault(&f.SilenceFor, DefaultSilenceFor)
	setDefault(&f.SilenceEvery, max(DefaultSilenceEvery, 2*f.SilenceFor))
	return f
}

func (f Faults) validate(d Dialect) (errs []error) {
	for _, share := range []struct {
		field string
		value float64
	}{
		{"faults.silence", f.Silence}, {"faults.duplicate", f.Duplicate}, {"faults.garbage", f.Garbage}, {"faults.late", f.Late},
	} {
		if !(share.value >= 0 && share.value <= 1) { // NaN too
			errs = append(errs, telemetry.Invalid(share.field, "must lie between 0 and 1"))
		}
	}
	if f.SilenceFor < 0 {
		errs = append(errs, telemetry.Invalid("faults.silence_for", "must not be negative"))
	}
	if f.SilenceEvery <= f.SilenceFor {
		errs = append(errs, telemetry.Invalid("faults.silence_every", "must be longer than faults.silence_for"))
	}
	if f.Late > 0 && d == Plain {
		errs = append(errs, telemetry.Invalid("faults.late", "the dialect %s has no time", Plain))
	}
	return errs
}

// fault is what happens to one message.
type fault uint8

const (
	faultNone fault = iota
	faultDuplicate
	faultGarbage
	faultLate
)

// strike decides the fate of the sensor's n-th message. At most one fault strikes it.
func (f Faults) strike(seed, n uint64) fault {
	u := unit(seed, saltFault, n)
	for _, c := range []struct {
		share float64
		fault fault
	}{{f.Duplicate, faultDuplicate}, {f.Garbage, faultGarbage}, {f.Late, faultLate}} {
		if u < c.share {
			return c.fault
		}
		u -= c.share
	}
	return faultNone
}

// silence reports whether the sensor is silent at t, until when, and whether it is unplugged meanwhile. It is pure: a test can say
// beforehand which sensors fall silent and when.
func (f Faults) silence(seed uint64, t time.Time) (until time.Time, unplugged, silent bool) {
	if unit(seed, saltSilence, 0) >= f.Silence {
		return time.Time{}, false, false
	}
	period := int64(f.SilenceEvery)
	shifted := t.UnixNano() + int64(unit(seed, saltSilence, 1)*float64(period))
	cycle, into := shifted/period, time.Duration(shifted%period)
	if into >= f.SilenceFor {
		return time.Time{}, false, false
	}
	return t.Add(f.SilenceFor - into), hash(seed, saltUnplug, uint64(cycle))&1 == 1, true
}

// spoil cuts a payload in the middle, as a full buffer would. A cut object or array is never valid JSON.
func spoil(payload []byte) []byte { return payload[:len(payload)*2/3] }
