package main

import (
	"fmt"
	"time"
)

// What a run takes beside its length, roughly: start, registrations, handshakes, what is still owed at the end.
const (
	runSetUp  = 3 * time.Second
	idleSetUp = 6 * time.Second // thousands of them
)

// progress foretells how long the rest of the runs will take, from how the foregoing ones kept to what was expected of them.
type progress struct {
	began                 time.Time
	planned, done, actual time.Duration
}

// expected is how long one run of a row should take.
func (b *bench) expected(r row) time.Duration {
	if r.still {
		return 2*settling + idleSetUp
	}
	return runSetUp + b.length + b.length/warmUp
}

// plan counts the runs of rows, as if none had to be repeated.
func (b *bench) plan(rows []row) {
	b.progress = progress{began: time.Now()}
	for _, r := range rows {
		peers := 0
		for _, p := range b.peers {
			if p.partOf(r) {
				peers++
			}
		}
		runs := 2 * peers
		if r.still && peers > 0 {
			runs = 1 + peers
		}
		b.progress.planned += time.Duration(b.rounds(r)*runs) * b.expected(r)
	}
	fmt.Fprintf(b.log, "this will take about %v\n", minutes(b.progress.planned))
}

// account notes that a planned run is over.
func (p *progress) account(expected time.Duration) {
	p.done += expected
	p.actual = time.Since(p.began)
}

// skip takes runs out of the plan.
func (p *progress) skip(expected time.Duration) { p.planned -= expected }

func (p *progress) left() time.Duration {
	rest := max(0, p.planned-p.done)
	if p.done == 0 {
		return rest
	}
	return time.Duration(float64(rest) * p.actual.Seconds() / p.done.Seconds())
}

func (p *progress) String() string {
	return fmt.Sprintf("[%3.0f %%, %v left]", 100*p.done.Seconds()/max(p.planned.Seconds(), 1), minutes(p.left()))
}

// minutes leaves out what an estimate does not know.
func minutes(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}
