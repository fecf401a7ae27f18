package broker

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	state "sensorcast/session"
)

// keptOf applies changes as the store does, and returns what a restarted server finds.
func keptOf(changes []state.Change) state.Snapshot {
	sessions := map[string]*state.Stored{}
	retained := map[string]state.Retained{}
	with := func(id string, do func(s *state.Stored)) {
		if s := sessions[id]; s != nil {
			do(s)
		}
	}
	for _, c := range changes {
		switch c := c.(type) {
		case state.Keep:
			if s := sessions[c.Session.ID]; s != nil {
				s.Session = c.Session
				continue
			}
			sessions[c.Session.ID] = &state.Stored{Session: c.Session}
		case state.Drop:
			delete(sessions, c.ID)
		case state.Subscribe:
			with(c.ID, func(s *state.Stored) {
				s.Subscriptions = slices.DeleteFunc(s.Subscriptions, func(o state.Subscription) bool { return o.Filter == c.Subscription.Filter })
				s.Subscriptions = append(s.Subscriptions, c.Subscription)
			})
		case state.Unsubscribe:
			with(c.ID, func(s *state.Stored) {
				s.Subscriptions = slices.DeleteFunc(s.Subscriptions, func(o state.Subscription) bool { return o.Filter == c.Filter })
			})
		case state.Queue:
			with(c.ID, func(s *state.Stored) { s.Deliveries = append(s.Deliveries, c.Delivery) })
		case state.Release:
			with(c.ID, func(s *state.Stored) {
				for i := range s.Deliveries {
					if d := &s.Deliveries[i]; d.PacketID == c.PacketID {
						d.Released, d.Message = true, state.Message{QoS: 2}
					}
				}
			})
		case state.Settle:
			with(c.ID, func(s *state.Stored) {
				s.Deliveries = slices.DeleteFunc(s.Deliveries, func(d state.Delivery) bool { return d.PacketID == c.PacketID })
			})
		case state.Receive:
			with(c.ID, func(s *state.Stored) { s.Received = append(s.Received, c.PacketID) })
		case state.Complete:
			with(c.ID, func(s *state.Stored) {
				s.Received = slices.DeleteFunc(s.Received, func(id uint16) bool { return id == c.PacketID })
			})
		case state.Leave:
			with(c.ID, func(s *state.Stored) { s.Will = &c.Will })
		case state.Withdraw:
			with(c.ID, func(s *state.Stored) { s.Will = nil })
		case state.Retain:
			if retained[c.Retained.Message.Topic] = c.Retained; len(c.Retained.Message.Payload) == 0 {
				delete(retained, c.Retained.Message.Topic)
			}
		}
	}
	var snap state.Snapshot
	for _, id := range slices.Sorted(maps.Keys(sessions)) {
		snap.Sessions = append(snap.Sessions, *sessions[id])
	}
	for _, r := range retained {
		snap.Retained = append(snap.Retained, r)
	}
	return snap
}

// inTwoLives runs before on a broker that is then as if killed, and after on one that starts with what the journal had.
func inTwoLives(t *testing.T, before, after func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		first := newHouse(t, autoIntake())
		before(t, first)
		synctest.Wait()
		kept := keptOf(first.in.journaled()) // whatever the first one tells from here on is not heard any more
		first.close(t)

		second := newHouse(t, autoIntake(), func(h *house, _ *Config) { h.kept = &kept })
		after(t, second)
		second.close(t)
	})
}

