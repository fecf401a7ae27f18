// Package ingest is the one door every reading passes, whichever way it came:
//
//	broker, bridge, api ──Accept──► decode → order → observers (live)
//	                                          └────► queue ──committer──► store ──► Receipt (PUBACK, ack, 202)
//	broker ──Journal (what becomes of MQTT sessions)───┘
//
// It gives each reading its place in the server's one log (Seq), shows it to the observers at once, and commits what waits in groups:
// one transaction takes everything that arrived while the last one was being written, so an idle server commits at once and a busy
// one in large groups. Only what nobody awaits, readings of QoS 0, waits a moment for company.
//
// Invariants: readings and changes of one caller keep their order; Seq rises in the order the observers see and in the order of
// commits; a [Receipt] hears of success only after the store has made its message, or changes, durable; QoS ≥ 1 and changes are never
// dropped, only held back; what came in one call is stored whole or not at all.
//
// Locks: Pipe.mu guards order and queue. Observers run under it, by contract in memory only and never blocking, because the order
// they see must be the order of Seq. The store is called without it.
package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sensorcast/session"
	"sensorcast/telemetry"
)

// Message is one payload as a front door received it.
type Message struct {
	SensorID int64
	Serial   string
	Metric   string           // last level of sensors/{serial}/telemetry/{metric}; empty otherwise
	Payload  []byte           // as received; parts of it are kept, so the caller must not write to it afterwards
	At       telemetry.Millis // when it arrived; zero: now
	Shed     bool             // sent at QoS 0: under overload only the newest of each sensor is stored. Without effect where a Receipt is owed
	Via      telemetry.Via
}

// Receipt learns the fate of an accepted message, or of changes. Committed is called exactly once, for the calls of one caller in the
// order they were made, from the committer's goroutine, which it must not block. A nil error means that all of the message, or every
// change, is durable; any other is of kind telemetry.ErrUnavailable.
type Receipt interface{ Committed(err error) }

// Answerer is a Receipt that hears in two steps, in place of Committed: first the fates of all of a batch are settled, then each is
// answered, in no order. What one batch owes to one client so leaves together, and where here is true in the goroutine that calls, which
// must not be blocked either: without the way to another goroutine, and before the next batch is taken, which grows by what those write
// who have their answer. Only the first receipts of a batch are asked to, or the disk would wait for the sockets.
type Answerer interface {
	Receipt
	Settled(err error)
	Answer(here bool)
}

// Recorder makes readings durable; package store implements it.
type Recorder interface {
	// Record writes the batch in one transaction and returns when it will survive a power cut. Readings whose Key is already
	// stored are skipped. Readings come in rising Seq, above those of every earlier batch, changes in the order they were made. Calls
	// do not overlap.
	Record(b Batch) error
}

// Batch is what one transaction writes. It is only valid during the call.
type Batch struct {
	Readings []telemetry.Reading
	Problems []Problem
	Changes  []session.Change
}

// Problem adds to what the owner is told of a sensor that sends what cannot be taken.
type Problem struct {
	SensorID           int64
	Malformed, Refused int64  // to be added
	Reason             string // the newest
	At                 telemetry.Millis
}

// Observer is shown the accepted readings, in the order of Seq, before they are durable: those that came together at once, all of one
// sensor. Observe runs under the pipe's lock: it touches memory only and never blocks. It may keep their Data, which nobody changes, but
// not the slice.
type Observer interface{ Observe(rs []telemetry.Reading) }

// Config bounds the pipe. Zero fields take the defaults.
type Config struct {
	QueueReadings int   // readings and changes that may wait for the store; default 65,536
	QueueBytes    int   // and their bytes, once for what is held back and once for what is shed; default 32 MiB
	BatchReadings int   // readings and changes in one transaction, exceeded to keep a call whole and by what was shed; default 4,096
	LastSeq       int64 // the log's end at start; the first reading gets the next number

	// Recent are the keys of the newest readings stored, in their order: sensors resend what a stop kept from being acknowledged.
	Recent []telemetry.Key
}

