package ingest

import (
	"time"

	"sensorcast/telemetry"
	"sensorcast/telemetry/format"
)

// maxAhead is how far a sensor's clock may be ahead and still be believed.
const maxAhead = 2 * time.Minute

// earliest is where believable sensor clocks begin. A clock that was never set starts at 1970 or at its firmware's build date.
var earliest = telemetry.MillisOf(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))

// burst is the readings of one message on their way in. All that takes time (decoding, hashing) is done to it before the pipe's lock is
// taken. It is reused, and each caller of Accept has its own.
type burst struct {
	points   []format.Point
	readings []telemetry.Reading
}

// read decodes m. The readings have all but their Seq.
func (b *burst) read(m *Message, now telemetry.Millis) (err error) {
	b.points, err = format.Decode(b.points[:0], m.Metric, m.Payload, now)
	if err != nil {
		return err
	}
	for i := range b.points {
		pt := &b.points[i]
		at, suspect := believe(pt.Given, now)
		b.readings = append(b.readings, telemetry.Reading{
			SensorID:   m.SensorID,
			Serial:     m.Serial,
			Time:       at,
			ReceivedAt: now,
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

// reset lets go of payloads, which the pool must not keep alive, and of what one huge batch took.
func (b *burst) reset() {
	if cap(b.readings) > keepBurst {
		*b = burst{}
		return
	}
	clear(b.points)
	clear(b.readings)
	b.points, b.readings = b.points[:0], b.readings[:0]
}

// keepBurst is how many readings a burst has room for when it is kept for reuse.
const keepBurst = 64
