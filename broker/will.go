package broker

import (
	mqtt "github.com/mochi-mqtt/server/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// mayLeave reports whether p may leave a will on the topic: a sensor on its own lwt, nobody anywhere else.
func (b *Broker) mayLeave(p auth.Principal, topic string) bool {
	t := telemetry.ParseTopic(topic)
	return t.Channel == telemetry.ChannelWill && b.dir.MayPublish(p, t)
}

// OnWill implements mqtt.Hook: mochi is about to publish a will, past its own access check. The policy may have changed since CONNECT.
// Returning an error would publish the will all the same; the empty Will goes to the empty topic, which no filter matches and mochi
// retains nothing on, since its Retain is false.
func (h *hook) OnWill(cl *mqtt.Client, will mqtt.Will) (mqtt.Will, error) {
	c := connOf(cl)
	if c == nil || c.revoked.Load() || h.b.closing.Load() || !h.b.mayLeave(c.principal, will.TopicName) {
		return mqtt.Will{}, nil // our own shutdown is nobody's death
	}
	if isEmptyWill(will.Payload) {
		will.Payload = nil
	}
	switch {
	case !will.Retain:
	case len(will.Payload) == 0:
		h.b.retained.release(c.principal.Serial, will.TopicName)
	case !h.b.retained.reserve(c.principal.Serial, will.TopicName, len(will.Payload)):
		h.b.counters.retainRefused.Add(1)
		will.Retain = false
	}
	return will, nil
}
