package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	state "sensorcast/session"
)

var aMessage = state.Message{Topic: "sensors/A/telemetry", Payload: []byte("1"), QoS: 1}

// #15: a wildcard of all levels matches the parent level, live and retained, behind a name and behind a plus.
func TestDefect15_AllLevelsIncludesTheParent(t *testing.T) {
	for _, filter := range []string{"sensors/A/telemetry/#", "sensors/A/+/#", "sensors/+/telemetry/#", "+/+/+/#", "#"} {
		h := start(t, autoIntake())
		a := h.login(t, "A")
		a.send(retain(publish("sensors/A/telemetry", "kept", 1, 1)))
		a.want(packets.Puback)
		ann := h.login(t, "ann")
		ann.subscribe(0, filter)
		ann.wantPayload("kept")
		a.send(publish("sensors/A/telemetry", "live", 1, 1))
		ann.wantPayload("live")
		ann.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, PacketID: 1, Filters: packets.Subscriptions{{Filter: filter}}})
		ann.want(packets.Unsuback)
		a.send(publish("sensors/A/telemetry", "unheard", 1, 2))
		a.want(packets.Puback)
		a.want(packets.Puback)
		ann.wantAlive()
	}
}

func TestMatches_AsTheStandardSays(t *testing.T) {
	for _, tt := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/b/c", false}, {"a/b/c", "a/b", false},
		{"a/+", "a/b", true}, {"a/+", "a", false}, {"a/+", "a/", true}, {"+/+", "/a", true}, {"/+", "/a", true}, {"+", "/a", false},
		{"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "ab", false}, {"#", "a/b", true}, {"+/#", "a", true},
		{"#", "$SYS/x", false}, {"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"$SYS/+", "$SYS/x", true},
	} {
		if got := matches(tt.filter, tt.topic); got != tt.want {
			t.Errorf("%q against %q: got %v, want %v", tt.filter, tt.topic, got, tt.want)
		}
	}
}

func TestRetainOptions_AreHonoured(t *testing.T) {
	h := start(t, autoIntake())
	a := h.login(t, "A", v5)
	a.send(retain(publish("sensors/A/telemetry", "kept", 1, 1)))
	a.want(packets.Puback)
	ann := h.login(t, "ann", v5)
	ask := func(handling byte, asPublished bool) {
		pk := subscribe(1, 0, "sensors/A/telemetry")
		pk.Filters[0].RetainHandling, pk.Filters[0].RetainAsPublished = handling, asPublished
		ann.send(pk)
		ann.want(packets.Suback)
	}
	ask(2, false)
	ann.wantAlive() // nothing
	ask(1, false)
	ann.wantAlive() // not a new subscription
	ask(0, false)
	if pk := ann.want(packets.Publish); !pk.FixedHeader.Retain {
		t.Error("what is retained came without the flag")
	}
	for _, asPublished := range []bool{false, true} {
		ask(2, asPublished)
		a.send(retain(publish("sensors/A/telemetry", "live", 1, 1)))
		if pk := ann.want(packets.Publish); pk.FixedHeader.Retain != asPublished {
			t.Errorf("as published %v: got retain %v", asPublished, pk.FixedHeader.Retain)
		}
		a.want(packets.Puback)
	}
}

func TestIdentifiers_AndPropertiesReachTheSubscriber(t *testing.T) {
	h := start(t, autoIntake())
	ann := h.login(t, "ann", v5)
	for id, filter := range map[int]string{7: "sensors/A/telemetry", 300: "sensors/#"} {
		pk := subscribe(1, 1, filter)
		pk.Properties.SubscriptionIdentifier = []int{id}
		ann.send(pk)
		ann.want(packets.Suback)
	}
	a := h.login(t, "A", v5)
	pk := publish("sensors/A/telemetry", "1", 1, 1)
	pk.Properties.ContentType, pk.Properties.ResponseTopic, pk.Properties.CorrelationData = "text/plain", "sensors/A/x", []byte{1, 2}
	pk.Properties.User = []packets.UserProperty{{Key: "k", Val: "v"}, {Key: "k", Val: "w"}}
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 3, true // the publisher's own, in between
	a.send(pk)
	a.want(packets.Puback)
	got := ann.want(packets.Publish)
	ids := slices.Sorted(slices.Values(got.Properties.SubscriptionIdentifier))
	if !slices.Equal(ids, []int{7, 300}) {
		t.Errorf("got subscription identifiers %v, want 7 and 300", ids)
	}
	if p := got.Properties; p.ContentType != "text/plain" || p.ResponseTopic != "sensors/A/x" || string(p.CorrelationData) != "\x01\x02" || len(p.User) != 2 || p.TopicAliasFlag {
		t.Errorf("got properties %+v", p)
	}
}

func TestNoLocal_KeepsOnesOwnAway(t *testing.T) {
	h := start(t, autoIntake())
	a := h.login(t, "A", v5)
	pk := subscribe(1, 0, "sensors/A/telemetry")
	pk.Filters[0].NoLocal = true
	a.send(pk)
	a.want(packets.Suback)
	a.send(publish("sensors/A/telemetry", "own", 1, 1))
	a.want(packets.Puback)
	a.wantAlive()
	other := h.login(t, "A", clientID("other"))
	other.send(publish("sensors/A/telemetry", `{"of":"another"}`, 0, 0))
	a.wantPayload(`{"of":"another"}`)
}

func TestCleanStart_LeavesNothingOfTheSessionBefore(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		p := h.pipe(t)
		p.connect("ann", "pw", persistently)
		p.subscribe(1, "sensors/+/telemetry", "sensors/+/+/#")
		p.c.Close()
		synctest.Wait()
		h.say("sensors/A/telemetry", "1")
		p = h.pipe(t)
		if ack := p.connect("ann", "pw"); ack.SessionPresent {
			t.Error("a clean start found a session")
		}
		h.say("sensors/A/telemetry", "2")
		p.silent()
		if s := h.Stats(); s.Subscriptions != 0 {
			t.Errorf("got %d subscriptions, want none", s.Subscriptions)
		}
	})
}

