package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/telemetry"
)

func TestMain(m *testing.M) {
	if play := os.Getenv(childRole); play != "" {
		child(play, os.Getenv(childDir))
	}
	goleak.VerifyTestMain(m)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// openAt opens a store that the test closes.
func openAt(t testing.TB, dir string) *DB {
	t.Helper()
	d, err := Open(Config{Dir: dir}, quiet())
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

func openNew(t testing.TB) *DB { return openAt(t, t.TempDir()) }

// abandon closes the files as a crash would: nothing is marked.
func abandon(t testing.TB, d *DB) {
	t.Helper()
	d.closing.Do(func() {
		if err := d.closeFiles(); err != nil {
			t.Fatalf("close files: %v", err)
		}
	})
}

func newUser(t testing.TB, d *DB, name string) auth.User {
	t.Helper()
	u := auth.User{Username: name, Email: name + "@example.org", Role: auth.RoleUser, PasswordHash: "$argon2id$" + name}
	if err := d.CreateUser(t.Context(), &u); err != nil {
		t.Fatalf("CreateUser(%q): %v", name, err)
	}
	return u
}

func newSensor(t testing.TB, d *DB, owner int64, serial string) telemetry.Sensor {
	t.Helper()
	s := telemetry.Sensor{Serial: serial, OwnerID: owner, Name: "name of " + serial}
	if err := d.CreateSensor(t.Context(), &s, [32]byte{1}); err != nil {
		t.Fatalf("CreateSensor(%q): %v", serial, err)
	}
	return s
}

// newSensors makes an account with n sensors.
func newSensors(t testing.TB, d *DB, n int) []telemetry.Sensor {
	t.Helper()
	owner := newUser(t, d, "owner")
	out := make([]telemetry.Sensor, n)
	for i := range out {
		out[i] = newSensor(t, d, owner.ID, fmt.Sprintf("SN%d", i))
	}
	return out
}

// day is when the test readings begin.
var day = telemetry.MillisOf(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))

// reads makes a reading that arrived seq milliseconds into day and was measured then.
func reads(sensor, seq int64) telemetry.Reading {
	at := day + telemetry.Millis(seq)
	return telemetry.Reading{SensorID: sensor, Seq: seq, Time: at, ReceivedAt: at, Data: fmt.Appendf(nil, `{"n":%d}`, seq)}
}

func keyed(r telemetry.Reading, key byte) telemetry.Reading {
	r.Key = telemetry.Key{key, 1}
	return r
}

func record(t testing.TB, d *DB, readings ...telemetry.Reading) {
	t.Helper()
	if err := d.Record(ingest.Batch{Readings: readings}); err != nil {
		t.Fatalf("Record: %v", err)
	}
}

func status(t testing.TB, d *DB, serial string) telemetry.Status {
	t.Helper()
	s, err := d.SensorBySerial(t.Context(), serial)
	if err != nil {
		t.Fatalf("SensorBySerial(%q): %v", serial, err)
	}
	return s.Status
}

// count runs a query that returns one number.
func count(t testing.TB, d *DB, query string, args ...any) (n int) {
	t.Helper()
	if err := d.read.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func seqs(readings []telemetry.Reading) []int64 {
	out := make([]int64, len(readings))
	for i, r := range readings {
		out[i] = r.Seq
	}
	return out
}

func TestOpen_SecondProcessIsToldWhoHasTheDirectory(t *testing.T) {
	dir := t.TempDir()
	openAt(t, dir)
	_, err := Open(Config{Dir: dir}, quiet())
	want := fmt.Sprintf("data directory %q is in use by another sensorcast (process %d)", dir, os.Getpid())
	if err == nil || err.Error() != want {
		t.Errorf("second Open: got %v, want %s", err, want)
	}
}

func TestOpen_DirectoryIsFreeAfterClose(t *testing.T) {
	dir := t.TempDir()
	openAt(t, dir).Close()
	openAt(t, dir)
}

func TestOpen_UnusableDirectoryIsOneClearLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(file, "data")
	_, err := Open(Config{Dir: dir}, quiet())
	want := fmt.Sprintf("data directory %q cannot be used: not a directory", dir)
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestOpen_ReadOnlyDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		dir = "/sys/sensorcast" // the kernel's own tree, where not even root makes a directory
	}
	_, err := Open(Config{Dir: dir}, quiet())
	if !errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line of kind %v", err, fs.ErrPermission)
	}
}

func TestOpen_FilesAreTheOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data with %41, ? and #")
	d := openAt(t, dir)
	sensor := newSensors(t, d, 1)[0]
	record(t, d, reads(sensor.ID, 1))
	for name, want := range map[string]fs.FileMode{"": 0o700, "sensorcast.db": 0o600, "sensorcast.db-wal": 0o600, "sensorcast.db-shm": 0o600, lockName: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %q: got %o, want %o", name, got, want)
		}
	}
}

