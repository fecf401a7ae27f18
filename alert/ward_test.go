package alert

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/store"
	"sensorcast/telemetry"
)

// ward is a running Watch on the real store, which outlives it. Its sensors are S1 to Sn of one owner.
type ward struct {
	*Watch
	rules  *Rules
	t      *testing.T
	dir    string
	db     *store.DB
	cfg    Config
	offset atomic.Int64 // of the wall clock, nanoseconds
	steady bool         // nothing counts as flapping, from the next start on
	seq    int64
	halt   func()

	mu     sync.Mutex // guards all below
	door   map[string]telemetry.Standing
	told   []string
	alerts []telemetry.Alert
}

// Standing implements Door.
func (w *ward) Standing(serial string) telemetry.Standing {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.door[serial]
}

// StateChanged implements Watcher.
func (w *ward) StateChanged(c telemetry.StateChange) { w.note(c.Serial + " " + string(c.State)) }

// AlertChanged implements Listener.
func (w *ward) AlertChanged(a telemetry.Alert) {
	w.mu.Lock()
	w.alerts = append(w.alerts, a)
	w.mu.Unlock()
	step := string(a.State())
	if a.ResolvedAt == 0 && a.AcknowledgedAt != 0 {
		step = "acknowledged"
	}
	w.note(a.Serial + " " + step)
}

func (w *ward) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, what)
}

// admit opens a ward with so many sensors that have all been read just now.
func admit(t *testing.T, n int, learned ...int) *ward {
	t.Helper()
	w := &ward{t: t, dir: filepath.Join(t.TempDir(), "data"), cfg: Config{RemindEvery: time.Hour}, door: map[string]telemetry.Standing{}}
	w.openStore()
	owner := auth.User{UID: "owner", Username: "owner", Email: "owner@example.org", CreatedAt: telemetry.Now(), UpdatedAt: telemetry.Now()}
	if err := w.db.CreateUser(t.Context(), &owner); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		s := telemetry.Sensor{Serial: serialOf(int64(i + 1)), OwnerID: owner.ID, Learned: slices.Contains(learned, i+1)}
		if err := w.db.CreateSensor(t.Context(), &s, [32]byte{byte(i), byte(i >> 8)}); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	for i := range n {
		w.read(i + 1)
	}
	wait(20 * time.Minute / 2) // past the grace of the first start
	for i := range n {
		w.read(i + 1)
	}
	wait(time.Second)
	w.forget()
	return w
}

func (w *ward) openStore() {
	w.t.Helper()
	var err error
	if w.db, err = store.Open(store.Config{Dir: w.dir}, slog.New(slog.DiscardHandler)); err != nil {
		w.t.Fatal(err)
	}
}

// start starts a Watch on the store.
func (w *ward) start() {
	w.t.Helper()
	keys, err := auth.LoadKeys(w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	dir := auth.NewDirectory(keys)
	devices, err := w.db.Devices(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	dir.Load(devices)
	began := time.Now()
	w.cfg.Clock = Clock{
		Wall: func() telemetry.Millis { return telemetry.Now().Add(time.Duration(w.offset.Load())) },
		Mono: func() time.Duration { return time.Since(began) },
	}
	w.Watch = New(w.cfg, w.db, dir, slog.New(slog.DiscardHandler))
	if w.steady {
		w.incidents.etiquette.Flaps = 0
	}
	if err := w.Load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.rules = NewRules(w.db, w.Watch, slog.New(slog.DiscardHandler))
	if err := w.rules.Load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.Watch.Tell(w)
	w.Incidents().Tell(w)
	w.Consult(w)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with halt
		defer close(done)
		var both sync.WaitGroup
		both.Go(func() { w.Run(ctx) })
		both.Go(func() { w.rules.Run(ctx) })
		both.Wait()
	}()
	w.halt = func() { cancel(); <-done }
}

// restart stops the server, lets time pass, and starts it again.
func (w *ward) restart(away time.Duration, meanwhile ...func()) {
	w.t.Helper()
	w.close()
	wait(away)
	w.openStore()
	for _, f := range meanwhile {
		f()
	}
	w.start()
}

func (w *ward) close() {
	w.t.Helper()
	w.halt()
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// read shows a reading and stores it.
func (w *ward) read(n int) {
	w.t.Helper()
	w.show(n)
	w.keep(n)
}

func (w *ward) reading(n int) telemetry.Reading {
	at := w.clock.Wall()
	return telemetry.Reading{SensorID: int64(n), Serial: serialOf(int64(n)), Seq: w.seq, Time: at, ReceivedAt: at, Data: []byte("{}")}
}

func (w *ward) show(n int) {
	r := w.reading(n)
	w.Observe([]telemetry.Reading{r})
}

func (w *ward) keep(n int) {
	w.t.Helper()
	w.seq++
	if err := w.db.Record(ingest.Batch{Readings: []telemetry.Reading{w.reading(n)}}); err != nil {
		w.t.Fatal(err)
	}
}

// readEvery has sensors report for so long.
func (w *ward) readEvery(gap, long time.Duration, sensors ...int) {
	w.t.Helper()
	for passed := time.Duration(0); passed < long; passed += gap {
		wait(gap)
		for _, n := range sensors {
			w.read(n)
		}
	}
}

func (w *ward) forget() {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told, w.alerts = nil, nil
}

// want checks all that was told since the last time.
func (w *ward) want(what ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	told := w.told
	w.mu.Unlock()
	if !slices.Equal(told, what) {
		w.t.Errorf("got told %q, want %q", told, what)
	}
	w.forget()
}

// all is every incident on record, oldest first, as "S1 open".
func (w *ward) all() (list []string) {
	w.t.Helper()
	var serials []string
	for n := range w.states[online] + w.states[silent] + w.states[neverSeen] {
		serials = append(serials, serialOf(int64(n+1)))
	}
	found, err := w.db.Alerts(w.t.Context(), telemetry.AlertQuery{Serials: serials, Limit: 500})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Reverse(found)
	for _, a := range found {
		list = append(list, fmt.Sprintf("%s %s", a.Serial, a.State()))
	}
	return list
}

func (w *ward) wantAll(what ...string) {
	w.t.Helper()
	if got := w.all(); !slices.Equal(got, what) {
		w.t.Errorf("got incidents %q, want %q", got, what)
	}
}

// inWard runs a test on a ward whose time passes only when everybody waits.
func inWard(t *testing.T, n int, test func(w *ward), learned ...int) {
	synctest.Test(t, func(t *testing.T) {
		w := admit(t, n, learned...)
		defer w.close()
		test(w)
	})
}

// owner is who the sensors belong to.
func (w *ward) owner() auth.Principal {
	return auth.Principal{Kind: auth.Person, UserID: 1, Username: "owner", Role: auth.RoleAdmin}
}

// wantNotices checks all that owners were ever told.
func (w *ward) wantNotices(want ...string) {
	w.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(w.dir, "sensorcast.db")+"?mode=ro")
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT what || ' ' || title FROM notices ORDER BY id")
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			w.t.Fatal(err)
		}
		got = append(got, s)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("got notices %q, want %q", got, want)
	}
}
