package broker

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

func TestWill_IsDeliveredToTheOwnerAndIsNoTelemetry(t *testing.T) {
	h := start(t, autoIntake())
	ann, bob := h.login(t, "ann"), h.login(t, "bob")
	ann.subscribe(0, "sensors/+/lwt")
	bob.subscribe(0, "#")
	for _, payload := range []string{"gone", ""} {
		h.login(t, "A", will("sensors/A/lwt", payload, false)).c.Close()
		if got := ann.want(packets.Publish); string(got.Payload) != payload || got.TopicName != "sensors/A/lwt" {
			t.Errorf("got %q on %s, want %q", got.Payload, got.TopicName, payload)
		}
	}
	bob.wantAlive()
	if got := h.in.accepted(); len(got) != 0 {
		t.Errorf("got %q handed to ingest, want nothing", got)
	}
}

func TestWill_SuppressedOnceItIsNotAllowedAnyMore(t *testing.T) {
	h := start(t, autoIntake())
	ann := h.login(t, "ann")
	ann.subscribe(0, "#")
	a := h.login(t, "A", will("sensors/A/lwt", "gone", true))
	h.dir.Remove("A")
	a.c.Close()
	eventually(t, "A is gone", func() bool { return h.Stats().Connections == 1 })
	ann.wantAlive()
	if got := h.retained.match("#"); len(got) != 0 {
		t.Errorf("got a retained will: %v", got)
	}
}

func TestWill_NotSentWhenTheServerStops(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		ann := h.pipe(t)
		ann.connect("ann", "pw")
		ann.subscribe(0, "#")
		h.pipeLogin(t, "A", will("sensors/A/lwt", "gone", true))
		h.close(t)
		ann.wantEnd()
		if got := h.retained.match("#"); len(got) != 0 {
			t.Error("the will was published")
		}
	})
}

func TestRetained_IsHonouredReplacedAndCleared(t *testing.T) {
	h := start(t, autoIntake())
	a := h.login(t, "A")
	retained := func() string {
		p := h.login(t, "ann", clientID("reader"))
		p.subscribe(0, "sensors/A/telemetry")
		p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		// PINGRESP may overtake what is retained: wait for the one if the books say there is one.
		want := 1
		if n, _ := h.retained.count(); n > 0 {
			want = 2
		}
		got := ""
		for range want {
			if pk, err := p.next(); err != nil {
				t.Fatal(err)
			} else if pk.FixedHeader.Type == packets.Publish {
				got = string(pk.Payload)
			}
		}
		p.c.Close()
		return got
	}
	for id, payload := range []string{"1", "22", ""} {
		a.send(retain(publish("sensors/A/telemetry", payload, 1, uint16(id+1))))
		a.want(packets.Puback)
		if got := retained(); got != payload {
			t.Errorf("got %q retained, want %q", got, payload)
		}
		if n, size := h.retained.count(); n != min(1, len(payload)) || size != int64(len(payload)) {
			t.Errorf("%q: got %d messages of %d bytes on the books", payload, n, size)
		}
	}
	if got := h.in.accepted(); strings.Join(got, ",") != "1,22" {
		t.Errorf("got %q handed over, want 1 and 22: clearing is no telemetry, replaying neither", got)
	}
}

func TestRetained_IsBoundedPerSensorAndInAll(t *testing.T) {
	h := start(t, autoIntake(), func(_ *house, cfg *Config) { cfg.MaxRetainedBytes = 1000 })
	a, b := h.login(t, "A"), h.login(t, "B")
	for i := range maxRetainedTopics + 1 {
		a.send(retain(publish(fmt.Sprint("sensors/A/telemetry/m", i), "1", 1, 1)))
		a.want(packets.Puback)
	}
	b.send(retain(publish("sensors/B/telemetry", strings.Repeat("x", 1000), 1, 1)))
	b.want(packets.Puback)
	if n, size := h.retained.count(); n != maxRetainedTopics || size != maxRetainedTopics {
		t.Errorf("got %d messages of %d bytes, want %d of %d", n, size, maxRetainedTopics, maxRetainedTopics)
	}
	if got := h.Stats().RetainRefused; got != 2 {
		t.Errorf("got %d refused, want 2", got)
	}
	if got := len(h.retained.match("sensors/#")); got != maxRetainedTopics {
		t.Errorf("got %d retained, want %d", got, maxRetainedTopics)
	}
	if got := len(h.in.accepted()); got != maxRetainedTopics+2 {
		t.Errorf("got %d handed over, want all %d", got, maxRetainedTopics+2)
	}
}

