package api

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAlone_OneChangeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{}, Deps{})
		running, most, done := 0, 0, 0 // the race detector objects, too, should two changes run at once
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				must(t, a.alone(t.Context(), func() error {
					running++
					most = max(most, running)
					time.Sleep(time.Second)
					running--
					done++
					return nil
				}))
			})
		}
		wg.Wait()
		if most != 1 || done != 10 {
			t.Errorf("got %d changes at once and %d done, want 1 and 10", most, done)
		}
	})
}

func TestAlone_WaitsNoLongerThanTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{}, Deps{})
		var wg sync.WaitGroup
		wg.Go(func() { must(t, a.alone(t.Context(), func() error { time.Sleep(time.Minute); return nil })) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		err := a.alone(ctx, func() error { t.Error("ran beside another change"); return nil })
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v, want the deadline after 5 s", err, time.Since(start))
		}
		wg.Wait()
	})
}

func TestAlone_ChangeThatPanicsGivesItsTurnBack(t *testing.T) {
	a := New(Config{}, Deps{})
	func() {
		defer func() { _ = recover() }()
		_ = a.alone(t.Context(), func() error { panic("boom") })
	}()
	must(t, a.alone(t.Context(), func() error { return nil }))
}