func TestRestore_QueuedMessagesComeInOrderWithTheirIdentifiers(t *testing.T) {
	var ids []uint16
	inTwoLives(t, func(t *testing.T, h *house) {
		ann := h.pipeLogin(t, "ann", persistently)
		ann.subscribe(2, "sensors/A/telemetry", "sensors/B/telemetry")
		ann.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, PacketID: 9, Filters: packets.Subscriptions{{Filter: "sensors/B/telemetry"}}})
		ann.want(packets.Unsuback)
		a := h.pipeLogin(t, "A")
		for i := range 5 {
			a.send(publish("sensors/A/telemetry", fmt.Sprint(i), 2, uint16(i+1)))
			a.want(packets.Pubrec)
			ids = append(ids, ann.wantPayload(fmt.Sprint(i)))
		}
		ann.acknowledge(2, ids[0])            // done
		ann.send(ack(packets.Pubrec, ids[1])) // half done
		ann.want(packets.Pubrel)
	}, func(t *testing.T, h *house) {
		ann := h.pipe(t)
		if ack := ann.connect("ann", "pw", persistently); !ack.SessionPresent {
			t.Error("the session is lost")
		}
		if got := ann.want(packets.Pubrel).PacketID; got != ids[1] {
			t.Errorf("half done: got PUBREL %d, want %d", got, ids[1])
		}
		for i := 2; i < 5; i++ {
			if got := ann.wantPayload(fmt.Sprint(i)); got != ids[i] {
				t.Errorf("message %d: got packet id %d, want %d", i, got, ids[i])
			}
		}
		h.say("sensors/B/telemetry", "unsubscribed")
		ann.silent()
		if got := h.Stats().Subscriptions; got != 1 {
			t.Errorf("got %d subscriptions, want 1", got)
		}
	})
}

// [MQTT-4.3.3-10] across a restart: a message whose PUBREC was lost is not handed over twice, and its id is free after PUBREL.
func TestRestore_InboundQoS2IsHandedOverOnce(t *testing.T) {
	inTwoLives(t, func(t *testing.T, h *house) {
		a := h.pipeLogin(t, "A", persistently)
		a.send(publish("sensors/A/telemetry", "1", 2, 1), publish("sensors/A/telemetry", "2", 2, 2))
		a.want(packets.Pubrec)
		a.want(packets.Pubrec)
		a.send(ack(packets.Pubrel, 1))
		a.want(packets.Pubcomp)
	}, func(t *testing.T, h *house) {
		a := h.pipeLogin(t, "A", persistently)
		a.send(publish("sensors/A/telemetry", "2", 2, 2), publish("sensors/A/telemetry", "another", 2, 1))
		a.want(packets.Pubrec)
		a.want(packets.Pubrec)
		if got := h.in.accepted(); len(got) != 1 || got[0] != "another" {
			t.Errorf("got %q handed over, want only what is new", got)
		}
	})
}

func TestRestore_LeavesNoGhosts(t *testing.T) {
	inTwoLives(t, func(t *testing.T, h *house) {
		h.pipeLogin(t, "ann", clientID("clean")).subscribe(1, "sensors/A/telemetry")
		p := h.pipeLogin(t, "ann", persistently, clientID("renewed"))
		p.subscribe(1, "sensors/A/telemetry")
		p.c.Close()
		synctest.Wait()
		h.pipeLogin(t, "ann", clientID("renewed")) // clean: the session before is gone for good
	}, func(t *testing.T, h *house) {
		if s := h.Stats(); s.Sessions != 0 || s.Subscriptions != 0 {
			t.Errorf("got %d sessions and %d subscriptions, want none", s.Sessions, s.Subscriptions)
		}
		for _, id := range []string{"clean", "renewed"} {
			p := h.pipe(t)
			if ack := p.connect("ann", "pw", persistently, clientID(id)); ack.SessionPresent {
				t.Errorf("%s: a session was found", id)
			}
			h.say("sensors/A/telemetry", "1")
			p.silent()
		}
	})
}

