package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// TestStatus_IsTheSameWhereverTheReadingsAre holds what readers see of a fleet to the readings one by one, while the index takes them in bit
// by bit, rows are settled out of turn and the process crashes.
func TestStatus_IsTheSameWhereverTheReadingsAre(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		d := openAt(t, dir)
		sensors := newSensors(t, d, 3)
		want, silent := map[int64]standing{}, map[int64]telemetry.Millis{}
		seq := int64(0)
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"record", "record", "record", "silence", "index", "settle", "crash", "reopen"}).Draw(rt, "step") {
			case "record":
				var batch []telemetry.Reading
				for range rapid.IntRange(1, 4).Draw(rt, "readings") {
					seq++
					r := reads(rapid.SampledFrom(sensors).Draw(rt, "sensor").ID, seq)
					r.Time = day + telemetry.Millis(rapid.Int64Range(-5, 5).Draw(rt, "time"))
					r.ReceivedAt = day + telemetry.Millis(rapid.Int64Range(-5, 5).Draw(rt, "clock")) // which is set now and then
					batch = append(batch, r)
					if next := (standing{r.ReceivedAt, place{r.Time, seq}}); want[r.SensorID].latest.seq == 0 {
						want[r.SensorID] = next
					} else {
						want[r.SensorID] = want[r.SensorID].then(next)
					}
				}
				record(t, d, batch...)
			case "index":
				if _, err := d.indexTail(t.Context(), rapid.IntRange(1, 6).Draw(rt, "rows")); err != nil {
					rt.Fatal(err)
				}
			case "silence":
				id := rapid.SampledFrom(sensors).Draw(rt, "sensor").ID
				due := telemetry.Liveness{SensorID: id, LastSeenAt: want[id].seenAt}
				if rapid.Bool().Draw(rt, "outrun") {
					due.LastSeenAt += 20
				} else {
					silent[id] = due.LastSeenAt
				}
				silence(t, d, due)
			case "settle":
				id := rapid.SampledFrom(sensors).Draw(rt, "sensor").ID
				if got := settled(t, d, id); got != want[id] {
					rt.Fatalf("sensor %d after settle: the row says %+v, want %+v", id, got, want[id])
				}
			case "crash":
				abandon(t, d)
				d = openAt(t, dir)
				seq = d.LastSeq()
			case "reopen":
				if err := d.Close(); err != nil {
					rt.Fatal(err)
				}
				d = openAt(t, dir)
				seq = d.LastSeq()
			}
			checkStanding(t, rt, d, sensors, want, silent)
		}
		abandon(t, d)
	})
}

