package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync/atomic"
)

// How viewers of an MQTT broker are connected.
const (
	overTCP       = "MQTT over TCP"
	overWebSocket = "MQTT over WebSocket"
)

// broker is a peer that speaks MQTT on both sides and lets everybody do everything.
type broker struct {
	process
	tcp, ws string // ws empty: viewers come over TCP
	clients atomic.Int64
}

// startBroker launches a broker that listens at the given addresses and waits until it answers there.
func startBroker(ctx context.Context, cmd *exec.Cmd, dir, tcp, ws, viewers string) (server, error) {
	p, err := launch(cmd, dir)
	if err != nil {
		return nil, err
	}
	b := &broker{process: p, tcp: tcp}
	if viewers == overWebSocket {
		b.ws = ws
	}
	if err := b.ready(ctx, b.answers); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

func (b *broker) prepare(context.Context, int) error { return nil }

func (b *broker) publisher(i int) (*publisher, error) {
	return dialMQTT(b.tcp, fmt.Sprintf("sensor-%d", i), "", "", topicOf(i))
}

func (b *broker) viewer(i int) (_ *viewer, err error) {
	var s *socket
	wrap := func(p []byte) []byte { return p }
	if b.ws == "" {
		s, err = dial(b.tcp, cutPackets)
	} else {
		s, err = dialWebSocket(b.ws, "/mqtt", "mqtt", packetsInFrames())
		wrap = frame
	}
	if err != nil {
		return nil, err
	}
	if err := login(s, wrap(connectPacket(fmt.Sprintf("viewer-%d", b.clients.Add(1)), "", ""))); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if _, err := s.ask(wrap(subscribePacket(topicOf(i))), suback); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return &viewer{socket: s, reading: isPublish}, nil
}

// answers is whether both doors are open.
func (b *broker) answers() error {
	p, err := b.publisher(0)
	if err != nil {
		return err
	}
	if err := p.close(); err != nil {
		return err
	}
	v, err := b.viewer(0)
	if err != nil {
		return err
	}
	return v.close()
}

func topicOf(i int) string { return "sensors/" + serial(i) + "/telemetry" }

// dialMQTT logs a sensor in.
func dialMQTT(addr, id, user, password, topic string) (*publisher, error) {
	s, err := dial(addr, cutPackets)
	if err != nil {
		return nil, err
	}
	if err := login(s, connectPacket(id, user, password)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return &publisher{socket: s, qos0: newPublication(topic, 0), qos1: newPublication(topic, 1)}, nil
}

func login(s *socket, connect []byte) error {
	answer, err := s.ask(connect, connack)
	if err == nil && (len(answer) != 2 || answer[1] != 0) {
		err = fmt.Errorf("login refused: CONNACK % x", answer)
	}
	return err
}
