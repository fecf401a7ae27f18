package broker

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// refusalQuiet is how long the log stays silent about a sensor after a refusal was logged: a device that fails tries again for ever.
const refusalQuiet = time.Minute

// refusals remembers, for each sensor, the last time somebody was not let in under its name or was shown out: the answer to "why can it
// not connect?". Only sensors that exist are in it, so it is no larger than the registry.
type refusals struct {
	mu     sync.Mutex
	last   map[string]telemetry.Refusal // guarded by mu: by serial
	logged map[string]telemetry.Millis  // guarded by mu: when the log was told
}

func newRefusals() *refusals {
	return &refusals{last: map[string]telemetry.Refusal{}, logged: map[string]telemetry.Millis{}}
}

// note remembers a refusal and reports whether the log should be told.
func (r *refusals) note(serial string, what telemetry.Refusal) (tell bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[serial] = what
	if tell = what.At.Sub(r.logged[serial]) >= refusalQuiet; tell {
		r.logged[serial] = what.At
	}
	return tell
}

func (r *refusals) of(serial string) *telemetry.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if what, ok := r.last[serial]; ok {
		return &what
	}
	return nil
}

func (r *refusals) forget(serial string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, serial)
	delete(r.logged, serial)
}

// notAdmitted explains to a sensor's owner, and now and then to the log, why a connection in its name was refused or closed. Names that
// are no sensor's are not remembered: anybody can invent any number of them.
func (b *Broker) notAdmitted(serial string, remote netip.Addr, reason string) {
	if _, known := b.dir.Lookup(serial); !known {
		return
	}
	if b.refusals.note(serial, telemetry.Refusal{At: telemetry.Now(), Remote: remote.String(), Reason: reason}) {
		b.log.Info("sensor not admitted", "sensor", serial, "remote", remote, "reason", reason)
	}
}

// inWords says what a refusal means to who set the sensor up.
func inWords(r refusal) string {
	switch r {
	case refusedLogin:
		return "wrong secret, or a client certificate of another sensor"
	case refusedWill:
		return "its will is not on its own topic sensors/{serial}/lwt"
	case refusedClientID:
		return "client id missing or too long"
	case refusedTooMany:
		return "too many sessions or attempts"
	case refusedBusy, refusedUnavailable:
		return "the server was busy"
	case refusedVersion:
		return "protocol version not supported"
	case refusedMethod:
		return "asks for an authentication method the server does not have"
	}
	return r.v5.Reason
}

// Connected reports whether the sensor has a connection.
func (b *Broker) Connected(serial string) bool { return b.sessions.connected(serial) }

// Connection tells how the sensor stands with the front door. It is safe for concurrent use and touches memory only.
func (b *Broker) Connection(serial string) telemetry.Connection {
	answer := telemetry.Connection{LastRefusal: b.refusals.of(serial)}
	dev, ok := b.dir.Lookup(serial)
	if !ok {
		return answer
	}
	for _, id := range b.sessions.of(auth.Principal{Kind: auth.Sensor, SensorID: dev.SensorID}.Scope()) {
		s := b.sessions.find(id)
		if s == nil {
			continue
		}
		if c := s.connection(); c != nil && c.established.Load() {
			_, clientID, _ := strings.Cut(id, "/")
			answer.Clients = append(answer.Clients, telemetry.Client{
				ID: clientID, Remote: c.remote.String(), Protocol: protocolName(c.version.Load()), Since: c.since,
			})
		}
	}
	return answer
}

func protocolName(version uint32) string {
	switch version {
	case 3:
		return "MQTT 3.1"
	case 4:
		return "MQTT 3.1.1"
	}
	return "MQTT 5"
}

// shownOut is notAdmitted for a connection that was in.
func (c *conn) shownOut(why packets.Code) {
	if c.principal.Kind == auth.Sensor {
		c.broker.notAdmitted(c.principal.Serial, c.remote, "disconnected: "+why.Reason)
	}
}
