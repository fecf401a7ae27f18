package store

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mattn/go-sqlite3"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

func TestRecord_StoresEveryField(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	r := telemetry.Reading{
		SensorID: sensor.ID, Seq: 3, Time: day, ReceivedAt: day + 5, Data: []byte(`{"id":1234567890123456789,"ü":"°"}`),
		Key: telemetry.Key{1}, Suspect: true, Via: telemetry.ViaHTTP,
	}
	record(t, d, r)
	got, err := d.Readings(t.Context(), telemetry.ReadingQuery{SensorID: sensor.ID, Limit: 10})
	if err != nil || len(got) != 1 {
		t.Fatalf("Readings: got %v, %v; want one", got, err)
	}
	g := got[0]
	if g.SensorID != r.SensorID || g.Serial != sensor.Serial || g.Seq != r.Seq || g.Time != r.Time || g.ReceivedAt != r.ReceivedAt ||
		string(g.Data) != string(r.Data) || g.Suspect != r.Suspect || g.Via != r.Via {
		t.Errorf("got %+v, want %+v", g, r)
	}
	st := status(t, d, sensor.Serial)
	if st.LastSeenAt != r.ReceivedAt || st.Latest == nil || st.Latest.Seq != 3 || !st.Latest.Suspect || st.Latest.Via != telemetry.ViaHTTP {
		t.Errorf("status: got %+v with latest %+v", st, st.Latest)
	}
}

func TestRecord_LargeBatchesAreWhole(t *testing.T) {
	d := openNew(t)
	sensors := newSensors(t, d, 70)
	for _, n := range []int{1, 2, 99, 100, 101, 257, 1000} {
		from := d.LastSeq()
		var batch []telemetry.Reading
		for i := range n {
			batch = append(batch, reads(sensors[i%len(sensors)].ID, from+int64(i)+1))
		}
		record(t, d, batch...)
		if got := count(t, d, "SELECT count(*) FROM readings WHERE seq > ?", from); got != n {
			t.Errorf("batch of %d: got %d rows", n, got)
		}
		last := batch[n-1]
		if got := status(t, d, sensors[(n-1)%len(sensors)].Serial); got.Latest.Seq != last.Seq || got.LastSeenAt != last.ReceivedAt {
			t.Errorf("batch of %d: latest %d, seen %v; want %d, %v", n, got.Latest.Seq, got.LastSeenAt, last.Seq, last.ReceivedAt)
		}
	}
}

func TestRecord_ResentReadingsAreStoredOnceAndMoveNothing(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	record(t, d, keyed(reads(sensor.ID, 1), 1), keyed(reads(sensor.ID, 2), 1)) // within one batch
	record(t, d, keyed(reads(sensor.ID, 3), 1))                                // a batch of nothing else
	if got := count(t, d, "SELECT count(*) FROM readings"); got != 1 {
		t.Errorf("rows: got %d, want 1", got)
	}
	st := status(t, d, sensor.Serial)
	if st.Latest == nil || st.Latest.Seq != 1 || st.LastSeenAt != day+1 {
		t.Errorf("after duplicates: latest %+v, seen %v; want seq 1, %v", st.Latest, st.LastSeenAt, day+1)
	}
	record(t, d, keyed(reads(sensor.ID, 4), 1), keyed(reads(sensor.ID, 5), 2), keyed(reads(sensor.ID, 6), 1)) // mixed
	st = status(t, d, sensor.Serial)
	if st.Latest == nil || st.Latest.Seq != 5 || st.LastSeenAt != day+5 {
		t.Errorf("after a mixed batch: latest %+v, seen %v; want seq 5, %v", st.Latest, st.LastSeenAt, day+5)
	}
	if s := d.Stats(); s.Recorded != 2 || s.Duplicates != 4 {
		t.Errorf("stats: got %d recorded, %d duplicates; want 2, 4", s.Recorded, s.Duplicates)
	}
}

func TestRecord_EqualReadingsWithoutKeyAreBothStored(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	a, b := reads(sensor.ID, 1), reads(sensor.ID, 2)
	b.Data = a.Data
	record(t, d, a, b)
	if got := count(t, d, "SELECT count(*) FROM readings"); got != 2 {
		t.Errorf("rows: got %d, want 2", got)
	}
}

