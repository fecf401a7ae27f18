package simulator

import (
	"testing"
	"time"

	"sensorcast/telemetry"
	"sensorcast/telemetry/format"
)

func TestPayload_TheServerReadsEveryDialectAndRefusesGarbage(t *testing.T) {
	now := telemetry.Millis(afternoon.UnixMilli())
	for _, name := range profileNames() {
		spec := specOf(t, name, "SIM-0001")
		for _, d := range dialects {
			payload := d.appendReading(nil, &spec, afternoon, "r-1")
			points, err := format.Decode(nil, "", payload, now)
			if err != nil || len(points) != 1 || (d != Plain && points[0].Given != now) {
				t.Errorf("%s as %s: got %v, %v want 1 reading at %v\n%s", name, d, points, err, now, payload)
			}
			if points, err := format.Decode(nil, "", spoil(payload), now); err == nil {
				t.Errorf("%s as %s, spoiled: got %v want an error", name, d, points)
			}
			if d == Plain {
				continue
			}
			times := []time.Time{afternoon.Add(-2 * time.Second), afternoon.Add(-time.Second)}
			batch := d.appendBatch(nil, &spec, times, func() string { return "r-2" })
			if points, err := format.Decode(nil, "", batch, now); err != nil || len(points) != 2 || points[1].Given != now-1000 {
				t.Errorf("%s as %s, late: got %v, %v want 2 readings", name, d, points, err)
			}
		}
	}
}
