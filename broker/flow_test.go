package broker

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	state "sensorcast/session"
)

func receiveMaximumOf(n uint16) connectOption {
	return func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = n }
}

// #5, #6: a v5 client never has more unacknowledged than its Receive Maximum, and gets everything, in order.
func TestDefect06_ReceiveMaximumIsHonoured(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		inBubble(t, autoIntake, func(t *testing.T, h *house) {
			ann := h.pipe(t)
			ann.connect("ann", "pw", v5, receiveMaximumOf(2))
			ann.subscribe(qos, "sensors/A/telemetry")
			a := h.pipeLogin(t, "A")
			const all = 20
			for id := uint16(1); id <= all; id++ {
				a.send(publish("sensors/A/telemetry", fmt.Sprint(id), 1, id))
				a.want(packets.Puback)
			}
			for i := 1; i <= all; i += 2 {
				ids := []uint16{ann.wantPayload(fmt.Sprint(i)), ann.wantPayload(fmt.Sprint(i + 1))}
				ann.silent()
				for _, id := range ids {
					ann.acknowledge(min(qos, 1), id)
				}
			}
			ann.silent()
			if got := h.sessions.find("u1/client").waiting.Load(); got != 0 {
				t.Errorf("QoS %d: got %d still waiting, want none", qos, got)
			}
		})
	}
}

// wantPayload reads a PUBLISH and returns its packet id.
func (p *peer) wantPayload(payload string) uint16 {
	p.t.Helper()
	pk := p.want(packets.Publish)
	if string(pk.Payload) != payload {
		p.t.Fatalf("got %q, want %q", pk.Payload, payload)
	}
	return pk.PacketID
}

// acknowledge ends a delivery from the subscriber's side.
func (p *peer) acknowledge(qos byte, id uint16) {
	p.t.Helper()
	if qos == 1 {
		p.send(ack(packets.Puback, id))
		return
	}
	p.send(ack(packets.Pubrec, id))
	if got := p.want(packets.Pubrel).PacketID; got != id {
		p.t.Fatalf("got PUBREL %d, want %d", got, id)
	}
	p.send(ack(packets.Pubcomp, id))
}

// A publisher's QoS decides together with the subscription's: QoS 2 both ways, step by step, across a reconnect.
func TestQoS2_OutboundSurvivesReconnectsAtEveryStep(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		connect := func() *peer {
			p := h.pipe(t)
			p.connect("ann", "pw", persistently)
			return p
		}
		ann := connect()
		ann.subscribe(2, "sensors/A/telemetry")
		a := h.pipeLogin(t, "A")
		a.send(publish("sensors/A/telemetry", "1", 2, 1))
		a.want(packets.Pubrec)
		first := ann.wantPayload("1")
		ann.c.Close()

		ann = connect()
		again := ann.want(packets.Publish)
		if again.PacketID != first || !again.FixedHeader.Dup {
			t.Errorf("sent again: got id %d, dup %v, want %d and dup", again.PacketID, again.FixedHeader.Dup, first)
		}
		ann.send(ack(packets.Pubrec, first))
		ann.want(packets.Pubrel)
		ann.c.Close()

		ann = connect()
		if got := ann.want(packets.Pubrel).PacketID; got != first {
			t.Errorf("after PUBREC: got PUBREL %d, want %d", got, first)
		}
		ann.send(ack(packets.Pubcomp, first))
		ann.silent()
		ann.c.Close()

		ann = connect()
		ann.silent()
	})
}

