package broker

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/ingest"
)

// What is written while the reader has packets left to work through leaves together, when it comes back to Read.
func TestAcks_AreGathered(t *testing.T) {
	var held chan struct{}
	holding := func() *intake {
		in := autoIntake()
		held = make(chan struct{})
		in.accept = func(ingest.Message) error { <-held; return nil }
		return in
	}
	inBubble(t, holding, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A")
		synctest.Wait() // the flusher that sent CONNACK is done looking for more
		ping := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}}
		p.send(ping, ping, ping, publish("sensors/A/telemetry", "1", 0, 0), ping)
		p.silent() // the reader is held inside ingest
		close(held)
		for range 4 {
			p.want(packets.Pingresp)
		}
	})
}

func TestQoS2_V3KnowsNoReceiveMaximum(t *testing.T) {
	h := start(t, autoIntake())
	p := h.login(t, "A")
	for id := uint16(1); id <= 2*receiveMaximum; id++ {
		p.send(publish("sensors/A/telemetry", "1", 2, id))
		p.want(packets.Pubrec)
	}
}

func TestTopicAlias_IsNotUsedTowardsClients(t *testing.T) {
	h := start(t, autoIntake())
	ann := h.login(t, "ann", v5, func(pk *packets.Packet) { pk.Properties.TopicAliasMaximum = 10 })
	ann.subscribe(0, "sensors/+/telemetry")
	a := h.login(t, "A")
	for range 3 {
		a.send(publish("sensors/A/telemetry", "1", 0, 0))
		if got := ann.want(packets.Publish).TopicName; got != "sensors/A/telemetry" {
			t.Errorf("got topic %q", got)
		}
	}
}

// Another account in a group of the same name must not take messages away.
func TestSharedSubscription_IsOnePrincipals(t *testing.T) {
	h := start(t, autoIntake())
	const filter = "$share/group/sensors/+/telemetry"
	bob := h.login(t, "bob")
	bob.subscribe(0, filter)
	away := h.login(t, "ann", clientID("away"), persistently)
	away.subscribe(0, filter)
	away.c.Close()
	eventually(t, "one client is away", func() bool { return h.Stats().Connections == 1 })
	got := make(chan string)
	const clients, all = 3, 60
	for i := range clients {
		ann := h.login(t, "ann", clientID(fmt.Sprint(i)))
		ann.subscribe(0, filter)
		go func() {
			for {
				pk, err := ann.next()
				if err != nil {
					return
				}
				got <- fmt.Sprint(i, " ", string(pk.Payload))
			}
		}()
	}
	a := h.login(t, "A")
	seen := map[string]bool{}
	byClient := map[byte]int{}
	for i := range all {
		a.send(publish("sensors/A/telemetry", fmt.Sprint(i), 1, 1))
		a.want(packets.Puback)
		s := <-got
		if seen[s[2:]] {
			t.Errorf("message %s was delivered twice", s[2:])
		}
		seen[s[2:]] = true
		byClient[s[0]]++
	}
	if len(seen) != all || len(byClient) != clients {
		t.Errorf("got %d messages by client %v, want %d among %d", len(seen), byClient, all, clients)
	}
	bob.wantAlive()
}

func TestSharedSubscription_SensorAndOwnerEachHaveTheirs(t *testing.T) {
	h := start(t, autoIntake())
	ann, twin, a := h.login(t, "ann"), h.login(t, "A", clientID("twin")), h.login(t, "A")
	for _, p := range []*peer{ann, twin} {
		if got := p.subscribe(0, "$share/group/sensors/A/telemetry"); got[0] != 0 {
			t.Fatalf("got SUBACK %#x, want 0", got)
		}
	}
	for range 10 {
		a.send(publish("sensors/A/telemetry", "1", 1, 1))
		a.want(packets.Puback)
		ann.want(packets.Publish)
		twin.want(packets.Publish)
	}
}

// Whatever the reader is at, a takeover is no clean end.
func TestWill_IsSentOnTakeover(t *testing.T) {
	h := start(t, autoIntake())
	ann := h.login(t, "ann")
	ann.subscribe(0, "sensors/+/lwt")
	for range 50 {
		p := h.login(t, "A", will("sensors/A/lwt", "gone", false))
		var stream []byte
		for range 50 {
			stream = append(stream, encode(publish("sensors/A/telemetry", "1", 0, 0))...)
		}
		p.raw(stream) // keeps the reader busy
		next := h.login(t, "A")
		ann.want(packets.Publish)
		next.c.Close()
		p.c.Close()
	}
}

// What waited for a socket that is gone must not stay in memory with the session.
func TestSession_KeepsNoQueueOfItsConnection(t *testing.T) {
	h := start(t, autoIntake())
	p := h.login(t, "ann", persistently)
	p.subscribe(0, "sensors/#")
	a := h.login(t, "A")
	c := h.sessions.find("u1/client").conn
	for id := uint16(1); h.Stats().Dropped == 0; id++ {
		a.send(publish("sensors/A/telemetry", string(make([]byte, 60_000)), 1, id))
		a.want(packets.Puback)
	}
	p.c.Close()
	eventually(t, "ann is away", func() bool { return h.Stats().Connections == 1 })
	if h.sessions.find("u1/client") == nil {
		t.Fatal("the session is gone")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := cap(c.out.buf); got != 0 {
		t.Errorf("the session keeps %d bytes of its connection's queue", got)
	}
}

// A publisher's burst outruns its subscribers.
func TestDelivery_BurstsAreNotDropped(t *testing.T) {
	h := start(t, autoIntake())
	ann := h.login(t, "ann")
	ann.subscribe(1, "sensors/+/telemetry", "sensors/A/telemetry", "sensors/B/telemetry")
	const all = 5000
	a := h.login(t, "A")
	var stream []byte
	for i := range all {
		stream = append(stream, encode(publish("sensors/A/telemetry", fmt.Sprint(i), 0, 0))...)
	}
	go a.c.Write(stream)
	for i := range all {
		if got := string(ann.want(packets.Publish).Payload); got != fmt.Sprint(i) {
			t.Fatalf("got message %s, want %d", got, i)
		}
	}
	if got := h.Stats().Dropped; got != 0 {
		t.Errorf("got %d dropped, want none", got)
	}
}
