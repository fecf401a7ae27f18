package bridge

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Over how long viewers are asked to spread their return, so that they do not all come at once.
const (
	leastSpread    = time.Second
	overloadSpread = 20 * time.Second

	returnsPerSecond = 2000 // what a small server lets in without its readings having to wait
)

// spreadOver is how long so many viewers take to come back.
func spreadOver(viewers int) time.Duration {
	return max(leastSpread, time.Duration(viewers)*time.Second/returnsPerSecond)
}

// retryAfter ends the reason of a close frame with a hint when to come back, another for each viewer. It fits a control frame with reasons of
// up to 90 bytes.
func retryAfter(reason string, spread time.Duration) string {
	return fmt.Sprintf("%s, retry after %d ms", reason, rand.N(spread).Milliseconds())
}
