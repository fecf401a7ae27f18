package drive

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestConformance_Session(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := newStage(t, data)
	lasting := func(v5 bool, who role, id string) login {
		h := login{role: who, id: id, keep: true}
		if v5 {
			h.props = prop(propSessionExpiry, u32(600))
		}
		return h
	}
	// begun is a session in the middle of everything, as it is left behind.
	type begun struct {
		v5                  bool
		sensor, viewer      login
		topic               string
		unacked, received   packet
		sensorID, sensorOld int
	}
	var all []begun
	for _, v5 := range []bool{false, true} {
		who, topic := s.newSensor()
		b := begun{v5: v5, topic: topic, sensor: lasting(v5, who, "sensor"), viewer: lasting(v5, s.viewer(), fmt.Sprint("viewer", v5)), sensorID: 9, sensorOld: 8}
		viewer := s.login(t, v5, b.viewer)
		var id []byte
		if v5 {
			id = prop(propIdentifier, varint(300))
		}
		viewer.subscribe(id, subscription{topic + "/#", 2})
		sensor := s.login(t, v5, b.sensor)
		sensor.publish(topic, "1", 2, 1, 0)
		b.received = viewer.want(pPublish)
		viewer.write(acknowledgement(pPubrec, b.received.id))
		viewer.want(pPubrel) // and PUBCOMP never comes
		sensor.publish(topic+"/x", "2", 1, 1, 0)
		b.unacked = viewer.want(pPublish) // and PUBACK neither
		viewer.Close()
		for i := range 5 {
			sensor.publish(topic+"/x", fmt.Sprint("away ", i), 1, 1, 0)
		}
		sensor.write(sensor.publication(topic, "3", 2, b.sensorOld, 0))
		sensor.want(pPubrec)
		sensor.write(acknowledgement(pPubrel, b.sensorOld))
		sensor.want(pPubcomp)
		sensor.write(sensor.publication(topic, "4", 2, b.sensorID, 0))
		sensor.want(pPubrec) // and PUBREL is still to come
		sensor.Close()
		all = append(all, b)
	}
	s.kill()
	s = &stage{instance: serve(t, data), ann: s.ann}
	s.ann.s = s.instance
	for _, b := range all {
		t.Run(map[bool]string{false: "v3.1.1", true: "v5"}[b.v5]+" goes on after SIGKILL [MQTT-4.4.0-1]", func(t *testing.T) {
			viewer := s.dial(t, b.v5)
			if !viewer.connect(b.viewer).present {
				t.Error("got session present 0, want 1 [MQTT-3.2.2-3]")
			}
			if rel := viewer.want(pPubrel); rel.id != b.received.id {
				t.Errorf("got %s, want PUBREL of %d", rel, b.received.id)
			}
			viewer.write(acknowledgement(pPubcomp, b.received.id))
			m := viewer.receive()
			if m.id != b.unacked.id || !m.dup() || m.payload != "2" || m.topic != b.unacked.topic {
				t.Errorf("got %s, want the unacknowledged %s again with DUP", m, b.unacked)
			}
			if n, _ := m.number(propIdentifier); b.v5 && n != 300 {
				t.Errorf("got subscription identifier %d, want 300", n)
			}
			for i, m := range viewer.receiveMany(7) {
				want := append([]string{"away 0", "away 1", "away 2", "away 3", "away 4"}, "3", "4")[i]
				if m.payload != want {
					t.Errorf("message %d: got %s, want %q", i, m, want)
				}
			}
			sensor := s.dial(t, b.v5)
			sensor.connect(b.sensor)
			sensor.write(sensor.publication(b.topic, "4", 2, b.sensorID, again)) // it did not see PUBREC
			sensor.completed(2, b.sensorID)
			viewer.wantQuiet() // exactly once
			sensor.publish(b.topic, "5", 2, b.sensorID, 0)
			if m := viewer.receive(); m.payload != "5" {
				t.Errorf("got %s, want 5", m)
			}
			viewer.write(frame(pDisconnect << 4))
			viewer.wantEnd(0)
			clean := b.viewer
			clean.keep = false
			viewer = s.dial(t, b.v5)
			if viewer.connect(clean).present {
				t.Error("a clean start found a session [MQTT-3.2.2-2]")
			}
			sensor.publish(b.topic, "6", 2, b.sensorID, 0)
			viewer.wantQuiet()
		})
	}
}

