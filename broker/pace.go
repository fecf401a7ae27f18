package broker

import "time"

// pace bounds the messages a client may publish: a token bucket that holds a second's worth. It runs into debt, since what was read
// is handled; the debt is paid by not reading. It belongs to the connection's goroutine.
type pace struct {
	spent  int // messages since at
	tokens float64
	at     time.Time
}

// owed returns how long the client is not to be read, at rate messages a second; none at rate 0.
func (p *pace) owed(rate int) time.Duration {
	if rate <= 0 || p.spent == 0 {
		return 0
	}
	now := time.Now()
	p.tokens += float64(rate) * now.Sub(p.at).Seconds()
	if full := float64(rate); p.at.IsZero() || p.tokens > full {
		p.tokens = full
	}
	p.tokens -= float64(p.spent)
	p.at, p.spent = now, 0
	return max(0, time.Duration(-p.tokens/float64(rate)*float64(time.Second)))
}
