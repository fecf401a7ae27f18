// Package alert decides that a sensor is silent, and is the one place that does. Each silence is an incident: opened with it, with its cause,
// and resolved with the first reading after it. Rules judges what is measured, and makes incidents of it by the same steps.
//
//	ingest ──Observe──► Watch ── at once ──► Watchers (bridge, broker): online
//	                      │        └─ once that is stored ─► Keeper, durably ─► Listeners (bridge, broker): resolved
//	                      │
//	                      └─ deadline ─► Keeper (store), durably ─► Watchers: silent, Listeners: opened
//
// A reading stores a time, and what its gap teaches of the sensor's rhythm. Deadlines lie in a heap that is lazy: a sensor's place in it is looked at again when it comes
// up, and moves on if there were readings meanwhile. Deadlines go by a clock of the Watch's own, which counts only time in which the server
// could have heard the sensors (clock.go); after a time in which it could not, every sensor has a grace. So neither an outage of ours nor
// a step of the wall clock makes a sensor silent.
//
// Invariants:
//   - A sensor is told silent only after that is durable, and the store marks it only if no reading came before the mark.
//   - For each sensor watchers hear steps in the order they are taken, each from a state to another; none is told twice, also
//     across restarts: a step to silent that is durable is not taken again until a reading ended it.
//   - Only readings move a sensor's deadline: no ping, will or retained message does.
//   - A sensor that is online is in the heap once, or among those being decided.
//   - A silence has one incident, which is made durable with it. Listeners hear of its steps in the order they became durable, each once, but
//     for those that the end of the process comes before.
//   - A reading of a sensor that is online costs a few nanoseconds, whatever becomes of incidents.
//
// Locks: Watch.steps, which is held while a step is taken and told, is taken before Watch.mu, which guards the sensors and is held for
// memory operations only. Observe is called under the lock of ingest's pipe. Under mu only the auth.Directory is asked. Incidents.turn is a
// token and no lock: whoever has it waits for the store, takes steps and tells; nobody waits for it with a lock held.
package alert

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// Watcher is told of every step of every sensor.
type Watcher interface {
	// StateChanged is called once for each step, in order, from the goroutine that took it, which may be one that holds ingest's lock: it
	// touches memory only and never blocks. StateOf answers by the new state already.
	StateChanged(c telemetry.StateChange)
}

// Keeper keeps what must outlive the process; package store does.
type Keeper interface {
	// Liveness returns the sensors with ids above after, ascending, at most limit.
	Liveness(ctx context.Context, after int64, limit int) ([]telemetry.Liveness, error)
	// Silence marks sensors silent and opens their incidents in one transaction, each if it was last seen when due says, and returns what
	// holds of each then, SensorID being zero for one that is gone, and the steps of incidents.
	Silence(ctx context.Context, due []telemetry.Liveness, o telemetry.Opening) (facts []telemetry.Liveness, steps []telemetry.Alert, err error)
	// Returned ends the silences of sensors that were heard, as far as that is stored, and returns for whom that is settled, and the
	// steps of incidents.
	Returned(ctx context.Context, back []telemetry.Return, now telemetry.Millis, e telemetry.Etiquette) (settled []bool, steps []telemetry.Alert, err error)
	// OpenSilences returns the sensors whose silence goes on, as far as is written down.
	OpenSilences(ctx context.Context) ([]int64, error)
	// KeepCadences writes down the rhythms of sensors, by their ids.
	KeepCadences(ctx context.Context, all map[int64]telemetry.Cadence) error
	// Heartbeat returns what Beat was last told, also by an earlier process.
	Heartbeat(ctx context.Context) (telemetry.Heartbeat, error)
	// Beat keeps a sign of life of the server.
	Beat(ctx context.Context, h telemetry.Heartbeat) error

	Ledger
}

