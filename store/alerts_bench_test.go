package store

import (
	"path/filepath"
	"testing"

	"sensorcast/telemetry"
)

// BenchmarkSilence_Hundred is a hundred sensors of one owner found silent in one transaction, their incidents before being resolved by it:
// what commits of readings wait for when many fall silent at once.
func BenchmarkSilence_Hundred(b *testing.B) {
	d, err := Open(Config{Dir: filepath.Join(b.TempDir(), "data")}, quiet())
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	all := newSensors(b, d, 100)
	due := make([]telemetry.Liveness, len(all))
	at := now()
	o := opening(at)
	o.Etiquette.Flaps = 0
	seq := int64(0)
	for b.Loop() {
		b.StopTimer()
		at += 1000
		for i, s := range all {
			seq++
			r := reads(s.ID, seq)
			r.ReceivedAt = at
			record(b, d, r)
			due[i] = telemetry.Liveness{SensorID: s.ID, LastSeenAt: at}
		}
		b.StartTimer()
		if _, steps, err := d.Silence(b.Context(), due, o); err != nil || len(steps) < len(due) {
			b.Fatal(len(steps), err)
		}
	}
}
