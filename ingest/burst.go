package ingest

import (
	"sync"
	"time"

	"sensorcast/telemetry"
	"sensorcast/telemetry/format"
)

// maxAhead is how far a sensor's clock may be ahead and still be believed.
const maxAhead = 2 * time.Minute

// earliest is where believable sensor clocks begin. A clock that was never set starts at 1970 or at its firmware's build date.
var earliest = telemetry.MillisOf(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))

// Burst is messages of one sensor that come by one door and enter the pipe together. All that takes time (decoding, hashing) is done to
// them before the pipe's lock is taken, and that is taken once for all of them. It is for one goroutine.
type Burst struct {
	points   []format.Point
	readings []telemetry.Reading
}

var bursts = sync.Pool{New: func() any { return new(Burst) }}

// NewBurst returns an empty burst, for [Pipe.Enter].
func NewBurst() *Burst { return bursts.Get().(*Burst) }

// Readings are those of what was added, in its order, all but their Seq. They are valid until Enter.
func (b *Burst) Readings() []telemetry.Reading { return b.readings }

// Full reports whether it is time to enter: as many readings are in it as the pipe should be held up for.
func (b *Burst) Full() bool { return len(b.readings) >= fullBurst }

// Add decodes m. A malformed one is not added: the error is of kind telemetry.ErrInvalid, and the owner has not been told.
func (b *Burst) Add(m Message) (err error) {
	if m.At == 0 {
		m.At = telemetry.Now()
	}
	clear(b.points) // of the message before, which may have had more
	b.points, err = format.Decode(b.points[:0], m.Metric, m.Payload, m.At)
	if err != nil {
		return err
	}
	for i := range b.points {
		pt := &b.points[i]
		at, suspect := believe(pt.Given, m.At)
		b.readings = append(b.readings, telemetry.Reading{
			SensorID:   m.SensorID,
			Serial:     m.Serial,
			Time:       at,
			ReceivedAt: m.At,
			Data:       pt.Data,
			Key:        keyOf(m.SensorID, pt),
			Suspect:    suspect,
			Via:        m.Via,
		})
	}
	return nil
}

// believe returns the time to file a reading under, and whether the one its sensor gave is impossible.
func believe(given, now telemetry.Millis) (at telemetry.Millis, suspect bool) {
	switch {
	case given == 0:
		return now, false
	case given < earliest || given > now.Add(maxAhead):
		return now, true
	}
	return given, false
}

// release lets go of payloads, which the pool must not keep alive, and of what one huge batch took, and gives the burst back.
func (b *Burst) release() {
	if cap(b.readings) > 2*fullBurst {
		*b = Burst{}
	}
	clear(b.points)
	clear(b.readings)
	b.points, b.readings = b.points[:0], b.readings[:0]
	bursts.Put(b)
}

// fullBurst is how many readings make a burst full. Room for twice as many is kept for reuse.
const fullBurst = 64
