package drive

import (
	"strings"
	"testing"
)

func TestConformance_Connect(t *testing.T) {
	t.Parallel()
	s := newStage(t, t.TempDir())
	who, topic := s.newSensor()
	inBoth(t, func(t *testing.T, v5 bool) {
		t.Run("anything before CONNECT closes [MQTT-3.1.0-1]", func(t *testing.T) {
			for name, first := range map[string]func(*peer) []byte{
				"PINGREQ":   func(*peer) []byte { return frame(pPingreq << 4) },
				"PUBLISH":   func(p *peer) []byte { return p.publication(topic, "1", 0, 0, 0) },
				"SUBSCRIBE": func(p *peer) []byte { return frame(pSubscribe<<4|2, u16(1), p.properties(), text(topic), []byte{0}) },
				"nonsense":  func(*peer) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") },
			} {
				p := s.dial(t, v5)
				p.write(first(p))
				if got, err := p.next(patience); err == nil {
					t.Errorf("%s: got %s, want the end", name, got)
				}
			}
		})
		t.Run("what follows CONNECT unasked is served after CONNACK [MQTT-3.2.0-1]", func(t *testing.T) {
			p := s.dial(t, v5)
			p.write(login{role: who, id: "hasty", version: p.version}.packet(), p.publication(topic, "1", 1, 9, 0), frame(pPingreq<<4))
			p.want(pConnack)
			p.completed(1, 9)
			p.want(pPingresp)
		})
		t.Run("what follows a refused CONNECT is not [MQTT-3.1.4-6]", func(t *testing.T) {
			viewer := s.login(t, v5, login{role: s.viewer(), id: "sees"})
			viewer.subscribe(nil, subscription{topic, 0})
			p := s.dial(t, v5)
			p.write(login{role: role{who.name, "wrong"}, id: "thief", version: p.version}.packet(), p.publication(topic, "stolen", 1, 9, 0))
			if ack := p.want(pConnack); ack.code == 0 || ack.present {
				t.Errorf("got CONNACK %#x, present %v; want a refusal without a session [MQTT-3.2.2-6]", ack.code, ack.present)
			}
			p.wantEnd(0)
			viewer.wantQuiet()
		})
		t.Run("a second client with the id takes over [MQTT-3.1.4-3]", func(t *testing.T) {
			first := s.login(t, v5, login{role: who, id: "same"})
			s.login(t, v5, login{role: who, id: "same"}).wantQuiet()
			first.wantEnd(0x8e)
		})
		t.Run("client ids of 1 to 23 letters and digits are taken [MQTT-3.1.3-5]", func(t *testing.T) {
			for _, id := range []string{"0", "abcdefghijklmnopqrstuvw", "ABCDEFGHIJKLMNOPQRSTUVW", "0123456789", "größe/№ 1"} {
				s.login(t, v5, login{role: who, id: id}).wantQuiet()
			}
		})
	})
	t.Run("an empty client id needs a clean session in 3.1.1 [MQTT-3.1.3-8]", func(t *testing.T) {
		p := s.dial(t, false)
		p.write(login{role: who, keep: true, version: 4}.packet())
		if ack := p.want(pConnack); ack.code != 2 {
			t.Errorf("got CONNACK %#x, want 0x02 [MQTT-3.1.3-9]", ack.code)
		}
		p.wantEnd(0)
		s.login(t, false, login{role: who}).wantQuiet()
	})
	t.Run("v5 is told the id it was given, each time another [MQTT-3.1.3-7]", func(t *testing.T) {
		ids := map[string]bool{}
		for _, keep := range []bool{false, true, false} {
			p := s.dial(t, true)
			ids[string(p.connect(login{role: who, keep: keep}).value(propAssignedID))] = true
		}
		if len(ids) != 3 || ids[""] {
			t.Errorf("got ids %v, want three", ids)
		}
		p := s.dial(t, true)
		if ack := p.connect(login{role: who, id: "own"}); ack.value(propAssignedID) != nil {
			t.Error("a client with an id was told another")
		}
	})
	t.Run("v5 is refused nothing it was not told of [MQTT-3.2.2-9]", func(t *testing.T) {
		p := s.dial(t, true)
		ack := p.connect(login{role: who, id: "limits"})
		for _, id := range []byte{propMaximumQoS, propRetain, propWildcard, propIdentifiers, propShared} {
			if v, told := ack.number(id); told && v == 0 {
				t.Errorf("property %#x: got 0, want the feature", id)
			}
		}
		most, _ := ack.number(propAliasMaximum)
		for alias := 1; alias <= most; alias++ {
			p.publish(topic, "1", 1, alias, 0, prop(propAlias, u16(alias)))
		}
		p.write(p.publication(topic, "1", 1, 1, 0, prop(propAlias, u16(most+1))))
		p.wantEnd(0x94)
	})
	t.Run("a packet of exactly the maximum is taken, one well above is not", func(t *testing.T) {
		p := s.dial(t, true)
		most, told := p.connect(login{role: who, id: "large"}).number(propMaximumPacket)
		if !told {
			t.Fatal("no maximum was told")
		}
		fill := func(size int) []byte { // the rest is a user property
			base := len(p.publication(topic, "1", 1, 1, 0, prop(propUser, join(text(""), text(strings.Repeat("x", 40_000)))), prop(propUser, join(text(""), text("")))))
			return p.publication(topic, "1", 1, 1, 0, prop(propUser, join(text(""), text(strings.Repeat("x", 40_000)))), prop(propUser, join(text(""), text(strings.Repeat("x", size-base)))))
		}
		if got := len(fill(most)); got != most {
			t.Fatalf("made a packet of %d bytes, want %d", got, most)
		}
		p.write(fill(most))
		p.completed(1, 1)
		p.write(fill(most + 16))
		p.wantEnd(0x95)
	})
	t.Run("a session is present only for who asks for it [MQTT-3.2.2-2]", func(t *testing.T) {
		inBoth(t, func(t *testing.T, v5 bool) {
			h := login{role: who, id: "present", keep: true}
			if v5 {
				h.props = prop(propSessionExpiry, u32(600))
			}
			for _, tt := range []struct{ keep, want bool }{{false, false}, {true, false}, {true, true}, {false, false}, {true, false}, {false, false}} {
				if h.keep = tt.keep; !v5 && !tt.keep {
					s.login(t, v5, h).wantQuiet() // 3.1.1: a clean session is none to come back to
					continue
				}
				if v5 && !tt.keep {
					h.props = prop(propSessionExpiry, u32(0))
				} else if v5 {
					h.props = prop(propSessionExpiry, u32(600))
				}
				if got := s.dial(t, v5).connect(h).present; got != tt.want {
					t.Errorf("keep %v: got session present %v, want %v", tt.keep, got, tt.want)
				}
			}
		})
	})
	t.Run("DISCONNECT closes and what follows it is not served [MQTT-3.14.4-2]", func(t *testing.T) {
		inBoth(t, func(t *testing.T, v5 bool) {
			p := s.login(t, v5, login{role: who, id: "leaves"})
			p.write(frame(pDisconnect<<4), frame(pPingreq<<4))
			if got, err := p.next(patience); err == nil {
				t.Errorf("got %s, want the end", got)
			}
		})
	})
}
