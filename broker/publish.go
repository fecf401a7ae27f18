package broker

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/ingest"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

// maxTopicBytes and maxTopicLevels bound topics and filters: the index of subscriptions takes time quadratic in the levels, under a
// lock of its own.
const (
	maxTopicBytes  = 512
	maxTopicLevels = 32
)

func shallow(topic string) bool {
	return len(topic) <= maxTopicBytes && strings.Count(topic, "/") < maxTopicLevels
}

// validTopic reports whether t, which is valid text, can be a topic name [MQTT-3.3.2-2], [MQTT-4.7.3-1].
func validTopic(t []byte) bool { return len(t) > 0 && !bytes.ContainsAny(t, "+#") }

// inboundPublish is a decoded PUBLISH. The payload and the properties are part of the packet.
type inboundPublish struct {
	topic    string
	parsed   telemetry.Topic
	payload  []byte
	packetID uint16
	qos      byte
	retain   bool
	properties
}

// publish handles a PUBLISH: telemetry of the sensor's own goes to ingest and to MQTT subscribers, anything else is refused. Its
// acknowledgement waits in the gate until all it caused is committed.
func (c *conn) publish(p packet) error {
	m, err := c.decodePublish(p)
	if err != nil {
		return err
	}
	c.pace.spend(len(p.body))
	if m.qos > 0 {
		switch fresh, err := c.admit(m); {
		case err != nil:
			return err
		case !fresh: // QoS 2 sent again before its PUBREL: acknowledged as the first time [MQTT-4.3.3-10]
			c.acknowledge(m, packets.CodeSuccess, "")
			return nil
		}
	}
	t := m.parsed
	if !c.mayPublish(t) {
		return c.refuse(m)
	}
	switch t.Channel {
	case telemetry.ChannelTelemetry:
	case telemetry.ChannelCommandReply:
		return c.reply(m)
	default: // lwt is for wills
		return c.refuse(m)
	}
	if m.retain && len(m.payload) == 0 { // the retained message is to go [MQTT-3.3.1-6]: no reading
		return c.relay(m)
	}
	err = c.submit(ingest.Message{
		SensorID: c.principal.SensorID,
		Serial:   t.Serial,
		Metric:   t.Metric,
		Payload:  c.own(m),
		At:       c.arrived,
		Shed:     m.qos == 0,
		Via:      telemetry.ViaMQTT,
	}, m.qos, m.packetID)
	return c.answer(m, err)
}

// permit is what the policy last said yes to, and as of when.
type permit struct {
	topic      telemetry.Topic
	generation uint64 // of the directory; 0: nothing was permitted
}

// mayPublish asks the policy, unless it has permitted the same before and nothing has changed: a sensor sends on one topic or a few.
func (c *conn) mayPublish(t telemetry.Topic) bool {
	now := c.broker.dir.Generation() // before the policy is asked, so that a change meanwhile is not missed
	if c.permit.generation == now && c.permit.topic == t {
		return true
	}
	if !c.broker.dir.MayPublish(c.principal, t) {
		return false
	}
	c.permit = permit{t, now}
	return true
}

// answer does what follows from whether a publish was taken. One that cannot be read is acknowledged, since the sensor would send it again
// for ever; only v5 can be told.
func (c *conn) answer(m *inboundPublish, err error) error {
	switch {
	case err == nil:
		return c.relay(m)
	case errors.Is(err, telemetry.ErrInvalid):
		c.broker.counters.malformed.Add(1)
		c.acknowledge(m, packets.ErrPayloadFormatInvalid, err.Error())
		return nil
	}
	c.broker.counters.unavailable.Add(1)
	return packets.ErrServerBusy
}

// own replaces the payload, part of a buffer that will be used again, by a copy.
func (c *conn) own(m *inboundPublish) []byte {
	m.payload = bytes.Clone(m.payload)
	return m.payload
}

// decodePublish reads a PUBLISH (MQTT 5.0 §3.3). What it returns is overwritten by the next.
func (c *conn) decodePublish(p packet) (*inboundPublish, error) {
	m := &c.last
	*m = inboundPublish{qos: p.head >> 1 & 3, retain: p.head&1 == 1}
	in := cursor{b: p.body}
	topic := in.binary()
	if m.qos > 0 {
		m.packetID = in.uint16()
	}
	switch {
	case in.bad:
		return nil, packets.ErrMalformedPacket
	case m.qos > 2:
		return nil, packets.ErrProtocolViolationQosOutOfRange // [MQTT-3.3.1-4]
	case m.qos == 0 && p.head&0x08 != 0:
		return nil, packets.ErrProtocolViolationDupNoQos // [MQTT-3.3.1-2]
	case m.qos > 0 && m.packetID == 0:
		return nil, packets.ErrProtocolViolationNoPacketID // [MQTT-2.2.1-3]
	}
	if c.version.Load() == 5 {
		var err error
		if m.properties, err = in.properties(publishProperties); err != nil {
			return nil, err
		}
	}
	m.payload = in.b
	return m, c.resolve(m, topic)
}

