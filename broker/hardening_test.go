package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The probes below are named after known defects of brokers, numbered as in docs/mqtt.md. Each was seen to fail with its defence out.

// #1: a v5 SUBSCRIBE that stops after the filter.
func TestDefect01_TruncatedSubscribeCostsOneConnection(t *testing.T) {
	h := start(t, autoIntake())
	other := h.login(t, "B")
	p := h.login(t, "A", v5, persistently, clientID("x"))
	p.subscribe(0, "sensors/A/status")
	p.raw([]byte{0x82, 6, 0, 1, 0, 0, 1, 'a'})
	if got := p.want(packets.Disconnect).ReasonCode; got != packets.ErrMalformedPacket.Code {
		t.Errorf("got DISCONNECT %#x, want 0x81", got)
	}
	p.wantEnd()
	eventually(t, "the session is cleaned up", func() bool { s := h.Stats(); return s.Connections == 1 && s.Violations == 1 })
	if h.Connected("A") {
		t.Error("sensor A counts as connected")
	}
	other.wantAlive()
	h.login(t, "A", v5, clientID("x")).wantAlive()
}

// #2: a QoS 1 subscriber that stops reading must hold nobody up, and is closed.
func TestDefect02_StuckSubscriberHoldsNobodyUp(t *testing.T) {
	h := start(t, autoIntake())
	stuck := h.dial(t)
	stuck.c.(*net.TCPConn).SetReadBuffer(4 << 10)
	if ack := stuck.connect("ann", "pw", clientID("stuck"), func(pk *packets.Packet) { pk.Connect.Keepalive = 0 }); ack.ReasonCode != 0 {
		t.Fatal(ack.ReasonCode)
	}
	stuck.subscribe(1, "sensors/#")
	p := h.login(t, "A")
	payload := strings.Repeat("x", 20_000)
	for id := uint16(1); h.Stats().Dropped == 0; id++ {
		p.send(publish("sensors/A/telemetry", payload, 1, id))
		if got := p.want(packets.Puback).PacketID; got != id {
			t.Fatalf("got PUBACK %d, want %d", got, id)
		}
		if id > 2000 {
			t.Fatal("the queue of the stuck subscriber has no end")
		}
	}
	h.login(t, "ann", clientID("stuck")).wantAlive() // and may come back
}

// #3: reconnects with the same client id must never leave a session deaf.
func TestDefect03_NoReconnectLeavesASessionDeaf(t *testing.T) {
	h := start(t, autoIntake())
	const workers, rounds = 8, 40
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			id, topic := clientID(fmt.Sprint("w", w)), fmt.Sprint("sensors/A/telemetry/w", w)
			for range rounds {
				for range 2 { // the first is dropped or taken over while it ends
					p := h.dial(t)
					if ack := p.connect("ann", "pw", id); ack.ReasonCode != 0 {
						t.Errorf("CONNACK %#x", ack.ReasonCode)
						return
					}
				}
				p := h.dial(t)
				p.connect("ann", "pw", id)
				p.subscribe(0, topic)
				h.say(topic, "hello")
				if pk, err := p.next(); err != nil || pk.FixedHeader.Type != packets.Publish {
					t.Errorf("deaf: got %v, %v", packets.PacketNames[pk.FixedHeader.Type], err)
					return
				}
				p.c.Close()
			}
		})
	}
	wg.Wait()
}

// #4 a, b: ids of the client's packets and of ours are different things.
func TestDefect04_ClientsIDsDoNotMeetOurs(t *testing.T) {
	h := start(t, autoIntake())
	p := h.login(t, "ann", persistently)
	p.subscribe(1, "sensors/A/telemetry")
	p.c.Close()
	eventually(t, "ann is away", func() bool { return h.Stats().Connections == 0 })
	a := h.login(t, "A")
	a.send(publish("sensors/A/telemetry", "1", 1, 1))
	a.want(packets.Puback)

	p = h.dial(t)
	p.connect("ann", "pw", persistently)
	delivered := p.want(packets.Publish)
	p.send(subscribe(delivered.PacketID, 1, "sensors/B/telemetry")) // the id of our unacknowledged delivery
	if got := p.want(packets.Suback).ReasonCodes; !bytes.Equal(got, []byte{1}) {
		t.Errorf("got SUBACK %v, want [1]", got)
	}
	p.c.Close()
	eventually(t, "ann is away", func() bool { return h.Stats().Connections == 1 })
	p = h.dial(t)
	p.connect("ann", "pw", persistently)
	if got := p.want(packets.Publish); got.PacketID != delivered.PacketID || !got.FixedHeader.Dup {
		t.Errorf("got PUBLISH %d dup %v, want the delivery %d again", got.PacketID, got.FixedHeader.Dup, delivered.PacketID)
	}
}

