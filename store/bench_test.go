package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// load makes batches as a fleet sends them: each reading of a random sensor, 128 bytes of data.
type load struct {
	sensors []telemetry.Sensor
	keys    keying
	seq     int64
	data    []byte
	batch   []telemetry.Reading
}

// keying is what the readings' keys look like.
type keying string

const (
	noKeys     keying = "none"
	randomKeys keying = "random" // as a hash is
	timedKeys  keying = "timed"  // a hash behind the time: neighbours in time are neighbours in the index
)

func newLoad(sensors []telemetry.Sensor, keys keying, from int64) *load {
	data := fmt.Appendf(nil, `{"temperature":21.53,"humidity":48.2,"battery":3.71,"rssi":-67,"status":"%s"}`, "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmn")
	return &load{sensors: sensors, keys: keys, seq: from, data: data}
}

func (l *load) next(rows int) ingest.Batch {
	l.batch = l.batch[:0]
	at := telemetry.Now()
	for range rows {
		l.seq++
		r := telemetry.Reading{SensorID: l.sensors[rand.IntN(len(l.sensors))].ID, Seq: l.seq, Time: at, ReceivedAt: at, Data: l.data}
		switch l.keys {
		case randomKeys:
			binary.BigEndian.PutUint64(r.Key[:], rand.Uint64())
			binary.BigEndian.PutUint64(r.Key[8:], rand.Uint64())
		case timedKeys:
			binary.BigEndian.PutUint64(r.Key[:], uint64(at)<<16|rand.Uint64()>>48)
			binary.BigEndian.PutUint64(r.Key[8:], rand.Uint64())
		}
		l.batch = append(l.batch, r)
	}
	return ingest.Batch{Readings: l.batch}
}

// running starts Run and stops it when the benchmark ends.
func running(b *testing.B, d *DB) {
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = d.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
}

// BenchmarkRecord commits batches one after the other while Run keeps the index up.
func BenchmarkRecord(b *testing.B) {
	for _, sensors := range []int{10, 1000, 10_000} {
		for _, keys := range []keying{noKeys, randomKeys, timedKeys} {
			for _, rows := range []int{1, 10, 100, 1000, 4000} {
				b.Run(fmt.Sprintf("sensors=%d/keys=%s/rows=%d", sensors, keys, rows), func(b *testing.B) {
					d := openNew(b)
					l := newLoad(manySensors(b, d, sensors), keys, 0)
					running(b, d)
					benchmarkRecord(b, d, l, rows)
				})
			}
		}
	}
}

// BenchmarkRecord_PlainIndex is the same with an ordinary index in place of the deferred one.
func BenchmarkRecord_PlainIndex(b *testing.B) {
	for _, sensors := range []int{10, 1000, 10_000} {
		for _, rows := range []int{100, 1000, 4000} {
			b.Run(fmt.Sprintf("sensors=%d/keys=none/rows=%d", sensors, rows), func(b *testing.B) {
				d := openNew(b)
				if _, err := d.write.db.Exec("CREATE INDEX plain ON readings (sensor_id, time)"); err != nil {
					b.Fatal(err)
				}
				benchmarkRecord(b, d, newLoad(manySensors(b, d, sensors), noKeys, 0), rows)
			})
		}
	}
}

func benchmarkRecord(b *testing.B, d *DB, l *load, rows int) {
	var took []time.Duration
	used := cpu()
	for b.Loop() {
		batch := l.next(rows)
		start := time.Now()
		if err := d.Record(batch); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64((cpu()-used).Nanoseconds())/float64(rows*b.N), "cpu-ns/row")
	report(b, d, rows, took)
}

// manySensors is newSensors in one transaction.
func manySensors(b *testing.B, d *DB, n int) []telemetry.Sensor {
	owner := newUser(b, d, "owner")
	_, err := d.write.db.Exec(`
		WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?)
		INSERT INTO sensors (uid, serial, owner_id, name, description, mac_address, sensor_type, manufacturer, silence_after, search, created_at, updated_at)
		SELECT 'u' || value, 'SN' || value, ?, 'name', '', '', '', '', 0, 'sn' || value, 1, 1 FROM n`, n, owner.ID)
	if err == nil {
		_, err = d.write.db.Exec("INSERT INTO sensor_status (sensor_id) SELECT id FROM sensors")
	}
	if err != nil {
		b.Fatal(err)
	}
	items, _, err := d.ListSensors(b.Context(), telemetry.SensorQuery{UserID: owner.ID, Limit: n})
	if err != nil {
		b.Fatal(err)
	}
	return items
}

// cpu is what the process has used so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, d *DB, rows int, took []time.Duration) {
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(quantile(took, 0.5), "p50-ms")
	b.ReportMetric(quantile(took, 0.99), "p99-ms")
	if s := d.Stats(); s.Indexed > 0 {
		b.ReportMetric(float64(s.Unindexed), "tail")
		b.ReportMetric(float64(s.StepNanos)/float64(s.Indexed), "index-ns/row")
	}
}

func quantile(took []time.Duration, q float64) float64 {
	slices.Sort(took)
	return float64(took[int(float64(len(took)-1)*q)].Microseconds()) / 1000
}

// filled is a store of n readings from 1000 sensors, all but the tail indexed.
func filled(b *testing.B, n int) (*DB, []telemetry.Sensor) {
	d := openNew(b)
	sensors := manySensors(b, d, 1000)
	l := newLoad(sensors, noKeys, 0)
	for range n / 4000 {
		if err := d.Record(l.next(4000)); err != nil {
			b.Fatal(err)
		}
	}
	for done := 1; done > 0; {
		var err error
		if done, err = d.advanceIndex(b.Context(), maxRows); err != nil {
			b.Fatal(err)
		}
	}
	return d, sensors
}

func BenchmarkReadings_PageOfAMillion(b *testing.B) {
	d, sensors := filled(b, 1_000_000)
	middle := int64(500_000)
	var at telemetry.Millis
	if err := d.read.QueryRow("SELECT time FROM readings WHERE seq = ?", middle).Scan(&at); err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]telemetry.ReadingQuery{
		"newest":       {},
		"middle":       {CursorTime: at, CursorSeq: middle},
		"after-recent": {HasAfterSeq: true, Ascending: true, AfterSeq: 950_000},
		"after-old":    {HasAfterSeq: true, Ascending: true, AfterSeq: 1},
	} {
		b.Run(name, func(b *testing.B) {
			q.Limit = 50
			for b.Loop() {
				q.SensorID = sensors[rand.IntN(len(sensors))].ID
				if _, err := d.Readings(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("snapshot-200", func(b *testing.B) {
		var serials []string
		for _, s := range sensors[:200] {
			serials = append(serials, s.Serial)
		}
		for b.Loop() {
			if _, err := d.Snapshot(b.Context(), serials); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("list-50-of-1000", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := d.ListSensors(b.Context(), telemetry.SensorQuery{UserID: sensors[0].OwnerID, Sort: "-last_seen_at", Limit: 50}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("devices-1000", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.Devices(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
