// Package pulse is how the server knows that it hears. Every so often it does what a sensor does: it connects to its own MQTT door, logs in,
// publishes, and waits until the message is acknowledged, which means committed, and was shown to those who watch readings. As long as that
// works an outside URL is told, if there is one: who watches over that URL learns when it does not.
//
//	Pulse ──MQTT──► broker ──► ingest ──► store ──PUBACK──► Pulse ──GET──► --heartbeat-url
//	                             └─────────Observe────────► Pulse
//
// A silence of a thousand sensors at once may be our own deafness. Who is about to blame them asks Hears first.
//
// Invariants:
//   - The sensor it plays is nobody's: it is in the auth.Directory and not in the registry, its secret is in memory only, and its readings,
//     which the log keeps as those of a deleted sensor, are shown to no other observer.
//   - At most one test is under way; each is over within testWithin.
//   - The outside URL, which is as good as a password, is in no log and no error.
//
// Locks: Pulse.turn is held for one test. Observe takes none.
package pulse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/telemetry"
)

const (
	sensorID = -1 // no sensor of the registry has it

	testWithin   = 10 * time.Second
	freshFor     = 5 * time.Second // a test is not repeated for who asks so soon after
	doubtAfter   = 2               // failures in a row: one may be a moment of overload
	defaultEvery = time.Minute
)

// Config says how the test gets in and whom to tell.
type Config struct {
	Dial  func(ctx context.Context) (net.Conn, error) // to the MQTT door, as a client would; nil: there is none, so nothing is tested
	Every time.Duration                               // default 1 min
	URL   string                                      // asked as long as all is well; empty: none
}

// Pulse tests the server it is part of. All methods are safe for concurrent use.
type Pulse struct {
	cfg    Config
	serial string
	secret string
	log    *slog.Logger
	client *http.Client

	turn    chan struct{} // holds one token: whoever has it may test, and touch what follows
	tested  time.Time
	err     error
	awaited atomic.Pointer[string] // the payload that is to be observed; nil: none
	heard   chan struct{}          // it was

	failures   atomic.Int64 // tests in a row that failed
	tests      atomic.Int64
	failed     atomic.Int64
	beats      atomic.Int64
	beatErrors atomic.Int64
	took       atomic.Int64 // nanoseconds of the last test that worked
}

// New makes the sensor that the test plays known to dir. It tests while Run runs, and when asked.
func New(cfg Config, dir *auth.Directory, log *slog.Logger) *Pulse {
	if cfg.Every <= 0 {
		cfg.Every = defaultEvery
	}
	p := &Pulse{
		cfg:    cfg,
		serial: "self-test." + strings.ToLower(rand.Text()),
		secret: rand.Text(),
		log:    log.With("component", "pulse"),
		client: &http.Client{Timeout: beatWithin},
		turn:   make(chan struct{}, 1),
		heard:  make(chan struct{}, 1),
	}
	p.turn <- struct{}{}
	dir.Put(auth.Device{SensorID: sensorID, Serial: p.serial, Secrets: []auth.Secret{{Hash: dir.HashSecret(p.secret)}}})
	return p
}

// Before returns an observer that keeps the test's readings from others and shows them all else, in the order given.
func (p *Pulse) Before(others ...ingest.Observer) ingest.Observer { return filter{p, others} }

type filter struct {
	pulse  *Pulse
	others []ingest.Observer
}

// Observe implements ingest.Observer.
func (f filter) Observe(rs []telemetry.Reading) {
	if rs[0].SensorID == sensorID {
		f.pulse.observe(rs)
		return
	}
	for _, o := range f.others {
		o.Observe(rs)
	}
}

func (p *Pulse) observe(rs []telemetry.Reading) {
	want := p.awaited.Load()
	if want == nil || !slices.ContainsFunc(rs, func(r telemetry.Reading) bool { return string(r.Data) == *want }) {
		return // of a test that was given up
	}
	select {
	case p.heard <- struct{}{}:
	default:
	}
}

// Run tests and tells until ctx ends. The first test is made after one interval: a start is told by other means.
func (p *Pulse) Run(ctx context.Context) {
	if p.cfg.Dial == nil {
		p.log.Info("no MQTT door to test, so it is not known whether sensors are heard")
	}
	ticker := time.NewTicker(p.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			p.client.CloseIdleConnections()
			return
		case <-ticker.C:
		}
		if p.Hears(ctx) == nil && p.cfg.URL != "" {
			p.beat(ctx)
		}
	}
}

// Doubt reports why the server is not to be trusted to hear its sensors; nil when it is, or nothing is known yet. It does no I/O.
func (p *Pulse) Doubt() error {
	if n := p.failures.Load(); n >= doubtAfter {
		return fmt.Errorf("%d self-tests in a row failed: %w", n, telemetry.ErrUnavailable)
	}
	return nil
}

// Hears tests now, unless that was done a moment ago, and returns why the server does not hear; nil when it does or nothing can be tested.
func (p *Pulse) Hears(ctx context.Context) error {
	if p.cfg.Dial == nil {
		return nil
	}
	select {
	case <-p.turn:
		defer func() { p.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !p.tested.IsZero() && time.Since(p.tested) < min(freshFor, p.cfg.Every/2) {
		return p.err
	}
	err := p.test(ctx)
	if ctx.Err() != nil {
		return ctx.Err() // we are stopping, which says nothing
	}
	p.tested, p.err = time.Now(), err
	p.judge(err)
	return err
}

// judge counts, and says once that something is wrong and once that it is over.
func (p *Pulse) judge(err error) {
	p.tests.Add(1)
	if err == nil {
		if p.failures.Swap(0) >= doubtAfter {
			p.log.Info("the server hears itself again")
		}
		return
	}
	p.failed.Add(1)
	if p.failures.Add(1) == doubtAfter {
		p.log.Error("the server does not hear itself over MQTT: silence of sensors may be its own", "err", err)
	}
}

// test sends one message through the door and waits for both ends of its way.
func (p *Pulse) test(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, testWithin)
	defer cancel()
	start := time.Now()
	payload := fmt.Sprintf(`{"test":%d}`, start.UnixNano())
	select {
	case <-p.heard: // of a test that was given up
	default:
	}
	p.awaited.Store(&payload)
	defer p.awaited.Store(nil)
	if err := p.publish(ctx, payload); err != nil {
		return err
	}
	select {
	case <-p.heard:
		p.took.Store(int64(time.Since(start)))
		return nil
	case <-ctx.Done():
		return errUnseen
	}
}

var errUnseen = errors.New("a reading was acknowledged and not shown to who watches")

// Stats are counts since the start, except where they say "now".
type Stats struct {
	Tests, Failed     int64 // self-tests, and those that failed
	Beats, BeatErrors int64 // requests to the outside URL that worked, and that did not
	Doubt             bool  // the last tests failed, now
	Took              time.Duration
}

// Stats returns the present figures.
func (p *Pulse) Stats() Stats {
	return Stats{
		Tests: p.tests.Load(), Failed: p.failed.Load(), Beats: p.beats.Load(), BeatErrors: p.beatErrors.Load(),
		Doubt: p.Doubt() != nil, Took: time.Duration(p.took.Load()),
	}
}