func TestConformance_Will(t *testing.T) {
	t.Parallel()
	s := newStage(t, t.TempDir())
	inBoth(t, func(t *testing.T, v5 bool) {
		who, topic := s.newSensor()
		lwt := strings.TrimSuffix(topic, "telemetry") + "lwt"
		viewer := s.login(t, v5, login{role: s.viewer(), id: t.Name()})
		viewer.subscribe(nil, subscription{lwt, 2})
		leave := func(w willOf, end func(*peer)) {
			w.topic = lwt
			end(s.login(t, v5, login{role: who, id: "mortal", will: &w}))
		}
		cut := func(p *peer) { p.Close() }
		for qos := range byte(3) {
			leave(willOf{payload: fmt.Sprint(qos), qos: qos}, cut)
			if m := viewer.receive(); m.payload != fmt.Sprint(qos) || m.qos() != int(qos) || m.retain() {
				t.Errorf("got %s, want the will at QoS %d [MQTT-3.1.2-8]", m, qos)
			}
		}
		leave(willOf{payload: "no"}, func(p *peer) { p.write(frame(pDisconnect << 4)); p.wantEnd(0) })
		viewer.wantQuiet() // [MQTT-3.1.2-10]
		leave(willOf{payload: "fault"}, func(p *peer) { p.write([]byte{pPingreq<<4 | 1, 0}); p.wantEnd(0x81) })
		if m := viewer.receive(); m.payload != "fault" {
			t.Errorf("got %s, want the will of one who broke the protocol", m)
		}
		leave(willOf{payload: "old"}, func(p *peer) { s.login(t, v5, login{role: who, id: "mortal"}); p.wantEnd(0x8e) })
		if m := viewer.receive(); m.payload != "old" {
			t.Errorf("got %s, want the will of one taken over", m)
		}
		leave(willOf{payload: "kept", qos: 1, retain: true}, cut)
		viewer.receive()
		newcomer := s.login(t, v5, login{role: s.viewer(), id: "newcomer" + t.Name()})
		newcomer.subscribe(nil, subscription{lwt, 2})
		if m := newcomer.receive(); m.payload != "kept" || !m.retain() || m.qos() != 1 {
			t.Errorf("got %s, want the retained will [MQTT-3.1.2-17]", m)
		}
		leave(willOf{retain: true}, cut) // an empty one clears
		viewer.receive()
		newcomer.receive()
		newcomer.subscribe(nil, subscription{lwt, 2})
		newcomer.wantQuiet()
		if !v5 {
			return
		}
		user := prop(propUser, join(text("k"), text("v")))
		leave(willOf{payload: "rich", props: join(user, prop(propContentType, text("text/plain")), prop(propMessageExpiry, u32(50)))}, cut)
		m := viewer.receive()
		left, _ := m.number(propMessageExpiry)
		if string(m.value(propUser)) != string(user[1:]) || string(m.value(propContentType)) != "text/plain" || left < 48 || left > 50 {
			t.Errorf("got %s with %v, want the will's properties [MQTT-3.1.3-10]", m, m.props)
		}
		leave(willOf{payload: "asked for"}, func(p *peer) { p.write(frame(pDisconnect<<4, []byte{0x04})); p.wantEnd(0) })
		if m := viewer.receive(); m.payload != "asked for" {
			t.Errorf("got %s, want the will that DISCONNECT 0x04 asks for", m)
		}
		start := time.Now()
		leave(willOf{payload: "session's end", props: prop(propWillDelay, u32(60))}, cut) // of a session that ends at once
		if viewer.receive(); time.Since(start) > 2*time.Second {
			t.Errorf("a will came %v after its session [MQTT-3.1.3-9]", time.Since(start))
		}
	})
}
