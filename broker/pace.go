package broker

import "time"

// pace bounds what a client may publish, in messages and in bytes. It runs into debt, since what was read is handled; the debt is paid
// by not reading. It belongs to the connection's goroutine.
type pace struct{ messages, bytes bucket }

// spend takes one PUBLISH of size bytes.
func (p *pace) spend(size int) {
	p.messages.spent++
	p.bytes.spent += size
}

// bucket is a token bucket that holds a second's worth.
type bucket struct {
	spent  int // since at
	tokens float64
	at     time.Time
}

// owed returns how long the client is not to be read, at rate tokens a second; none at rate 0.
func (b *bucket) owed(rate int) time.Duration {
	if rate <= 0 || b.spent == 0 {
		b.spent = 0
		return 0
	}
	now := time.Now()
	b.tokens += float64(rate) * now.Sub(b.at).Seconds()
	if full := float64(rate); b.at.IsZero() || b.tokens > full {
		b.tokens = full
	}
	b.tokens -= float64(b.spent)
	b.at, b.spent = now, 0
	return max(0, time.Duration(-b.tokens/float64(rate)*float64(time.Second)))
}
