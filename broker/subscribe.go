package broker

import (
	"strconv"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

const maxFiltersPerPacket = 100

// subscribe handles SUBSCRIBE (MQTT 5.0 §3.8): each filter is judged by itself. SUBACK waits until what was granted is committed, and
// what is retained follows it.
func (c *conn) subscribe(in *cursor) error {
	id, subs, err := c.decodeSubscribe(in)
	if err != nil {
		return err
	}
	codes := make([]byte, len(subs))
	var changes []state.Change
	var granted []grant
	for i, sub := range subs {
		code := packets.ErrQuotaExceeded
		if i < maxFiltersPerPacket {
			code = c.judge(sub.Filter)
		}
		if code.Code >= packets.ErrUnspecifiedError.Code {
			c.broker.counters.refusedFilters.Add(1)
			codes[i] = refusedCode(code, c.version.Load())
			continue
		}
		codes[i] = sub.Qos
		existed, change := c.session.add(c.broker, sub)
		changes = append(changes, change...)
		granted = append(granted, grant{sub, existed})
	}
	if err := c.journal(changes...); err != nil {
		return packets.ErrServerBusy
	}
	c.write(encodeSuback(id, codes, byte(c.version.Load())))
	c.runErrands()
	return c.replay(granted)
}

// grant is a subscription just made.
type grant struct {
	packets.Subscription
	existed bool
}

// refusedCode is what a client is told: v3.1.1 knows one code for no [MQTT-3.9.3-2].
func refusedCode(code packets.Code, version uint32) byte {
	if version < 5 {
		return packets.ErrUnspecifiedError.Code
	}
	return code.Code
}

// decodeSubscribe reads the filters with their options.
func (c *conn) decodeSubscribe(in *cursor) (id uint16, subs []packets.Subscription, err error) {
	id = in.uint16()
	v5 := c.version.Load() == 5
	var props properties
	if v5 {
		if props, err = in.properties(subscribeProperties); err != nil {
			return 0, nil, err
		}
	}
	for !in.bad && len(in.b) > 0 {
		filter, options := in.text(), in.byte()
		sub := packets.Subscription{Filter: string(filter), Identifier: int(props.identifier)}
		if err := readOptions(&sub, options, v5); err != nil {
			return 0, nil, err
		}
		subs = append(subs, sub)
	}
	switch {
	case in.bad:
		return 0, nil, packets.ErrMalformedPacket
	case id == 0:
		return 0, nil, packets.ErrProtocolViolationNoPacketID // [MQTT-2.2.1-2]
	case len(subs) == 0:
		return 0, nil, packets.ErrProtocolViolationNoFilters // [MQTT-3.8.3-2]
	}
	return id, subs, nil
}

// readOptions reads the subscription options (MQTT 5.0 §3.8.3.1); v3.1.1 has but the QoS.
func readOptions(sub *packets.Subscription, o byte, v5 bool) error {
	sub.Qos, sub.NoLocal, sub.RetainAsPublished, sub.RetainHandling = o&3, o&4 != 0, o&8 != 0, o>>4&3
	switch {
	case o&0xc0 != 0, !v5 && o&0xfc != 0:
		return packets.ErrMalformedPacket // [MQTT-3.8.3-5]
	case sub.Qos > 2, sub.RetainHandling > 2:
		return packets.ErrProtocolViolationQosOutOfRange
	case sub.NoLocal && isShared(sub.Filter):
		return packets.ErrProtocolViolationInvalidSharedNoLocal // [MQTT-3.8.3-4]
	}
	return nil
}

func isShared(filter string) bool {
	_, _, shared := telemetry.SplitShare(filter)
	return shared
}

func optionsOf(sub packets.Subscription) byte {
	o := sub.Qos | sub.RetainHandling<<4
	if sub.NoLocal {
		o |= 4
	}
	if sub.RetainAsPublished {
		o |= 8
	}
	return o
}

func storedSubscription(sub packets.Subscription) state.Subscription {
	return state.Subscription{Filter: sub.Filter, Options: optionsOf(sub), Identifier: uint32(sub.Identifier)}
}

// judge decides on a filter.
func (c *conn) judge(filter string) packets.Code {
	b := c.broker
	switch {
	case !shallow(filter) || !telemetry.ValidFilter(filter):
		return packets.ErrTopicFilterInvalid
	case !c.session.roomFor(filter, b.cfg.MaxFilters):
		return packets.ErrQuotaExceeded
	case !b.dir.MaySubscribe(c.principal, filter):
		b.explain(c.principal, "subscription", filter)
		return packets.ErrNotAuthorized
	}
	return packets.CodeSuccess
}

// roomFor reports whether the session may have the subscription, by their number.
func (s *session) roomFor(filter string, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, has := s.subs[filter]
	return has || len(s.subs) < most
}

// add makes a subscription, or replaces the one with the same filter [MQTT-3.8.4-3].
func (s *session) add(b *Broker, sub packets.Subscription) (existed bool, changes []state.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, existed = s.subs[sub.Filter]; !existed {
		b.sessions.subscriptions.Add(1)
	}
	s.subs[sub.Filter] = sub
	b.index.add(s.id, sub)
	if !s.durable() {
		return existed, nil
	}
	return existed, []state.Change{state.Subscribe{ID: s.id, Subscription: storedSubscription(sub)}}
}

// unsubscribe handles UNSUBSCRIBE (MQTT 5.0 §3.10).
func (c *conn) unsubscribe(in *cursor) error {
	id := in.uint16()
	if c.version.Load() == 5 {
		if _, err := in.properties(unsubscribeProperties); err != nil {
			return err
		}
	}
	var filters []string
	for !in.bad && len(in.b) > 0 {
		filters = append(filters, string(in.text()))
	}
	switch {
	case in.bad:
		return packets.ErrMalformedPacket
	case id == 0:
		return packets.ErrProtocolViolationNoPacketID
	case len(filters) == 0:
		return packets.ErrProtocolViolationNoFilters // [MQTT-3.10.3-2]
	}
	codes := make([]byte, len(filters))
	var changes []state.Change
	for i, f := range filters {
		existed, change := c.session.drop(c.broker, f)
		changes = append(changes, change...)
		if !existed {
			codes[i] = packets.CodeNoSubscriptionExisted.Code
		}
	}
	if err := c.journal(changes...); err != nil {
		return packets.ErrServerBusy
	}
	c.write(encodeUnsuback(id, codes, byte(c.version.Load())))
	return nil
}

// drop ends a subscription.
func (s *session) drop(b *Broker, filter string) (existed bool, changes []state.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropLocked(b, filter)
}

func (s *session) dropLocked(b *Broker, filter string) (existed bool, changes []state.Change) {
	if _, existed = s.subs[filter]; !existed {
		return false, nil
	}
	delete(s.subs, filter)
	b.index.remove(s.id, filter)
	b.sessions.subscriptions.Add(-1)
	if !s.durable() {
		return true, nil
	}
	return true, []state.Change{state.Unsubscribe{ID: s.id, Filter: filter}}
}

// explain lets a sensor's owner know what was refused and why.
func (b *Broker) explain(p auth.Principal, what, topic string) {
	if p.Kind != auth.Sensor {
		return
	}
	const most = 100
	if len(topic) > most {
		topic = strings.ToValidUTF8(topic[:most], "") + "…"
	}
	b.pipe.Refused(p.SensorID, what+" refused: "+strconv.Quote(topic)+" is not among this sensor's own topics")
}
