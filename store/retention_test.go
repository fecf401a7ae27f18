package store

import (
	"context"
	"slices"
	"testing"
	"time"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// indexAll moves the watermark to the end of the log.
func indexAll(t testing.TB, d *DB) {
	t.Helper()
	if _, err := d.indexTail(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
}

// expireAll makes a pass over the log, as if it were time for one.
func expireAll(t *testing.T, d *DB, rows int) {
	t.Helper()
	d.retention.next = time.Time{}
	for judged := 1; judged > 0; {
		var err error
		if judged, err = d.expire(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
}

// purgeAll purges as Run does, the index going ahead.
func purgeAll(t *testing.T, d *DB) {
	t.Helper()
	for range 100 {
		if _, err := d.advanceIndex(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		if _, err := d.purge(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		if !d.purging.Load() {
			return
		}
	}
	t.Fatal("purging does not come to an end")
}

func stored(t *testing.T, d *DB) (out []int64) {
	t.Helper()
	rows, err := d.read.Query("SELECT seq FROM readings ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			t.Fatal(err)
		}
		out = append(out, seq)
	}
	return out
}

func TestExpire_DeletesOldReadingsButEachSensorsLatest(t *testing.T) {
	for _, rows := range []int{1, 2, 3, 100} {
		d := openNew(t)
		s := newSensors(t, d, 3)
		// Sensor 0 went silent, 1 goes on, 2 sent its newest reading by time before its last by seq.
		late := reads(s[2].ID, 6)
		late.Time = day
		record(t, d, reads(s[0].ID, 1), reads(s[0].ID, 2), reads(s[1].ID, 3), reads(s[1].ID, 4), reads(s[2].ID, 5), late)
		record(t, d, reads(s[1].ID, 3_600_000), reads(s[1].ID, 3_600_001))
		indexAll(t, d)
		d.cfg.Retain = time.Since(day.Add(time.Minute).Time())
		expireAll(t, d, rows)
		if got, want := stored(t, d), []int64{2, 5, 3_600_000, 3_600_001}; !slices.Equal(got, want) {
			t.Errorf("%d rows a turn: left %v, want %v", rows, got, want)
		}
		checkIndex(t, d)
		if got := d.Stats().Expired; got != 4 {
			t.Errorf("expired: got %d, want 4", got)
		}

		// The silent one comes back: what was kept for it may go with the next pass from the start.
		record(t, d, reads(s[0].ID, 3_600_002))
		indexAll(t, d)
		expireAll(t, d, rows)
		if got, want := stored(t, d), []int64{2, 5, 3_600_000, 3_600_001, 3_600_002}; !slices.Equal(got, want) {
			t.Errorf("%d rows a turn, going on from the last pass: left %v, want %v", rows, got, want)
		}
		d.retention.restarts = time.Time{}
		expireAll(t, d, rows)
		if got, want := stored(t, d), []int64{5, 3_600_000, 3_600_001, 3_600_002}; !slices.Equal(got, want) {
			t.Errorf("%d rows a turn, superseded: left %v, want %v", rows, got, want)
		}
	}
}

func TestExpire_LeavesWhatIsNotIndexedYet(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	record(t, d, reads(s.ID, 1), reads(s.ID, 2))
	d.cfg.Retain = time.Millisecond
	expireAll(t, d, 10)
	if got := stored(t, d); len(got) != 2 {
		t.Errorf("left %v, want both", got)
	}
	indexAll(t, d)
	expireAll(t, d, 10)
	if got := stored(t, d); !slices.Equal(got, []int64{2}) {
		t.Errorf("once indexed: left %v, want the latest", got)
	}
}

func TestExpire_ForEverIsForEver(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	record(t, d, reads(s.ID, 1), reads(s.ID, 2))
	indexAll(t, d)
	expireAll(t, d, 10)
	if got := stored(t, d); len(got) != 2 {
		t.Errorf("left %v, want both", got)
	}
}

func TestExpire_ForgottenKeyMayBeSentAgain(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	record(t, d, keyed(reads(s.ID, 1), 1), reads(s.ID, 2))
	indexAll(t, d)
	d.cfg.Retain = time.Millisecond
	expireAll(t, d, 10)
	record(t, d, keyed(reads(s.ID, 3), 1))
	if got := stored(t, d); !slices.Equal(got, []int64{2, 3}) {
		t.Errorf("left %v, want 2 and 3", got)
	}
}

func TestPurge_DeletesTheHistoryOfDeletedSensorsOnly(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 2)
	for seq := int64(1); seq <= 20; seq++ {
		record(t, d, reads(s[seq%2].ID, seq))
		if seq == 10 {
			indexAll(t, d) // half of it is indexed
		}
	}
	if err := d.DeleteSensor(t.Context(), s[0].ID); err != nil {
		t.Fatal(err)
	}
	purgeAll(t, d)
	if got := count(t, d, "SELECT count(*) FROM readings WHERE sensor_id = ?", s[0].ID); got != 0 {
		t.Errorf("of the deleted sensor: %d left", got)
	}
	if got := count(t, d, "SELECT count(*) FROM readings WHERE sensor_id = ?", s[1].ID); got != 10 {
		t.Errorf("of the other: %d left, want 10", got)
	}
	if got := d.Stats().Purged; got != 10 {
		t.Errorf("purged: got %d, want 10", got)
	}
	checkIndex(t, d)
}

// A reading may be accepted just before its sensor is deleted and recorded after, even after the purge.
func TestPurge_ReadingsRecordedAfterTheDeletionGoToo(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 60) // more than one statement's worth, so that both kinds are used
	record(t, d, reads(s[0].ID, 1))
	if err := d.DeleteSensor(t.Context(), s[0].ID); err != nil {
		t.Fatal(err)
	}
	purgeAll(t, d)
	var batch []telemetry.Reading
	for i := range s {
		batch = append(batch, reads(s[i].ID, int64(i)+10))
	}
	record(t, d, batch...)
	if _, err := d.indexTail(t.Context(), maxRows); err != nil { // which is when it shows whose readings they are
		t.Fatal(err)
	}
	purgeAll(t, d)
	if got := count(t, d, "SELECT count(*) FROM readings"); got != 59 {
		t.Errorf("left %d readings, want 59: all but the deleted sensor's", got)
	}
}

// The end of the log must stay known: seq goes on from there.
func TestPurge_LeavesWhatIsAboveTheWatermark(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 2)
	record(t, d, reads(s[1].ID, 1), reads(s[0].ID, 2), reads(s[0].ID, 3))
	if _, err := d.indexTail(t.Context(), 2); err != nil { // both of the first sensor; the run is not complete
		t.Fatal(err)
	}
	if err := d.DeleteSensor(t.Context(), s[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.purge(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if got := count(t, d, endOfLog); got != 3 {
		t.Errorf("end of the log: got %d, want 3", got)
	}
	purgeAll(t, d)
	if got := stored(t, d); !slices.Equal(got, []int64{1}) {
		t.Errorf("left %v, want the other sensor's 1", got)
	}
	checkIndex(t, d)
}

func TestPurge_GoesOnAfterARestart(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	s := newSensors(t, d, 1)[0]
	record(t, d, reads(s.ID, 1), reads(s.ID, 2))
	if err := d.DeleteSensor(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	abandon(t, d)
	d = openAt(t, dir)
	purgeAll(t, d)
	if got := stored(t, d); len(got) != 0 {
		t.Errorf("left %v, want nothing", got)
	}
}

// Everything at once, as in life: Run works while readings come, sensors go and people read.
func TestRun_KeepsUpAndLosesNothing(t *testing.T) {
	d := openNew(t)
	sensors := newSensors(t, d, 20)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()

	var all []telemetry.Reading
	for seq := int64(1); seq <= 3*runRows; {
		var batch []telemetry.Reading
		for range 4000 {
			batch = append(batch, reads(sensors[seq%20].ID, seq))
			seq++
		}
		if err := d.Record(ingest.Batch{Readings: batch}); err != nil {
			t.Fatal(err)
		}
		all = append(all, batch...)
		q := telemetry.ReadingQuery{SensorID: sensors[seq/4000%20].ID, Limit: 300}
		got, err := d.Readings(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if want := model(all, q); !slices.Equal(seqs(got), want) {
			t.Fatalf("newest 300 of %d after %d: got %v, want %v", q.SensorID, seq, seqs(got), want)
		}
	}
	if err := d.DeleteSensor(t.Context(), sensors[7].ID); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); d.purging.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("purge does not come to an end")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
	if got := count(t, d, "SELECT count(*) FROM readings WHERE sensor_id = ?", sensors[7].ID); got != 0 {
		t.Errorf("deleted sensor: %d readings left", got)
	}
	if got, want := count(t, d, "SELECT count(*) FROM readings"), len(all)/20*19; got != want {
		t.Errorf("readings: got %d, want %d", got, want)
	}
	checkIndex(t, d)
}

// Without Run, Record keeps the memory of what is not indexed bounded by doing the work itself.
func TestRecord_BoundsTheTailWithoutRun(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 2)
	var most int64
	for seq := int64(1); seq <= 3*lendAt; {
		var batch []telemetry.Reading
		for range 8000 {
			batch = append(batch, reads(s[seq%2].ID, seq))
			seq++
		}
		record(t, d, batch...)
		most = max(most, d.Stats().Unindexed)
	}
	if want := int64(lendAt + lendAt/maxRows*8000 + 8000); most > want {
		t.Errorf("unindexed readings: up to %d, want at most %d", most, want)
	}
}

func TestTruncate_EmptiesAnOvergrownLog(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	reader, err := d.read.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.QueryRow("SELECT count(*) FROM readings").Scan(&n); err != nil { // takes a snapshot, and holds it
		t.Fatal(err)
	}
	wal := d.path + "-wal"
	for seq := int64(1); fileSize(wal) <= walTarget; {
		var batch []telemetry.Reading
		for range 100 {
			r := reads(s.ID, seq)
			r.Data = slices.Repeat([]byte("1"), 60_000)
			batch = append(batch, r)
			seq++
		}
		record(t, d, batch...)
	}
	if _, err := d.truncate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if fileSize(wal) <= walTarget {
		t.Error("truncated under a reader's feet")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	d.write.turn <- struct{}{}
	if _, err := d.truncate(ended, 0); err != nil { // too soon: must not so much as ask for the writer
		t.Errorf("right after one in vain: got %v, want nil", err)
	}
	<-d.write.turn
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	d.truncateNext = time.Time{}
	if _, err := d.truncate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := fileSize(wal); got != 0 {
		t.Errorf("write-ahead log: got %d bytes, want 0", got)
	}
	if got := d.Stats().Truncations; got != 1 {
		t.Errorf("truncations: got %d, want 1", got)
	}
}

func TestPace_FindsWhatFitsIntoATurn(t *testing.T) {
	var p pace
	for range 20 {
		p.adapt(time.Millisecond)
	}
	if p.rows() != maxRows {
		t.Errorf("on a fast machine: got %d, want %d", p.rows(), maxRows)
	}
	for range 20 {
		p.adapt(time.Second)
	}
	if p.rows() != minRows {
		t.Errorf("on a slow one: got %d, want %d", p.rows(), minRows)
	}
}