// #6: a v5 subscriber with a small Receive Maximum gets everything.
func TestDefect06_ReceiveMaximumDoesNotStarve(t *testing.T) {
	h := start(t, autoIntake())
	p := h.login(t, "ann", v5, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 2 })
	p.subscribe(1, "sensors/A/telemetry")
	a := h.login(t, "A")
	for range 3 {
		for id := uint16(1); id <= 20; id++ { // more than two before the first acknowledgement
			a.send(publish("sensors/A/telemetry", "1", 1, id))
			a.want(packets.Puback)
		}
		for range 20 {
			p.send(ack(packets.Puback, p.want(packets.Publish).PacketID))
		}
	}
}

// #8: wills go to the sensor's own lwt or nowhere.
func TestDefect08_ForeignWillIsRefusedAtConnect(t *testing.T) {
	h := start(t, autoIntake())
	for _, topic := range []string{"$SYS/broker/version", "a/+/b", "#", "sensors/C/lwt", "sensors/A/telemetry", "sensors/A/status", "sensors/A/commands/reply"} {
		for version, code := range map[byte]byte{4: packets.Err3NotAuthorized.Code, 5: packets.ErrNotAuthorized.Code} {
			p := h.dial(t)
			if got := p.connect("A", secretOf("A"), will(topic, "x", true), func(pk *packets.Packet) { pk.ProtocolVersion = version }).ReasonCode; got != code {
				t.Errorf("v%d will on %q: got CONNACK %#x, want %#x", version, topic, got, code)
			}
			p.wantEnd()
		}
	}
	if got := h.dial(t).connect("ann", "pw", will("sensors/A/lwt", "x", false)).ReasonCode; got != packets.Err3NotAuthorized.Code {
		t.Errorf("a person's will: got CONNACK %#x, want 5", got)
	}
	if got := len(h.in.reasons()); got != 14 {
		t.Errorf("got %d refusals explained to the owner, want 14", got)
	}
	if got := h.retained.match("sensors/#"); len(got) != 0 {
		t.Errorf("got %d messages retained, want none", len(got))
	}
}

// faultyListener fails a few times before each connection.
type faultyListener struct {
	net.Listener
	mu    sync.Mutex
	fails int
}

func (l *faultyListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails > 0 {
		l.fails--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// #11: running out of file descriptors for a while must not end the listener.
func TestDefect11_AcceptIsTriedAgain(t *testing.T) {
	h := newHouse(t, autoIntake())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.Serve(&faultyListener{Listener: l, fails: 2}) }()
	h.login(t, "A").wantAlive()
	if got := h.Stats().AcceptErrors; got != 2 {
		t.Errorf("got %d accept errors, want 2", got)
	}
	h.close(t)
	if err := <-served; err != nil {
		t.Errorf("Serve after Close: got %v, want nil", err)
	}
}

// #12: who sends nothing, or a little now and then, is closed at the connect timeout.
func TestDefect12_SilenceBeforeConnectEndsAtTheTimeout(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		begin := time.Now()
		mute := h.pipe(t)
		slow := h.pipe(t)
		go func() {
			for _, b := range encode(connectPacket("A", secretOf("A"))) {
				if _, err := slow.c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(2 * time.Second)
			}
		}()
		for _, p := range []*peer{mute, slow} {
			if _, err := io.ReadAll(p.c); err != nil {
				t.Errorf("read: %v", err)
			}
			if got := time.Since(begin); got < 5*time.Second || got > 5*time.Second+lastWords {
				t.Errorf("closed after %v, want 5 s", got)
			}
		}
		time.Sleep(3 * time.Second) // the slow one notices
		if got := h.Stats().Pending; got != 0 {
			t.Errorf("got %d pending, want 0", got)
		}
	}, func(_ *house, cfg *Config) { cfg.ConnectTimeout = 5 * time.Second })
}

