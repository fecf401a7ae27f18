package simulator

import (
	"context"
	"time"
)

// backoff gives the delays between attempts to connect: doubling from min to max, each spread over its upper half by the seed, so that
// a fleet which lost its broker does not return in one wave.
type backoff struct {
	min, max time.Duration
	seed     uint64
	delay    time.Duration // the last one before jitter; zero: start at min
	drawn    uint64        // how many were given out, for the jitter
}

// next returns the delay before the coming attempt.
func (b *backoff) next() time.Duration {
	b.delay = min(max(2*b.delay, b.min), b.max)
	b.drawn++
	half := b.delay / 2
	return half + time.Duration(unit(b.seed, saltJitter, b.drawn)*float64(half))
}

// reset starts over at min, after a connection that worked.
func (b *backoff) reset() { b.delay = 0 }

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
