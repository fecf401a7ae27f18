package inbox

import (
	"context"
	"slices"
	"time"

	"sensorcast/telemetry"
)

const (
	keepNewEvery = 2 * time.Second  // how soon who knocks for the first time is listed
	keepAllEvery = time.Minute      // how much of counts and times a crash may lose
	keepAtOnce   = 250              // strangers in one transaction: some milliseconds of the store's one writer
	lastWords    = 10 * time.Second // for what is written when Run ends
)

// Run writes down what knocks, until ctx ends, and then the rest. It is called once.
func (b *Inbox) Run(ctx context.Context) {
	tick := time.NewTicker(keepNewEvery)
	defer tick.Stop()
	failing := false
	next := time.Now().Add(keepAllEvery)
	for {
		all := false
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			if err := b.keep(ctx, true); err != nil {
				b.log.Warn("inbox not written to its end", "err", err)
			}
			return
		case now := <-tick.C:
			if all = !now.Before(next); all {
				next = now.Add(keepAllEvery)
				b.forgetOld(telemetry.MillisOf(now))
			}
		}
		err := b.keep(ctx, all)
		if err != nil && !failing && ctx.Err() == nil {
			b.log.Warn("inbox is not written, will be tried again", "err", err)
		}
		failing = err != nil
	}
}

func (b *Inbox) forgetOld(now telemetry.Millis) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for at := b.order.Front(); at != nil; {
		e := at.Value.(*entry)
		at = at.Next()
		if now.Sub(e.LastSeen) >= KeepFor {
			b.forgetLocked(e.Serial)
		}
	}
}

// keep writes those that were never written, or all that changed, and deletes what is gone.
func (b *Inbox) keep(ctx context.Context, all bool) error {
	kept, gone := b.due(all)
	if len(kept) == 0 && len(gone) == 0 {
		return nil
	}
	// At least one turn, for gone; each of the others takes its share of kept.
	parts := slices.Collect(slices.Chunk(kept, keepAtOnce))
	if len(parts) == 0 {
		parts = [][]Stranger{nil}
	}
	for i, part := range parts {
		people, err := b.keeper.KeepStrangers(ctx, part, gone)
		if err != nil {
			b.undo(slices.Concat(parts[i:]...), gone)
			return err
		}
		gone = nil
		b.wasKept(part, people)
	}
	return nil
}

func (b *Inbox) due(all bool) (kept []Stranger, gone []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for at := b.order.Front(); at != nil; at = at.Next() {
		if e := at.Value.(*entry); e.dirty && (all || !e.kept) {
			e.dirty = false
			kept = append(kept, e.Stranger)
		}
	}
	for serial := range b.gone {
		gone = append(gone, serial)
	}
	clear(b.gone)
	return kept, gone
}

// undo has tried again what was not written.
func (b *Inbox) undo(kept []Stranger, gone []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range kept {
		if at, ok := b.entries[s.Serial]; ok {
			at.Value.(*entry).dirty = true
		}
	}
	for _, serial := range gone {
		if _, back := b.entries[serial]; !back {
			b.gone[serial] = struct{}{}
		}
	}
}

// wasKept lists what was written, and forgets people. What was pushed out while it was written has to go again.
func (b *Inbox) wasKept(part []Stranger, people []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, serial := range people {
		b.forgetLocked(serial)
		delete(b.gone, serial)
	}
	for _, s := range part {
		if at, ok := b.entries[s.Serial]; ok {
			at.Value.(*entry).kept = true
		} else if !slices.Contains(people, s.Serial) {
			b.gone[s.Serial] = struct{}{}
		}
	}
}
