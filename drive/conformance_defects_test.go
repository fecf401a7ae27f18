package drive

import (
	"strings"
	"testing"
	"time"
)

// Each of these was found broken once.

// The deadline of the first packet must not stand in for a keep alive that is shorter.
func TestConformance_KeepAliveShorterThanTheConnectTimeout(t *testing.T) { // [MQTT-3.1.2-22]
	t.Parallel()
	s := newStage(t, t.TempDir())
	who, _ := s.newSensor()
	inBoth(t, func(t *testing.T, v5 bool) {
		t.Parallel()
		start := time.Now()
		silent := s.login(t, v5, login{role: who, id: "silent" + t.Name(), keepAlive: 1})
		pinging := s.login(t, v5, login{role: who, id: "pinging" + t.Name(), keepAlive: 1})
		for range 5 {
			time.Sleep(600 * time.Millisecond) // as a client does
			pinging.wantQuiet()
		}
		silent.wantEnd(0)
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("a client of keep alive 1 s was closed after %v of silence, want 1.5 s and a little", took)
		}
	})
}

// A session whose time is over is over then, not at the next sweep.
func TestConformance_SessionEndsWithItsExpiry(t *testing.T) { // MQTT 5.0 §3.1.2.11.2, §4.1
	t.Parallel()
	s := newStage(t, t.TempDir())
	h := login{role: s.viewer(), id: "brief", keep: true, props: prop(propSessionExpiry, u32(1))}
	s.login(t, true, h).Close()
	time.Sleep(1500 * time.Millisecond) // the expiry itself, of a process of its own
	if s.dial(t, true).connect(h).present {
		t.Error("a session of 1 s is present after 1.5 s")
	}
}

// What fits the client's maximum packet size is delivered.
func TestConformance_PacketOfExactlyTheClientsMaximumIsDelivered(t *testing.T) { // [MQTT-3.1.2-24], [MQTT-3.1.2-25]
	t.Parallel()
	s := newStage(t, t.TempDir())
	who, topic := s.newSensor()
	sensor := s.login(t, true, login{role: who, id: "sensor"})
	const most = 100
	for qos := range 3 {
		p := s.login(t, true, login{role: s.viewer(), id: "small", props: prop(propMaximumPacket, u32(most))})
		p.subscribe(nil, subscription{topic, byte(qos)})
		fits := "1" + strings.Repeat(" ", most-len(p.publication(topic, "1", qos, 1, 0)))
		sensor.publish(topic, fits+" ", qos, 5, 0) // one byte too many: left out
		sensor.publish(topic, fits, qos, 5, 0)
		m, err := p.next(2 * time.Second)
		if err != nil || m.size != most {
			t.Errorf("QoS %d: got %s of %d bytes, %v; want the one of %d", qos, m, m.size, err, most)
		}
	}
}

// A reason string is left out where the packet would be larger than the client takes.
func TestConformance_ReasonsRespectTheClientsMaximumPacketSize(t *testing.T) { // [MQTT-3.4.2-2], [MQTT-3.14.2-3]
	t.Parallel()
	s := newStage(t, t.TempDir())
	who, topic := s.newSensor()
	for name, provoke := range map[string]func(p *peer){
		"PUBACK":     func(p *peer) { p.write(p.publication(topic, "{", 1, 5, 0)) },
		"PUBREC":     func(p *peer) { p.write(p.publication(topic, "{", 2, 5, 0)) },
		"DISCONNECT": func(p *peer) { p.write([]byte{pPingreq<<4 | 1, 0}) },
	} {
		const most = 20
		p := s.dial(t, true)
		p.connect(login{role: who, id: "tiny", props: prop(propMaximumPacket, u32(most))})
		provoke(p)
		m, err := p.next(patience)
		if err != nil {
			t.Fatal(err)
		}
		if m.size > most {
			t.Errorf("%s: got %d bytes with reason %q, want at most %d", name, m.size, m.value(propReason), most)
		}
	}
}
