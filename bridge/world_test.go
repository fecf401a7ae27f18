package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/command"
	"sensorcast/ingest"
	"sensorcast/telemetry"
	"sensorcast/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTimeout = 20 * time.Second

var loopback = netip.MustParseAddr("127.0.0.1")

// ann and bob are two people with a sensor or more each.
var (
	ann = auth.Principal{Kind: auth.Person, UserID: 1, Username: "ann", Role: auth.RoleUser, SessionID: "session-of-ann"}
	bob = auth.Principal{Kind: auth.Person, UserID: 2, Username: "bob", Role: auth.RoleUser, SessionID: "session-of-bob"}
)

// shelf is a store of sensors in memory.
type shelf struct {
	mu      sync.Mutex
	sensors map[string]telemetry.Sensor
	during  func() // called by Snapshot after it has read
	err     error
	log     []telemetry.Reading
	pruned  int64
	page    int // readings of one page; zero: all
}

func (s *shelf) ReadingsAfter(_ context.Context, sensors []int64, after int64) (out []telemetry.Reading, through int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if after < s.pruned {
		return nil, after, telemetry.ErrNotFound
	}
	through = after
	for _, r := range s.log {
		if r.Seq <= after {
			continue
		}
		if s.page > 0 && len(out) == s.page {
			break
		}
		through = r.Seq
		if slices.Contains(sensors, r.SensorID) {
			r.Serial = ""
			out = append(out, r)
		}
	}
	return out, through, s.err
}

func (s *shelf) Snapshot(_ context.Context, serials []string) ([]telemetry.Sensor, error) {
	s.mu.Lock()
	var out []telemetry.Sensor
	for _, serial := range serials {
		if sensor, ok := s.sensors[serial]; ok {
			out = append(out, sensor)
		}
	}
	during, err := s.during, s.err
	s.mu.Unlock()
	if during != nil {
		during()
	}
	return out, err
}

// store commits a reading the way package store does.
func (s *shelf) store(r telemetry.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sensor := s.sensors[r.Serial]
	sensor.Status.LastSeenAt = max(sensor.Status.LastSeenAt, r.ReceivedAt)
	if l := sensor.Status.Latest; l == nil || r.Time > l.Time || r.Time == l.Time && r.Seq > l.Seq {
		sensor.Status.Latest = &r
	}
	s.sensors[r.Serial] = sensor
	s.log = append(s.log, r)
}

// intake is an Intake made of a function; nil accepts and commits at once.
type intake func(m ingest.Message, r ingest.Receipt) error

func (f intake) Accept(m ingest.Message, r ingest.Receipt) error {
	if f == nil {
		r.Committed(nil)
		return nil
	}
	return f(m, r)
}

// outgoing is a Commander made of a function, which may be set while the hub runs; nil queues everything.
type outgoing struct {
	mu     sync.Mutex
	create func(p auth.Principal, d command.Draft) (command.Command, error)
}

func (o *outgoing) set(create func(auth.Principal, command.Draft) (command.Command, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.create = create
}

func (o *outgoing) Create(_ context.Context, p auth.Principal, d command.Draft) (command.Command, error) {
	o.mu.Lock()
	create := o.create
	o.mu.Unlock()
	if create == nil {
		return command.Command{ID: "queued"}, nil
	}
	return create(p, d)
}

// world is a running hub behind a real HTTP server.
type world struct {
	t     testing.TB
	auth  *authtest.Fixture
	shelf *shelf
	hub   *Hub
	pool  *wire.Pool
	http  *httptest.Server
	log   *logBuffer
	out   *outgoing
	seq   int64
	seen  *sync.Map // sensors that were told to be online, by number
}

// logBuffer collects what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t testing.TB, cfg Config, in intake) *world {
	t.Helper()
	return newWorldWith(t, cfg, auth.Config{}, in, 0)
}

func newWorldWith(t testing.TB, cfg Config, authCfg auth.Config, in intake, stall time.Duration) *world {
	t.Helper()
	w := &world{
		t:     t,
		auth:  authtest.New(t, authCfg),
		shelf: &shelf{sensors: map[string]telemetry.Sensor{}},
		pool:  wire.NewPool(0, stall),
		log:   &logBuffer{},
		out:   &outgoing{},
		seen:  new(sync.Map),
	}
	if cfg.Epoch == nil {
		cfg.Epoch = func() string { return "epoch-1" }
	}
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.hub = New(cfg, w.auth.Service, w.auth.Directory, w.shelf, w.pool, log)
	w.auth.Changes.Watch(w.hub)
	w.http = httptest.NewServer(w.hub.Handler(in, w.out))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := w.hub.Close(ctx); err != nil {
			t.Errorf("close hub: %v", err)
		}
		w.http.Close()
		w.pool.Close()
	})
	return w
}