func TestRecord_LateDataNeverMovesLatest(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	late := func(seq int64, by time.Duration) telemetry.Reading {
		r := reads(sensor.ID, seq)
		r.Time = r.Time.Add(-by)
		return r
	}
	record(t, d, reads(sensor.ID, 1), late(2, time.Hour))
	if st := status(t, d, sensor.Serial); st.Latest.Seq != 1 || st.LastSeenAt != day+2 {
		t.Errorf("late in the same batch: latest %d, seen %v; want 1, %v", st.Latest.Seq, st.LastSeenAt, day+2)
	}
	record(t, d, late(3, time.Minute))
	if st := status(t, d, sensor.Serial); st.Latest.Seq != 1 || st.LastSeenAt != day+3 {
		t.Errorf("late in a later batch: latest %d, seen %v; want 1, %v", st.Latest.Seq, st.LastSeenAt, day+3)
	}
	same := reads(sensor.ID, 4)
	same.Time = day + 1
	record(t, d, same)
	if st := status(t, d, sensor.Serial); st.Latest.Seq != 4 {
		t.Errorf("of the same time: latest %d, want 4, the newer one", st.Latest.Seq)
	}
}

func TestRecord_SeqThatIsTakenFailsTheWholeBatch(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	record(t, d, reads(sensor.ID, 1), reads(sensor.ID, 2))
	for _, batch := range [][]int64{{2, 3}, {1}, {4, 4}, {5, 3}} {
		var readings []telemetry.Reading
		for _, seq := range batch {
			readings = append(readings, reads(sensor.ID, seq))
		}
		if err := d.Record(ingest.Batch{Readings: readings}); err == nil {
			t.Errorf("Record(%v): got nil, want an error", batch)
		}
	}
	if got := count(t, d, "SELECT count(*) FROM readings"); got != 2 {
		t.Errorf("rows: got %d, want the 2 from before", got)
	}
}

// The order is checked before; the table would refuse a clash too, because ON CONFLICT names the key only.
func TestRecord_TableItselfRefusesASeqTwice(t *testing.T) {
	d := openNew(t)
	record(t, d, reads(1, 1))
	if _, err := d.write.db.Exec(insertReadings[len(insertReadings)-1], appendReading(nil, new(reads(1, 1)))...); err == nil {
		t.Error("got nil, want a constraint error")
	}
}

func TestRecord_ProblemsAreAdded(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	for _, p := range []ingest.Problem{
		{SensorID: sensor.ID, Malformed: 2, Reason: "not JSON", At: day + 1},
		{SensorID: sensor.ID, Refused: 3, Reason: "not its topic", At: day + 5},
		{SensorID: sensor.ID, Malformed: 1, Reason: "an older one", At: day + 3},
		{SensorID: 999, Malformed: 1, Reason: "of a sensor that is gone", At: day},
	} {
		if err := d.Record(ingest.Batch{Problems: []ingest.Problem{p}}); err != nil {
			t.Fatal(err)
		}
	}
	got := status(t, d, sensor.Serial)
	want := telemetry.Problems{Malformed: 3, Refused: 3, LastReason: "not its topic", LastAt: day + 5}
	if got.Problems != want || got.LastSeenAt != 0 || got.Latest != nil {
		t.Errorf("got %+v, want %+v and no sign of life", got, want)
	}
}

func TestRecord_NothingIsNotACommit(t *testing.T) {
	d := openNew(t)
	if err := d.Record(ingest.Batch{}); err != nil || d.Stats().Commits != 0 {
		t.Errorf("got %v and %d commits, want nil and none", err, d.Stats().Commits)
	}
}

// Record must not wait behind work nobody waits for, nor be overtaken for long.
func TestWriter_ServesInTheOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := openNew(t).write
		w.turn <- struct{}{}
		var order []int
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() { _ = w.exclusive(t.Context(), func() error { order = append(order, i); return nil }) })
			synctest.Wait() // until it queues up
		}
		<-w.turn
		all.Wait()
		if !slices.IsSorted(order) || len(order) != 5 {
			t.Errorf("order of service: got %v", order)
		}
	})
}

