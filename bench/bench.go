package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// disturbed is the foreign share of the machine beyond which a run is repeated once and, if that is no better, marked.
const disturbed = 0.15

// runLimit bounds one run beside its length: start, registrations, thousands of handshakes.
const runLimit = 3 * time.Minute

// bench runs rows against Sensorcast and each of its peers in turn.
type bench struct {
	ours     contender
	peers    []contender
	length   time.Duration
	pairs    int
	tries    int       // of a run in all, when something else keeps the machine busy
	dir      string    // where servers may make their folders
	profiles string    // folder for CPU profiles of Sensorcast; empty: none
	log      io.Writer // a line for each run
	progress progress
}

// run measures a row. A run that fails, for loss above all, ends the duel it belongs to and is told in it; the error is for what ends all.
func (b *bench) run(ctx context.Context, r row) ([]duel, error) {
	var duels []duel
	for _, p := range b.peers {
		if p.partOf(r) {
			duels = append(duels, duel{row: r.easedFor(p), peer: p})
		}
	}
	for i := range b.rounds(r) {
		var ours *result
		for k := range duels {
			d := &duels[k]
			if d.failed != nil {
				b.progress.skip(2 * b.expected(r))
				continue
			}
			ours = b.duel(ctx, d, ours)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if d.failed != nil {
				fmt.Fprintf(b.log, "%s, pair %d: %v\n", r.letter, i+1, d.failed)
			}
		}
	}
	return duels, nil
}

// rounds is how many pairs a row is measured in. Memory hardly differs from one run to the next, and its runs are the longest.
func (b *bench) rounds(r row) int {
	if r.still {
		return max(1, b.pairs/2)
	}
	return b.pairs
}

// duel makes a pair and returns our run of it. That of the duel before, if there was one in this round, does where a row is still.
func (b *bench) duel(ctx context.Context, d *duel, before *result) (ours *result) {
	if ours = before; ours == nil || !d.row.still {
		found, err := b.measure(ctx, d.row, b.ours)
		if err != nil {
			d.failed = err
			return nil
		}
		ours = &found
	}
	theirs, err := b.measure(ctx, d.row, d.peer)
	if err != nil {
		d.failed = err
		return ours
	}
	d.pairs = append(d.pairs, pair{*ours, theirs})
	return ours
}

// measure makes one run, and another where something else kept the machine busy.
func (b *bench) measure(ctx context.Context, r row, c contender) (result, error) {
	var kept result
	for try := range b.tries {
		found, err := b.once(ctx, r, c)
		if try == 0 { // a repetition was not planned: it slows the pace
			b.progress.account(b.expected(r))
		}
		if err != nil {
			return result{}, fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(b.log, "%v %-8s %-13s %s\n", &b.progress, r.letter, c.name, found.line(r))
		if try == 0 || found.foreign < kept.foreign {
			kept = found
		}
		if kept.foreign <= disturbed {
			break
		}
	}
	return kept, nil
}

// once starts a fresh server for one run.
func (b *bench) once(ctx context.Context, r row, c contender) (result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit+2*b.length, errors.New("the run took too long"))
	defer cancel()
	s, err := c.start(ctx, b.dir)
	if err != nil {
		return result{}, fmt.Errorf("start: %w", err)
	}
	defer s.stop()
	if ours, ok := s.(*sensorcast); ok && b.profiles != "" {
		defer b.profile(ours, r)()
	}
	found, err := r.measure(ctx, s, b.length)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return found, err
}

// profile takes a CPU profile while the run is on. The function it returns waits for it.
func (b *bench) profile(s *sensorcast, r row) (wait func()) {
	done := make(chan error, 1)
	timer := time.AfterFunc(2*b.length/3, func() {
		done <- s.profile(filepath.Join(b.profiles, r.letter+".prof"), max(1, int(b.length.Seconds())))
	})
	return func() {
		if timer.Stop() {
			return
		}
		if err := <-done; err != nil {
			fmt.Fprintln(b.log, "profile:", err)
		}
	}
}
