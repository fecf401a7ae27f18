package broker

import (
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	state "sensorcast/session"
)

const (
	replayBytes = maxOutbound / 4 // of what is retained, waiting for a client's socket at a time
	maxReplays  = 16              // of one client at a time: over it, it subscribes faster than it reads
)

// replay sends what is retained on the topics of new subscriptions (MQTT 5.0 §3.8.4), from a goroutine of its own: all of it may be
// more than may wait for one client, and while this waits, the client's acknowledgements must be read. One whose socket takes
// nothing breaks at the stall timeout.
func (c *conn) replay(granted []grant) error {
	var all []*state.Message
	for _, g := range granted {
		if isShared(g.Filter) || g.RetainHandling == 2 || g.RetainHandling == 1 && g.existed {
			continue
		}
		for _, m := range c.broker.retainedFor(g.Filter) {
			if !c.broker.dir.MayReceiveOf(c.principal, m.Topic, m.SensorID) {
				continue
			}
			out := *m
			out.Retain = true // [MQTT-3.3.1-8]
			out.QoS = min(m.QoS, g.Qos)
			out.Properties = withIdentifiers(identifiers(g.Subscription), m.Properties)
			all = append(all, &out)
		}
		for _, topic := range c.broker.statuses(c.principal, g.Filter) { // without payload: that is made when it is sent
			all = append(all, &state.Message{
				Topic: topic, QoS: min(1, g.Qos), Retain: true, Properties: withIdentifiers(identifiers(g.Subscription), nil),
			})
		}
	}
	if len(all) == 0 {
		return nil
	}
	if len(all) == 1 { // the usual case is not worth a goroutine
		c.replayOne(all[0])
		return nil
	}
	if c.replaying.Add(1) > maxReplays {
		c.replaying.Add(-1)
		return packets.ErrQuotaExceeded
	}
	c.replays.Go(func() { // ends with the list or the connection
		defer c.replaying.Add(-1)
		for _, m := range all {
			room := c.await(0, func() bool {
				return c.closing.Load() || len(c.out.buf) < replayBytes
			}) && c.session.awaitRoom(c, c.broker.cfg.MaxQueued/2)
			if !room || c.closing.Load() {
				return
			}
			c.replayOne(m)
		}
	})
	return nil
}

func (c *conn) replayOne(m *state.Message) {
	if m.Payload == nil && strings.HasSuffix(m.Topic, statusSuffix) {
		c.replayStatus(m)
		return
	}
	c.replayMessage(m)
}

// replayStatus sends a sensor's status until it is true once it is sent: a step that was published in between was overtaken.
func (c *conn) replayStatus(m *state.Message) {
	for now := c.broker.refresh(m); now != nil && !c.closing.Load(); {
		c.replayMessage(now)
		sent := now
		if now = c.broker.refresh(m); now != nil && sameState(now, sent) {
			return
		}
	}
}

func (c *conn) replayMessage(m *state.Message) {
	if !c.broker.dir.MayReceiveOf(c.principal, m.Topic, m.SensorID) {
		return
	}
	if q := c.session.deliver(c.broker, m); q.d != nil {
		c.broker.journal([]queued{q}, appendQueued(nil, []queued{q}))
	}
}

// awaitRoom blocks until fewer than most deliveries wait, or the connection ends.
func (s *session) awaitRoom(c *conn, most int) bool {
	return c.await(0, func() bool { return c.closing.Load() || s.waiting.Load() < int64(most) })
}

// retainedFor is what a subscriber to filter is sent at once: what sensors had retained, and for $SYS the present figures.
func (b *Broker) retainedFor(filter string) []*state.Message {
	if strings.HasPrefix(filter, "$SYS") {
		return b.system(filter)
	}
	return b.retained.match(filter)
}
