package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/command"
	"sensorcast/telemetry"
)

// outbox is a command.Outbox of slices.
type outbox struct {
	mu       sync.Mutex
	commands []command.Command
	answers  []string
	fail     error
}

func (o *outbox) Waiting(id int64) bool {
	cmds, _ := o.Next(context.Background(), id, 0, 1)
	return len(cmds) > 0
}

func (o *outbox) Next(_ context.Context, sensorID, after int64, limit int) (all []command.Command, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.commands {
		if c.SensorID == sensorID && c.Order > after && c.State == command.Queued && len(all) < limit {
			all = append(all, c)
		}
	}
	return all, nil
}

func (o *outbox) Delivered(_ context.Context, sensorID int64, id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.commands {
		if c := &o.commands[i]; c.ID == id && c.SensorID == sensorID {
			c.State = command.Delivered
			return nil
		}
	}
	return telemetry.ErrNotFound
}

func (o *outbox) Answered(_ context.Context, sensorID int64, payload []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return o.fail
	}
	o.answers = append(o.answers, fmt.Sprint(sensorID, " ", string(payload)))
	return nil
}

// queue adds commands named from first on for sensor A, and tells the broker.
func (h *house) queue(first, n int) {
	for i := first; i < first+n; i++ {
		h.outbox.mu.Lock()
		h.outbox.commands = append(h.outbox.commands, command.Command{
			ID: fmt.Sprint("id", i), Order: int64(i), SensorID: sensorID("A"), Serial: "A", Name: fmt.Sprint("n", i), Data: []byte("{}"),
			State: command.Queued, ExpiresAt: telemetry.Now().Add(time.Hour),
		})
		h.outbox.mu.Unlock()
		h.CommandQueued(sensorID("A"), "A")
	}
}

func (h *house) waitingCommands() int {
	cmds, _ := h.outbox.Next(context.Background(), sensorID("A"), 0, 1000)
	return len(cmds)
}

// wantCommand reads a command and returns its packet id.
func (p *peer) wantCommand(i int) uint16 {
	p.t.Helper()
	pk := p.want(packets.Publish)
	if want := fmt.Sprintf(`{"id":"id%d","name":"n%d","data":{}}`, i, i); string(pk.Payload) != want || pk.TopicName != "sensors/A/commands" {
		p.t.Fatalf("got %s on %s, want %s", pk.Payload, pk.TopicName, want)
	}
	return pk.PacketID
}

// In order, one after another, each until it is acknowledged: now, after a broken connection, and after days, clean session or not.
func TestCommands_ReachTheSensorInOrderAndUntilAcknowledged(t *testing.T) {
	for _, opts := range [][]connectOption{nil, {persistently}} {
		inBubble(t, autoIntake, func(t *testing.T, h *house) {
			a := h.pipeLogin(t, "A", opts...)
			h.queue(1, 3)
			a.silent() // not subscribed yet
			a.subscribe(1, "sensors/A/commands")
			a.send(ack(packets.Puback, a.wantCommand(1)))
			a.wantCommand(2)
			a.silent() // the next comes after this one
			a.c.Close()
			synctest.Wait()
			if got := h.waitingCommands(); got != 2 {
				t.Errorf("got %d waiting, want 2", got)
			}
			time.Sleep(30 * time.Minute)
			h.queue(4, 40)
			a = h.pipeLogin(t, "A", opts...)
			if len(opts) == 0 {
				a.subscribe(1, "sensors/A/#")
			}
			for i := 2; i < 44; i++ {
				a.send(ack(packets.Puback, a.wantCommand(i)))
			}
			a.silent()
			h.queue(44, 1) // while connected
			a.send(ack(packets.Puback, a.wantCommand(44)))
			a.silent()
			if got := h.waitingCommands(); got != 0 {
				t.Errorf("got %d waiting, want none", got)
			}
		})
	}
}

func TestCommands_ExpiredOnesAreNotSent(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		h.queue(1, 1)
		time.Sleep(2 * time.Hour)
		h.queue(2, 1)
		a := h.pipeLogin(t, "A")
		a.subscribe(1, "sensors/A/commands")
		a.wantCommand(2)
	})
}

// A subscription of QoS 0 cannot acknowledge: the command is sent once on each connection, until there is a reply.
func TestCommands_AtQoS0ComeOnceOnEachConnection(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		h.queue(1, 2)
		for range 2 {
			a := h.pipeLogin(t, "A")
			a.subscribe(0, "sensors/A/commands")
			a.wantCommand(1)
			a.wantCommand(2)
			a.silent()
			h.CommandQueued(sensorID("A"), "A")
			a.silent()
			a.c.Close()
			synctest.Wait()
		}
		if got := h.waitingCommands(); got != 2 {
			t.Errorf("got %d waiting, want 2: nothing proves that they came", got)
		}
	})
}

func TestCommands_OwnersSeeWhatIsSentAndOthersDoNot(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		ann, bob, b := h.pipeLogin(t, "ann"), h.pipeLogin(t, "bob"), h.pipeLogin(t, "B")
		ann.subscribe(1, "sensors/+/commands")
		bob.subscribe(1, "sensors/+/commands")
		b.subscribe(1, "sensors/B/commands")
		a := h.pipeLogin(t, "A")
		a.subscribe(1, "sensors/A/commands")
		h.queue(1, 1)
		a.wantCommand(1)
		ann.wantCommand(1)
		bob.silent()
		b.silent()
	})
}

// A reply is acknowledged once the outbox has it; one it cannot take because the store fails is not.
func TestCommands_RepliesGoToTheOutbox(t *testing.T) {
	h := start(t, autoIntake())
	ann := h.login(t, "ann")
	ann.subscribe(0, "sensors/+/commands/reply")
	a := h.login(t, "A", v5)
	a.send(publish("sensors/A/commands/reply", `{"id":"id1","ok":true}`, 1, 1))
	if got := a.want(packets.Puback).ReasonCode; got != 0 {
		t.Errorf("got PUBACK %#x, want 0", got)
	}
	ann.wantPayload(`{"id":"id1","ok":true}`)
	if got, want := strings.Join(h.outbox.answers, ";"), `65 {"id":"id1","ok":true}`; got != want {
		t.Errorf("got answers %q, want %q", got, want)
	}
	a.send(publish("sensors/C/commands/reply", `{"id":"id1","ok":true}`, 1, 1))
	if got := a.want(packets.Puback).ReasonCode; got != packets.ErrNotAuthorized.Code {
		t.Errorf("another's reply: got PUBACK %#x, want 0x87", got)
	}
	h.outbox.mu.Lock()
	h.outbox.fail = telemetry.Invalid("id", "is that of no command")
	h.outbox.mu.Unlock()
	a.send(publish("sensors/A/commands/reply", `{}`, 1, 1))
	if got := a.want(packets.Puback).ReasonCode; got != packets.ErrPayloadFormatInvalid.Code {
		t.Errorf("a reply that cannot be read: got PUBACK %#x, want 0x99", got)
	}
	h.outbox.mu.Lock()
	h.outbox.fail = telemetry.ErrUnavailable
	h.outbox.mu.Unlock()
	a.send(publish("sensors/A/commands/reply", `{}`, 1, 2))
	if got := a.want(packets.Disconnect).ReasonCode; got != packets.ErrServerBusy.Code {
		t.Errorf("store fails: got DISCONNECT %#x, want 0x89", got)
	}
	if got := len(h.in.accepted()); got != 0 {
		t.Errorf("got %d replies taken for readings", got)
	}
}