// #12: a header announcing 256 MiB, or a length that never ends, costs nothing.
func TestDefect12_HugeAnnouncementsAreCutOff(t *testing.T) {
	h := start(t, autoIntake())
	for _, in := range [][]byte{
		{0x10, 0xff, 0xff, 0xff, 0x7f},
		append([]byte{0x10}, bytes.Repeat([]byte{0x80}, 5)...),
		[]byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		p := h.dial(t)
		p.raw(in)
		p.wantEnd()
	}
	p := h.login(t, "A", v5)
	p.raw([]byte{0x30, 0xff, 0xff, 0xff, 0x7f})
	if got := p.want(packets.Disconnect).ReasonCode; got != packets.ErrPacketTooLarge.Code {
		t.Errorf("got DISCONNECT %#x, want %#x", got, packets.ErrPacketTooLarge.Code)
	}
	p.wantEnd()
	if got := h.Stats().Violations; got != 4 {
		t.Errorf("got %d violations, want 4", got)
	}
}

// #12: connections that have not logged in are bounded.
func TestDefect12_PendingConnectionsAreBounded(t *testing.T) {
	h := start(t, autoIntake(), func(_ *house, cfg *Config) { cfg.MaxPending = 3 })
	for range 3 {
		h.dial(t)
	}
	eventually(t, "three are pending", func() bool { return h.Stats().Pending == 3 })
	h.dial(t).wantEnd()
	if got := h.Stats().Crowded; got != 1 {
		t.Errorf("got %d closed for the crowd, want 1", got)
	}
}

// #12: sockets that say nothing keep nobody out: the oldest of them gives way, but none that has said CONNECT and waits for us.
func TestDefect12_SilentConnectionsGiveWay(t *testing.T) {
	few := func(_ *house, cfg *Config) { cfg.MaxPending = 3 }
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		holder := h.pipeLogin(t, "A")
		holder.send(publish("sensors/A/telemetry", "1", 1, 1))
		h.in.await(t, 1)
		waiting := h.pipe(t) // for the session that holder keeps until its message is committed
		waiting.send(connectPacket("A", secretOf("A")))
		silent := []*peer{h.pipe(t), h.pipe(t)}
		synctest.Wait()
		time.Sleep(patientFor - 100*time.Millisecond)
		h.pipe(t).wantEnd() // all are too young to give way
		time.Sleep(200 * time.Millisecond)
		h.pipeLogin(t, "B")
		silent[0].wantEnd()
		h.in.commit(1, nil)
		waiting.want(packets.Connack)
		if got := h.Stats(); got.Crowded != 2 || got.Pending != 1 {
			t.Errorf("got %d crowded out and %d pending, want 2 and 1", got.Crowded, got.Pending)
		}
	}, few)
}

// #13: deep topics never reach the trie, whose cost is quadratic in the levels under a global lock.
func TestDefect13_DeepFiltersAreRefused(t *testing.T) {
	h := start(t, autoIntake())
	p := h.login(t, "ann", v5)
	deep := strings.Repeat("/", maxTopicLevels)
	long := "sensors/" + strings.Repeat("x", maxTopicBytes)
	if got, want := p.subscribe(0, deep, long, "sensors/#"), []byte{0x8f, 0x8f, 0}; !bytes.Equal(got, want) {
		t.Errorf("got SUBACK %#x, want %#x", got, want)
	}
	unsub := subscribe(8, 0, strings.Repeat("/", 60_000))
	unsub.FixedHeader.Type = packets.Unsubscribe
	p.send(unsub)
	p.want(packets.Unsuback)
	if got := h.Stats().Subscriptions; got != 1 {
		t.Errorf("got %d subscriptions, want 1", got)
	}
	a := h.login(t, "A", v5)
	a.send(publish("sensors/A/telemetry/"+strings.Repeat("x", maxTopicBytes), "1", 1, 1))
	if got := a.want(packets.Puback).ReasonCode; got != packets.ErrNotAuthorized.Code {
		t.Errorf("publish to a long topic: got PUBACK %#x, want %#x", got, packets.ErrNotAuthorized.Code)
	}
}

