package drive

import (
	"strings"
	"testing"
)

// #13: deep and long topics never reach the index.
func TestDefect13_DeepTopicsAreRefused(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	who, topic := s.newSensor()
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		deep, long := strings.Repeat("/", 20_000), "sensors/"+strings.Repeat("x", 600)
		no := byte(0x80)
		if v5 {
			no = 0x8f
		}
		p := s.enter(t, transport, v5, login{role: who, id: "deep"})
		if got := p.subscribe(nil, subscription{deep, 0}, subscription{long, 0}, subscription{topic, 0}).codes; string(got) != string([]byte{no, no, 0}) {
			t.Errorf("got SUBACK %#x, want %#x twice and 0", got, no)
		}
		p.unsubscribe(deep)
		p.wantQuiet()
		sensor := s.enter(t, transport, v5, login{role: who, id: "sensor"})
		sensor.write(sensor.publication(topic+"/"+strings.Repeat("x", 600), "1", 1, 1, 0))
		if !v5 {
			sensor.wantEnd(0)
		} else if ack := sensor.want(pPuback); ack.code != 0x87 {
			t.Errorf("publish to a long topic: got %s, want 0x87", ack)
		}
		p.wantQuiet()
		p.Close()
	})
}

// #15: a/# takes a, and +/# what + takes, live and retained.
func TestDefect15_MultiLevelWildcardTakesItsParent(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		who, topic := s.newSensor()
		sensor := s.enter(t, transport, v5, login{role: who, id: "sensor"})
		sensor.publish(topic, "1", 1, 1, retained)
		for _, filter := range []string{topic + "/#", "sensors/" + who.name + "/+/#"} {
			p := s.enter(t, transport, v5, login{role: who, id: t.Name() + filter})
			p.subscribe(nil, subscription{filter, 1})
			if m := p.receive(); m.topic != topic || !m.retain() {
				t.Errorf("%s: got %s, want what is retained", filter, m)
			}
			sensor.publish(topic, "2", 1, 1, 0)
			if m := p.receive(); m.topic != topic || m.payload != "2" {
				t.Errorf("%s: got %s, want what is published", filter, m)
			}
		}
	})
}

// #16: nobody's message expires unless its publisher said so.
func TestDefect16_NoExpiryNobodySet(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		who, topic := s.newSensor()
		live := s.enter(t, transport, true, login{role: who, id: "live"})
		live.subscribe(nil, subscription{topic, 1})
		s.enter(t, transport, v5, login{role: who, id: "sensor"}).publish(topic, "1", 1, 1, retained)
		late := s.enter(t, transport, true, login{role: who, id: "late"})
		late.subscribe(nil, subscription{topic, 1})
		for _, p := range []*peer{live, late} {
			if m := p.receive(); m.value(propMessageExpiry) != nil {
				t.Errorf("got an expiry of %x that nobody set", m.value(propMessageExpiry))
			}
		}
	})
}
