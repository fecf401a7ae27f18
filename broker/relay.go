package broker

import (
	state "sensorcast/session"
	"sensorcast/telemetry"
)

// relayQueue is how many readings from other doors may wait to be published to MQTT subscribers.
const relayQueue = 1024

// relayed is a reading that came by WebSocket or HTTP.
type relayed struct {
	serial   string
	sensorID int64
	data     []byte
}

// Observe implements ingest.Observer: what came by another door is published to MQTT subscribers, as if the sensor had. What came by
// MQTT its connection has relayed itself. It never blocks; beyond relayQueue readings are dropped and counted.
func (b *Broker) Observe(rs []telemetry.Reading) {
	if rs[0].Via == telemetry.ViaMQTT || b.sessions.subscriptions.Load() == 0 {
		return
	}
	for i := range rs {
		select {
		case b.relay <- relayed{rs[i].Serial, rs[i].SensorID, rs[i].Data}:
		default:
			b.counters.relayDropped.Add(1)
		}
	}
}

// relayReadings publishes what Observe queued.
func (b *Broker) relayReadings() {
	for {
		select {
		case r := <-b.relay:
			// QoS 1, so that each subscriber gets it at the QoS it asked for, up to that.
			b.publish(&state.Message{Topic: telemetry.TelemetryTopic(r.serial), SensorID: r.sensorID, Payload: r.data, QoS: 1})
		case <-b.stop:
			return
		}
	}
}
