package main

import (
	"errors"
	"fmt"
	"time"

	"sensorcast/broker"
	"sensorcast/edge"
)

// limits bound what MQTT clients may take of the server. The defaults suit a small one; each has a counter in /metrics that says when it
// was reached.
type limits struct {
	MQTTClients        int           `name:"mqtt-clients" default:"100000" help:"MQTT clients logged in at once."`
	MQTTPending        int           `name:"mqtt-pending" default:"16384" help:"MQTT connections that have not logged in yet."`
	MQTTPendingAddress int           `name:"mqtt-pending-per-address" default:"256" help:"Of these, from one address."`
	MQTTSessions       int           `name:"mqtt-sessions" default:"100" help:"Sessions of one sensor or person, connected or kept."`
	MQTTSessionExpiry  time.Duration `name:"mqtt-session-expiry" default:"168h" help:"Sessions of absent clients are kept at most this long."`
	MQTTSubscriptions  int           `name:"mqtt-subscriptions" default:"1000" help:"Subscriptions of one session."`
	MQTTQueue          int           `name:"mqtt-queue" default:"10000" help:"QoS 1 and 2 messages waiting in one session; at most 30000."`
	MQTTQueueBytes     int           `name:"mqtt-queue-bytes" default:"4194304" placeholder:"BYTES" help:"Payloads of the messages waiting in one session."`
	MQTTRetainedBytes  int           `name:"mqtt-retained-bytes" default:"67108864" placeholder:"BYTES" help:"Payloads of all retained messages."`
	MQTTPublishRate    int           `name:"mqtt-publish-rate" default:"0" help:"Messages a second one connection may publish; over it it is read no faster. 0: no limit."`
	MQTTPublishBytes   int           `name:"mqtt-publish-bytes" default:"0" placeholder:"BYTES" help:"Bytes a second one connection may publish; over it it is read no faster. 0: no limit."`
}

// maxMQTTQueue is below the number of MQTT packet ids.
const maxMQTTQueue = 30_000

func (l *limits) check() error {
	for _, f := range []struct {
		flag  string
		value int
	}{
		{"mqtt-clients", l.MQTTClients},
		{"mqtt-pending", l.MQTTPending},
		{"mqtt-pending-per-address", l.MQTTPendingAddress},
		{"mqtt-sessions", l.MQTTSessions},
		{"mqtt-subscriptions", l.MQTTSubscriptions},
		{"mqtt-queue", l.MQTTQueue},
		{"mqtt-queue-bytes", l.MQTTQueueBytes},
		{"mqtt-retained-bytes", l.MQTTRetainedBytes},
	} {
		if f.value < 1 {
			return fmt.Errorf("--%s must be at least 1", f.flag)
		}
	}
	switch {
	case l.MQTTQueue > maxMQTTQueue:
		return fmt.Errorf("--mqtt-queue must be at most %d", maxMQTTQueue)
	case l.MQTTPublishRate < 0:
		return errors.New("--mqtt-publish-rate must not be negative; 0 means no limit")
	case l.MQTTPublishBytes < 0:
		return errors.New("--mqtt-publish-bytes must not be negative; 0 means no limit")
	case l.MQTTSessionExpiry < time.Second:
		return errors.New("--mqtt-session-expiry must be at least 1s")
	}
	return nil
}

// broker is the configuration of the MQTT front door.
func (s *settings) broker() broker.Config {
	return broker.Config{
		MaxPayload:           s.MaxPayload,
		ConnectTimeout:       s.ConnectTimeout,
		PeerSerial:           edge.PeerSerial,
		MaxClients:           s.MQTTClients,
		MaxPending:           s.MQTTPending,
		MaxPendingPerAddress: s.MQTTPendingAddress,
		MaxSessions:          s.MQTTSessions,
		SessionExpiry:        s.MQTTSessionExpiry,
		MaxFilters:           s.MQTTSubscriptions,
		MaxQueued:            s.MQTTQueue,
		MaxQueuedBytes:       s.MQTTQueueBytes,
		MaxRetainedBytes:     s.MQTTRetainedBytes,
		PublishRate:          s.MQTTPublishRate,
		PublishBytes:         s.MQTTPublishBytes,
	}
}
