package broker

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// inBubble runs f with a broker on fake time, reached through pipes.
func inBubble(t *testing.T, in func() *intake, f func(t *testing.T, h *house), opts ...option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, in(), opts...)
		f(t, h)
		h.close(t)
	})
}

// pipe is dial without a network, for bubbles.
func (h *house) pipe(t testing.TB) *peer {
	ours, theirs := net.Pipe()
	h.admit(theirs)
	t.Cleanup(func() { ours.Close() })
	return &peer{t: t, c: ours, r: bufio.NewReader(ours), version: 4}
}

// pipeLogin is login through a pipe.
func (h *house) pipeLogin(t testing.TB, user string, opts ...connectOption) *peer {
	t.Helper()
	p := h.pipe(t)
	if ack := p.connect(user, passwordOf(user), opts...); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK: got code %#x, want 0", ack.ReasonCode)
	}
	return p
}

// silent insists that nothing comes once everything has come to rest. Only in a bubble: its clock moves when all else has stopped.
func (p *peer) silent() {
	p.t.Helper()
	p.c.SetReadDeadline(time.Now().Add(time.Millisecond))
	b, err := p.r.ReadByte()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("got byte %#x, error %v, want silence", b, err)
	}
}

func TestPuback_WaitsForTheCommit(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A")
		p.send(publish("sensors/A/telemetry", `{"t":1}`, 1, 1))
		h.in.await(t, 1)
		p.silent()
		h.in.commit(1, nil)
		if got := p.want(packets.Puback).PacketID; got != 1 {
			t.Errorf("PUBACK of packet %d, want 1", got)
		}
	})
}

func TestPuback_PipelinedAcksKeepTheirOrderAndNothingOvertakes(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A")
		for id := uint16(1); id <= 100; id++ {
			qos := byte(1)
			if id%3 == 0 {
				qos = 2
			}
			p.send(publish("sensors/A/telemetry", fmt.Sprint(id), qos, id))
		}
		p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		h.in.await(t, 100)
		p.silent()
		for id := uint16(1); id <= 100; {
			n := min(7, 101-int(id))
			h.in.commit(n, nil)
			for range n {
				kind := packets.Puback
				if id%3 == 0 {
					kind = packets.Pubrec
				}
				if got := p.want(kind).PacketID; got != id {
					t.Fatalf("got ack of %d, want %d", got, id)
				}
				id++
			}
			if id <= 100 {
				p.silent()
			}
		}
		p.want(packets.Pingresp)
	})
}

func TestPuback_MalformedIsNotAckedAheadOfWhatWentBefore(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			inBubble(t, func() *intake { in := newIntake(); in.accept = rejectBad; return in }, func(t *testing.T, h *house) {
				p := h.pipeLogin(t, "A", func(pk *packets.Packet) { pk.ProtocolVersion = version })
				p.send(publish("sensors/A/telemetry", "1", 1, 1), publish("sensors/A/telemetry", "bad", 1, 2),
					publish("sensors/A/telemetry", "bad", 2, 3), publish("sensors/A/telemetry", "bad", 0, 0))
				h.in.await(t, 1)
				p.silent()
				h.in.commit(1, nil)
				p.want(packets.Puback)
				want := byte(0)
				if version == 5 {
					want = packets.ErrPayloadFormatInvalid.Code
				}
				if got := p.want(packets.Puback); got.PacketID != 2 || got.ReasonCode != want {
					t.Errorf("got PUBACK %d with %#x, want 2 with %#x", got.PacketID, got.ReasonCode, want)
				}
				if got := p.want(packets.Pubrec); got.PacketID != 3 || got.ReasonCode != want {
					t.Errorf("got PUBREC %d with %#x, want 3 with %#x", got.PacketID, got.ReasonCode, want)
				}
				if version == 4 {
					p.send(ack(packets.Pubrel, 3))
					p.want(packets.Pubcomp)
				}
				p.send(publish("sensors/A/telemetry", "2", 2, 3)) // the id is free again
				h.in.await(t, 2)
				h.in.commit(1, nil)
				p.want(packets.Pubrec)
				p.wantAlive()
				if got := h.Stats().Malformed; got != 3 {
					t.Errorf("got %d malformed, want 3", got)
				}
			})
		})
	}
}

func rejectBad(m ingest.Message) error {
	if string(m.Payload) == "bad" {
		return telemetry.Invalid("payload", "is no JSON")
	}
	return nil
}

var errDisk = errors.New("disk full")

func TestCommitFailure_AcksWhatWasStoredAndClosesWithoutTheRest(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			inBubble(t, newIntake, func(t *testing.T, h *house) {
				p := h.pipeLogin(t, "A", func(pk *packets.Packet) { pk.ProtocolVersion = version })
				p.send(publish("sensors/A/telemetry", "1", 1, 1), publish("sensors/A/telemetry", "2", 1, 2), publish("sensors/A/telemetry", "3", 1, 3))
				h.in.await(t, 3)
				h.in.commit(1, nil)
				h.in.commit(1, errDisk)
				h.in.commit(1, nil)
				if got := p.want(packets.Puback).PacketID; got != 1 {
					t.Errorf("got PUBACK %d, want 1", got)
				}
				if version == 5 {
					if got := p.want(packets.Disconnect).ReasonCode; got != packets.ErrServerBusy.Code {
						t.Errorf("got DISCONNECT %#x, want %#x", got, packets.ErrServerBusy.Code)
					}
				}
				p.wantEnd()
				if got := h.Stats().Unstored; got != 1 {
					t.Errorf("got %d connections closed for the store, want 1", got)
				}
			})
		})
	}
}