func settled(t *testing.T, d *DB, sensor int64) (got standing) {
	t.Helper()
	err := d.write.do(t.Context(), func(tx *sql.Tx) error {
		if err := d.settle(tx, []int64{sensor}); err != nil {
			return err
		}
		return tx.QueryRow("SELECT last_seen_at, latest_time, latest_seq FROM sensor_status WHERE sensor_id = ?", sensor).
			Scan(&got.seenAt, &got.latest.time, &got.latest.seq)
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func checkStanding(t *testing.T, rt *rapid.T, d *DB, sensors []telemetry.Sensor, want map[int64]standing, silent map[int64]telemetry.Millis) {
	var serials []string
	for _, s := range sensors {
		serials = append(serials, s.Serial)
	}
	found, err := d.Snapshot(t.Context(), serials)
	if err != nil || len(found) != len(sensors) {
		rt.Fatalf("Snapshot: got %d sensors, %v", len(found), err)
	}
	for _, s := range found {
		got := standing{seenAt: s.Status.LastSeenAt}
		if r := s.Status.Latest; r != nil {
			got.latest = place{r.Time, r.Seq}
		}
		if got != want[s.ID] {
			rt.Fatalf("sensor %d: got %+v, want %+v", s.ID, got, want[s.ID])
		}
	}
	q := telemetry.SensorQuery{UserID: sensors[0].OwnerID, Sort: "-last_seen_at", State: telemetry.StateOnline, Limit: 1}
	got := list(rt, d, q)
	slices.SortFunc(found, func(a, b telemetry.Sensor) int {
		return -orderBySeen(a, b)
	})
	var online []string
	for _, s := range found {
		at := want[s.ID].seenAt
		if l := livenessOf(t, d, s.ID); l.State() != s.Status.State() || l.LastSeenAt != at {
			rt.Fatalf("sensor %d: liveness is %+v, %s; its status says %s", s.ID, l, l.State(), s.Status.State())
		}
		if at != 0 && at != silent[s.ID] {
			online = append(online, s.Serial)
		}
	}
	if !slices.Equal(got, online) {
		rt.Fatalf("online, last seen first: got %v, want %v", got, online)
	}
}

func orderBySeen(a, b telemetry.Sensor) int {
	if a.Status.LastSeenAt != b.Status.LastSeenAt {
		return int(a.Status.LastSeenAt - b.Status.LastSeenAt)
	}
	return int(a.ID - b.ID)
}

// TestStatus_NeverGoesBackWhileTheIndexGoesOn reads while readings move from memory into the tables.
func TestStatus_NeverGoesBackWhileTheIndexGoesOn(t *testing.T) {
	d := openNew(t)
	sensors := newSensors(t, d, 5)
	owner := sensors[0].OwnerID
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			last := make([]telemetry.Status, len(sensors))
			for {
				select {
				case <-stop:
					return
				default:
				}
				for i, s := range sensors {
					got, err := d.SensorBySerial(t.Context(), s.Serial)
					if err != nil {
						t.Error(err)
						return
					}
					was := last[i]
					if got.Status.LastSeenAt < was.LastSeenAt || was.Latest != nil && (got.Status.Latest == nil || got.Status.Latest.Seq < was.Latest.Seq) {
						t.Errorf("%s: got %+v, after %+v", s.Serial, got.Status, was)
						return
					}
					last[i] = got.Status
				}
				seen, _, err := d.ListSensors(t.Context(), telemetry.SensorQuery{UserID: owner, Sort: "last_seen_at", Limit: 10})
				if err != nil || len(seen) != len(sensors) {
					t.Errorf("list: got %d sensors, %v", len(seen), err)
					return
				}
			}
		})
	}
	for seq := int64(1); seq <= 2000; seq++ {
		record(t, d, reads(sensors[seq%5].ID, seq))
		if seq%7 == 0 {
			if _, err := d.indexTail(t.Context(), 3+int(seq%11)); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	readers.Wait()
}

func TestSteady_ReadsAgainWhenTheWatermarkHasMoved(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	record(t, d, reads(s.ID, 1))
	tries := 0
	var found []telemetry.Sensor
	err := d.steady(t.Context(), func(ctx context.Context) (err error) {
		tries++
		var latest []place
		if found, latest, err = d.registered(ctx, "s.id = ?", []any{s.ID}); err != nil {
			return err
		}
		if tries == 1 { // what the rows lacked when they were read leaves the tail before it is looked at
			if _, err := d.indexTail(ctx, maxRows); err != nil {
				return err
			}
		}
		d.tail.complete(found, latest)
		return nil
	})
	if err != nil || tries != 2 || found[0].Status.LastSeenAt != day+1 {
		t.Errorf("after %d tries, want 2: last seen %v, want %v; %v", tries, found[0].Status.LastSeenAt, day+1, err)
	}
}

// What a commit writes is what an acknowledgement waits for.
func TestRecord_WritesTheLogOnly(t *testing.T) {
	d := openNew(t)
	sensors := newSensors(t, d, 500)
	var batch []telemetry.Reading
	for i, s := range sensors {
		batch = append(batch, reads(s.ID, int64(i)+1))
	}
	if err := d.Record(ingest.Batch{Readings: batch}); err != nil {
		t.Fatal(err)
	}
	if got := count(t, d, "SELECT count(*) FROM sensor_status WHERE last_seen_at <> 0"); got != 0 {
		t.Errorf("the commit wrote %d rows of sensor_status, want none", got)
	}
	if got := status(t, d, sensors[7].Serial); got.LastSeenAt != day+8 {
		t.Errorf("last seen: got %v, want %v", got.LastSeenAt, fmt.Sprint(day+8))
	}
}
