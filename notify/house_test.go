package notify_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sensorcast/auth"
	"sensorcast/notify"
	"sensorcast/store"
	"sensorcast/telemetry"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// house is a desk on a real database, with two people and a sensor each.
type house struct {
	t        *testing.T
	dir      string
	db       *store.DB
	raw      *sql.DB // the same file: tests write notices as alerts do
	sensors  *auth.Directory
	desk     *notify.Desk
	post     *postman
	ada, bob auth.Principal
	logs     logBuffer
	stop     func()
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), post: &postman{}}
	log := slog.New(slog.NewTextHandler(&h.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	h.db, err = store.Open(store.Config{Dir: h.dir}, log)
	must(t, err)
	h.raw = rawDB(t, h.dir)
	keys, err := auth.LoadKeys(h.dir)
	must(t, err)
	h.sensors = auth.NewDirectory(keys)
	h.ada, h.bob = h.person("ada"), h.person("bob")
	h.sensor(h.ada, "A1")
	h.sensor(h.bob, "B1")
	h.desk = newDesk(h.db, h.db, h.sensors, keys, h.post, log)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends when stop is called
		defer close(done)
		h.desk.Run(ctx)
	}()
	h.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(func() {
		h.stop()
		must(t, h.raw.Close())
		must(t, h.db.Close())
	})
	return h
}

// newDesk may reach receivers on this machine, as an operator lets a desk reach those of a house.
func newDesk(keeper notify.Keeper, addresses notify.Addresses, sensors *auth.Directory, keys *auth.Keys, post notify.Postman, log *slog.Logger) *notify.Desk {
	return notify.New(notify.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		notify.Deps{Keeper: keeper, Addresses: addresses, Directory: sensors, Seal: keys.Sealer("channels"), Postman: post}, log)
}

func rawDB(t testing.TB, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(dir, "sensorcast.db")+"?_busy_timeout=5000&_txlock=immediate")
	must(t, err)
	return db
}

func (h *house) person(name string) auth.Principal {
	h.t.Helper()
	u := auth.User{Username: name, Email: name + "@example.org", Role: auth.RoleUser}
	must(h.t, h.db.CreateUser(h.t.Context(), &u))
	u.EmailVerifiedAt = telemetry.Now()
	must(h.t, h.db.UpdateUser(h.t.Context(), u))
	return auth.Principal{Kind: auth.Person, UserID: u.ID, Username: name}
}

func (h *house) sensor(p auth.Principal, serial string) {
	h.t.Helper()
	s := telemetry.Sensor{Serial: serial, OwnerID: p.UserID}
	must(h.t, h.db.CreateSensor(h.t.Context(), &s, [32]byte{}))
	h.sensors.Put(auth.Device{SensorID: s.ID, Serial: serial, OwnerID: p.UserID})
}

// webhook adds a channel of p's, and returns it with its secret.
func (h *house) webhook(p auth.Principal, url string) (notify.Channel, string) {
	h.t.Helper()
	return h.channel(p, notify.Draft{Name: "hook", Kind: notify.Webhook, URL: url, Enabled: true})
}

func (h *house) channel(p auth.Principal, d notify.Draft) (notify.Channel, string) {
	h.t.Helper()
	c, secret, err := h.desk.Create(h.t.Context(), p, d)
	must(h.t, err)
	return c, secret
}

// notice writes one of a sensor as alerts do, and wakes the desk.
func (h *house) notice(serial, uid string, severity notify.Severity) {
	h.t.Helper()
	dev, ok := h.sensors.Lookup(serial)
	if !ok {
		h.t.Fatalf("no sensor %s", serial)
	}
	must(h.t, writeNotice(h.raw, dev.OwnerID, dev.SensorID, uid, severity))
	h.desk.Wake()
}

func writeNotice(raw *sql.DB, owner, sensor int64, uid string, severity notify.Severity) error {
	_, err := raw.Exec(`
		INSERT INTO notices (uid, what, owner_id, sensor_id, severity, title, body, data, created_at) VALUES (?, 'opened', ?, ?, ?, ?, 'Body.', '{"kind":"silent"}', ?)`,
		uid, owner, sensor, string(severity), "title of "+uid, int64(telemetry.Now()))
	return err
}

// log returns a channel's deliveries, oldest first.
func (h *house) log(p auth.Principal, c notify.Channel) []notify.Delivery {
	h.t.Helper()
	all, err := h.desk.Deliveries(h.t.Context(), p, c.UID, 0, 500)
	must(h.t, err)
	slices.Reverse(all)
	return all
}

// settled waits until a channel has n deliveries and none that was not attempted, and returns them.
func (h *house) settled(p auth.Principal, c notify.Channel, n int) (all []notify.Delivery) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("%d deliveries of channel %s attempted", n, c.Name), func() bool {
		all = h.log(p, c)
		return len(all) == n && !slices.ContainsFunc(all, func(d notify.Delivery) bool { return d.State == notify.Waiting && d.Attempts == 0 })
	})
	return all
}

func (h *house) eventually(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("not within 20 s: %s\n%s", what, h.logs.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// retry lets every channel be tried again now, as if its pause were over.
func (h *house) retry() {
	h.t.Helper()
	_, err := h.raw.Exec("UPDATE channels SET retry_at = 0")
	must(h.t, err)
	h.desk.Wake()
}

// receiver is a webhook's other end: it keeps what it is sent.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	events []received
	status func(n int) int // what to answer the n-th request with, from 1; nil: 204
}

type received struct {
	path   string
	header http.Header
	body   []byte
	at     time.Time
}

func newReceiver(t *testing.T, status func(int) int) *receiver {
	t.Helper()
	r := &receiver{status: status}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP keeps the request.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	r.mu.Lock()
	r.events = append(r.events, received{q.URL.Path, q.Header.Clone(), body, time.Now()})
	n := len(r.events)
	r.mu.Unlock()
	status := http.StatusNoContent
	if r.status != nil {
		status = r.status(n)
	}
	w.WriteHeader(status)
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *receiver) ids() (ids []string) {
	for _, e := range r.all() {
		ids = append(ids, e.header.Get("Webhook-Id"))
	}
	return ids
}

// postman keeps the letters it is given, and fails as it is told.
type postman struct {
	mu      sync.Mutex
	letters []notify.Letter
	err     error
}

func (p *postman) Send(_ context.Context, l notify.Letter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letters = append(p.letters, l)
	return p.err
}

func (p *postman) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *postman) all() []notify.Letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.letters)
}

// logBuffer collects what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
