package alert

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sensorcast/alert/rule"
	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// Rulebook keeps rules and what they find; package store does. Who may see a sensor is not its matter.
type Rulebook interface {
	// CreateRule stores a rule and fills in what is the store's; telemetry.ErrConflict when its maker has most already.
	CreateRule(ctx context.Context, r *telemetry.Rule, most int) error
	// ChangeRule has a rule of a person changed in one transaction; telemetry.ErrNotFound.
	ChangeRule(ctx context.Context, userID int64, id string, change func(*telemetry.Rule) error) (telemetry.Rule, error)
	// DeleteRule deletes one and returns its Order; telemetry.ErrNotFound.
	DeleteRule(ctx context.Context, userID int64, id string) (order int64, err error)
	// Rule returns one; telemetry.ErrNotFound.
	Rule(ctx context.Context, userID int64, id string) (telemetry.Rule, error)
	// Rules returns a page of a person's, oldest first.
	Rules(ctx context.Context, q telemetry.RuleQuery) ([]telemetry.Rule, error)

	// RulesOf returns those of the rules, by Order, that are there; nil asks for all.
	RulesOf(ctx context.Context, orders []int64) ([]telemetry.Rule, error)
	// Coverage returns which sensors which enabled rules judge, in no order; nil stands for all.
	Coverage(ctx context.Context, rules, sensors []int64) ([]telemetry.RuleCover, error)
	// Managed returns the sensors with a tag that a person owns or manages.
	Managed(ctx context.Context, userID int64, tag string, limit int) ([]telemetry.RuleCover, error)
	// RuleHolds returns what holds, and up to which Seq that was judged.
	RuleHolds(ctx context.Context) (holds []telemetry.RuleHold, judgedTo int64, err error)
	// Judge writes down in one transaction what a stretch of the log has made of rules, and returns the steps of incidents.
	Judge(ctx context.Context, j telemetry.RuleJudgement, at telemetry.Millis, e telemetry.Etiquette) ([]telemetry.Alert, error)
	// Withdraw resolves the incidents that no rule stands behind any more, and tells whether there are more.
	Withdraw(ctx context.Context, at telemetry.Millis, e telemetry.Etiquette) (steps []telemetry.Alert, more bool, err error)

	// ReadingsAfter returns readings of sensors above a Seq that are stored, and the Seq up to which these are all.
	ReadingsAfter(ctx context.Context, sensors []int64, after int64) (readings []telemetry.Reading, through int64, err error)
	// Readings returns a page of a sensor's readings.
	Readings(ctx context.Context, q telemetry.ReadingQuery) ([]telemetry.Reading, error)
	// LastSeq is the end of the log.
	LastSeq() int64
}

// Bounds that are not for the operator to turn.
const (
	maxRules       = 200   // of a person
	maxSensorRules = 1_000 // that judge one sensor's readings: what a reading costs at most
	stepsAtOnce    = 100   // incidents opened or ended in one transaction, exceeded by those of one reading at most
	maxCatchUp     = 2_000_000
	coverAtOnce    = 5   // rules asked of the store at a time, each of which may judge very many sensors
	staleAtOnce    = 100 // sensors
	tendEvery      = 20  // pulses
)

// Rules judges readings by what people want to be told of, and makes incidents of it.
//
// It reads the log behind the commit: Observe only notes which sensors have sent something. So an incident stands on readings that are
// stored, each counted once; and its place in the log is written in the transactions of the incidents, so that after any stop what comes
// behind it is judged again and nothing twice. All of that is done by one goroutine, Run's.
//
// All methods are safe for concurrent use.
type Rules struct {
	book     Rulebook
	watch    *Watch
	log      *slog.Logger
	counters ruleCounters
	previews chan struct{} // holds one element for each preview that is being made

	wake chan struct{} // has Run look at once

	mu    sync.Mutex         // guards the next five; taken last
	ruled map[int64][]*judge // by sensor; written by Run alone, which so reads it without mu
	dirty map[int64]int64    // sensors that are to be judged, up to which Seq
	from  int64              // where the first of them begins, less one
	stale stale
	seen  chan struct{} // closed once what is stale now is looked at

	// What follows is Run's alone.
	failed  bool  // the last turn
	cursor  int64 // up to here the log is judged
	kept    int64 // and so it is written down
	rules   map[int64]*judge
	latest  map[int64]telemetry.Millis // by sensor: the newest Time judged; what is older moves nothing
	pairs   map[telemetry.RulePair]standing
	soonest tenths // no rule has waited for long enough before this
}