// #14: 1.5 × keep alive does not fit into 16 bits: 43,691 would mean at once, 65,535 nine hours instead of 27.
func TestDefect14_LongKeepAliveIsKept(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		for seconds, closed := range map[uint16]time.Duration{43_691: 0, 65_535: 0, 0: 0, 10: 15 * time.Second} {
			p := h.pipeLogin(t, "A", func(pk *packets.Packet) { pk.Connect.Keepalive = seconds })
			begin := time.Now()
			p.c.SetReadDeadline(begin.Add(10 * time.Minute))
			_, err := p.c.Read(make([]byte, 1))
			switch got := time.Since(begin); {
			case closed == 0 && !errors.Is(err, os.ErrDeadlineExceeded):
				t.Errorf("keep alive %d: closed after %v, want open", seconds, got)
			case closed != 0 && (got < closed || got > closed+2*keepAliveSlack):
				t.Errorf("keep alive %d: closed after %v, want %v", seconds, got, closed)
			}
		}
		p := h.pipe(t)
		ack := p.connect("A", secretOf("A"), v5, func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
		if ack.Properties.ServerKeepAlive != imposedKeepAlive {
			t.Errorf("v5 without keep alive: told %d s, want %d", ack.Properties.ServerKeepAlive, imposedKeepAlive)
		}
	})
}

// #20: a client id is no key: two principals with one never meet.
func TestDefect20_ClientIDsAreScopedToThePrincipal(t *testing.T) {
	h := start(t, autoIntake())
	ann := h.login(t, "ann", persistently, clientID("same"))
	ann.subscribe(1, "sensors/A/telemetry")
	bob := h.dial(t)
	if ack := bob.connect("bob", "pw", persistently, clientID("same")); ack.ReasonCode != 0 || ack.SessionPresent {
		t.Errorf("got CONNACK %#x, session present %v, want a session of his own", ack.ReasonCode, ack.SessionPresent)
	}
	a := h.login(t, "A", clientID("same"))
	inline := h.login(t, "B", clientID("inline"))
	a.send(publish("sensors/A/telemetry", "1", 1, 1))
	a.want(packets.Puback)
	ann.want(packets.Publish)
	for _, p := range []*peer{ann, bob, a, inline} {
		p.wantAlive()
	}
	h.say("sensors/A/telemetry", "2")
	ann.want(packets.Publish)
}

// #7: Close ends although a subscriber reads nothing.
func TestDefect07_CloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, newIntake())
		p := h.pipeLogin(t, "A", v5) // reads nothing from here on
		p.send(publish("sensors/A/telemetry", "1", 1, 1))
		h.in.await(t, 1) // and its message never meets a fate
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout+farewell)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		h.pool.Close()
	})
}

// #18: what 3.1.1 clients are told is 3.1.1.
func TestDefect18_V3ClientsAreNeverSentDisconnect(t *testing.T) {
	h := start(t, autoIntake())
	first := h.login(t, "A")
	second := h.login(t, "A")
	first.wantEnd() // taken over
	second.send(publish("sensors/C/telemetry", "1", 1, 1))
	second.wantEnd() // refused: there is no negative acknowledgement
	h.login(t, "A", will("sensors/A/lwt", "", false)).wantAlive()

	p := h.dial(t)
	if got := p.connect("A", secretOf("A"), persistently, clientID("")).ReasonCode; got != packets.Err3ClientIdentifierNotValid.Code {
		t.Errorf("no client id and clean session 0: got CONNACK %#x, want 2", got)
	}
	p.wantEnd()
	p = h.dial(t)
	if got := p.connect("A", secretOf("A"), func(pk *packets.Packet) { pk.ProtocolVersion = 6 }).ReasonCode; got != packets.Err3UnsupportedProtocolVersion.Code {
		t.Errorf("protocol level 6: got CONNACK %#x, want 1", got)
	}
	p.wantEnd()
}