// resolve finds the topic: given, or by its alias.
func (c *conn) resolve(m *inboundPublish, topic []byte) error {
	aliased := m.has.has(packets.PropTopicAlias)
	switch {
	case aliased && (m.alias == 0 || m.alias > maxAliases):
		return packets.ErrTopicAliasInvalid // [MQTT-3.3.2-8], [MQTT-3.3.2-9]
	case len(topic) == 0 && aliased && int(m.alias) <= len(c.aliases) && c.aliases[m.alias-1] != "":
		m.topic = c.aliases[m.alias-1]
		m.parsed = telemetry.ParseTopic(m.topic)
		return nil
	case len(topic) == 0:
		return packets.ErrProtocolViolationNoTopic
	case string(topic) != c.topic:
		if !validText(topic) {
			return packets.ErrMalformedTopic
		}
		if !validTopic(topic) {
			return packets.ErrTopicNameInvalid
		}
		if len(topic) > maxTopicBytes { // nothing it could be granted for; not to be kept
			m.topic = string(topic) // parsed as none
			return nil
		}
		c.topic = string(topic)
		c.parsed = telemetry.ParseTopic(c.topic)
	}
	m.topic, m.parsed = c.topic, c.parsed
	if aliased {
		if n := int(m.alias); n > len(c.aliases) {
			c.aliases = append(c.aliases, make([]string, n-len(c.aliases))...)
		}
		c.aliases[m.alias-1] = m.topic
	}
	return nil
}

// admit holds a publish of QoS 1 or 2 against what the client may have unacknowledged, and reports whether it is a new one.
func (c *conn) admit(m *inboundPublish) (fresh bool, err error) {
	taken, open := c.session.taken(m.packetID)
	if m.qos == 2 && taken {
		return false, nil
	}
	if c.version.Load() == 5 {
		c.mu.Lock()
		c.out.settle(c.fates.Load())
		open += c.out.pubacks
		c.mu.Unlock()
		if open >= receiveMaximum {
			return false, packets.ErrReceiveMaximum // [MQTT-3.3.4-7]
		}
	} else if open >= maxUnreleased {
		return false, packets.ErrReceiveMaximum
	}
	return true, nil
}

// maxUnreleased is how many QoS 2 publishes a v3.1.1 client may leave without PUBREL. It knows no Receive Maximum.
const maxUnreleased = 4096

// relay hands an accepted publish on to MQTT subscribers, keeps it if it is to be retained, and acknowledges it.
func (c *conn) relay(m *inboundPublish) error {
	var changes []state.Change
	var deliveries []queued
	b := c.broker
	if m.retain || b.sessions.subscriptions.Load() > 0 {
		out := &state.Message{Topic: m.topic, SensorID: c.principal.SensorID, Payload: m.payload, QoS: m.qos, Retain: m.retain, Properties: slices.Clone(m.forward)}
		if len(m.payload) == 0 {
			out.Payload = nil
		}
		if m.has.has(packets.PropMessageExpiryInterval) {
			out.ExpiresAt = telemetry.Now() + telemetry.Millis(m.messageExpiry)*1000
		}
		if m.retain {
			changes = c.retain(out)
		}
		deliveries = b.fanOut(out, noLocal(c.session))
		changes = appendQueued(changes, deliveries)
	}
	if m.qos == 2 {
		changes = append(changes, c.session.take(m.packetID)...)
	}
	if len(changes) > 0 {
		if err := c.commit(changes, confirmation{b: b, all: deliveries, next: c}); err != nil {
			b.counters.unavailable.Add(1)
			return packets.ErrServerBusy
		}
	}
	b.settleJournals(deliveries)
	c.acknowledge(m, packets.CodeSuccess, "")
	return nil
}

// retain keeps a message on its topic if there is room.
func (c *conn) retain(m *state.Message) []state.Change {
	c.retaining = m.Topic
	kept, change := c.broker.retained.put(c.principal, m)
	if !kept {
		c.broker.counters.retainRefused.Add(1)
	}
	return change
}

// acknowledge answers a publish of QoS 1 or 2. A PUBREC of 0x80 and above ends the exchange, no PUBREL follows [MQTT-4.3.3-4].
func (c *conn) acknowledge(m *inboundPublish, reason packets.Code, why string) {
	kind := byte(packets.Puback)
	switch m.qos {
	case 0:
		return
	case 2:
		kind = packets.Pubrec
	}
	c.write(c.brief(func(why string) []byte {
		return encodeAck(kind, m.packetID, byte(c.version.Load()), reason, why)
	}, why))
}

// refuse answers a publish outside the client's own topics: 3.1.1 has no negative acknowledgement but the end of the connection.
func (c *conn) refuse(m *inboundPublish) error {
	c.broker.refusedPublish(c.principal, "publish", m.topic)
	if m.qos > 0 && c.version.Load() < 5 {
		return packets.ErrNotAuthorized
	}
	c.acknowledge(m, packets.ErrNotAuthorized, "")
	return nil
}

// refusedPublish counts a publish or will outside the principal's own topics.
func (b *Broker) refusedPublish(p auth.Principal, what, topic string) {
	b.counters.refusedPublishes.Add(1)
	b.explain(p, what, topic)
}
