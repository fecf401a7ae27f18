package broker

import (
	"strconv"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

const (
	maxFiltersPerPacket = 100

	// noFilter takes the place of a filter that is not granted. It is none [MQTT-4.7.1-2], so mochi keeps it out of its trie.
	noFilter = "#/"

	// maxOffline bounds the payload bytes queued for an absent client.
	maxOffline = 4 << 20
)

// OnACLCheck implements mqtt.Hook. With write it is asked for a client's publish; without, for every delivery and for filters, which
// OnSubscribe has judged already. A topic has no wildcards, so the two are told apart by those and by $share.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	c := connOf(cl)
	switch {
	case c == nil:
		return false
	case write:
		// The will channel is for wills, and commands are not spoken yet.
		if t := telemetry.ParseTopic(topic); t.Channel == telemetry.ChannelTelemetry && h.b.dir.MayPublish(c.principal, t) {
			return true
		}
		h.b.refusedPublish(c.principal, "publish", topic)
		return false
	case isFilter(topic):
		return h.b.dir.MaySubscribe(c.principal, topic)
	case c.offline.Load() > maxOffline:
		h.b.counters.dropped.Add(1)
		return false
	}
	if !h.b.dir.MayReceive(c.principal, topic) {
		return false
	}
	if !cl.Closed() {
		c.queue()
	}
	return true
}

func isFilter(topic string) bool {
	return strings.ContainsAny(topic, "+#") || strings.HasPrefix(topic, "$") && mqtt.IsSharedFilter(topic)
}

// OnSubscribe implements mqtt.Hook: it judges the filters before mochi does, and replaces those not granted.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	if c == nil {
		return pk
	}
	c.verdict = make([]byte, len(pk.Filters))
	count := cl.State.Subscriptions.Len()
	for i := range pk.Filters {
		f := pk.Filters[i].Filter
		switch _, has := cl.State.Subscriptions.Get(f); {
		case !shallow(f) || !validFilter(f):
			c.verdict[i] = packets.ErrTopicFilterInvalid.Code
		case i >= maxFiltersPerPacket || !has && count >= h.b.cfg.MaxFilters:
			c.verdict[i] = packets.ErrQuotaExceeded.Code
		case !h.b.dir.MaySubscribe(c.principal, f):
			c.verdict[i] = packets.ErrNotAuthorized.Code
			h.b.explain(c.principal, "subscription", f)
		default:
			if !has {
				count++
			}
			continue
		}
		h.b.counters.refusedFilters.Add(1)
		pk.Filters[i].Filter = noFilter
	}
	return pk
}

// OnSubscribed implements mqtt.Hook: the codes are decided and not yet sent. A v3.1.1 client knows one code for no [MQTT-3.9.3-2].
func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, codes []byte) {
	c := connOf(cl)
	if c == nil {
		return
	}
	for i, f := range pk.Filters {
		if codes[i] < packets.ErrUnspecifiedError.Code && !isFilter(f.Filter) {
			c.backlog.Add(-1) // OnACLCheck took it for a delivery
		}
	}
	if cl.Properties.ProtocolVersion == 5 {
		for i, v := range c.verdict {
			if v != 0 && i < len(codes) {
				codes[i] = v
			}
		}
	}
	c.verdict = nil
	h.b.sessions.recount(c.id, cl.State.Subscriptions.Len())
}

// OnUnsubscribe implements mqtt.Hook.
func (h *hook) OnUnsubscribe(_ *mqtt.Client, pk packets.Packet) packets.Packet {
	for i := range pk.Filters {
		if !shallow(pk.Filters[i].Filter) {
			pk.Filters[i].Filter = noFilter
		}
	}
	return pk
}

// OnUnsubscribed implements mqtt.Hook. It is called for whole sessions too, after their subscriptions were taken away.
func (h *hook) OnUnsubscribed(cl *mqtt.Client, _ packets.Packet) {
	if c := connOf(cl); c != nil && c.id != "" {
		h.b.sessions.recount(c.id, cl.State.Subscriptions.Len())
	}
}

// validFilter checks [MQTT-4.7.1-1], [MQTT-4.7.1-2] and [MQTT-4.8.2-1], of which mochi accepts "a#", "a+/b", "$share//a" and "$share/g/".
func validFilter(f string) bool {
	if rest, shared := strings.CutPrefix(f, "$share/"); shared {
		group, filter, ok := strings.Cut(rest, "/")
		if !ok || group == "" || strings.ContainsAny(group, "+#") {
			return false
		}
		f = filter
	}
	if f == "" {
		return false
	}
	for more := true; more; {
		var level string
		level, f, more = strings.Cut(f, "/")
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && more {
			return false
		}
	}
	return true
}

// refusedPublish counts a publish or will outside the principal's own topics.
func (b *Broker) refusedPublish(p auth.Principal, what, topic string) {
	b.counters.refusedPublishes.Add(1)
	b.explain(p, what, topic)
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
