package mail

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Errand writes a letter when its turn has come, in the Queue's goroutine; ctx ends with the Queue. None to send is the zero Letter. It is called
// once, however often the letter is tried.
type Errand func(ctx context.Context) (Letter, error)

const (
	maxErrands  = 1000             // in memory, some hundred bytes each; over it new ones are dropped
	maxAttempts = 6                // over half an hour: greylisting lets the second or third pass
	firstPause  = 15 * time.Second // doubles and more: 15 s, 45 s, 2 min, 7 min, 20 min
	pauseFactor = 3
)

// Queue works errands off, one after another. What it holds dies with the process: everything it is for can be asked for again. Safe for
// concurrent use.
type Queue struct {
	sender Sender
	log    *slog.Logger
	ctx    context.Context // of what the worker does; ended by Close when its time is up
	cancel context.CancelFunc
	wake   chan struct{} // tells the worker that something changed
	done   chan struct{} // closed when the worker has ended

	mu      sync.Mutex
	waiting []*errand // guarded by mu
	closing bool      // guarded by mu

	sent, retried, failed, dropped atomic.Int64
}

type errand struct {
	write    Errand
	letter   Letter // once written
	attempts int
	due      time.Time
}

// NewQueue starts the worker, which Close ends.
func NewQueue(sender Sender, log *slog.Logger) *Queue {
	q := &Queue{sender: sender, log: log.With("component", "mail"), wake: make(chan struct{}, 1), done: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	go q.work() // ends by Close
	return q
}

// Post takes an errand. It never blocks; over the bound, and after Close, the errand is dropped and counted.
func (q *Queue) Post(write Errand) {
	q.mu.Lock()
	full := q.closing || len(q.waiting) >= maxErrands
	if !full {
		q.waiting = append(q.waiting, &errand{write: write, due: time.Now()})
	}
	q.mu.Unlock()
	if full {
		q.dropped.Add(1)
		return
	}
	q.nudge()
}

// Close has what waits tried once more, until ctx ends, and drops the rest, counted. It returns when the worker has ended; more calls wait for it too.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.nudge()
	stop := context.AfterFunc(ctx, q.cancel)
	defer stop()
	<-q.done
	q.cancel()
	return nil
}

func (q *Queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *Queue) work() {
	defer close(q.done)
	for {
		e, pause, more := q.next()
		switch {
		case e != nil:
			q.run(e)
		case !more:
			return
		default:
			q.sleep(pause)
		}
	}
}

// next takes the errand that is due, of several the one that has waited longest. Without one it says how long there will be none, and whether
// there is to be more.
func (q *Queue) next() (e *errand, pause time.Duration, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ctx.Err() != nil {
		q.dropped.Add(int64(len(q.waiting)))
		q.waiting = nil
		return nil, 0, false
	}
	if len(q.waiting) == 0 {
		return nil, idle, !q.closing
	}
	first := 0
	for i, w := range q.waiting {
		if w.due.Before(q.waiting[first].due) {
			first = i
		}
	}
	e = q.waiting[first]
	if pause = time.Until(e.due); pause > 0 && !q.closing {
		return nil, pause, true
	}
	q.waiting = append(q.waiting[:first], q.waiting[first+1:]...)
	return e, 0, true
}

const idle = time.Hour // somebody will wake the worker

func (q *Queue) sleep(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.wake:
	case <-q.ctx.Done():
	}
}

// run tries one errand once.
func (q *Queue) run(e *errand) {
	if e.write != nil {
		letter, err := e.write(q.ctx)
		if err != nil {
			q.failed.Add(1)
			q.log.Warn("letter not written", "err", err)
			return
		}
		e.write, e.letter = nil, letter
	}
	if e.letter == (Letter{}) {
		return
	}
	e.attempts++
	err := q.sender.Send(q.ctx, e.letter)
	if err == nil {
		q.sent.Add(1)
		return
	}
	if q.ctx.Err() != nil {
		q.dropped.Add(1)
		return
	}
	if q.again(e, err) {
		q.retried.Add(1)
		q.log.Debug("letter not sent yet", "attempt", e.attempts, "err", err)
		return
	}
	q.failed.Add(1)
	q.log.Warn("letter not sent", "attempt", e.attempts, "err", err)
}

// again puts an errand that failed for a time back, unless it has been tried often enough or nothing is tried again.
func (q *Queue) again(e *errand, err error) bool {
	if !isTemporary(err) || e.attempts >= maxAttempts {
		return false
	}
	pause := firstPause
	for range e.attempts - 1 {
		pause *= pauseFactor
	}
	e.due = time.Now().Add(pause)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closing {
		return false
	}
	q.waiting = append(q.waiting, e) // at most one more than the bound: the worker has one in hand
	return true
}
