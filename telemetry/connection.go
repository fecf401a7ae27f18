package telemetry

import "net/netip"

// Connection is how a sensor stands with the MQTT front door: who is connected in its name, and why somebody was not let in or was
// shown out.
type Connection struct {
	Clients     []Client
	LastRefusal *Refusal // newest; nil: none since the server started
}

// Client is one MQTT connection of a sensor.
type Client struct {
	ID       string // its own client id
	Remote   string // its address, without the port
	Protocol string // "MQTT 3.1", "MQTT 3.1.1" or "MQTT 5"
	Since    Millis
}

// Refusal is one connection refused, or closed for what its client did.
type Refusal struct {
	At     Millis
	Remote string
	Reason string // in words, for the sensor's owner
}

// Knock is one login over MQTT that was refused because no sensor has its serial.
type Knock struct {
	At       Millis
	Serial   string
	Address  netip.Addr
	ClientID string
	Protocol string // as in Client
}