func TestRecord_WaitsWhileAnotherProcessHoldsTheFile(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	sensor := newSensors(t, d, 1)[0]
	other, err := openWriter(d.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	recorded := make(chan error)
	go func() { recorded <- d.Record(ingest.Batch{Readings: []telemetry.Reading{reads(sensor.ID, 1)}}) }()
	if got := status(t, d, sensor.Serial); got.Latest != nil {
		t.Errorf("while the file is held: got latest %+v, want none, and reads that work", got.Latest)
	}
	select {
	case err := <-recorded:
		t.Fatalf("Record returned %v while the file was held", err)
	case <-time.After((busyMillis + 500) * time.Millisecond): // longer than SQLite itself waits
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-recorded; err != nil {
		t.Errorf("Record after the file was let go: %v", err)
	}
}

func TestRecord_FullDiskIsRefusedAndRecovers(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	record(t, d, reads(sensor.ID, 1))
	if _, err := d.write.db.Exec("PRAGMA max_page_count = 1"); err != nil { // SQLite takes the present size instead
		t.Fatal(err)
	}
	epoch := d.Epoch()
	var err error
	var refused int64
	for seq := int64(2); err == nil && seq < 100; seq++ {
		r := reads(sensor.ID, seq)
		r.Data = make([]byte, 4000)
		for i := range r.Data {
			r.Data[i] = '1'
		}
		err, refused = d.Record(ingest.Batch{Readings: []telemetry.Reading{r}}), seq
	}
	if !errors.Is(err, telemetry.ErrUnavailable) {
		t.Fatalf("full: got %v, want %v", err, telemetry.ErrUnavailable)
	}
	if got := count(t, d, "SELECT count(*) FROM readings WHERE seq = ?", refused); got != 0 {
		t.Error("part of the refused batch is stored")
	}
	if d.Epoch() == epoch {
		t.Error("epoch is the same after a refused batch")
	}
	if got := status(t, d, sensor.Serial); got.Latest == nil {
		t.Error("reads do not work while full")
	}
	select {
	case err := <-d.Failed():
		t.Errorf("a full disk failed the store for good: %v", err)
	default:
	}
	if _, err := d.write.db.Exec("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	record(t, d, reads(sensor.ID, 1000))
	if d.write.full.Load() {
		t.Error("still taken for full after a commit")
	}
}

// A real file system that is full, unlike a page limit, also stops SQLite from growing its shared memory file.
func TestRecord_FullFileSystemIsRefusedAndRecovers(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("a file system to fill needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	d := openAt(t, dir)
	sensor := newSensors(t, d, 1)[0]
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	seq := int64(1)
	for stored := 0; err == nil; seq++ {
		r := reads(sensor.ID, seq)
		r.Data = []byte(strings.Repeat("1", 50_000))
		if err = d.Record(ingest.Batch{Readings: []telemetry.Reading{r}}); err == nil {
			stored++
		}
		if got := count(t, d, "SELECT count(*) FROM readings"); got != stored {
			t.Fatalf("readings: got %d, want the %d acknowledged", got, stored)
		}
	}
	if !errors.Is(err, telemetry.ErrUnavailable) {
		t.Fatalf("full: got %v, want %v", err, telemetry.ErrUnavailable)
	}
	if err := d.Ready(t.Context()); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("Ready while full: got %v, want %v", err, telemetry.ErrUnavailable)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	record(t, d, reads(sensor.ID, seq))
	if err := d.Ready(t.Context()); err != nil {
		t.Errorf("Ready with space again: %v", err)
	}
	select {
	case err := <-d.Failed():
		t.Errorf("a full disk failed the store for good: %v", err)
	default:
	}
}

func TestWriter_FailedFsyncIsTheLastWrite(t *testing.T) {
	for _, c := range []struct {
		err   error
		fatal bool
	}{
		{sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrFsync}, true},
		{sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrWrite}, true},
		{sqlite3.Error{Code: sqlite3.ErrCorrupt}, true},
		{sqlite3.Error{Code: sqlite3.ErrNotADB}, true},
		{sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrSHMSize}, false},
		{sqlite3.Error{Code: sqlite3.ErrFull}, false},
		{sqlite3.Error{Code: sqlite3.ErrConstraint}, false},
		{errors.New("anything else"), false},
	} {
		d := openNew(t)
		sensor := newSensors(t, d, 1)[0]
		epoch := d.Epoch()
		err := d.write.do(t.Context(), func(*sql.Tx) error { return fmt.Errorf("insert: %w", c.err) })
		if err == nil {
			t.Fatalf("%v: got nil", c.err)
		}
		failed := false
		select {
		case <-d.Failed():
			failed = true
		default:
		}
		err = d.Record(ingest.Batch{Readings: []telemetry.Reading{reads(sensor.ID, 1)}})
		if failed != c.fatal || errors.Is(err, telemetry.ErrUnavailable) != c.fatal || (d.Epoch() != epoch) != c.fatal {
			t.Errorf("%v: failed %v, next Record %v, epoch changed %v; want fatal %v", c.err, failed, err, d.Epoch() != epoch, c.fatal)
		}
		if got := status(t, d, sensor.Serial); (got.Latest == nil) != c.fatal {
			t.Errorf("%v: got latest %+v", c.err, got.Latest)
		}
		if c.fatal {
			abandon(t, d) // Close would report that it cannot mark the log clean
		}
	}
}

func TestRecord_AfterCloseIsRefused(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	d.Close()
	if err := d.Record(ingest.Batch{Readings: []telemetry.Reading{reads(sensor.ID, 1)}}); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("got %v, want %v", err, telemetry.ErrUnavailable)
	}
}