// sensor registers a sensor; its number is the owner's times 1000 plus n.
func (w *world) sensor(owner auth.Principal, n int) auth.Device {
	w.t.Helper()
	dev := auth.Device{SensorID: owner.UserID*1000 + int64(n), Serial: fmt.Sprintf("SN-%s-%d", owner.Username, n), OwnerID: owner.UserID}
	w.register(dev)
	return dev
}

func (w *world) register(dev auth.Device) {
	w.shelf.mu.Lock()
	w.shelf.sensors[dev.Serial] = telemetry.Sensor{ID: dev.SensorID, Serial: dev.Serial, Name: "the " + dev.Serial}
	w.shelf.mu.Unlock()
	w.auth.Directory.Put(dev)
}

// address makes a ticket and returns the address to open with it.
func (w *world) address(p auth.Principal, serials ...string) string {
	w.t.Helper()
	ticket, err := w.auth.Service.MintTicket(p, serials, len(serials) == 0)
	if err != nil {
		w.t.Fatalf("mint ticket: %v", err)
	}
	return w.with(ticket.Token)
}

func (w *world) with(token string) string {
	return "ws" + strings.TrimPrefix(w.http.URL, "http") + "/ws?ticket=" + url.QueryEscape(token)
}

// dial opens a socket and returns it with its hello.
func (w *world) dial(p auth.Principal, serials ...string) (*Client, Frame) {
	w.t.Helper()
	c := w.open(w.address(p, serials...))
	return c, w.expect(c, "hello")
}

func (w *world) open(address string) *Client {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	c, err := Dial(ctx, address, nil)
	if err != nil {
		w.t.Fatalf("dial: %v", err)
	}
	w.t.Cleanup(func() { c.ws.Close() })
	return c
}

// next returns the next frame of any type but resume, which comes at any time.
func (w *world) next(c *Client) Frame {
	w.t.Helper()
	for {
		if f := w.any(c); f.Type != "resume" {
			return f
		}
	}
}

// any returns the next frame.
func (w *world) any(c *Client) Frame {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	f, err := c.Next(ctx)
	if err != nil {
		w.t.Fatalf("next frame: %v", err)
	}
	return f
}

func (w *world) expect(c *Client, kind string) Frame {
	w.t.Helper()
	f := w.next(c)
	if f.Type != kind {
		w.t.Fatalf("frame: got type %q (%+v), want %q", f.Type, f, kind)
	}
	return f
}

// expectClosed reads until the connection is closed and checks the code.
func (w *world) expectClosed(c *Client, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	for {
		_, err := c.Next(ctx)
		if err == nil {
			continue
		}
		var closed *Closed
		if !errors.As(err, &closed) || closed.Code != code {
			w.t.Fatalf("end of connection: got %v, want close code %d", err, code)
		}
		return
	}
}

// reading observes a reading of dev with a number for data, measured now.
func (w *world) reading(dev auth.Device, value int) telemetry.Reading {
	return w.readingAt(dev, value, telemetry.Now())
}

func (w *world) readingAt(dev auth.Device, value int, at telemetry.Millis) telemetry.Reading {
	w.seq++
	r := telemetry.Reading{
		SensorID: dev.SensorID, Serial: dev.Serial, Seq: w.seq, Time: at, ReceivedAt: telemetry.Now(),
		Data: fmt.Appendf(nil, `{"v":%d}`, value),
	}
	shown := []telemetry.Reading{r}
	if _, known := w.seen.Swap(dev.SensorID, true); !known { // as package alert does
		w.hub.StateChanged(telemetry.StateChange{SensorID: dev.SensorID, Serial: dev.Serial, State: telemetry.StateOnline, LastSeenAt: r.ReceivedAt})
	}
	w.hub.Observe(shown)
	clear(shown) // the hub must not keep what it was shown
	return r
}

func serialsOf(sensors []SensorFrame) []string {
	var serials []string
	for _, s := range sensors {
		serials = append(serials, s.SerialNo)
	}
	return serials
}

func value(t testing.TB, data json.RawMessage) int {
	t.Helper()
	var d struct{ V int }
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatalf("data %s: %v", data, err)
	}
	return d.V
}

// eventually waits for something that happens on another goroutine's time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(testTimeout)
	defer deadline.Stop()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("still waiting: %s", what)
		}
	}
}

// idlePool is a pool for tests without a hub.
func idlePool(t testing.TB) *wire.Pool {
	pool := wire.NewPool(1, 0)
	t.Cleanup(pool.Close)
	return pool
}
