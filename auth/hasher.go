package auth

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/alexedwards/argon2id"

	"sensorcast/telemetry"
)

// argon2Params cost about 20 ms and 19 MiB per hash (OWASP's first recommendation).
var argon2Params = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// nobodysHash is what a password is compared with when there is no account, so that both answers cost the same. Salt and key are zeros: no
// password is known to give it.
const nobodysHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

const (
	maxHashesWaiting = 64
	maxHashWait      = time.Second
)

var errHasherBusy = fmt.Errorf("too many logins at once: %w", telemetry.ErrUnavailable)

// hasher runs argon2 in few slots, so that a flood of logins takes at most half of the cores from the readings, and slots × 19 MiB.
// Who finds no slot waits in a bounded queue for a bounded time.
type hasher struct {
	slots   chan struct{}
	waiting atomic.Int64
	refused atomic.Int64
}

func newHasher() *hasher {
	return &hasher{slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// hash returns the PHC string of a password. telemetry.ErrUnavailable when there is no slot in time.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	phc, err := argon2id.CreateHash(password, argon2Params)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return phc, nil
}

// verify reports whether password gives phc. admit is asked once a slot is free and may still refuse: others may have failed meanwhile.
func (h *hasher) verify(ctx context.Context, password, phc string, admit func() error) (bool, error) {
	if err := h.acquire(ctx); err != nil {
		return false, err
	}
	defer h.release()
	if err := admit(); err != nil {
		return false, err
	}
	match, err := argon2id.ComparePasswordAndHash(password, phc)
	if err != nil {
		return false, fmt.Errorf("compare password: %w", err)
	}
	return match, nil
}

func (h *hasher) acquire(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > maxHashesWaiting {
		h.refused.Add(1)
		return errHasherBusy
	}
	timeout := time.NewTimer(maxHashWait)
	defer timeout.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-timeout.C:
		h.refused.Add(1)
		return errHasherBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hasher) release() { <-h.slots }
