package main

import (
	"context"
	"io"
	"testing"
	"time"
)

func TestProgress_PlansRunsAsTheyAreMade(t *testing.T) {
	made := 0
	fake := func(name string) contender {
		return contender{name: name, viewers: overWebSocket, start: func(context.Context, string) (server, error) { return idler{}, nil }}
	}
	b := &bench{ours: fake("ours"), peers: []contender{fake("a"), fake("b")}, length: time.Second, pairs: 3, tries: 1, log: io.Discard}
	measure := func(context.Context, server, time.Duration) (result, error) { made++; return result{}, nil }
	all := []row{{letter: "F", watched: true, measure: measure}, {letter: "K", watched: true, still: true, measure: measure}}
	b.plan(all)
	for _, r := range all {
		if _, err := b.run(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	if want := 3*4 + 1*3; made != want {
		t.Errorf("got %d runs, want %d: pairs for each peer, and one of ours for both where memory is measured", made, want)
	}
	if left := b.progress.left(); left != 0 {
		t.Errorf("all runs made: got %v left of %v", left, b.progress.planned)
	}
}

func TestProgress_EstimateFollowsThePaceSoFar(t *testing.T) {
	p := progress{planned: 100 * time.Second}
	if got := p.left(); got != 100*time.Second {
		t.Errorf("before the first run: got %v left, want the plan", got)
	}
	p.done, p.actual = 20*time.Second, 40*time.Second
	if got := p.left(); got != 160*time.Second {
		t.Errorf("at half the speed: got %v left, want 2m40s", got)
	}
	p.skip(40 * time.Second)
	if got := p.left(); got != 80*time.Second {
		t.Errorf("after giving some up: got %v left, want 1m20s", got)
	}
}

// idler is a server that is never spoken to.
type idler struct{ server }

func (idler) stop() {}

func TestBench_DefaultRunIsBounded(t *testing.T) {
	o, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	known := contenders("")
	peers, err := choose(o.peers, known[1:], func(c contender) string { return c.name })
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{ours: known[0], peers: peers, length: o.length, pairs: o.pairs, log: io.Discard}
	b.plan(rows(o.idle))
	if limit := 25 * time.Minute; b.progress.planned > limit {
		t.Errorf("got %v for a run with the default flags, want at most %v", b.progress.planned, limit)
	}
}
