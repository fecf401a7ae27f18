package broker

import (
	"strconv"
	"time"

	state "sensorcast/session"
)

// system is the broker's own figures, those whose topics the filter matches, under the names other brokers use. Only admins may
// subscribe to them.
func (b *Broker) system(filter string) (all []*state.Message) {
	s := b.Stats()
	for _, f := range []struct {
		topic string
		value int64
	}{
		{"uptime", int64(time.Since(b.started).Seconds())},
		{"clients/connected", int64(s.Connections - s.Pending)},
		{"clients/total", int64(s.Sessions)},
		{"subscriptions/count", s.Subscriptions},
		{"retained messages/count", int64(s.Retained)},
		{"messages/received", s.PacketsReceived},
		{"messages/sent", s.PacketsSent},
		{"publish/messages/dropped", s.Dropped},
		{"bytes/received", s.BytesReceived},
		{"bytes/sent", s.BytesSent},
	} {
		if topic := "$SYS/broker/" + f.topic; matches(filter, topic) {
			all = append(all, &state.Message{Topic: topic, Payload: strconv.AppendInt(nil, f.value, 10)})
		}
	}
	return all
}

// publishSystem sends the figures to whoever subscribes to them.
func (b *Broker) publishSystem() {
	if b.sessions.subscriptions.Load() == 0 {
		return
	}
	for _, m := range b.system("$SYS/#") {
		b.publish(m)
	}
}
