package ingest

import (
	"fmt"
	"runtime"
	"time"

	"sensorcast/telemetry"
)

// commit is the committer's goroutine: it takes all that waits, has it made durable, and tells the receipts.
func (p *Pipe) commit() {
	defer close(p.done)
	var b batch
	for {
		// Those who are ready to hand something in come first: under load the next transaction is a third larger for it, and when
		// nobody is ready this costs nothing.
		runtime.Gosched()
		p.mu.Lock()
		for !p.workLocked() {
			p.work.Wait()
		}
		p.overdue = false
		if p.queue.empty() && len(p.problems) == 0 && p.closed {
			p.mu.Unlock()
			return
		}
		p.queue.take(p.cfg.BatchReadings, &b)
		b.problems = p.takeProblemsLocked(b.problems)
		p.mu.Unlock()
		p.room.Signal()

		err := p.record(Batch{Readings: b.readings, Problems: b.problems, Changes: b.changes})
		tell(b.receipts, err)
		b.reset()
	}
}

// answersHere is how many receipts of a batch answer in the committer's goroutine at least, and maxAnswersHere at most: a write to a socket
// takes some 3 µs, and waking another goroutine for a few of them takes longer.
const (
	answersHere    = 8
	maxAnswersHere = 64
)

// tell lets the receipts of one batch hear its fate, in order, and then those that can answer. Of many, half answer elsewhere: they are
// asked first, so that both halves leave at the same time.
func tell(receipts []receipt, err error) {
	for _, r := range receipts {
		if a, ok := r.r.(Answerer); ok {
			a.Settled(err)
		} else {
			r.r.Committed(err)
		}
	}
	here := min(max(answersHere, len(receipts)/2), maxAnswersHere, len(receipts))
	answer(receipts[here:], false)
	answer(receipts[:here], true)
}

func answer(receipts []receipt, here bool) {
	for _, r := range receipts {
		if a, ok := r.r.(Answerer); ok {
			a.Answer(here)
		}
	}
}

func (p *Pipe) takeProblemsLocked(into []Problem) []Problem {
	for _, pr := range p.problems {
		into = append(into, *pr)
	}
	clear(p.problems)
	p.due = false
	return into
}

func (p *Pipe) record(b Batch) error {
	if len(b.Readings) == 0 && len(b.Problems) == 0 && len(b.Changes) == 0 {
		return nil
	}
	start := time.Now()
	err := p.recorder.Record(b)
	p.counters.observeCommit(time.Since(start))
	p.report(err)
	if err == nil {
		p.counters.committed.Add(int64(len(b.Readings)))
		p.counters.journaled.Add(int64(len(b.Changes)))
		return nil
	}
	p.counters.failed.Add(int64(len(b.Readings)))
	p.counters.unjournaled.Add(int64(len(b.Changes)))
	p.mu.Lock()
	for _, pr := range b.Problems {
		p.addProblemLocked(pr) // try again with a later batch
	}
	p.mu.Unlock()
	return fmt.Errorf("store batch: %w: %w", telemetry.ErrUnavailable, err)
}

// report logs when the store begins to fail and when it works again: a line for each batch would fill the disk that is full already.
func (p *Pipe) report(err error) {
	switch {
	case err != nil && !p.failing:
		p.log.Error("readings are not stored", "err", err)
	case err == nil && p.failing:
		p.log.Info("readings are stored again")
	}
	p.failing = err != nil
}