// #5: what waits for an absent client comes in the order it was published, however much it is, and its window holds.
func TestDefect05_OfflineQueueKeepsItsOrder(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		p := h.pipe(t)
		p.connect("ann", "pw", persistently)
		p.subscribe(1, "sensors/+/telemetry")
		p.c.Close()
		synctest.Wait()
		a := h.pipeLogin(t, "A")
		const all = 1000
		for i := range all {
			a.send(publish("sensors/A/telemetry", fmt.Sprint(i), 1, uint16(i+1)))
			a.want(packets.Puback)
		}
		p = h.pipe(t)
		p.connect("ann", "pw", persistently)
		for i := range all {
			pk := p.want(packets.Publish)
			if string(pk.Payload) != fmt.Sprint(i) || pk.FixedHeader.Dup {
				t.Fatalf("got %q (dup %v), want %d", pk.Payload, pk.FixedHeader.Dup, i)
			}
			p.send(ack(packets.Puback, pk.PacketID))
		}
		p.silent()
	})
}

// #17: what does not fit into the queue of an absent client is counted; what is in it stays.
func TestDefect17_QueueIsBoundedAndCounted(t *testing.T) {
	few := func(_ *house, cfg *Config) { cfg.MaxQueued, cfg.MaxQueuedBytes = 5, 1000 }
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		p := h.pipe(t)
		p.connect("ann", "pw", persistently)
		p.subscribe(1, "sensors/+/telemetry")
		p.c.Close()
		synctest.Wait()
		a := h.pipeLogin(t, "A")
		a.send(publish("sensors/A/telemetry", strings.Repeat("x", 1001), 1, 1))
		a.want(packets.Puback)
		for i := range 8 {
			a.send(publish("sensors/A/telemetry", fmt.Sprint(i), 1, uint16(i+2)))
			a.want(packets.Puback)
		}
		if got := h.Stats().Dropped; got != 4 {
			t.Errorf("got %d dropped, want 4", got)
		}
		p = h.pipe(t)
		p.connect("ann", "pw", persistently)
		for i := range 5 {
			p.wantPayload(fmt.Sprint(i))
		}
		p.silent()
	}, few)
}

// A client that leaves its oldest delivery unacknowledged gets no second one with its packet id, however many follow.
func TestPacketID_IsNotGivenTwice(t *testing.T) {
	s := &session{}
	s.pushLocked(&aMessage)
	for range 3 * (1 << 16) {
		d := s.pushLocked(&aMessage)
		if d.PacketID == s.queue[0].PacketID || d.PacketID == 0 {
			t.Fatalf("delivery %d: got packet id %d, the first one's is %d", d.Order, d.PacketID, s.queue[0].PacketID)
		}
		s.removeLocked(1)
	}
}

func TestExpiry_ExpiredMessagesAreNotDelivered(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		p := h.pipe(t)
		p.connect("ann", "pw", v5, persistently)
		p.subscribe(1, "sensors/+/telemetry")
		p.c.Close()
		synctest.Wait()
		a := h.pipeLogin(t, "A", v5)
		for id, seconds := range []uint32{10, 100, 0} {
			pk := publish("sensors/A/telemetry", fmt.Sprint(seconds), 1, uint16(id+1))
			pk.Properties.MessageExpiryInterval = seconds
			a.send(pk)
			a.want(packets.Puback)
		}
		time.Sleep(20 * time.Second)
		p = h.pipe(t)
		p.connect("ann", "pw", v5, persistently)
		if pk := p.want(packets.Publish); string(pk.Payload) != "100" || pk.Properties.MessageExpiryInterval != 80 {
			t.Errorf("got %q with %d s left, want 100 with 80", pk.Payload, pk.Properties.MessageExpiryInterval)
		}
		if pk := p.want(packets.Publish); string(pk.Payload) != "0" || pk.Properties.MessageExpiryInterval != 0 {
			t.Errorf("got %q with %d s left, want 0 with none", pk.Payload, pk.Properties.MessageExpiryInterval)
		}
		p.silent()
	})
}

// [MQTT-3.1.2-24], [MQTT-3.1.2-25]: what is too large for a client is not sent to it and holds nothing else up.
func TestMaximumPacketSize_OfTheClientIsHonoured(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		p := h.pipe(t)
		p.connect("ann", "pw", v5, func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 200 })
		a := h.pipeLogin(t, "A")
		for qos := byte(0); qos < 2; qos++ {
			p.subscribe(qos, "sensors/A/telemetry")
			a.send(publish("sensors/A/telemetry", strings.Repeat("x", 500), 1, 1), publish("sensors/A/telemetry", "small", 1, 2))
			p.wantPayload("small")
			p.silent()
			a.want(packets.Puback)
			a.want(packets.Puback)
		}
	})
}

