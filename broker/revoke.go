package broker

import (
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

// AuthorityChanged implements auth.Watcher: connections and sessions of a principal that lost its authority end, with what is queued
// and retained for it. Logins of people over MQTT belong to no session of auth's, so any end of an account's sessions ends them all, but
// for those with an API token, which are of a scope of their own.
func (b *Broker) AuthorityChanged(ch auth.Change) {
	b.statusChanged(ch)
	var p auth.Principal
	switch ch.Kind {
	case auth.SensorRemoved, auth.SecretRotated:
		p = auth.Principal{Kind: auth.Sensor, SensorID: ch.SensorID, Serial: ch.Serial}
	case auth.UserEnded:
		p = auth.Principal{Kind: auth.Person, UserID: ch.UserID}
	case auth.TokenEnded:
		p = auth.Principal{Kind: auth.Person, UserID: ch.UserID, TokenID: ch.TokenID}
	default:
		return
	}
	for _, id := range b.sessions.of(p.Scope()) {
		b.revoke(id)
	}
	if p.Kind == auth.Sensor {
		b.note(b.retained.drain(p.Serial, p.SensorID))
		if ch.Kind == auth.SensorRemoved {
			b.refusals.forget(p.Serial)
			b.departures.forget(p.Serial)
		}
	}
}

// dropFilters ends the subscriptions that name the sensor of a person who may see it no more. Wildcards stay. It may block while ingest is
// full.
func (b *Broker) dropFilters(userID int64, serial string) {
	for _, id := range b.sessions.of(auth.Principal{Kind: auth.Person, UserID: userID}.Scope()) {
		if s := b.sessions.find(id); s != nil {
			b.note(s.dropFilters(b, serial))
		}
	}
}

func (s *session) dropFilters(b *Broker, serial string) (changes []state.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for filter := range s.subs {
		if names(filter, serial) && !b.dir.MaySubscribe(s.principal, filter) { // which it may again by now
			_, change := s.dropLocked(b, filter)
			changes = append(changes, change...)
		}
	}
	return changes
}

// names reports whether the filter is about the sensor of that serial alone.
func names(filter, serial string) bool {
	_, filter, _ = telemetry.SplitShare(filter)
	_, rest, _ := strings.Cut(filter, "/")
	named, _, _ := strings.Cut(rest, "/")
	return named == serial
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
