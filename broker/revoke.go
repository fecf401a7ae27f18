package broker

import (
	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
)

// AuthorityChanged implements auth.Watcher: connections and sessions of a principal that lost its authority end, with what is queued
// and retained for it. Logins of people over MQTT belong to no session of auth's, so any end of an account's sessions ends them all.
func (b *Broker) AuthorityChanged(ch auth.Change) {
	b.statusChanged(ch)
	var p auth.Principal
	switch ch.Kind {
	case auth.SensorRemoved, auth.SecretRotated:
		p = auth.Principal{Kind: auth.Sensor, SensorID: ch.SensorID, Serial: ch.Serial}
	case auth.UserEnded:
		p = auth.Principal{Kind: auth.Person, UserID: ch.UserID}
	default:
		return
	}
	for _, id := range b.sessions.of(p.Scope()) {
		b.revoke(id)
	}
	if p.Kind == auth.Sensor {
		b.note(b.retained.drain(p.Serial))
		if ch.Kind == auth.SensorRemoved {
			b.refusals.forget(p.Serial)
			b.departures.forget(p.Serial)
		}
	}
}

// revoke ends a session: through its connection if it has one, which then takes the session along, else at once.
func (b *Broker) revoke(id string) {
	if c, ok := b.evict(id, true).(*conn); ok {
		b.counters.revoked.Add(1)
		c.end(packets.ErrNotAuthorized)
	}
}

// sweeper holds the session of an absent client while it is discarded. It gives it back by itself.
type sweeper struct{ done chan struct{} }

func (s sweeper) end(packets.Code)          {}
func (s sweeper) finished() <-chan struct{} { return s.done }

// evict discards the session of an absent client, or returns who holds it, with revoke marked as revoked.
func (b *Broker) evict(id string, revoke bool) holder {
	h := sweeper{make(chan struct{})}
	s, held := b.sessions.seize(h, id, revoke)
	if held != nil || s == nil {
		return held
	}
	defer close(h.done)
	b.discard(s, h, !revoke)
	return nil
}