// A v5 client that has more unacknowledged than it was told it may is disconnected [MQTT-3.3.4-7]; one that keeps to it is not.
func TestReceiveMaximum_OfTheServerIsEnforced(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A", v5)
		for id := uint16(1); id <= receiveMaximum; id++ {
			p.send(publish("sensors/A/telemetry", "1", 1+byte(id&1), id))
		}
		h.in.await(t, receiveMaximum)
		p.silent()
		p.send(publish("sensors/A/telemetry", "1", 1, receiveMaximum+1))
		synctest.Wait()
		go h.in.commit(receiveMaximum, nil)
		for range receiveMaximum {
			p.next() // what was within the bound is acknowledged
		}
		if got := p.want(packets.Disconnect).ReasonCode; got != packets.ErrReceiveMaximum.Code {
			t.Errorf("got DISCONNECT %#x, want %#x", got, packets.ErrReceiveMaximum.Code)
		}
	})
}

// Over the rate a client is read no faster, and loses nothing.
func TestPublishRate_IsHeldByNotReading(t *testing.T) {
	slow := func(_ *house, cfg *Config) { cfg.PublishRate = 10 }
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A")
		begin := time.Now()
		go func() {
			for id := uint16(1); id <= 60; id++ {
				p.c.Write(encode(publish("sensors/A/telemetry", fmt.Sprint(id), 1, id)))
			}
		}()
		for id := uint16(1); id <= 60; id++ {
			p.want(packets.Puback)
		}
		if took := time.Since(begin); took < 4*time.Second || took > 7*time.Second {
			t.Errorf("60 messages at 10 a second took %v, want about 5 s after a burst of 10", took)
		}
		if got := h.Stats().Paced; got == 0 {
			t.Error("pauses are not counted")
		}
	}, slow)
}

// A connection that is no bare socket (TLS, a WebSocket) hands over what came in pieces of any size. However they fall in relation to
// the buffers, every byte arrives.
func TestInbound_PiecesArriveWhole(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A", func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
		var sent []byte
		var want []string
		for id, size := range []int{burstBytes - 40, 100, burstBytes, burstBytes + 100, 3 * burstBytes, 1} {
			payload := strings.Repeat(string(rune('a'+id)), size)
			want = append(want, payload)
			sent = append(sent, encode(publish("sensors/A/telemetry", payload, 1, uint16(id+1)))...)
		}
		for _, piece := range []int{5, smallBytes - 1, smallBytes, smallBytes + 1} {
			before := len(h.in.accepted())
			go func() {
				for b := range slices.Chunk(sent, piece) {
					if _, err := p.c.Write(b); err != nil {
						return
					}
				}
			}()
			for id := range want {
				if got := p.want(packets.Puback); int(got.PacketID) != id+1 {
					t.Fatalf("pieces of %d: got PUBACK %d, want %d", piece, got.PacketID, id+1)
				}
			}
			if got := h.in.accepted()[before:]; !slices.Equal(got, want) {
				t.Errorf("pieces of %d: payloads differ from what was sent", piece)
			}
		}
	})
}