// There are more than may wait for one client. The subscriber is slow, but no slow consumer.
func TestRetained_AllOfThemReachANewSubscriber(t *testing.T) {
	const sensors, each = 20, maxRetainedTopics
	h := start(t, autoIntake())
	payload := `"` + strings.Repeat("x", 8000) + `"` // 10 MB in all: more than may wait for one client and fits into the sockets
	for i := range sensors {
		serial := fmt.Sprint("R", i)
		h.dir.Put(auth.Device{SensorID: int64(1000 + i), Serial: serial, OwnerID: 1, Secrets: []auth.Secret{{Hash: h.dir.HashSecret("s")}}})
		p := h.dial(t)
		p.connect(serial, "s")
		for j := range each {
			p.send(retain(publish(fmt.Sprintf("sensors/%s/telemetry/m%d", serial, j), payload, 0, 0)))
		}
		p.wantAlive()
	}
	ann := h.dial(t)
	ann.c.(*net.TCPConn).SetReadBuffer(64 << 10)
	ann.connect("ann", "pw")
	ann.subscribe(1, "sensors/#")
	c := h.sessions.find("u1/client").conn
	eventually(t, "much waits for the subscriber", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.out.buf) >= replayBytes || h.counters.slow.Load() > 0
	})
	seen := map[string]bool{}
	for len(seen) < sensors*each {
		seen[ann.want(packets.Publish).TopicName] = true
	}
	ann.wantAlive()
}

func TestRetained_ExpiryLeavesNothingBehind(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A", v5)
		for i := range 10 {
			pk := retain(publish(fmt.Sprint("sensors/A/telemetry/m", i), "1", 1, 1))
			pk.Properties.MessageExpiryInterval = 2
			p.send(pk)
			p.want(packets.Puback)
		}
		time.Sleep(3 * time.Second)
		if got := h.retained.match("#"); len(got) != 0 {
			t.Errorf("got %d offered to subscribers, want none", len(got))
		}
		time.Sleep(sweepInterval)
		if n, size := h.retained.count(); n != 0 || size != 0 {
			t.Errorf("got %d messages of %d bytes on the books, want none", n, size)
		}
	})
}

func TestAuthority_EndsWithTheSensor(t *testing.T) {
	h := start(t, autoIntake())
	live, away, other := h.login(t, "A", v5, clientID("1"), will("sensors/A/lwt", "gone", true)), h.login(t, "A", persistently, clientID("2")), h.login(t, "B")
	away.subscribe(1, "sensors/A/commands")
	away.c.Close()
	for _, topic := range []string{"sensors/A/telemetry/one", "sensors/A/telemetry/two"} {
		live.send(retain(publish(topic, "1", 1, 1)))
		live.want(packets.Puback)
	}
	ann := h.login(t, "ann")
	ann.subscribe(0, "sensors/+/lwt")
	eventually(t, "one is away", func() bool { return h.Stats().Connections == 3 })

	h.dir.Remove("A")
	begin := time.Now()
	h.AuthorityChanged(auth.Change{Kind: auth.SensorRemoved, SensorID: sensorID("A"), Serial: "A", UserID: 1})
	if got := live.want(packets.Disconnect).ReasonCode; got != packets.ErrNotAuthorized.Code {
		t.Errorf("got DISCONNECT %#x, want 0x87", got)
	}
	live.wantEnd()
	if got := time.Since(begin); got > time.Second {
		t.Errorf("closed after %v, want within a second", got)
	}
	eventually(t, "its sessions are gone", func() bool { s := h.Stats(); return s.Sessions == 2 && s.Subscriptions == 1 && s.Retained == 0 })
	if got := h.retained.match("sensors/#"); len(got) != 0 {
		t.Errorf("got %d still retained", len(got))
	}
	if got := len(h.index.match("sensors/A/commands").Subscriptions); got != 0 {
		t.Errorf("the index knows %d subscriptions of A, want none", got)
	}
	if h.Connected("A") {
		t.Error("A counts as connected")
	}
	other.wantAlive()
	ann.wantAlive() // and got no will
}

// A revocation that comes while the connection is ending by itself is not lost.
func TestAuthority_RevokedSessionIsNotKept(t *testing.T) {
	h := start(t, autoIntake())
	h.login(t, "ann", persistently)
	s := h.sessions.find("u1/client")
	c := s.conn
	if _, held := h.sessions.seize(sweeper{}, s.id, true); held != c {
		t.Fatalf("got holder %v, want the connection", held)
	}
	if h.sessions.keep(s, c, time.Now().Add(time.Hour)) {
		t.Error("the session was kept")
	}
	c.Close()
	eventually(t, "the session ends", func() bool { return h.Stats().Sessions == 0 })
}