func TestWill_WaitsForItsDelayAndForTheClient(t *testing.T) {
	delayed := func(pk *packets.Packet) { pk.Connect.WillProperties.WillDelayInterval = 30 }
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		ann := h.pipe(t)
		ann.connect("ann", "pw", func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
		ann.subscribe(0, "sensors/+/lwt")
		leave := func(opts ...connectOption) {
			a := h.pipe(t)
			a.connect("A", secretOf("A"), append([]connectOption{v5, persistently, will("sensors/A/lwt", "gone", false), delayed}, opts...)...)
			a.c.Close()
			synctest.Wait()
		}
		leave()
		time.Sleep(29 * time.Second)
		ann.silent()
		time.Sleep(2 * time.Second)
		ann.wantPayload("gone")

		leave()
		time.Sleep(20 * time.Second)
		leave() // back in time: the first will is void, the second one's delay begins
		time.Sleep(20 * time.Second)
		ann.silent()
		time.Sleep(11 * time.Second)
		ann.wantPayload("gone")
		ann.silent()

		leave()
		back := h.pipe(t)
		back.connect("A", secretOf("A"), v5) // a clean start ends the session, and its will is due [MQTT-3.1.2-8]
		ann.wantPayload("gone")

		short := func(pk *packets.Packet) { pk.Properties.SessionExpiryInterval = 5 }
		leave(short) // due when the session ends
		time.Sleep(6 * time.Second)
		ann.wantPayload("gone")
	})
}

func TestDisconnect_DecidesAboutTheWill(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		ann := h.pipe(t)
		ann.connect("ann", "pw")
		ann.subscribe(0, "sensors/+/lwt")
		for _, tt := range []struct {
			reason byte
			sent   bool
		}{{packets.CodeDisconnect.Code, false}, {packets.CodeDisconnectWillMessage.Code, true}} {
			a := h.pipe(t)
			a.connect("A", secretOf("A"), v5, will("sensors/A/lwt", "gone", false))
			a.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: tt.reason})
			a.wantEnd()
			if tt.sent {
				ann.wantPayload("gone")
			}
			ann.silent()
		}
	})
}

