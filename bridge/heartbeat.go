package bridge

import (
	"time"

	"sensorcast/wire"
)

// beats is how many groups the sessions are spread over, so that pings leave evenly instead of all at once.
const beats = 25

// heartbeat pings every session once in Config.PingEvery, group by group, gives it a new resume token, and ends those whose lifetime is
// over and those whose peer has been silent for too long.
func (h *Hub) heartbeat() {
	tick := time.NewTicker(max(h.cfg.PingEvery/beats, time.Millisecond))
	defer tick.Stop()
	var senders []*wire.Sender
	for group := 0; ; group = (group + 1) % beats {
		select {
		case <-h.stop:
			return
		case now := <-tick.C:
			senders = h.beat(group, now, senders[:0])
		}
	}
}

func (h *Hub) beat(group int, now time.Time, senders []*wire.Sender) []*wire.Sender {
	var alive, over, lost []*session
	h.mu.Lock()
	for _, s := range h.beats[group] {
		switch {
		case now.After(s.expires):
			over = append(over, s)
			continue
		case now.UnixNano()-s.heard.Load() > int64(h.cfg.PeerTimeout):
			lost = append(lost, s)
			continue
		}
		s.box.setPing()
		alive = append(alive, s)
		senders = append(senders, s.sender)
	}
	h.mu.Unlock()
	for _, s := range alive {
		s.offerResume()
	}
	h.pool.WakeAll(senders)
	clear(senders)
	for _, s := range lost {
		s.kill()
	}
	for _, s := range over {
		s.end(CloseGoingAway, retryAfter("the connection has reached its age limit", leastSpread), true)
	}
	return senders
}
