package broker

import (
	"bytes"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	maxTopicBytes  = 512
	maxTopicLevels = 32 // mochi's trie takes time quadratic in the levels, under the lock of all subscriptions
)

// shallow reports whether a topic or filter is one the trie may see.
func shallow(topic string) bool {
	return len(topic) <= maxTopicBytes && strings.Count(topic, "/") < maxTopicLevels
}

// Answers to CONNECTs mochi would answer in the wrong version's words (MQTT 3.1.1 §3.2).
var (
	connackVersion  = []byte{packets.Connack << 4, 2, 0, packets.Err3UnsupportedProtocolVersion.Code}
	connackClientID = []byte{packets.Connack << 4, 2, 0, packets.Err3ClientIdentifierNotValid.Code}
)

// emptyWill stands for the zero-length will payload mochi refuses, which is legal in both versions. It is recognised by its address.
var emptyWill = []byte{0}

// OnPacketRead implements mqtt.Hook: a packet is decoded, not validated. Of the errors it may return mochi heeds ErrRejectPacket only,
// which closes the connection.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return h.readConnect(c, pk)
	case packets.Publish:
		// mochi drops a publish to $… without an acknowledgement, and the client would wait for one for ever. Renamed to what no
		// policy grants, it is refused as any foreign topic. A topic too deep or long for the grammar goes the same way.
		if strings.HasPrefix(pk.TopicName, "$") || !shallow(pk.TopicName) {
			pk.TopicName = "refused"
		}
		if pk.FixedHeader.Qos == 1 {
			c.setAside(cl, pk.PacketID)
		}
	case packets.Subscribe, packets.Unsubscribe:
		c.setAside(cl, pk.PacketID)
	case packets.Disconnect:
		if c.client != nil {
			c.changeExpiry(&pk.Properties)
		}
	}
	return pk, nil
}

// readConnect puts right what mochi's validation gets wrong. A second CONNECT is left to mochi, which closes on it.
func (h *hook) readConnect(c *conn, pk packets.Packet) (packets.Packet, error) {
	if c.client != nil {
		return pk, nil
	}
	co := &pk.Connect
	if v := pk.ProtocolVersion; v < 3 || v > 5 {
		_, _ = c.Write(connackVersion) // [MQTT-3.1.2-2]
		return pk, packets.ErrRejectPacket
	}
	if co.WillFlag && co.WillPayload != nil && len(co.WillPayload) == 0 {
		co.WillPayload = emptyWill
	}
	if co.PasswordFlag && len(co.Password) == 0 {
		co.PasswordFlag = false // legal; judged as what it is, no proof
	}
	if pk.ProtocolVersion == 5 {
		return pk, nil
	}
	if co.PasswordFlag && !co.UsernameFlag { // [MQTT-3.1.2-22] of 3.1.1
		return pk, packets.ErrRejectPacket
	}
	if pk.ConnectValidate() != packets.CodeSuccess {
		return pk, packets.ErrRejectPacket // 3.1.1 has no code for it: close
	}
	if co.ClientIdentifier == "" && !co.Clean { // [MQTT-3.1.3-8] of 3.1.1
		_, _ = c.Write(connackClientID)
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

// setAside takes an outbound message that awaits its acknowledgement out of the way of an inbound packet with the same id: mochi keeps
// both in one map, and would refuse the subscription or forget the message. OnPacketProcessed puts it back.
func (c *conn) setAside(cl *mqtt.Client, id uint16) {
	if id == 0 {
		return
	}
	if pk, ok := cl.State.Inflight.Get(id); ok && (pk.FixedHeader.Type == packets.Publish || pk.FixedHeader.Type == packets.Pubrel) {
		cl.State.Inflight.Delete(id)
		stash := pk // copied here, so that only the rare case costs an allocation
		c.stash = &stash
	}
}

// OnPacketProcessed implements mqtt.Hook.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, _ packets.Packet, _ error) {
	if c := connOf(cl); c != nil {
		c.putBack(cl)
	}
}

func (c *conn) putBack(cl *mqtt.Client) {
	if c.stash != nil {
		cl.State.Inflight.Set(*c.stash)
		c.stash = nil
	}
}

// OnPacketEncode implements mqtt.Hook: a packet is about to be written.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Connack:
		if pk.ReasonCode == packets.CodeSuccess.Code {
			pk.Properties.MaximumPacketSize = h.b.server.Options.Capabilities.MaximumPacketSize // MQTT 5.0 §3.2.2.3.6
			connOf(cl).announceExpiry(&pk.Properties)
		}
	case packets.Pubrec:
		// A QoS 2 publish sent again before its PUBREL is acknowledged as the first time [MQTT-4.3.3-10], not as an error.
		if pk.ReasonCode == packets.ErrPacketIdentifierInUse.Code {
			pk.ReasonCode, pk.Properties.ReasonString = packets.CodeSuccess.Code, ""
		}
	}
	return pk
}

// isEmptyWill reports whether payload is emptyWill itself.
func isEmptyWill(payload []byte) bool {
	return bytes.Equal(payload, emptyWill) && &payload[0] == &emptyWill[0]
}
