package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"sensorcast/session"
	"sensorcast/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

var errDisk = errors.New("disk full")

// ledger is a Recorder in memory.
type ledger struct {
	before func(Batch) error // may wait, or refuse the batch; nil: takes all at once

	mu       sync.Mutex
	readings []telemetry.Reading
	problems []Problem
	changes  []session.Change
	batches  int
}

func (l *ledger) Record(b Batch) error {
	if l.before != nil {
		if err := l.before(b); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches++
	l.readings = append(l.readings, b.Readings...)
	l.problems = append(l.problems, b.Problems...)
	l.changes = append(l.changes, b.Changes...)
	return nil
}

func (l *ledger) has(seq int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.readings, func(r telemetry.Reading) bool { return r.Seq == seq })
}

func (l *ledger) data() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.readings {
		all = append(all, string(r.Data))
	}
	return all
}

// witness is an Observer that remembers. The pipe's lock guards it; read it when the pipe is quiet.
type witness struct{ seen []telemetry.Reading }

func (w *witness) Observe(rs []telemetry.Reading) { w.seen = append(w.seen, rs...) }

// notes is a Receipt that writes down what it is told and when.
type notes struct {
	mu  sync.Mutex
	all []string
}

// note returns the receipt of one message.
func (n *notes) note(name string) Receipt { return told{n, name} }

func (n *notes) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all)
}

type told struct {
	to   *notes
	name string
}

func (r told) Committed(err error) {
	r.to.mu.Lock()
	defer r.to.mu.Unlock()
	text := r.name
	if err != nil {
		text += " failed"
	}
	r.to.all = append(r.to.all, text)
}

// receiptFunc is a Receipt that calls itself.
type receiptFunc func(error)

func (f receiptFunc) Committed(err error) { f(err) }

// anybody has a message committed at once, and does not care what becomes of it.
var anybody = receiptFunc(func(error) {})

func message(sensor int64, payload string) Message {
	return Message{SensorID: sensor, Serial: fmt.Sprintf("SN%d", sensor), Payload: []byte(payload)}
}

func shed(m Message) Message { m.Shed = true; return m }

func mustAccept(t testing.TB, p *Pipe, m Message, r Receipt) {
	t.Helper()
	if err := p.Accept(m, r); err != nil {
		t.Fatalf("Accept(%s) = %v", m.Payload, err)
	}
}

func mustClose(t testing.TB, p *Pipe) {
	t.Helper()
	if err := p.Close(context.Background()); err != nil {
		t.Fatalf("Close() = %v", err)
	}
}

// gate lets Record through one batch at a time, or all once it is opened.
type gate struct{ tokens chan struct{} }

func newGate() *gate { return &gate{make(chan struct{})} }

func (g *gate) wait(Batch) error { <-g.tokens; return nil }
func (g *gate) pass()            { g.tokens <- struct{}{} }
func (g *gate) open()            { close(g.tokens) }

func rising(all []telemetry.Reading) bool {
	return slices.IsSortedFunc(all, func(a, b telemetry.Reading) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
}