func TestAuthority_EndsWithTheAccount(t *testing.T) {
	h := start(t, autoIntake())
	ann, bob := h.login(t, "ann", v5, persistently), h.login(t, "bob")
	ann.subscribe(1, "#")
	h.AuthorityChanged(auth.Change{Kind: auth.UserEnded, UserID: 1})
	ann.want(packets.Disconnect)
	ann.wantEnd()
	bob.wantAlive()
	if ack := h.dial(t).connect("ann", "pw", v5, persistently); ack.SessionPresent {
		t.Error("the session outlived the account's authority")
	}
}

func TestSession_EndsAfterItsExpiryWithItsSubscriptions(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		short, long := h.pipe(t), h.pipe(t)
		short.connect("ann", "pw", v5, clientID("short"), func(pk *packets.Packet) {
			pk.Connect.Clean = false
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 60, true
		})
		long.connect("ann", "pw", persistently, clientID("long"))
		short.subscribe(1, "sensors/A/telemetry")
		long.subscribe(1, "sensors/B/telemetry")
		short.c.Close()
		long.c.Close()
		synctest.Wait()
		time.Sleep(55 * time.Second)
		if got := h.Stats(); got.Sessions != 2 || got.Subscriptions != 2 {
			t.Errorf("before the expiry: got %d sessions, %d subscriptions, want 2 and 2", got.Sessions, got.Subscriptions)
		}
		time.Sleep(20 * time.Second)
		if got := h.Stats(); got.Sessions != 1 || got.Subscriptions != 1 {
			t.Errorf("after the expiry: got %d sessions, %d subscriptions, want 1 and 1", got.Sessions, got.Subscriptions)
		}
		if got := len(h.index.match("sensors/A/telemetry").Subscriptions); got != 0 {
			t.Errorf("the index still knows %d subscribers", got)
		}
		time.Sleep(6 * time.Minute)
		if got := h.Stats().Sessions; got != 0 {
			t.Errorf("after the longest expiry: got %d sessions, want none", got)
		}
	}, func(_ *house, cfg *Config) { cfg.SessionExpiry = 5 * time.Minute })
}

func TestObserve_RelaysOtherDoorsReadings(t *testing.T) {
	h := start(t, autoIntake())
	show := func(via telemetry.Via, data ...string) {
		var together []telemetry.Reading
		for _, d := range data {
			together = append(together, telemetry.Reading{SensorID: sensorID("A"), Serial: "A", Data: []byte(d), Via: via})
		}
		h.Observe(together)
	}
	show(telemetry.ViaHTTP, "nobody listens")
	ann, bob := h.login(t, "ann"), h.login(t, "bob")
	ann.subscribe(1, "sensors/+/telemetry")
	bob.subscribe(1, "sensors/+/telemetry")
	show(telemetry.ViaMQTT, "its connection relays these")
	show(telemetry.ViaHTTP, "h", "i")
	show(telemetry.ViaWebSocket, "w")
	for _, want := range []string{"h", "i", "w"} {
		if got := ann.want(packets.Publish); string(got.Payload) != want || got.TopicName != "sensors/A/telemetry" || got.FixedHeader.Qos != 1 {
			t.Errorf("got %q on %s at QoS %d, want %q at 1", got.Payload, got.TopicName, got.FixedHeader.Qos, want)
		}
	}
	bob.wantAlive()
}

func TestObserve_NeverBlocks(t *testing.T) {
	h := newHouse(t, autoIntake())
	h.sessions.subscriptions.Add(1)
	defer h.sessions.subscriptions.Add(-1)
	h.close(t) // nothing takes from the queue any more
	for range relayQueue + 10 {
		h.Observe([]telemetry.Reading{{Serial: "A", Via: telemetry.ViaHTTP}})
	}
	if got := h.Stats().RelayDropped; got < 10 {
		t.Errorf("got %d dropped, want at least 10", got)
	}
}