func TestDisconnect_MayChangeTheExpiryButNotFromNone(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		leave := func(before, after uint32) *peer {
			p := h.pipe(t)
			p.connect("ann", "pw", v5, func(pk *packets.Packet) {
				pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = before, true
			})
			pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = after, true
			p.send(pk)
			return p
		}
		leave(60, 3600).wantEnd()
		time.Sleep(2 * time.Minute)
		if got := h.Stats().Sessions; got != 1 {
			t.Errorf("expiry raised: got %d sessions, want 1", got)
		}
		p := leave(0, 60)
		if got := p.want(packets.Disconnect).ReasonCode; got != packets.ErrProtocolViolation.Code {
			t.Errorf("none turned into some: got DISCONNECT %#x, want 0x82", got)
		}
	})
}

func TestSystem_IsForAdminsOnly(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		for user, want := range map[string]byte{"ann": 0, "bob": 0x80, "A": 0x80} {
			p := h.pipeLogin(t, user)
			if got := p.subscribe(0, "$SYS/#")[0]; got != want {
				t.Errorf("%s: got SUBACK %#x, want %#x", user, got, want)
			}
			if want == 0 {
				for range 10 {
					if pk := p.want(packets.Publish); !strings.HasPrefix(pk.TopicName, "$SYS/broker/") {
						t.Errorf("got %s", pk.TopicName)
					}
				}
				time.Sleep(sweepInterval)
				p.want(packets.Publish) // and again
			}
			p.c.Close()
		}
		p := h.pipeLogin(t, "ann", clientID("all"))
		p.subscribe(0, "#")
		time.Sleep(2 * sweepInterval)
		p.silent()
	})
}

// SUBACK and CONNACK of a session that is to outlive the process wait for the journal; a failed one acknowledges nothing.
func TestJournal_HoldsSubackBack(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		h.in.hold()
		p := h.pipe(t)
		p.send(connectPacket("ann", "pw", persistently))
		p.version = 4
		p.silent()
		h.in.commit(1, nil)
		p.want(packets.Connack)
		p.send(subscribe(1, 1, "sensors/A/telemetry"))
		p.silent()
		h.in.commit(1, nil)
		p.want(packets.Suback)
		p.send(subscribe(2, 1, "sensors/B/telemetry"))
		p.silent()
		h.in.commit(1, errDisk)
		p.wantEnd()
		synctest.Wait()

		h.in.release(t)
		before := len(h.in.journaled())
		p = h.pipe(t)
		p.connect("ann", "pw", persistently)
		var filters []string
		for _, c := range h.in.journaled()[before:] {
			if s, ok := c.(state.Subscribe); ok {
				filters = append(filters, s.Subscription.Filter)
			}
		}
		if slices.Sort(filters); fmt.Sprint(filters) != "[sensors/A/telemetry sensors/B/telemetry]" {
			t.Errorf("after a failed commit the session is told anew with %v, want both filters", filters)
		}
	})
}

// A delivery of a queue that outlives the process is sent once it is stored; one that cannot be stored is not sent at all, for its
// publisher will send it again. Other subscribers do not wait.
func TestJournal_DeliveriesAreStoredBeforeTheyAreSent(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		kept, plain := h.pipeLogin(t, "ann", persistently, clientID("kept")), h.pipeLogin(t, "ann", clientID("plain"))
		kept.subscribe(2, "sensors/A/telemetry")
		plain.subscribe(2, "sensors/A/telemetry")
		a := h.pipeLogin(t, "A")
		a.send(publish("sensors/A/telemetry", "1", 1, 1))
		plain.acknowledge(1, plain.wantPayload("1"))
		kept.silent()
		h.in.commit(1, nil) // the reading
		kept.silent()
		h.in.commit(1, nil) // and what hangs on it
		first := kept.wantPayload("1")
		a.want(packets.Puback)

		a.send(publish("sensors/A/telemetry", "2", 1, 2))
		plain.acknowledge(1, plain.wantPayload("2"))
		kept.silent()
		h.in.commit(1, nil)
		h.in.commit(1, errDisk)
		a.wantEnd() // unacknowledged
		kept.silent()
		kept.acknowledge(1, first)
		kept.silent()
		if got := h.sessions.find("u1/kept").waiting.Load(); got != 0 {
			t.Errorf("got %d waiting, want none", got)
		}
	})
}
