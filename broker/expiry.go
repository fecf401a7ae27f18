package broker

import (
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const sweepInterval = 10 * time.Second

// sweep ends sessions whose clients stayed away for too long. mochi's own expiry would leave their subscriptions behind for the next
// client of that id, and could delete one that is just coming back; so it is kept from ever acting, and what follows takes its place.
func (b *Broker) sweep() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			for _, id := range b.sessions.expired(now) {
				b.evict(id, false)
			}
		case <-b.stop:
			return
		}
	}
}

// persistent reports whether the session outlives the connection, as mochi decides it.
func persistent(cl *mqtt.Client) bool {
	if cl.Properties.ProtocolVersion == 5 {
		return cl.Properties.Props.SessionExpiryInterval > 0
	}
	return !cl.Properties.Clean
}

// expiry is how long the session of a client is kept after its connection. 3.1.1 has no word for it.
func (b *Broker) expiry(cl *mqtt.Client) time.Duration {
	if cl.Properties.ProtocolVersion == 5 {
		return min(time.Duration(cl.Properties.Props.SessionExpiryInterval)*time.Second, b.cfg.SessionExpiry)
	}
	return b.cfg.SessionExpiry
}

// limitExpiry lowers the expiry a v5 client asks for in CONNECT to what it gets, and hides it from mochi's own expiry, which goes by
// the flag.
func (c *conn) limitExpiry(props *packets.Properties) {
	asked := props.SessionExpiryInterval
	props.SessionExpiryInterval = min(asked, uint32(c.broker.cfg.SessionExpiry/time.Second))
	props.SessionExpiryIntervalFlag = false
	c.lowered = props.SessionExpiryInterval < asked
}

// announceExpiry tells the client what it gets where that is less than it asked for (MQTT 5.0 §3.2.2.3.2).
func (c *conn) announceExpiry(connack *packets.Properties) {
	if c.lowered {
		connack.SessionExpiryInterval = c.client.Properties.Props.SessionExpiryInterval
		connack.SessionExpiryIntervalFlag = true
	}
}

// changeExpiry takes the expiry of a DISCONNECT over, so that mochi does not set its flag. To turn none into some is a protocol
// error (MQTT 5.0 §3.14.2.2.2), which mochi sees to.
func (c *conn) changeExpiry(disconnect *packets.Properties) {
	have := &c.client.Properties.Props
	if disconnect.SessionExpiryIntervalFlag && (have.SessionExpiryInterval > 0 || disconnect.SessionExpiryInterval == 0) {
		have.SessionExpiryInterval = disconnect.SessionExpiryInterval
		disconnect.SessionExpiryIntervalFlag = false
	}
}
