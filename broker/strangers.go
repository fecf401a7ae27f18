package broker

import "sensorcast/telemetry"

// Strangers hears of logins refused under a serial that no sensor has; *inbox.Inbox does.
type Strangers interface {
	// Knocked is told of one, with what came as the password. It touches memory only.
	Knocked(k telemetry.Knock, secret string)
}

// knock reports a refused login under a name that could be a new sensor's. Whether it is a person's the broker need not know: who listens
// finds out at leisure, so that this takes as long for everybody. Who knocks is whom a client certificate names, whatever user name came
// with it.
func (c *conn) knock(h *hello) {
	b := c.broker
	if b.strangers == nil {
		return
	}
	serial, secret := h.user, h.password
	if b.cfg.PeerSerial != nil {
		if certified, ok := b.cfg.PeerSerial(c.raw); ok && certified != serial {
			serial, secret = certified, ""
		}
	}
	if _, known := b.dir.Lookup(serial); known || telemetry.CheckSerial(serial) != nil {
		return
	}
	b.strangers.Knocked(telemetry.Knock{
		At: telemetry.Now(), Serial: serial, Address: c.remote, ClientID: h.clientID, Protocol: protocolName(uint32(h.version)),
	}, secret)
}