const (
	defaultQueueReadings = 1 << 16
	defaultQueueBytes    = 32 << 20
	defaultBatchReadings = 1 << 12

	// maxProblems bounds the sensors whose problems wait to be written, maxReasonBytes the text of each: what was refused may be as
	// long as a topic. Over the former they are only counted for the server as a whole.
	maxProblems    = 10_000
	maxReasonBytes = 200

	// problemDelay is how long a problem may wait for readings to share a transaction with, so that a sensor sending nothing but
	// rubbish costs two commits a second at most.
	problemDelay = 500 * time.Millisecond

	// linger is how long readings that nobody awaits may wait for others: a commit of one costs as much processor as thirty readings, and a
	// sync of the disk. What is owed a receipt, and what is enough for a batch, takes them along at once.
	linger = 10 * time.Millisecond
)

// Pipe is the door. All methods are safe for concurrent use.
type Pipe struct {
	cfg      Config
	recorder Recorder
	log      *slog.Logger
	done     chan struct{}
	counters counters
	failing  bool // the committer's own: the last batch was not stored

	mu        sync.Mutex // guards all below
	observers []Observer
	work      sync.Cond // the committer waits here for work
	room      sync.Cond // callers of Accept and Journal wait here for room
	seq       int64     // last Seq given
	queue     queue
	recent    recentKeys
	problems  map[int64]*Problem
	alarm     bool // a timer will call problemsDue
	due       bool // problems have waited long enough
	lingering *time.Timer
	lingers   bool // it is to call readingsDue
	overdue   bool // it has
	closed    bool
}

// New starts the committer; Close ends it. Observers are called in the order given.
func New(cfg Config, recorder Recorder, log *slog.Logger, observers ...Observer) *Pipe {
	if cfg.QueueReadings <= 0 {
		cfg.QueueReadings = defaultQueueReadings
	}
	if cfg.QueueBytes <= 0 {
		cfg.QueueBytes = defaultQueueBytes
	}
	if cfg.BatchReadings <= 0 {
		cfg.BatchReadings = defaultBatchReadings
	}
	p := &Pipe{
		cfg:       cfg,
		recorder:  recorder,
		observers: observers,
		log:       log.With("component", "ingest"),
		done:      make(chan struct{}),
		seq:       cfg.LastSeq,
		problems:  map[int64]*Problem{},
		recent:    newRecentKeys(),
	}
	for _, k := range cfg.Recent {
		p.recent.seen(k)
	}
	p.work.L, p.room.L = &p.mu, &p.mu
	p.lingering = time.AfterFunc(linger, p.readingsDue)
	p.lingering.Stop()
	go p.commit() // ends when Close has been called and the queue is empty
	return p
}

// Accept decodes m, shows its readings to the observers and queues them for the store. It returns once they are queued; r, if not
// nil, hears when they are durable. While the queue is full it blocks, which is the back-pressure on whoever reads the socket.
//
// Errors: of kind telemetry.ErrInvalid when the payload is malformed, already counted for the owner; telemetry.ErrUnavailable when
// the pipe is closed. r is not called then.
func (p *Pipe) Accept(m Message, r Receipt) error {
	b := NewBurst()
	defer b.release()
	if err := b.Add(m); err != nil {
		p.Malformed(m.SensorID, err.Error())
		return err
	}
	return p.enter(b, m.Shed && r == nil, r)
}

// Enter is Accept for all messages of a burst, sent at QoS 0 and owed no receipt. It never blocks, and the burst must not be used
// afterwards. The error is of kind telemetry.ErrUnavailable: the pipe is closed.
func (p *Pipe) Enter(b *Burst) error {
	defer b.release()
	return p.enter(b, true, nil)
}

func (p *Pipe) enter(b *Burst, shed bool, r Receipt) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !shed {
		p.waitForRoomLocked()
	}
	if p.closed {
		return errStopping
	}
	first := p.seq + 1
	p.takeLocked(b.readings, shed)
	if r != nil {
		p.queue.receipts.push(receipt{first: first, last: p.seq, r: r})
	}
	p.queuedLocked()
	return nil
}

// errStopping is what callers hear from a pipe that is closed.
var errStopping = fmt.Errorf("server is stopping: %w", telemetry.ErrUnavailable)