// Bytes have a rate of their own, which a few large messages reach.
func TestPublishBytes_AreHeldByNotReading(t *testing.T) {
	const rate, size, all = 10_000, 5_000, 12
	slow := func(_ *house, cfg *Config) { cfg.PublishBytes = rate }
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A", func(pk *packets.Packet) { pk.Connect.Keepalive = 1 }) // a client held back is not silent
		begin := time.Now()
		go func() {
			for id := uint16(1); id <= all; id++ {
				p.c.Write(encode(publish("sensors/A/telemetry", strings.Repeat("x", size), 1, id)))
			}
		}()
		for id := uint16(1); id <= all; id++ {
			p.want(packets.Puback)
		}
		if took := time.Since(begin); took < 4*time.Second || took > 7*time.Second {
			t.Errorf("%d bytes at %d a second took %v, want about 5 s after a burst of one second's", all*size, rate, took)
		}
		p.wantAlive()
		if got := h.Stats(); got.PacedBytes == 0 || got.Paced != 0 {
			t.Errorf("got %d pauses for bytes and %d for messages counted, want some and none", got.PacedBytes, got.Paced)
		}
	}, slow)
}

// A bucket that was idle holds a second's worth and no more.
func TestBucket_SavesNoMoreThanASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bucket
		for _, step := range []struct {
			wait  time.Duration
			spent int
			want  time.Duration
		}{{0, 100, 0}, {0, 50, 500 * time.Millisecond}, {500 * time.Millisecond, 1, 10 * time.Millisecond}, {time.Hour, 200, time.Second}, {time.Second, 0, 0}, {0, 100, time.Second}} {
			time.Sleep(step.wait)
			b.spent = step.spent
			if got := b.owed(100); (got - step.want).Abs() > time.Microsecond {
				t.Errorf("%d tokens after %v: got %v owed, want %v", step.spent, step.wait, got, step.want)
			}
		}
		if b.spent = 1 << 40; b.owed(0) != 0 || b.spent != 0 {
			t.Error("without a rate something is owed or kept")
		}
	})
}

// A lasting session whose client takes none of what comes acknowledges nothing either; what left its queue is told the journal all the
// same, and does not pile up.
func TestQueue_WhatIsNotTakenDoesNotPileUp(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		ann := h.pipe(t)
		ann.connect("ann", "pw", v5, persistently, func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 20 })
		ann.subscribe(1, "sensors/A/telemetry")
		a := h.pipeLogin(t, "A")
		const all = 100
		for id := uint16(1); id <= all; id++ {
			a.send(publish("sensors/A/telemetry", "too large", 1, id))
			a.want(packets.Puback)
		}
		settled := 0
		for _, c := range h.in.journaled() {
			if _, ok := c.(state.Settle); ok {
				settled++
			}
		}
		s := h.sessions.find("u1/client")
		s.mu.Lock()
		defer s.mu.Unlock()
		if settled != all || len(s.owed) != 0 || len(s.queue) != 0 {
			t.Errorf("got %d settled in the journal, %d owed, %d queued; want %d, 0, 0", settled, len(s.owed), len(s.queue), all)
		}
	})
}

func TestClients_AreBounded(t *testing.T) {
	h := start(t, autoIntake(), func(_ *house, cfg *Config) { cfg.MaxClients = 1 })
	first := h.login(t, "A")
	for version, want := range map[byte]byte{4: packets.Err3ServerUnavailable.Code, 5: packets.ErrServerBusy.Code} {
		p := h.dial(t)
		if got := p.connect("B", secretOf("B"), func(pk *packets.Packet) { pk.ProtocolVersion = version }).ReasonCode; got != want {
			t.Errorf("v%d: got CONNACK %#x, want %#x", version, got, want)
		}
		p.wantEnd()
	}
	first.c.Close()
	eventually(t, "the seat is free", func() bool { return h.Stats().Connections == 0 })
	h.login(t, "B").wantAlive()
}

// Who asks and does not read the answers is closed once more waits than may.
func TestAnswers_WhoDoesNotReadThemIsClosed(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A")
		pings := bytes.Repeat([]byte{0xc0, 0}, 4<<10)
		for range 2 * maxOutbound / len(pings) {
			if _, err := p.c.Write(pings); err != nil {
				break
			}
		}
		synctest.Wait()
		if got := h.Stats().Slow; got != 1 {
			t.Errorf("got %d closed for being slow, want 1", got)
		}
	})
}
