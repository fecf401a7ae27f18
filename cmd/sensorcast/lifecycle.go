package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// stopTimeout bounds the whole way down. Orchestrators commonly kill after 30 s.
const stopTimeout = 20 * time.Second

// lifecycle is a stack of named steps that take down what start put up, last up first down. The same stack rolls back a start that
// failed half-way.
type lifecycle struct {
	log   *slog.Logger
	steps []step
	once  sync.Once
	err   error
}

type step struct {
	name string
	stop func(context.Context) error
}

// onStop pushes a step.
func (l *lifecycle) onStop(name string, stop func(context.Context) error) {
	l.steps = append(l.steps, step{name, stop})
}

// background runs something until its step, which waits for it, ends its context.
func (l *lifecycle) background(name string, run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends when its step cancels it
		defer close(done)
		run(ctx)
	}()
	l.onStop(name, func(context.Context) error { cancel(); <-done; return nil })
}

// stop runs every step, whatever the others say, within stopTimeout, and joins their errors. Later calls return the first's result.
func (l *lifecycle) stop() error {
	l.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		var errs []error
		for i := len(l.steps) - 1; i >= 0; i-- {
			s := l.steps[i]
			start := time.Now()
			if err := s.stop(ctx); err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
			}
			l.log.Debug("stopped", "part", s.name, "dur", time.Since(start))
		}
		l.err = errors.Join(errs...)
	})
	return l.err
}
