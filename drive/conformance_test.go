package drive

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// These tests hold the binary to what MQTT 3.1.1 and 5.0 say a server must do, clause by clause, byte by byte, on a real socket. What
// package broker shows for itself (malformed packets, windows, codes of refusal, will delays) is not repeated.

// stage is a running server with a person, each test having a sensor of its own.
type stage struct {
	*instance
	ann     *person
	sensors atomic.Int64
}

func newStage(t *testing.T, data string, args ...string) *stage {
	s := &stage{instance: serve(t, data, args...)}
	s.register("root") // the first account is an admin, who sees more than others
	s.ann = s.register("ann")
	return s
}

func (s *stage) viewer() role { return role{s.ann.name, s.ann.password} }

// newSensor makes a sensor and returns the prefix of its topics too.
func (s *stage) newSensor() (who role, telemetry string) {
	serial := fmt.Sprint("C", s.sensors.Add(1))
	return role{serial, s.ann.sensor(serial)}, "sensors/" + serial + "/telemetry"
}

func (s *stage) dial(t *testing.T, v5 bool) *peer {
	t.Helper()
	return s.through(t, "tcp", v5)
}

// through dials at a door.
func (s *stage) through(t *testing.T, transport string, v5 bool) *peer {
	t.Helper()
	c, err := s.door(transport, "").dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	version := byte(4)
	if v5 {
		version = 5
	}
	return &peer{newClient(c, version), t}
}

// connect logs in and returns the CONNACK, which must be a success.
func (p *peer) connect(l login) packet {
	p.t.Helper()
	l.version = p.version
	p.write(l.packet())
	ack := p.want(pConnack)
	if ack.code != 0 {
		p.t.Fatalf("CONNACK of %s: got %#x, want 0", l.name, ack.code)
	}
	return ack
}

// login is dial and connect.
func (s *stage) login(t *testing.T, v5 bool, l login) *peer {
	t.Helper()
	p := s.dial(t, v5)
	p.connect(l)
	return p
}

// subscription is a filter with its options.
type subscription struct {
	filter  string
	options byte
}

func (p *peer) subscribe(props []byte, subs ...subscription) packet {
	p.t.Helper()
	var body []byte
	for _, s := range subs {
		body = join(body, text(s.filter), []byte{s.options})
	}
	p.write(frame(pSubscribe<<4|2, u16(77), p.properties(props), body))
	ack := p.want(pSuback)
	if ack.id != 77 || len(ack.codes) != len(subs) {
		p.t.Fatalf("SUBACK %d with %d codes, want 77 with %d [MQTT-3.8.4-2], [MQTT-3.8.4-6]", ack.id, len(ack.codes), len(subs))
	}
	return ack
}

func (p *peer) unsubscribe(filters ...string) packet {
	p.t.Helper()
	p.write(unsubscribePacket(p.version, 78, filters...))
	return p.want(pUnsuback)
}

// publication is a PUBLISH. QoS 0 has no id.
func (p *peer) publication(topic, payload string, qos, id int, flags byte, props ...[]byte) []byte {
	var number []byte
	if qos > 0 {
		number = u16(id)
	}
	return frame(pPublish<<4|byte(qos)<<1|flags, text(topic), number, p.properties(props...), []byte(payload))
}

// publish sends one message and completes its exchange.
func (p *peer) publish(topic, payload string, qos, id int, flags byte, props ...[]byte) {
	p.t.Helper()
	p.write(p.publication(topic, payload, qos, id, flags, props...))
	p.completed(qos, id)
}

func (p *peer) completed(qos, id int) {
	p.t.Helper()
	answer := func(kind int) {
		if got := p.want(kind); got.id != id || got.code != 0 {
			p.t.Fatalf("got %s, want id %d and success", got, id)
		}
	}
	switch qos {
	case 1:
		answer(pPuback)
	case 2:
		answer(pPubrec)
		p.write(acknowledgement(pPubrel, id))
		answer(pPubcomp)
	}
}

// receive reads one message and completes its exchange.
func (p *peer) receive() packet {
	p.t.Helper()
	m := p.want(pPublish)
	switch m.qos() {
	case 1:
		p.write(acknowledgement(pPuback, m.id))
	case 2:
		p.write(acknowledgement(pPubrec, m.id))
		if rel := p.want(pPubrel); rel.id != m.id || rel.head != pPubrel<<4|2 {
			p.t.Fatalf("got %s, want PUBREL of %d", rel, m.id)
		}
		p.write(acknowledgement(pPubcomp, m.id))
	}
	return m
}

// receiveMany reads n messages, as they come, completes their exchanges, and returns them in order.
func (p *peer) receiveMany(n int) (all []packet) {
	p.t.Helper()
	for open := n; open > 0; {
		m, err := p.next(patience)
		if err != nil {
			p.t.Fatalf("got %d messages of %d: %v", len(all), n, err)
		}
		switch m.kind() {
		case pPublish:
			all = append(all, m)
			switch m.qos() {
			case 0:
				open--
			case 1:
				p.write(acknowledgement(pPuback, m.id))
				open--
			case 2:
				p.write(acknowledgement(pPubrec, m.id))
			}
		case pPubrel:
			p.write(acknowledgement(pPubcomp, m.id))
			open--
		default:
			p.t.Fatalf("got %s among messages", m)
		}
	}
	return all
}

// inBoth runs a test for each version.
func inBoth(t *testing.T, act func(t *testing.T, v5 bool)) {
	t.Helper()
	for _, v5 := range []bool{false, true} {
		t.Run(map[bool]string{false: "v3.1.1", true: "v5"}[v5], func(t *testing.T) { act(t, v5) })
	}
}

// silentFor is how long nothing may come where a ping cannot show it.
const silentFor = 300 * time.Millisecond
