package broker

import (
	"time"

	"sensorcast/telemetry"
)

const sweepInterval = 10 * time.Second

// sweep ends sessions whose clients stayed away for too long, forgets retained messages that have expired, and publishes the broker's
// own figures.
func (b *Broker) sweep() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			for _, id := range b.sessions.expired(now) {
				b.evict(id, false)
			}
			b.note(b.retained.expire(telemetry.MillisOf(now)))
			b.publishSystem()
		case <-b.stop:
			return
		}
	}
}

// expiry is how long the session a client asks for is kept after its connection. 3.1.1 has no word for it.
func (b *Broker) expiry(h *hello) time.Duration {
	switch {
	case h.version == 5:
		return min(time.Duration(h.sessionExpiry)*time.Second, b.cfg.SessionExpiry)
	case h.clean:
		return 0
	}
	return b.cfg.SessionExpiry
}