// Config sets what sensors without a setting of their own go by. Zero fields take the defaults.
type Config struct {
	SilenceAfter time.Duration // default 10 min
	RemindEvery  time.Duration // between reminders of an open incident that nobody has acknowledged; zero: there are none
	Clock        Clock         // default: the system's
}

const defaultSilenceAfter = 10 * time.Minute

// Watch knows of every sensor whether it is silent. All methods are safe for concurrent use.
type Watch struct {
	keeper    Keeper
	dir       *auth.Directory
	incidents *Incidents
	clock     Clock
	normally  tenths // for sensors without a silence of their own
	log       *slog.Logger
	counters  counters
	ripe      chan struct{} // tells the decider that a deadline has come, or a sensor has returned
	stepped   chan struct{} // tells upkeep to beat at once

	steps    sync.Mutex // held while a step is taken and told
	watchers []Watcher  // guarded by steps

	mu        sync.Mutex // guards all below
	roll      roll
	deadlines deadlines
	states    [stateCount]int             // how many sensors are in each
	longest   tenths                      // no sensor may be silent for longer than this
	returned  []telemetry.Return          // sensors whose silence has ended and whose incident has not; no more than sensors, but for those that flap
	moved     []int64                     // sensors whose rhythm is to be written down; maxMoved at most
	door      Door                        // nil: there is none to ask
	hears     func(context.Context) error // nil: nobody asks whether we do
	started   telemetry.Millis            // when Load was called
	heard     telemetry.Millis            // when the process before was last alive, as far as is known; never after started
	timepiece
}

var (
	_ ingest.Observer = (*Watch)(nil)
	_ auth.Watcher    = (*Watch)(nil)
)

// New returns a Watch that knows no sensor. Call Load, then Tell for each watcher, then Run.
func New(cfg Config, keeper Keeper, dir *auth.Directory, log *slog.Logger) *Watch {
	if cfg.SilenceAfter <= 0 {
		cfg.SilenceAfter = defaultSilenceAfter
	}
	cfg.Clock = cfg.Clock.orSystem()
	w := &Watch{
		keeper:   keeper,
		dir:      dir,
		clock:    cfg.Clock,
		normally: spanOf(cfg.SilenceAfter),
		log:      log.With("component", "alert"),
		ripe:     make(chan struct{}, 1),
		stepped:  make(chan struct{}, 1),
		roll:     roll{},
	}
	w.incidents = newIncidents(keeper, dir, cfg, w.log, &w.counters)
	w.longest = w.normally
	w.now = origin
	return w
}

// Tell adds a watcher for good. It is called while the program is wired up, before readings come.
func (w *Watch) Tell(to ...Watcher) {
	w.steps.Lock()
	defer w.steps.Unlock()
	w.watchers = append(w.watchers, to...)
}

// Incidents is what people know of incidents.
func (w *Watch) Incidents() *Incidents { return w.incidents }

// tellLocked is called with steps held and mu not.
func (w *Watch) tellLocked(c telemetry.StateChange) {
	w.counters.count(c.State)
	for _, to := range w.watchers {
		to.StateChanged(c)
	}
}

// StateOf returns a sensor's state and when it was last seen, as watchers have been told. One that is unknown was never seen. It touches
// memory only.
func (w *Watch) StateOf(sensorID int64) (telemetry.State, telemetry.Millis) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.roll.find(sensorID); e != nil {
		return e.state.word(), e.seen
	}
	return telemetry.StateNeverSeen, 0
}

// Run decides, beats and audits until ctx ends, and returns when all of that has stopped. What goes wrong is logged and tried again.
func (w *Watch) Run(ctx context.Context) {
	w.mu.Lock()
	w.mono, w.wall = w.clock.Mono(), w.clock.Wall()
	w.mu.Unlock()
	var parts sync.WaitGroup
	parts.Go(func() { w.tick(ctx) }) // each ends with ctx
	parts.Go(func() { w.decide(ctx) })
	parts.Go(func() { w.upkeep(ctx) })
	parts.Wait()
}
