package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// atOnce is how many things are set up at a time: Mosquitto goes on with a WebSocket handshake only every tenth of a second, but then
// with all that wait for it.
const atOnce = 64

// each calls one for 0 to n-1 and returns the first error, after which no more are begun.
func each(ctx context.Context, what string, n int, one func(i int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		group  sync.WaitGroup
	)
	for range min(atOnce, n) {
		group.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				err := ctx.Err()
				if err == nil {
					err = one(i)
				}
				if err != nil {
					err = fmt.Errorf("%s %d: %w", what, i, err)
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