// judge is a rule at work.
type judge struct {
	telemetry.Rule
	*rule.Condition
}

// standing is how a sensor stands with a rule. Those who are calm have none.
type standing struct {
	rule.State
	judge *judge
	began tenths // Since, by the Watch's clock
}

// stale is what the registry has changed since it was last looked at.
type stale struct {
	rules, sensors map[int64]struct{}
}

var (
	_ ingest.Observer = (*Rules)(nil)
	_ auth.Watcher    = (*Rules)(nil)
)

// NewRules returns Rules that judge nobody. Call Load once the Watch is loaded, then Run.
func NewRules(book Rulebook, watch *Watch, log *slog.Logger) *Rules {
	return &Rules{
		book:     book,
		watch:    watch,
		log:      log.With("component", "rules"),
		previews: make(chan struct{}, maxPreviews),
		wake:     make(chan struct{}, 1),
		seen:     make(chan struct{}),
		ruled:    map[int64][]*judge{},
		dirty:    map[int64]int64{},
		stale:    stale{map[int64]struct{}{}, map[int64]struct{}{}},
		rules:    map[int64]*judge{},
		latest:   map[int64]telemetry.Millis{},
		pairs:    map[telemetry.RulePair]standing{},
	}
}

// Observe implements ingest.Observer. For a sensor that no rule judges it is one look into a map.
func (r *Rules) Observe(rs []telemetry.Reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ruled := r.ruled[rs[0].SensorID]; !ruled {
		return
	}
	if len(r.dirty) == 0 {
		r.from = rs[0].Seq - 1
	}
	r.dirty[rs[0].SensorID] = rs[len(rs)-1].Seq
}

// Run judges until ctx ends. What goes wrong is logged and tried again.
func (r *Rules) Run(ctx context.Context) {
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	for beat := 1; ; beat++ {
		err := r.turn(ctx, beat%tendEvery == 0)
		if err != nil && ctx.Err() == nil {
			r.counters.failures.Add(1)
			if !r.failed {
				r.log.Warn("rules not applied, will be tried again", "err", err)
			}
		}
		r.failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-ticker.C:
		}
	}
}

// turn does what is to be done: the registry first, so that nothing is judged by what was changed before.
func (r *Rules) turn(ctx context.Context, tend bool) error {
	defer func() { r.counters.holding.Store(int64(len(r.pairs))) }()
	if err := r.refresh(ctx); err != nil {
		return fmt.Errorf("look at the registry: %w", err)
	}
	if err := r.readLog(ctx); err != nil {
		return fmt.Errorf("judge readings: %w", err)
	}
	if err := r.fireDue(ctx); err != nil {
		return fmt.Errorf("judge what has waited: %w", err)
	}
	if tend {
		if err := r.keepPlace(ctx); err != nil {
			return fmt.Errorf("keep the place in the log: %w", err)
		}
	}
	return nil
}

// moment is when a reading arrived, by the Watch's clock. Between the last sign of life of the process before and our start no time has passed.
func (w *Watch) moment(at telemetry.Millis) tenths {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at < w.started {
		return origin - min(spanOf(w.heard.Sub(at)), origin)
	}
	ago := spanOf(w.wall.Sub(at))
	if ago > spanOf(time.Hour) || ago > w.now-origin {
		return w.now // the wall clock was set meanwhile
	}
	return w.now - ago
}

// whenDue is when what has held since began has held for so long. As with silence, nobody is blamed for time in which we did not listen.
func (w *Watch) whenDue(began tenths, long time.Duration) tenths {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deadline(began, spanOf(long))
}

func (w *Watch) present() tenths {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}
