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
	if got := h.server.Topics.Retained.GetAll(); len(got["sensors/A/lwt"].Payload)+len(got[""].Payload) != 0 {
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
		if _, got := h.server.Topics.Retained.Get("sensors/A/lwt"); got {
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
		// The deliveries go through a queue of mochi's, PINGRESP does not: wait for the one if the books say there is one.
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
	if got := len(h.server.Topics.Messages("sensors/#")); got != maxRetainedTopics {
		t.Errorf("got %d retained in mochi, want %d", got, maxRetainedTopics)
	}
	if got := len(h.in.accepted()); got != maxRetainedTopics+2 {
		t.Errorf("got %d handed over, want all %d", got, maxRetainedTopics+2)
	}
}

// mochi queues the retained messages of a new subscription faster than they leave. The subscriber is slow, but no slow consumer.
func TestRetained_AllOfThemReachANewSubscriber(t *testing.T) {
	const sensors, each = 20, maxRetainedTopics
	h := start(t, autoIntake())
	payload := strings.Repeat("x", 8000) // 10 MB in all: more than may wait for one client and fits into the sockets
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
	cl, _ := h.server.Clients.Get("u1/client")
	eventually(t, "much waits for the subscriber", func() bool {
		c := connOf(cl)
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
		time.Sleep(5 * time.Second)
		if n, size := h.retained.count(); n != 0 || size != 0 {
			t.Errorf("got %d messages of %d bytes on the books, want none", n, size)
		}
		if got := h.server.Topics.Messages("sensors/#"); len(got) != 0 {
			t.Errorf("mochi still retains %d", len(got))
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
	if got := h.server.Topics.Messages("sensors/#"); len(got) != 0 {
		t.Errorf("mochi still retains %d", len(got))
	}
	if got := len(h.server.Topics.Subscribers("sensors/A/commands").Subscriptions); got != 0 || h.server.Clients.Len() != 3 { // with inline
		t.Errorf("mochi knows %d subscriptions of A and %d clients, want 0 and 3", got, h.server.Clients.Len())
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
	cl, _ := h.server.Clients.Get("u1/client")
	c := connOf(cl)
	if held, known := h.sessions.seize(sweeper{}, c.id, true); held != c || !known {
		t.Fatalf("got holder %v, want the connection", held)
	}
	if h.sessions.keep(c.id, c, time.Now().Add(time.Hour)) {
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
		if got := len(h.server.Topics.Subscribers("sensors/A/telemetry").Subscriptions); got != 0 {
			t.Errorf("the trie still knows %d subscribers", got)
		}
		time.Sleep(6 * time.Minute)
		if got := h.Stats().Sessions; got != 0 {
			t.Errorf("after the longest expiry: got %d sessions, want none", got)
		}
	}, func(_ *house, cfg *Config) { cfg.SessionExpiry = 5 * time.Minute })
}

func TestObserve_RelaysOtherDoorsReadings(t *testing.T) {
	h := start(t, autoIntake())
	show := func(via telemetry.Via, data string) {
		h.Observe(&telemetry.Reading{SensorID: sensorID("A"), Serial: "A", Data: []byte(data), Via: via})
	}
	show(telemetry.ViaHTTP, "nobody listens")
	ann, bob := h.login(t, "ann"), h.login(t, "bob")
	ann.subscribe(1, "sensors/+/telemetry")
	bob.subscribe(1, "sensors/+/telemetry")
	show(telemetry.ViaMQTT, "mochi relays these itself")
	show(telemetry.ViaHTTP, "h")
	show(telemetry.ViaWebSocket, "w")
	for _, want := range []string{"h", "w"} {
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
		h.Observe(&telemetry.Reading{Serial: "A", Via: telemetry.ViaHTTP})
	}
	if got := h.Stats().RelayDropped; got < 10 {
		t.Errorf("got %d dropped, want at least 10", got)
	}
}