func TestDefect18_PublishToSysIsAnswered(t *testing.T) {
	h := start(t, autoIntake())
	p := h.login(t, "A", v5)
	for qos, kind := range map[byte]byte{1: packets.Puback, 2: packets.Pubrec} {
		p.send(publish("$SYS/broker/version", "1", qos, 1))
		if got := p.want(kind).ReasonCode; got != packets.ErrNotAuthorized.Code {
			t.Errorf("QoS %d: got %#x, want %#x", qos, got, packets.ErrNotAuthorized.Code)
		}
	}
	p.send(publish("$SYS/broker/version", "1", 0, 0))
	p.wantAlive()
}

// #12 of reliability: the policy is asked about the topic an alias stands for.
func TestTopicAlias_IsJudgedAsItsTopic(t *testing.T) {
	h := start(t, autoIntake())
	p := h.login(t, "A", v5)
	alias := func(topic, payload string, n uint16) packets.Packet {
		pk := publish(topic, payload, 1, 1)
		pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = n, true
		return pk
	}
	for _, step := range []struct {
		topic string
		alias uint16
		code  byte
	}{
		{"sensors/A/telemetry", 1, 0},
		{"", 1, 0},
		{"sensors/C/telemetry", maxAliases, packets.ErrNotAuthorized.Code},
		{"", maxAliases, packets.ErrNotAuthorized.Code},
		{"", 1, 0},
		{"sensors/A/telemetry/m", 1, 0}, // set anew
		{"", 1, 0},
	} {
		p.send(alias(step.topic, "1", step.alias))
		if got := p.want(packets.Puback).ReasonCode; got != step.code {
			t.Errorf("%+v: got %#x", step, got)
		}
	}
	if got := len(h.in.accepted()); got != 5 {
		t.Errorf("got %d handed over, want 5", got)
	}
	h.dir.Remove("A")
	p.send(alias("", "1", 1))
	if got := p.want(packets.Puback).ReasonCode; got != packets.ErrNotAuthorized.Code {
		t.Errorf("after the sensor is gone: got %#x, want 0x87", got)
	}
}

func TestTopicAlias_UnknownOrTooLargeCloses(t *testing.T) {
	h := start(t, autoIntake())
	for n, want := range map[uint16]byte{0: packets.ErrTopicAliasInvalid.Code, maxAliases + 1: packets.ErrTopicAliasInvalid.Code, 2: packets.ErrProtocolViolationNoTopic.Code} {
		p := h.login(t, "A", v5)
		p.raw([]byte{0x30, 6, 0, 0, 3, 0x23, 0, byte(n)})
		if got := p.want(packets.Disconnect).ReasonCode; got != want {
			t.Errorf("alias %d: got DISCONNECT %#x, want %#x", n, got, want)
		}
		p.wantEnd()
	}
}

// None of a secret or payload may come through to the log.
func TestLog_HoldsNoSecretAndNoPayload(t *testing.T) {
	in := autoIntake()
	in.accept = rejectBad
	h := start(t, in)
	const payload = "payload-canary"
	p := h.login(t, "A", v5)
	p.send(publish("sensors/C/telemetry", payload, 1, 1))
	p.want(packets.Puback)
	p.send(publish("sensors/A/telemetry", payload, 2, 1))
	p.want(packets.Pubrec)
	p.send(connectPacket("A", secretOf("A"), v5))
	p.want(packets.Disconnect)
	h.dial(t).connect("A", "wrong-canary")
	eventually(t, "the connections are gone", func() bool { return h.Stats().Connections == 0 })
	h.close(t)
	for _, canary := range []string{payload, secretOf("A"), "wrong-canary"} {
		bytewise := strings.Trim(fmt.Sprint([]byte(canary)), "[]") // as slog prints a byte slice inside a struct
		if log := h.log.String(); strings.Contains(log, canary) || strings.Contains(log, bytewise) {
			t.Errorf("log holds %q", canary)
		}
	}
}
