package drive

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestConformance_Publish(t *testing.T) {
	t.Parallel()
	s := newStage(t, t.TempDir())
	// pair is a sensor and a viewer of its telemetry at QoS 2.
	pair := func(t *testing.T, v5 bool) (sensor, viewer *peer, topic string) {
		who, topic := s.newSensor()
		sensor = s.login(t, v5, login{role: who, id: "sensor"})
		viewer = s.login(t, v5, login{role: s.viewer(), id: t.Name()})
		viewer.subscribe(nil, subscription{topic + "/#", 2})
		return sensor, viewer, topic
	}
	inBoth(t, func(t *testing.T, v5 bool) {
		t.Run("DUP is each sender's own [MQTT-3.3.1-3]", func(t *testing.T) {
			sensor, viewer, topic := pair(t, v5)
			for qos := 1; qos <= 2; qos++ {
				sensor.publish(topic, "1", qos, 5, again)
				if m := viewer.receive(); m.dup() || m.qos() != qos {
					t.Errorf("got %s, want QoS %d without DUP", m, qos)
				}
			}
		})
		t.Run("an id is free again after PUBACK and PUBCOMP [MQTT-2.2.1-4]", func(t *testing.T) {
			sensor, viewer, topic := pair(t, v5)
			for i := range 6 {
				sensor.publish(topic+"/m", fmt.Sprint(i), 1+i%2, 5, byte(again*(i%3/2)))
				if m := viewer.receive(); m.payload != fmt.Sprint(i) {
					t.Errorf("got %s, want %d", m, i)
				}
			}
		})
		t.Run("QoS 2 sent again before PUBREL is one message [MQTT-4.3.3-10]", func(t *testing.T) {
			sensor, viewer, topic := pair(t, v5)
			for _, dup := range []byte{0, again, again} {
				sensor.write(sensor.publication(topic, "1", 2, 5, dup))
				if rec := sensor.want(pPubrec); rec.id != 5 || rec.code != 0 {
					t.Errorf("got %s, want PUBREC of 5", rec)
				}
			}
			viewer.receive()
			viewer.wantQuiet()
			for i := range 2 { // PUBREL is answered however often [MQTT-4.3.3-11]
				sensor.write(acknowledgement(pPubrel, 5))
				if comp := sensor.want(pPubcomp); comp.id != 5 || v5 && (comp.code == 0x92) != (i == 1) {
					t.Errorf("PUBREL %d: got %s", i, comp)
				}
			}
		})
		t.Run("messages of one QoS keep their order [MQTT-4.6.0-6]", func(t *testing.T) {
			sensor, viewer, topic := pair(t, v5)
			const all = 200
			for qos := range 3 {
				for i := range all {
					sensor.write(sensor.publication(topic+"/n", fmt.Sprint(i), qos, 1+i, 0))
					if qos == 2 {
						sensor.completed(2, 1+i)
					}
				}
				if qos == 1 {
					for i := range all {
						sensor.completed(1, 1+i) // [MQTT-4.6.0-2]
					}
				}
				for i, m := range viewer.receiveMany(all) {
					if m.payload != fmt.Sprint(i) {
						t.Fatalf("QoS %d: got %q, want %d", qos, m.payload, i)
					}
				}
			}
		})
		t.Run("payloads of every length of the length come whole", func(t *testing.T) {
			sensor, viewer, topic := pair(t, v5)
			for _, n := range []int{1, 90, 120, 127, 128, 129, 16_300, 16_383, 16_384, 16_385, 65_535, 65_536} {
				payload := `1` + strings.Repeat(" ", n-1) // a number of JSON
				sensor.publish(topic, payload, 1, 5, 0)
				if m := viewer.receive(); m.payload != payload {
					t.Errorf("%d bytes: got %d", n, len(m.payload))
				}
			}
		})
		t.Run("topics are what was sent, byte by byte [MQTT-4.7.3-4]", func(t *testing.T) {
			sensor, viewer, topic := pair(t, v5)
			for _, metric := range []string{"temperature", "Temperature", " ", "a b", "\ufeffbom", "\uffff", "\U0001f321", "é", "e\u0301", "$x"} {
				sensor.publish(topic+"/"+metric, "1", 1, 5, 0)
				if m := viewer.receive(); m.topic != topic+"/"+metric {
					t.Errorf("got topic %q, want %q", m.topic, topic+"/"+metric)
				}
			}
		})
		t.Run("retained messages: kept, replaced, left alone, cleared [MQTT-3.3.1-5]", func(t *testing.T) {
			sensor, viewer, topic := pair(t, v5)
			for i, step := range []struct {
				payload string
				qos     int
				flags   byte
				want    string // a newcomer gets
			}{
				{"zero", 0, retained, "zero"}, // [MQTT-3.3.1-9] of 3.1.1, QoS 0 too
				{"one", 1, retained, "one"},
				{"passing", 1, 0, "one"}, // [MQTT-3.3.1-8]
				{"two", 2, retained, "two"},
				{"", 1, retained, ""}, // [MQTT-3.3.1-6]
				{"", 1, retained, ""}, // and nothing to clear
				{"back", 1, retained, "back"},
			} {
				sensor.publish(topic+"/kept", step.payload, step.qos, 5, step.flags)
				if m := viewer.receive(); m.payload != step.payload || m.retain() || m.qos() != step.qos {
					t.Errorf("step %d, live: got %s, want %q at QoS %d without RETAIN", i, m, step.payload, step.qos)
				}
				newcomer := s.login(t, v5, login{role: s.viewer(), id: "new" + t.Name()})
				newcomer.subscribe(nil, subscription{topic + "/kept", 2})
				if step.want != "" {
					if m := newcomer.receive(); m.payload != step.want || !m.retain() || m.dup() {
						t.Errorf("step %d, newcomer: got %s, want %q with RETAIN [MQTT-3.3.1-8]", i, m, step.want)
					}
				}
				newcomer.wantQuiet()
				newcomer.subscribe(nil, subscription{topic + "/kept", 2}) // and once more [MQTT-3.8.4-3]
				if step.want != "" {
					newcomer.receive()
				}
				newcomer.wantQuiet()
			}
		})
	})
	t.Run("properties pass unaltered and in order [MQTT-3.3.2-18]", func(t *testing.T) {
		sensor, viewer, topic := pair(t, true)
		old := s.login(t, false, login{role: s.viewer(), id: "old"})
		old.subscribe(nil, subscription{topic, 2})
		user := func(k, v string) []byte { return prop(propUser, join(text(k), text(v))) }
		sensor.publish(topic, `"text"`, 1, 5, retained, user("b", "1"), prop(propPayloadFormat, []byte{1}), user("a", "2"), prop(propContentType, text("application/json")),
			prop(propResponseTopic, text("any/topic")), prop(propCorrelation, text("\x00\xff")), user("b", "1"), prop(propAlias, u16(1)), prop(propMessageExpiry, u32(100)))
		newcomer := s.login(t, true, login{role: s.viewer(), id: "newcomer"})
		newcomer.subscribe(nil, subscription{topic, 1})
		for _, m := range []packet{viewer.receive(), newcomer.receive()} {
			for id, want := range map[byte]string{propPayloadFormat: "\x01", propContentType: "application/json", propResponseTopic: "any/topic", propCorrelation: "\x00\xff"} {
				if got := m.value(id); string(got) != want {
					t.Errorf("property %#x: got %q, want %q", id, got, want)
				}
			}
			pairs := [][]byte{user("b", "1")[1:], user("a", "2")[1:], user("b", "1")[1:]}
			if got := m.all(propUser); !slices.EqualFunc(got, pairs, bytes.Equal) {
				t.Errorf("got user properties %q, want %q", got, pairs)
			}
			if left, ok := m.number(propMessageExpiry); !ok || left < 98 || left > 100 {
				t.Errorf("got message expiry %d, want 100 less what it waited [MQTT-3.3.2-6]", left)
			}
			if m.value(propAlias) != nil || m.topic != topic {
				t.Error("the publisher's alias went to a subscriber [MQTT-3.3.2-7]")
			}
		}
		if m := old.receive(); m.payload != `"text"` {
			t.Errorf("a client of 3.1.1 got %s", m)
		}
	})
	t.Run("a topic alias can be set anew, and is a connection's own [MQTT-3.3.2-7]", func(t *testing.T) {
		sensor, viewer, topic := pair(t, true)
		for _, metric := range []string{"/a", "/b"} {
			sensor.publish(topic+metric, "1", 1, 5, 0, prop(propAlias, u16(3)))
			sensor.publish("", "2", 1, 5, 0, prop(propAlias, u16(3)))
			for range 2 {
				if m := viewer.receive(); m.topic != topic+metric {
					t.Errorf("got topic %q, want %q", m.topic, topic+metric)
				}
			}
		}
		who := role{strings.Split(topic, "/")[1], ""}
		var secret struct {
			SecretKey string `json:"secret_key"`
		}
		s.ann.call("POST", "/api/v1/sensors/"+who.name+"/secret", map[string]any{"grace_seconds": 60}, 200, &secret)
		who.password = secret.SecretKey
		next := s.login(t, true, login{role: who, id: "sensor", keep: true})
		next.write(next.publication("", "3", 1, 5, 0, prop(propAlias, u16(3))))
		next.wantEnd(0x82)
		viewer.wantQuiet()
	})
	t.Run("a subscriber's refusal is an end of the exchange [MQTT-4.3.3-4]", func(t *testing.T) {
		sensor, viewer, topic := pair(t, true)
		for qos, answer := range map[int]byte{1: pPuback, 2: pPubrec} {
			sensor.publish(topic, "1", qos, 5, 0)
			m := viewer.want(pPublish)
			viewer.write(frame(answer<<4, u16(m.id), []byte{0x97, 0}))
			viewer.wantQuiet()
		}
	})
	t.Run("who wants no reasons is told none [MQTT-3.1.2-29]", func(t *testing.T) {
		who, topic := s.newSensor()
		for wanted, props := range map[bool][]byte{true: nil, false: prop(propRequestProblem, []byte{0})} {
			p := s.login(t, true, login{role: who, id: "curious", props: props})
			p.write(p.publication(topic, "{", 1, 5, 0))
			ack := p.want(pPuback)
			if ack.code != 0x99 || (ack.value(propReason) != nil) != wanted {
				t.Errorf("reasons wanted %v: got code %#x, reason %q", wanted, ack.code, ack.value(propReason))
			}
		}
	})
}
