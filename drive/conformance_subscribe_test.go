package drive

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// Subscription options of v5 (MQTT 5.0 §3.8.3.1).
const (
	optNoLocal       = 0x04
	optAsPublished   = 0x08
	optOnlyNew       = 0x10
	optNoneRetained  = 0x20
	largestVarint    = 268_435_455
	noSuchSubscribed = 0x11
)

func TestConformance_Subscribe(t *testing.T) {
	t.Parallel()
	s := newStage(t, t.TempDir())
	inBoth(t, func(t *testing.T, v5 bool) {
		who, topic := s.newSensor()
		sensor := s.login(t, v5, login{role: who, id: "sensor"})
		watch := func(t *testing.T) *peer { return s.login(t, v5, login{role: s.viewer(), id: t.Name()}) }
		no := byte(0x80)
		if v5 {
			no = 0x87
		}
		t.Run("each filter is answered in its place [MQTT-3.9.3-1]", func(t *testing.T) {
			p := watch(t)
			ack := p.subscribe(nil, subscription{topic, 2}, subscription{"sensors/other/telemetry", 1}, subscription{"#", 1}, subscription{"+/+", 0})
			if !bytes.Equal(ack.codes, []byte{2, no, 1, 0}) {
				t.Errorf("got codes %#x, want 2, %#x, 1, 0", ack.codes, no)
			}
			unsub := p.unsubscribe("+/+", "never", topic)
			if v5 && !bytes.Equal(unsub.codes, []byte{0, noSuchSubscribed, 0}) || !v5 && len(unsub.codes) != 0 {
				t.Errorf("got UNSUBACK codes %#x [MQTT-3.11.3-1]", unsub.codes)
			}
		})
		t.Run("a filter subscribed to again is replaced [MQTT-3.8.4-3]", func(t *testing.T) {
			p := watch(t)
			for _, qos := range []byte{2, 0, 1} {
				p.subscribe(nil, subscription{topic, qos})
				sensor.publish(topic, "1", 2, 5, 0)
				if m := p.receive(); m.qos() != int(qos) {
					t.Errorf("got QoS %d, want %d", m.qos(), qos)
				}
				p.wantQuiet()
			}
		})
		t.Run("overlapping filters give the highest QoS [MQTT-3.3.5-1]", func(t *testing.T) {
			p := watch(t)
			p.subscribe(nil, subscription{topic + "/+", 0}, subscription{topic + "/x", 2}, subscription{"#", 1})
			sensor.publish(topic+"/x", "1", 2, 5, 0)
			if m := p.receive(); m.qos() != 2 {
				t.Errorf("got %s, want QoS 2", m)
			}
			p.wantQuiet()
		})
		t.Run("wildcards take levels, empty ones too, and nothing less [MQTT-4.7.1-2]", func(t *testing.T) {
			p := watch(t)
			for _, tt := range []struct {
				filter string
				want   bool
			}{
				{topic + "/x", true}, {topic + "/+", true}, {topic + "/#", true}, {topic + "/x/#", true}, {"+/+/telemetry/x", true}, {"+/+/+/+", true}, {"sensors/+/#", true},
				{topic, false}, {topic + "/X", false}, {topic + "/x/+", false}, {topic + "/x/", false}, {"/" + topic + "/x", false}, {"+/+/+", false}, {"+", false}, {topic + "/", false},
			} {
				p.subscribe(nil, subscription{tt.filter, 0})
				sensor.publish(topic+"/x", tt.filter, 1, 5, 0)
				if tt.want {
					p.receive()
				}
				p.wantQuiet()
				p.unsubscribe(tt.filter)
			}
		})
		t.Run("UNSUBSCRIBE ends just that filter, and what was begun goes on [MQTT-3.10.4-3]", func(t *testing.T) {
			p := watch(t)
			p.subscribe(nil, subscription{topic + "/x", 2}, subscription{topic + "/y", 2})
			sensor.publish(topic+"/x", "1", 2, 5, 0)
			begun := p.want(pPublish)
			p.unsubscribe(topic+"/+", topic+"/x")
			sensor.publish(topic+"/x", "2", 2, 5, 0)
			p.wantQuiet()
			p.write(acknowledgement(pPubrec, begun.id))
			if rel := p.want(pPubrel); rel.id != begun.id {
				t.Errorf("got %s, want PUBREL of %d", rel, begun.id)
			}
			p.write(acknowledgement(pPubcomp, begun.id))
			sensor.publish(topic+"/y", "3", 2, 5, 0)
			p.receive()
		})
		t.Run("a share's members split what comes, and are sent nothing retained [MQTT-4.8.2-3]", func(t *testing.T) {
			sensor.publish(topic+"/kept", "1", 1, 5, retained)
			share := "$share/g/" + topic + "/+"
			members := []*peer{s.login(t, v5, login{role: s.viewer(), id: "one"}), s.login(t, v5, login{role: s.viewer(), id: "two"})}
			for i, m := range members {
				m.subscribe(nil, subscription{share, byte(i)})
				m.wantQuiet()
			}
			got := 0
			for range 20 {
				sensor.publish(topic+"/x", "1", 2, 5, 0)
			}
			for i, m := range members {
				m.write(frame(pPingreq << 4))
				for {
					pk, err := m.next(patience)
					if err != nil {
						t.Fatal(err)
					}
					if pk.kind() == pPingresp {
						break
					}
					if got++; pk.qos() != i {
						t.Errorf("member %d: got %s, want its own QoS", i, pk)
					}
				}
			}
			if got != 20 {
				t.Errorf("the share got %d, want each of 20 once", got)
			}
			members[0].unsubscribe(share)
			members[1].Close()
			sensor.publish(topic+"/kept", "", 1, 5, retained)
		})
	})
	t.Run("options of v5", func(t *testing.T) {
		who, topic := s.newSensor()
		one, two := s.login(t, true, login{role: who, id: "one"}), s.login(t, true, login{role: who, id: "two"})
		for _, p := range []*peer{one, two} {
			p.subscribe(nil, subscription{topic, 1 | optNoLocal | optAsPublished})
		}
		one.publish(topic, "1", 1, 5, retained)
		if m := two.receive(); !m.retain() {
			t.Error("retain as published: the flag is gone [MQTT-3.3.1-13]")
		}
		one.wantQuiet() // no local [MQTT-3.8.3-3]
		for _, tt := range []struct {
			options   byte
			afresh    bool
			wantFirst bool
		}{{optNoneRetained, true, false}, {optOnlyNew, true, true}, {optOnlyNew, false, false}, {0, false, true}} {
			if tt.afresh {
				two.unsubscribe(topic)
			}
			two.subscribe(nil, subscription{topic, tt.options})
			if tt.wantFirst {
				two.receive()
			}
			two.wantQuiet()
		}
		two.write(frame(pSubscribe<<4|2, u16(1), []byte{0}, text("$share/g/"+topic), []byte{optNoLocal}))
		two.wantEnd(0x82) // [MQTT-3.8.3-4]
		one.publish(topic, "", 1, 5, retained)
	})
	t.Run("subscription identifiers [MQTT-3.3.4-3]", func(t *testing.T) {
		who, topic := s.newSensor()
		sensor := s.login(t, true, login{role: who, id: "sensor"})
		p := s.login(t, true, login{role: s.viewer(), id: "identified"})
		identifier := func(n int) []byte { return prop(propIdentifier, varint(n)) }
		p.subscribe(identifier(1), subscription{topic, 0}, subscription{"sensors/+/telemetry", 0})
		p.subscribe(identifier(largestVarint), subscription{topic + "/#", 1})
		p.subscribe(nil, subscription{"#", 0})
		wants := func(want ...int) {
			t.Helper()
			sensor.publish(topic, "1", 1, 5, 0)
			var got []int
			for open := len(want); open > 0; { // in one message or in several
				m := p.receive()
				ids := m.all(propIdentifier)
				for _, v := range ids {
					n, _ := readVarint(v)
					got = append(got, n)
				}
				open -= max(1, len(ids))
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, want) {
				t.Errorf("got identifiers %v, want %v", got, want)
			}
			p.wantQuiet()
		}
		wants(1, largestVarint)
		p.subscribe(identifier(7), subscription{topic + "/#", 1}) // replaced
		wants(1, 7)
		p.unsubscribe(topic, "sensors/+/telemetry")
		wants(7)
		for name, bad := range map[string][]byte{"zero": identifier(0), "two": join(identifier(1), identifier(2))} {
			b := s.login(t, true, login{role: s.viewer(), id: name})
			b.write(frame(pSubscribe<<4|2, u16(1), b.properties(bad), text(topic), []byte{0}))
			b.wantEnd(0x82)
		}
	})
	t.Run("a wildcard at the front does not see $ topics [MQTT-4.7.2-1]", func(t *testing.T) {
		root := role{"root", passwordOf("root")}
		p := s.login(t, true, login{role: root, id: "admin"})
		p.subscribe(nil, subscription{"#", 0}, subscription{"+/broker/uptime", 0})
		p.wantQuiet()
		p.subscribe(nil, subscription{"$SYS/broker/uptime", 0})
		if m, err := p.next(patience); err != nil || m.topic != "$SYS/broker/uptime" {
			t.Errorf("got %s, %v", m, err)
		}
	})
	t.Run("a client that asks for small bites gets no more at a time [MQTT-3.3.4-9]", func(t *testing.T) {
		who, topic := s.newSensor()
		sensor := s.login(t, true, login{role: who, id: "sensor"})
		p := s.login(t, true, login{role: s.viewer(), id: "small", props: prop(propReceiveMaximum, u16(2))})
		p.subscribe(nil, subscription{topic, 2})
		for i := range 5 {
			sensor.publish(topic, fmt.Sprint(i), 1+i%2, 5, 0)
		}
		var open []packet
		for range 2 {
			open = append(open, p.want(pPublish))
		}
		if m, err := p.next(silentFor); err == nil {
			t.Errorf("got %s beyond the receive maximum", m)
		}
		p.SetReadDeadline(time.Time{})
		for _, m := range open {
			if m.qos() == 1 {
				p.write(acknowledgement(pPuback, m.id))
			} else {
				p.write(acknowledgement(pPubrec, m.id))
			}
		}
		if got := len(p.receiveMany(3)); got < 3 {
			t.Errorf("got %d more, want 3", got)
		}
	})
}
