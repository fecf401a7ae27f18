package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/store"
	"sensorcast/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// house is an outbox on a real database. It can be shut and opened again, as a restart does.
type house struct {
	t        *testing.T
	dir      string // of the data
	db       *store.DB
	sensors  *auth.Directory
	box      *command.Outbox
	told     complaints
	through  func(command.Keeper) command.Keeper // what stands between outbox and store; nil: nothing
	shutDown func()
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir()}
	h.open()
	t.Cleanup(func() { h.shut() })
	return h
}

func (h *house) open() {
	h.t.Helper()
	var err error
	h.db, err = store.Open(store.Config{Dir: h.dir}, quiet())
	must(h.t, err)
	keys, err := auth.LoadKeys(h.dir)
	must(h.t, err)
	h.sensors = auth.NewDirectory(keys)
	devices, err := h.db.Devices(h.t.Context())
	must(h.t, err)
	h.sensors.Load(devices)
	var keeper command.Keeper = h.db
	if h.through != nil {
		keeper = h.through(keeper)
	}
	h.box = command.New(keeper, h.sensors, &h.told, quiet())
	must(h.t, h.box.Load(h.t.Context()))
	h.run()
}

// run starts the committer.
func (h *house) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	box := h.box
	wg.Go(func() { _ = box.Run(ctx) }) // ends when shut cancels it
	h.shutDown = func() { cancel(); wg.Wait() }
}

func (h *house) shut() {
	h.t.Helper()
	if h.shutDown == nil {
		return
	}
	h.shutDown()
	h.shutDown = nil
	must(h.t, h.db.Close())
}

func (h *house) restart() {
	h.t.Helper()
	h.shut()
	h.open()
}

// person makes an account.
func (h *house) person(name string) auth.Principal {
	h.t.Helper()
	u := auth.User{Username: name, Email: name + "@example.org", Role: auth.RoleUser, PasswordHash: "x"}
	must(h.t, h.db.CreateUser(h.t.Context(), &u))
	return auth.Principal{Kind: auth.Person, UserID: u.ID, Username: name, Role: auth.RoleUser}
}

// sensor registers a sensor of p.
func (h *house) sensor(p auth.Principal, serial string) auth.Device {
	h.t.Helper()
	s := telemetry.Sensor{Serial: serial, OwnerID: p.UserID}
	must(h.t, h.db.CreateSensor(h.t.Context(), &s, [32]byte{1}))
	dev := auth.Device{SensorID: s.ID, Serial: serial, OwnerID: p.UserID}
	h.sensors.Put(dev)
	return dev
}

func (h *house) create(p auth.Principal, d command.Draft) command.Command {
	h.t.Helper()
	c, err := h.box.Create(h.t.Context(), p, d)
	if err != nil {
		h.t.Fatalf("Create(%+v): %v", d, err)
	}
	return c
}

// several creates n commands named 0, 1, ….
func (h *house) several(p auth.Principal, serial string, n int) (made []command.Command) {
	h.t.Helper()
	for i := range n {
		made = append(made, h.create(p, command.Draft{Serial: serial, Name: fmt.Sprint(i), Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))}))
	}
	return made
}

func (h *house) next(sensor, after int64, limit int) []command.Command {
	h.t.Helper()
	found, err := h.box.Next(h.t.Context(), sensor, after, limit)
	must(h.t, err)
	return found
}

// only returns the one command of the sensor, as its owner sees it.
func (h *house) only(p auth.Principal, serial string) command.Command {
	h.t.Helper()
	found, err := h.box.List(h.t.Context(), p, serial, command.Query{Limit: 10})
	must(h.t, err)
	if len(found) != 1 {
		h.t.Fatalf("commands of %s: got %d, want 1", serial, len(found))
	}
	return found[0]
}

func names(cs []command.Command) (out []string) {
	for _, c := range cs {
		out = append(out, c.Name)
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// complaints remembers what owners are told.
type complaints struct {
	mu   sync.Mutex
	said []string
}

func (c *complaints) Malformed(sensorID int64, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, fmt.Sprint(sensorID, " ", reason))
}

func (c *complaints) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.said)
}