// Several connections wait for a session whose holder cannot give it back yet: the newest is the client's living one.
func TestTakeover_TheNewestWins(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		holder := h.pipeLogin(t, "A")
		holder.send(publish("sensors/A/telemetry", "1", 1, 1))
		h.in.await(t, 1) // and it keeps its session until the fate is known
		var rivals []*peer
		for range 4 {
			p := h.pipe(t)
			p.send(connectPacket("A", secretOf("A")))
			synctest.Wait()
			rivals = append(rivals, p)
		}
		for _, p := range rivals[:3] {
			if got := p.want(packets.Connack).ReasonCode; got != packets.Err3ServerUnavailable.Code {
				t.Errorf("an older connection: got CONNACK %#x, want 3", got)
			}
			p.wantEnd()
		}
		h.in.commit(1, nil)
		if got := rivals[3].want(packets.Connack).ReasonCode; got != 0 {
			t.Errorf("the newest: got CONNACK %#x, want 0", got)
		}
		rivals[3].wantAlive()
		if got := len(h.sessions.claims); got != 0 {
			t.Errorf("got %d claims left, want none", got)
		}
	})
}

func TestSession_IsOverWhenItsTimeIs(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		brief := func(pk *packets.Packet) {
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 1, true
			pk.Connect.Clean = false
		}
		for wait, present := range map[time.Duration]bool{900 * time.Millisecond: true, 1100 * time.Millisecond: false} {
			p := h.pipeLogin(t, "ann", v5, brief)
			p.subscribe(1, "sensors/A/telemetry")
			p.c.Close()
			synctest.Wait()
			time.Sleep(wait) // less than a sweep
			p = h.pipe(t)
			if ack := p.connect("ann", "pw", v5, brief); ack.SessionPresent != present {
				t.Errorf("after %v: got session present %v", wait, ack.SessionPresent)
			}
			h.say("sensors/A/telemetry", "1")
			if present {
				p.want(packets.Publish)
			}
			p.silent()
			p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, Properties: packets.Properties{SessionExpiryIntervalFlag: true}})
			synctest.Wait()
		}
	})
}

// The keep alive begins with the login, also where it is shorter than the connect timeout.
func TestKeepAlive_ShorterThanTheConnectTimeout(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A", func(pk *packets.Packet) { pk.Connect.Keepalive = 1 })
		begin := time.Now()
		p.wantEnd()
		if got := time.Since(begin); got < 1500*time.Millisecond || got > 1500*time.Millisecond+2*keepAliveSlack {
			t.Errorf("closed after %v, want 1.5 s and a little", got)
		}
	})
}

// What a client takes is what it said, to the byte; a reason that does not fit is left out.
func TestMaximumPacketSize_IsExact(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		const most = 60
		p := h.pipeLogin(t, "ann", v5, func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = most })
		for qos := byte(0); qos < 3; qos++ {
			p.subscribe(qos, "sensors/A/telemetry")
			pk := publish("sensors/A/telemetry", "", qos, 1)
			pk.ProtocolVersion = 5
			room := most - len(encode(pk))
			a := h.pipeLogin(t, "A", clientID("a"))
			a.send(publish("sensors/A/telemetry", strings.Repeat("1", room+1), 2, 1), publish("sensors/A/telemetry", strings.Repeat("2", room), 2, 2))
			a.want(packets.Pubrec)
			a.want(packets.Pubrec)
			id := p.wantPayload(strings.Repeat("2", room))
			if qos > 0 {
				p.acknowledge(qos, id)
			}
			p.silent()
		}
		p.raw([]byte{0xc1, 0})
		if pk := p.want(packets.Disconnect); pk.Properties.ReasonString == "" {
			t.Error("a reason that fits was left out")
		}
		small := h.pipeLogin(t, "ann", v5, func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 10 })
		small.raw([]byte{0xc1, 0})
		if pk := small.want(packets.Disconnect); pk.Properties.ReasonString != "" || pk.FixedHeader.Remaining+2 > 10 {
			t.Errorf("got DISCONNECT of %d bytes with reason %q", pk.FixedHeader.Remaining+2, pk.Properties.ReasonString)
		}
	})
}

// [MQTT-3.2.0-1]: what others publish while CONNACK waits for the journal comes after it.
func TestConnack_IsTheFirstPacket(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		p := h.pipe(t)
		p.send(connectPacket("ann", "pw", persistently))
		p.want(packets.Connack)
		p.subscribe(1, "sensors/+/telemetry")
		p.c.Close()
		synctest.Wait()
		h.in.hold()
		h.in.journal = func([]state.Change) error { // while the changes of the login are handed over
			h.say("sensors/A/telemetry", "early")
			h.in.journal = nil
			return nil
		}
		p = h.pipe(t)
		p.send(connectPacket("ann", "pw", persistently))
		synctest.Wait()
		h.in.release(t)
		p.want(packets.Connack)
	})
}