// queuedLocked tells the committer that there is work, now or after linger, and lets the next in line come as long as there is room: waking
// all of them at each commit would be an overload of its own.
func (p *Pipe) queuedLocked() {
	if p.workLocked() {
		p.work.Signal()
	} else if !p.lingers && !p.queue.empty() {
		p.lingers = true
		p.lingering.Reset(linger)
	}
	if !p.queue.full(p.cfg) {
		p.room.Signal()
	}
}

// workLocked reports whether there is something for the committer to do now.
func (p *Pipe) workLocked() bool {
	if p.due || p.closed {
		return true
	}
	return !p.queue.empty() && (p.overdue || p.queue.awaited() || p.queue.held() >= p.cfg.BatchReadings || p.queue.crowded(p.cfg))
}

func (p *Pipe) readingsDue() {
	p.mu.Lock()
	p.lingers, p.overdue = false, !p.queue.empty()
	p.mu.Unlock()
	p.work.Signal()
}

func (p *Pipe) waitForRoomLocked() {
	if !p.closed && p.queue.full(p.cfg) {
		p.counters.waits.Add(1)
	}
	for !p.closed && p.queue.full(p.cfg) {
		p.room.Wait()
	}
}

// takeLocked gives readings their places, queues them and shows them to the observers.
func (p *Pipe) takeLocked(readings []telemetry.Reading, shed bool) {
	if len(readings) == 0 {
		return
	}
	shed = shed && p.queue.crowded(p.cfg)
	shown := 0
	for i := range readings {
		r := &readings[i]
		p.seq++
		r.Seq = p.seq
		if shed {
			p.counters.shed.Add(int64(p.queue.conflate(r, p.cfg)))
		} else {
			p.queue.push(r)
		}
		// One sent again is stored once by the store, which knows all keys. Here it is only kept from being shown twice.
		if !r.Key.IsZero() && p.recent.seen(r.Key) {
			p.counters.repeated.Add(1)
			continue
		}
		if shown < i {
			readings[shown] = *r
		}
		shown++
	}
	p.counters.accepted[readings[0].Via].Add(int64(len(readings)))
	if shown == 0 {
		return
	}
	for _, o := range p.observers {
		o.Observe(readings[:shown])
	}
}

// Watch adds observers, after those given to New. It is for wiring up doors that are observers themselves, before readings come.
func (p *Pipe) Watch(observers ...Observer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.observers = append(p.observers, observers...)
}

// Refused counts, for the owner, a publish or subscription outside the sensor's own topics.
func (p *Pipe) Refused(sensorID int64, reason string) {
	p.counters.refused.Add(1)
	p.problem(Problem{SensorID: sensorID, Refused: 1, Reason: bounded(reason), At: telemetry.Now()})
}

// Malformed counts, for the owner, a message that could not be understood: one that Burst.Add refused, or a reply to no command.
func (p *Pipe) Malformed(sensorID int64, reason string) {
	p.counters.malformed.Add(1)
	p.problem(Problem{SensorID: sensorID, Malformed: 1, Reason: bounded(reason), At: telemetry.Now()})
}

// bounded shortens a reason to maxReasonBytes.
func bounded(reason string) string {
	if len(reason) <= maxReasonBytes {
		return reason
	}
	return strings.ToValidUTF8(reason[:maxReasonBytes], "") + "…"
}

func (p *Pipe) problem(add Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addProblemLocked(add)
}

func (p *Pipe) addProblemLocked(add Problem) {
	have := p.problems[add.SensorID]
	if have == nil {
		if len(p.problems) >= maxProblems || p.closed {
			return
		}
		if !p.alarm {
			p.alarm = true
			time.AfterFunc(problemDelay, p.problemsDue)
		}
		p.problems[add.SensorID] = &add
		return
	}
	have.Malformed += add.Malformed
	have.Refused += add.Refused
	if add.At >= have.At {
		have.Reason, have.At = add.Reason, add.At
	}
}

func (p *Pipe) problemsDue() {
	p.mu.Lock()
	p.alarm, p.due = false, len(p.problems) > 0
	p.mu.Unlock()
	p.work.Signal()
}

// Close stops accepting, commits what waits and returns when the last receipt has been told, or with ctx's error.
func (p *Pipe) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.work.Broadcast()
	p.room.Broadcast()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("commit what waits: %w", ctx.Err())
	}
}