// Left in a persistent session as taken, a message sent again would be acknowledged without being handed over.
func TestCommitFailure_UnstoredQoS2IsTakenWhenSentAgain(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A", persistently)
		p.send(publish("sensors/A/telemetry", "1", 2, 1), publish("sensors/A/telemetry", "2", 2, 2))
		h.in.await(t, 2)
		synctest.Wait()     // both are handed over
		h.in.commit(2, nil) // the reading, and that it was taken
		p.want(packets.Pubrec)
		synctest.Wait() // both are handed over
		h.in.commit(2, errDisk)
		p.wantEnd()

		p = h.pipe(t)
		if ack := p.connect("A", secretOf("A"), persistently); !ack.SessionPresent {
			t.Error("session was lost")
		}
		p.send(ack(packets.Pubrel, 1))
		p.want(packets.Pubcomp)
		again := publish("sensors/A/telemetry", "2", 2, 2)
		again.FixedHeader.Dup = true
		p.send(again)
		h.in.await(t, 3)
		p.silent()
		synctest.Wait() // both are handed over
		h.in.commit(2, nil)
		if got := p.want(packets.Pubrec).PacketID; got != 2 {
			t.Errorf("got PUBREC %d, want 2", got)
		}
	})
}

// The connection breaks between PUBLISH and commit: the next connection must not inherit an acknowledgement the store has not earned.
func TestTakeover_WaitsForTheFatesOfTheOldConnection(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A", persistently)
		p.send(publish("sensors/A/telemetry", "1", 2, 1))
		h.in.await(t, 1)
		p.c.Close()

		p = h.pipe(t)
		pk := connectPacket("A", secretOf("A"), persistently)
		p.send(pk)
		p.silent()              // no CONNACK, no PUBREC yet
		synctest.Wait()         // both are handed over
		h.in.commit(2, errDisk) // the reading, and that it was taken
		if ack := p.want(packets.Connack); ack.ReasonCode != 0 {
			t.Fatalf("got CONNACK %#x, want 0", ack.ReasonCode)
		}
		p.silent()
		p.send(publish("sensors/A/telemetry", "1", 2, 1))
		h.in.await(t, 2)
		synctest.Wait() // both are handed over
		h.in.commit(2, nil)
		p.want(packets.Pubrec)
	})
}

func TestQoS2_SentAgainIsAcknowledgedAndHandedOverOnce(t *testing.T) {
	for _, version := range []byte{4, 5} {
		inBubble(t, autoIntake, func(t *testing.T, h *house) {
			p := h.pipeLogin(t, "A", func(pk *packets.Packet) { pk.ProtocolVersion = version })
			for range 2 {
				p.send(publish("sensors/A/telemetry", "1", 2, 1))
				if got := p.want(packets.Pubrec).ReasonCode; got != 0 {
					t.Errorf("v%d: got PUBREC %#x, want 0", version, got)
				}
			}
			p.send(ack(packets.Pubrel, 1))
			p.want(packets.Pubcomp)
			if got := h.in.accepted(); len(got) != 1 {
				t.Errorf("v%d: got %q handed over, want one", version, got)
			}
		})
	}
}

func TestUnavailable_IsNeverAcknowledgedAndCloses(t *testing.T) {
	closed := func() *intake {
		in := newIntake()
		in.accept = func(ingest.Message) error { return telemetry.ErrUnavailable }
		return in
	}
	inBubble(t, closed, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A", v5)
		p.send(publish("sensors/A/telemetry", "1", 1, 1))
		if got := p.want(packets.Disconnect).ReasonCode; got != packets.ErrServerBusy.Code {
			t.Errorf("got DISCONNECT %#x, want %#x", got, packets.ErrServerBusy.Code)
		}
		p.wantEnd()
	})
}

func TestUncommitted_MoreThanTheBoundStopsTheReading(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A")
		const all = 3 * maxUncommitted
		go func() {
			for id := uint16(1); id <= all; id++ {
				p.c.Write(encode(publish("sensors/A/telemetry", "1", 1, id)))
			}
		}()
		synctest.Wait()
		got := len(h.in.accepted())
		if got <= maxUncommitted || got > maxUncommitted+burstBytes {
			t.Errorf("got %d messages taken without a commit, want a few more than %d", got, maxUncommitted)
		}
		if pauses := h.Stats().ReadPauses; pauses != 1 {
			t.Errorf("got %d pauses, want 1", pauses)
		}
		for id := 1; id <= all; id++ {
			h.in.await(t, id)
			h.in.commit(1, nil)
			if got := p.want(packets.Puback).PacketID; got != uint16(id) {
				t.Fatalf("got PUBACK %d, want %d", got, id)
			}
		}
	})
}

func TestClose_SendsTheAcksThatStillCommit(t *testing.T) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		p := h.pipeLogin(t, "A", v5)
		p.send(publish("sensors/A/telemetry", "1", 1, 1))
		h.in.await(t, 1)
		synctest.Wait() // handed over, and its acknowledgement in the gate; a stop in between leaves it to be sent again
		go h.close(t)
		p.silent()
		h.in.commit(1, nil)
		p.want(packets.Puback)
		if got := p.want(packets.Disconnect).ReasonCode; got != packets.ErrServerShuttingDown.Code {
			t.Errorf("got DISCONNECT %#x, want %#x", got, packets.ErrServerShuttingDown.Code)
		}
		p.wantEnd()
		synctest.Wait()
	})
}
