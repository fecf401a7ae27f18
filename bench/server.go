package main

import "context"

// server is one running server under test. Sensors are numbered from 0. One that does not speak MQTT can take part: its publications are
// whatever bytes make it publish, and the cut of its publishers' sockets hands out its answers as PUBACKs.
type server interface {
	// prepare makes sure that n sensors exist, in a process that has done nothing else.
	prepare(ctx context.Context, n int) error
	// publisher connects sensor i, logged in, as a device would.
	publisher(i int) (*publisher, error)
	// viewer opens a connection that is sent the readings of sensor i.
	viewer(i int) (*viewer, error)
	pid() int
	stop()
}

// auditor is a server that says itself what became of what it was sent.
type auditor interface {
	audit() (accepted, shed int64, err error)
}

// publisher is a sensor's connection and how a reading is written to it.
type publisher struct {
	*socket
	qos0, qos1 publication
	sentAt     []int64 // when the QoS 1 publish with identifier index+1 was due; 0: the identifier is free
}

// viewer is a viewer's connection and which of the messages on it are readings.
type viewer struct {
	*socket
	reading func(kind byte, body []byte) bool
	got     int64
}

// contender is a kind of server.
type contender struct {
	name    string
	viewers string // how viewers are connected
	promise string // what it does and does not do for a message, beside relaying it
	noMQTT  bool   // has no MQTT devices, so no part in the rows about them
	slower  int64  // a fixed rate of readings for many viewers is divided by it, for both sides; 0: it keeps up
	version func() (string, error)
	start   func(ctx context.Context, dir string) (server, error) // dir: where it may make a folder of its own
}

// partOf is whether a row is measured against this peer. Without viewers, how they are connected makes no difference.
func (c contender) partOf(r row) bool { return r.watched || !c.noMQTT && c.viewers != overTCP }

// contenders are all that the bench knows, Sensorcast first.
func contenders(binary string) []contender {
	return []contender{
		sensorcastContender(binary),
		mochiContender("mochi", overWebSocket), mochiContender("mochi-tcp", overTCP),
		mosquittoContender("mosquitto", overWebSocket), mosquittoContender("mosquitto-tcp", overTCP),
		natsContender("nats", overWebSocket), natsContender("nats-tcp", overTCP),
		djangoContender(),
	}
}