// A will of a client that was connected at the kill is published a minute after the start, unless the client is back by then.
func TestRestore_WillsOfThoseWhoDoNotReturn(t *testing.T) {
	for _, opts := range [][]connectOption{{clientID("1")}, {clientID("1"), v5, persistently}} {
		inTwoLives(t, func(t *testing.T, h *house) {
			h.pipeLogin(t, "A", append(opts, will("sensors/A/lwt", "A is gone", true))...)
			h.pipeLogin(t, "B", append(opts, will("sensors/B/lwt", "B is gone", false))...)
			h.pipeLogin(t, "C", append(opts, will("sensors/C/lwt", "C left", false))...).send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
		}, func(t *testing.T, h *house) {
			ann := h.pipe(t)
			ann.connect("ann", "pw", func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
			ann.subscribe(0, "sensors/+/lwt")
			b := h.pipeLogin(t, "B", opts...)
			time.Sleep(returnGrace - time.Second)
			ann.silent()
			b.wantAlive()
			time.Sleep(5 * time.Second)
			ann.wantPayload("A is gone")
			ann.silent()
			if got := h.retained.match("#"); len(got) != 1 {
				t.Errorf("got %d retained, want the will", len(got))
			}
		})
	}
}

// A delayed will that was already under way keeps its time.
func TestRestore_DelayedWillKeepsItsTime(t *testing.T) {
	inTwoLives(t, func(t *testing.T, h *house) {
		delayed := func(pk *packets.Packet) { pk.Connect.WillProperties.WillDelayInterval = 300 }
		h.pipeLogin(t, "A", v5, persistently, will("sensors/A/lwt", "gone", false), delayed).c.Close()
		synctest.Wait()
		time.Sleep(200 * time.Second)
	}, func(t *testing.T, h *house) {
		ann := h.pipe(t)
		ann.connect("ann", "pw", func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
		ann.subscribe(0, "sensors/+/lwt")
		time.Sleep(99 * time.Second)
		ann.silent()
		time.Sleep(2 * time.Second)
		ann.wantPayload("gone")
	})
}

func TestRestore_SessionsEndAtTheirTime(t *testing.T) {
	inTwoLives(t, func(t *testing.T, h *house) {
		brief := func(pk *packets.Packet) { pk.Properties.SessionExpiryInterval = 100 }
		away := h.pipeLogin(t, "ann", v5, persistently, brief, clientID("away"))
		away.subscribe(1, "sensors/A/telemetry")
		away.c.Close()
		h.pipeLogin(t, "ann", v5, persistently, brief, clientID("there")).subscribe(1, "sensors/A/telemetry")
		synctest.Wait()
		time.Sleep(60 * time.Second)
	}, func(t *testing.T, h *house) {
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{30 * time.Second, 2}, {30 * time.Second, 1}, {60 * time.Second, 0}} {
			time.Sleep(step.wait)
			if got := h.Stats(); got.Sessions != step.want || got.Subscriptions != int64(step.want) {
				t.Errorf("got %d sessions and %d subscriptions, want %d", got.Sessions, got.Subscriptions, step.want)
			}
		}
	})
}

func TestRestore_RetainedMessagesAndWhatIsGone(t *testing.T) {
	inTwoLives(t, func(t *testing.T, h *house) {
		for i, p := range []*peer{h.pipeLogin(t, "A", persistently), h.pipeLogin(t, "B", persistently)} {
			p.send(retain(publish("sensors/"+string('A'+rune(i))+"/telemetry/kept", "1", 1, 1)), retain(publish("sensors/"+string('A'+rune(i))+"/telemetry/cleared", "2", 1, 2)), retain(publish("sensors/"+string('A'+rune(i))+"/telemetry/cleared", "", 1, 3)))
			for range 3 {
				p.want(packets.Puback)
			}
		}
	}, func(t *testing.T, h *house) {
		// Sensor B was deleted in between: newHouse is told so below.
		got := h.retained.match("#")
		if len(got) != 2 {
			t.Fatalf("got %d retained, want 2", len(got))
		}
		for _, m := range got {
			if string(m.Payload) != "1" {
				t.Errorf("got %q retained on %s", m.Payload, m.Topic)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		kept := state.Snapshot{
			Sessions: []state.Stored{{Session: state.Session{ID: "s999/x", SensorID: 999, Expiry: time.Hour}, Subscriptions: []state.Subscription{{Filter: "#"}}}},
			Retained: []state.Retained{{SensorID: 999, Message: state.Message{Topic: "sensors/X/telemetry", Payload: []byte("1")}}},
		}
		h := newHouse(t, autoIntake(), func(h *house, _ *Config) { h.kept = &kept })
		if s := h.Stats(); s.Sessions+s.Retained != 0 {
			t.Errorf("of a sensor that is gone: got %d sessions, %d retained, want none", s.Sessions, s.Retained)
		}
		if got := h.in.journaled(); len(got) != 1 || got[0] != (state.Drop{ID: "s999/x"}) {
			t.Errorf("got changes %v, want the session dropped", got)
		}
		h.close(t)
	})
}
