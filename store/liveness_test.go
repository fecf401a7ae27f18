package store

import (
	"path/filepath"
	"sync"
	"testing"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// livenessOf reads one sensor's.
func livenessOf(t *testing.T, d *DB, id int64) telemetry.Liveness {
	t.Helper()
	page, err := d.Liveness(t.Context(), id-1, 1)
	if err != nil || len(page) != 1 || page[0].SensorID != id {
		t.Fatalf("liveness of %d: got %+v, %v", id, page, err)
	}
	return page[0]
}

func silence(t *testing.T, d *DB, due ...telemetry.Liveness) []telemetry.Liveness {
	t.Helper()
	facts, _, err := d.Silence(t.Context(), due, opening(now()))
	if err != nil || len(facts) != len(due) {
		t.Fatalf("Silence: got %d facts, %v; want %d", len(facts), err, len(due))
	}
	return facts
}

func TestSilence_IsConditionalOnTheLastReading(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 3)
	record(t, d, reads(s[0].ID, 1), reads(s[1].ID, 2))
	facts := silence(t, d,
		telemetry.Liveness{SensorID: s[0].ID, LastSeenAt: day + 1},
		telemetry.Liveness{SensorID: s[1].ID, LastSeenAt: day + 1}, // a reading was committed meanwhile
		telemetry.Liveness{SensorID: s[2].ID},                      // never seen
		telemetry.Liveness{SensorID: 99, LastSeenAt: day},
	)
	for i, want := range []telemetry.State{telemetry.StateSilent, telemetry.StateOnline, telemetry.StateNeverSeen} {
		if got := facts[i]; got.State() != want || got.SensorID != s[i].ID || got.Serial != s[i].Serial {
			t.Errorf("sensor %d: got %+v, %s; want %s", i, got, got.State(), want)
		}
		if got := status(t, d, s[i].Serial); got.State() != want {
			t.Errorf("sensor %d: status says %s, want %s", i, got.State(), want)
		}
	}
	if facts[1].LastSeenAt != day+2 {
		t.Errorf("last seen of the sensor that reported: got %v, want %v", facts[1].LastSeenAt, day+2)
	}
	if facts[3].SensorID != 0 {
		t.Errorf("a sensor that is gone: got %+v, want none", facts[3])
	}
	again := silence(t, d, telemetry.Liveness{SensorID: s[0].ID, LastSeenAt: day + 1})
	if again[0].State() != telemetry.StateSilent {
		t.Errorf("marked twice: got %+v, want silent", again[0])
	}
}

func TestSilence_EndsWithTheNextReadingAndWithOneSentAgain(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	state := func(want telemetry.State) {
		t.Helper()
		l := livenessOf(t, d, s.ID)
		if got := l.State(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	record(t, d, keyed(reads(s.ID, 1), 1))
	state(telemetry.StateOnline)
	silence(t, d, livenessOf(t, d, s.ID))
	state(telemetry.StateSilent)
	record(t, d, reads(s.ID, 2))
	state(telemetry.StateOnline)
	silence(t, d, livenessOf(t, d, s.ID))
	state(telemetry.StateSilent)
	record(t, d, keyed(reads(s.ID, 3), 1)) // stored before: moves no last-seen, but was shown as a sign of life
	state(telemetry.StateOnline)
	if got := livenessOf(t, d, s.ID).LastSeenAt; got != day+2 {
		t.Errorf("last seen after a resent reading: got %v, want %v", got, day+2)
	}
	silence(t, d, livenessOf(t, d, s.ID))
	state(telemetry.StateSilent)
	back := reads(s.ID, 4)
	back.ReceivedAt = day - 1000 // our clock was set back
	record(t, d, back)
	state(telemetry.StateOnline)
}

// Whoever is first in the store, a sensor with a newer reading is online in the end.
func TestSilence_RacesWithReadingsAndNeverHidesOne(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	record(t, d, reads(s.ID, 1))
	for seq := int64(2); seq < 60; seq++ {
		var both sync.WaitGroup
		due := livenessOf(t, d, s.ID)
		both.Go(func() {
			if err := d.Record(ingest.Batch{Readings: []telemetry.Reading{reads(s.ID, seq)}}); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if _, _, err := d.Silence(t.Context(), []telemetry.Liveness{due}, opening(now())); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if l := livenessOf(t, d, s.ID); l.State() != telemetry.StateOnline || l.LastSeenAt != day+telemetry.Millis(seq) {
			t.Fatalf("after reading %d: got %+v, %s; want online", seq, l, l.State())
		}
	}
}

func TestSilence_AndHeartbeatOutliveAKill(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	if h, err := d.Heartbeat(t.Context()); err != nil || h != (telemetry.Heartbeat{}) {
		t.Fatalf("heartbeat of a new store: got %+v, %v; want none", h, err)
	}
	s := newSensors(t, d, 1)[0]
	record(t, d, reads(s.ID, 1))
	silence(t, d, livenessOf(t, d, s.ID))
	want := telemetry.Heartbeat{At: 1, SteppedAt: 2, GraceUntil: 3}
	if err := d.Beat(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	abandon(t, d)
	d = openAt(t, dir)
	if l := livenessOf(t, d, s.ID); l.State() != telemetry.StateSilent {
		t.Errorf("got %+v, want silent", l)
	}
	if h, err := d.Heartbeat(t.Context()); err != nil || h != want {
		t.Errorf("heartbeat: got %+v, %v; want %+v", h, err, want)
	}
}

func TestLiveness_PagesHoldEachSensorOnce(t *testing.T) {
	d := openNew(t)
	all := newSensors(t, d, 7)
	var got []int64
	for after := int64(0); ; {
		page, err := d.Liveness(t.Context(), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, l := range page {
			got = append(got, l.SensorID)
		}
		after = page[len(page)-1].SensorID
	}
	if len(got) != len(all) {
		t.Errorf("got sensors %v, want %d", got, len(all))
	}
}

// BenchmarkLiveness_Million is the store's part of a start with a million sensors.
func BenchmarkLiveness_Million(b *testing.B) {
	d, err := Open(Config{Dir: filepath.Join(b.TempDir(), "data")}, quiet())
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	for _, query := range []string{
		"INSERT INTO users VALUES (1, 'u', 'u', 'u', 'u', 'u', '', '', 'user', 0, '', 0, 0)",
		`INSERT INTO sensors WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
			SELECT i, 'u' || i, 'SN' || i, 1, '', '', '', '', '', 0, 'sn' || i, 0, 0, 0 FROM n`,
		"INSERT INTO sensor_status (sensor_id, last_seen_at) SELECT id, 1700000000000 FROM sensors",
	} {
		if _, err := d.write.db.Exec(query); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for after := int64(0); ; {
			page, err := d.Liveness(b.Context(), after, 10_000)
			if err != nil {
				b.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1].SensorID
		}
	}
}