func TestOpen_NewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	if _, err := d.write.db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Dir: dir}, quiet())
	if err == nil || !strings.Contains(err.Error(), "schema has version 999, this sensorcast knows up to ") {
		t.Errorf("got %v, want an error that names both versions", err)
	}
	// The refusal must not hold on to the directory.
	if _, again := Open(Config{Dir: dir}, quiet()); again == nil || strings.Contains(again.Error(), "in use") {
		t.Errorf("second attempt: got %v, want the same refusal", again)
	}
}

func TestOpen_CommitsAreDurable(t *testing.T) {
	d := openNew(t)
	if err := checkDurable(d.write.db); err != nil {
		t.Error(err)
	}
	// The check itself bites.
	db, err := sql.Open("sqlite3", dsn(filepath.Join(t.TempDir(), "x.db"), map[string][]string{"_journal_mode": {"WAL"}, "_synchronous": {"NORMAL"}}))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := checkDurable(db); err == nil {
		t.Error("synchronous=NORMAL: got no error, want one")
	}
}

func TestOpen_ReadersCannotWrite(t *testing.T) {
	d := openNew(t)
	if _, err := d.read.Exec("UPDATE log SET clean = 1"); err == nil {
		t.Error("a reader changed the database")
	}
}

func TestOpen_DamagedFileIsRefusedAfterACrash(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	sensor := newSensors(t, d, 1)[0]
	var batch []telemetry.Reading
	for seq := int64(1); seq <= 2000; seq++ {
		batch = append(batch, reads(sensor.ID, seq))
	}
	record(t, d, batch...)
	abandon(t, d)

	path := filepath.Join(dir, "sensorcast.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) / 2; i < len(b)/2+16<<10; i++ {
		b[i] ^= 0xff
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Config{Dir: dir}, quiet())
	if err == nil || !strings.Contains(err.Error(), "damaged") && !strings.Contains(err.Error(), "malformed") {
		t.Errorf("got %v, want an error about damage", err)
	}
}

func TestEpoch_SurvivesACleanStopOnly(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	first := d.Epoch()
	if d.LastSeq() != 0 {
		t.Errorf("LastSeq of a new store: got %d, want 0", d.LastSeq())
	}
	sensor := newSensors(t, d, 1)[0]
	record(t, d, reads(sensor.ID, 1), reads(sensor.ID, 2))
	d.Close()

	d = openAt(t, dir)
	if d.Epoch() != first || d.LastSeq() != 2 {
		t.Errorf("after a clean stop: got epoch %q, last %d; want %q, 2", d.Epoch(), d.LastSeq(), first)
	}
	abandon(t, d)

	d = openAt(t, dir)
	if d.Epoch() == first || d.LastSeq() != 2+skipAfterCrash {
		t.Errorf("after a crash: got epoch %q, last %d; want another than %q, %d", d.Epoch(), d.LastSeq(), first, 2+skipAfterCrash)
	}
}

func TestEpoch_ChangesWithAFailedRecord(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	record(t, d, reads(sensor.ID, 5))
	before := d.Epoch()
	if err := d.Record(ingest.Batch{Readings: []telemetry.Reading{reads(sensor.ID, 5)}}); err == nil {
		t.Fatal("Record of a seq that is taken: got nil, want an error")
	}
	if d.Epoch() == before {
		t.Error("epoch is the same after a failed Record")
	}
}

func TestLastSeq_CoversWhatWasSeenButNotStored(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	sensor := newSensors(t, d, 1)[0]
	record(t, d, keyed(reads(sensor.ID, 1), 7))
	record(t, d, keyed(reads(sensor.ID, 9), 7)) // a duplicate: viewers may have seen seq 9
	d.Close()
	if got := openAt(t, dir).LastSeq(); got != 9 {
		t.Errorf("LastSeq: got %d, want 9", got)
	}
}

func TestReady_SaysNoWhileTheWriterIsTaken(t *testing.T) {
	d := openNew(t)
	if err := d.Ready(t.Context()); err != nil && !strings.Contains(err.Error(), "MB free") {
		t.Errorf("got %v, want nil", err)
	}
	d.write.turn <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := d.Ready(ctx); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("got %v, want %v", err, telemetry.ErrUnavailable)
	}
	<-d.write.turn
}

func TestOpen_NewFilesHaveOurPageSize(t *testing.T) {
	d := openNew(t)
	var size int
	if err := d.read.QueryRow("PRAGMA page_size").Scan(&size); err != nil || size != pageBytes {
		t.Errorf("page_size = %d, %v; want %d", size, err, pageBytes)
	}
}
