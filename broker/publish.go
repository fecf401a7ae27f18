package broker

import (
	"errors"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// ackOnly has mochi acknowledge a publish and do no more. It is boxed once: it is returned for every message.
var ackOnly error = packets.CodeSuccessIgnore

// OnPublish implements mqtt.Hook: a publish that OnACLCheck granted, so telemetry of the sensor itself. What it returns decides what
// mochi does: nil acknowledges, retains and relays; ackOnly acknowledges; ErrRejectPacket does nothing. Any other error
// would have it relayed, or acknowledged with PUBACK whatever the QoS.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if c == nil {
		return pk, nil // the server's own
	}
	if c.closing.Load() {
		return pk, packets.ErrRejectPacket
	}
	t := telemetry.ParseTopic(pk.TopicName)
	if pk.FixedHeader.Retain && len(pk.Payload) == 0 { // the retained message is to go [MQTT-3.3.1-10]
		h.b.retained.release(t.Serial, pk.TopicName)
		return pk, nil
	}
	err := c.submit(ingest.Message{
		SensorID: c.principal.SensorID,
		Serial:   t.Serial,
		Metric:   t.Metric,
		Payload:  pk.Payload,
		Shed:     pk.FixedHeader.Qos == 0,
		Via:      telemetry.ViaMQTT,
	}, pk.FixedHeader.Qos, pk.PacketID)
	switch {
	case err == nil:
		return h.relay(c, pk)
	case errors.Is(err, telemetry.ErrInvalid):
		h.b.counters.malformed.Add(1)
		return pk, malformed(cl, &pk, err)
	}
	h.b.counters.unavailable.Add(1)
	c.end(packets.ErrServerBusy)
	return pk, packets.ErrRejectPacket
}

// relay decides what becomes of an accepted publish in mochi: retained if there is room, and put to the trie if anybody subscribes.
func (h *hook) relay(c *conn, pk packets.Packet) (packets.Packet, error) {
	switch {
	case !pk.FixedHeader.Retain:
	case h.b.retained.reserve(c.principal.Serial, pk.TopicName, len(pk.Payload)):
		if c.retaining != pk.TopicName {
			c.retaining = strings.Clone(pk.TopicName) // it is part of the packet
		}
	default:
		h.b.counters.retainRefused.Add(1)
		pk.FixedHeader.Retain = false
	}
	if !pk.FixedHeader.Retain && h.b.sessions.subscriptions.Load() == 0 {
		return pk, ackOnly
	}
	return pk, nil
}

// malformed acknowledges what no resending would mend. 3.1.1 has no word for it but the plain acknowledgement.
func malformed(cl *mqtt.Client, pk *packets.Packet, why error) error {
	if pk.FixedHeader.Qos == 0 {
		return packets.ErrRejectPacket
	}
	if cl.Properties.ProtocolVersion < 5 {
		return ackOnly
	}
	kind := packets.Puback
	if pk.FixedHeader.Qos == 2 {
		kind = packets.Pubrec // of 0x80 and above: ends the exchange, no PUBREL follows [MQTT-4.3.3-4]
	}
	_ = cl.WritePacket(packets.Packet{ // a failed write closes the connection by itself
		FixedHeader: packets.FixedHeader{Type: kind},
		PacketID:    pk.PacketID,
		ReasonCode:  packets.ErrPayloadFormatInvalid.Code,
		Properties:  packets.Properties{ReasonString: why.Error()},
	})
	return packets.ErrRejectPacket
}

// OnQosPublish implements mqtt.Hook: something waits for an acknowledgement of the client's.
func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type != packets.Publish {
		return
	}
	if c := connOf(cl); c != nil && cl.Closed() {
		c.offline.Add(int64(len(pk.Payload)))
	}
}
