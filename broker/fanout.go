package broker

import (
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"

	state "sensorcast/session"
)

// fanOut hands a message to everybody who subscribes to its topic and may see it. It runs in the publisher's goroutine, which keeps
// its messages in order, and never blocks. Sessions that except names are left out. What it returns is to be journaled and then
// confirmed.
func (b *Broker) fanOut(m *state.Message, except func(*session, packets.Subscription) bool) (all []queued) {
	subs := b.index.match(m.Topic)
	for id, sub := range subs.Subscriptions {
		if s := b.sessions.find(id); s != nil && !except(s, sub) {
			all = b.hand(all, m, s, sub)
		}
	}
	for _, group := range subs.Shared {
		for _, s := range b.choose(group, m.Topic) {
			if !except(s, group[s.id]) {
				all = b.hand(all, m, s, group[s.id])
			}
		}
	}
	return all
}

// nobody is the exception of messages that are for everybody.
func nobody(*session, packets.Subscription) bool { return false }

// noLocal leaves out the publisher where it asked for that [MQTT-3.8.3-3].
func noLocal(from *session) func(*session, packets.Subscription) bool {
	return func(s *session, sub packets.Subscription) bool { return sub.NoLocal && s == from }
}

// hand delivers m by one subscription, judged by the policy as it stands: also by whether its sensor is still the one of that serial, since a
// message may be on its way while that passes to another owner.
func (b *Broker) hand(all []queued, m *state.Message, s *session, sub packets.Subscription) []queued {
	if !b.dir.MayReceiveOf(s.who(), m.Topic, m.SensorID) {
		return all
	}
	out := *m
	out.QoS = min(m.QoS, sub.Qos)
	out.Retain = m.Retain && sub.RetainAsPublished // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
	out.Properties = withIdentifiers(identifiers(sub), m.Properties)
	if q := s.deliver(b, &out); q.d != nil {
		return append(all, q)
	}
	return all
}

// identifiers are those of all the client's subscriptions that matched.
func identifiers(sub packets.Subscription) (ids []int) {
	for _, id := range sub.Identifiers {
		if id > 0 {
			ids = append(ids, id)
		}
	}
	if len(sub.Identifiers) == 0 && sub.Identifier > 0 {
		ids = append(ids, sub.Identifier)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// choose picks who of a shared subscription gets a message: one client of each principal that shares it, one that is there if any
// is. A share name is one principal's own, as a client id is.
func (b *Broker) choose(group map[string]packets.Subscription, topic string) []*session {
	chosen := map[string]*session{} // by scope; the map's order makes the choice random
	for id := range group {
		s := b.sessions.find(id)
		if s == nil || !b.dir.MayReceive(s.who(), topic) {
			continue
		}
		if have := chosen[s.scope]; have == nil || !have.connected() && s.connected() {
			chosen[s.scope] = s
		}
	}
	all := make([]*session, 0, len(chosen))
	for _, s := range chosen {
		all = append(all, s)
	}
	return all
}

func appendQueued(changes []state.Change, all []queued) []state.Change {
	for _, q := range all {
		changes = append(changes, state.Queue{ID: q.s.id, Delivery: q.d.Delivery})
	}
	return changes
}

// publish is fanOut for what no client sent: wills, readings from other doors, the server's own. It may block while ingest is full.
func (b *Broker) publish(m *state.Message, changes ...state.Change) {
	all := b.fanOut(m, nobody)
	b.journal(all, appendQueued(changes, all)) // with the changes that go with it
}

// journal has deliveries stored, and changes with them, and sent then. It blocks while ingest is full.
func (b *Broker) journal(all []queued, changes []state.Change) {
	if len(all) == 0 {
		b.note(changes)
		return
	}
	if err := b.pipe.Journal(changes, confirmation{b: b, all: all}); err != nil {
		b.log.Debug("message not queued", "err", err) // only when the server is stopping
	}
	b.settleJournals(all)
}

// settleJournals has the sessions of deliveries tell the journal what has left their queues. A client that takes none of them never
// acknowledges one, which is the other occasion.
func (b *Broker) settleJournals(all []queued) {
	for _, q := range all {
		q.s.settleJournal(b)
	}
}

// note journals changes whose fate nobody waits for. It blocks while ingest is full.
func (b *Broker) note(changes []state.Change) {
	if len(changes) == 0 {
		return
	}
	if err := b.pipe.Journal(changes, nil); err != nil {
		b.log.Debug("session changes not kept", "err", err) // only when the server is stopping
	}
}
