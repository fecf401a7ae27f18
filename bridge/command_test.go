package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/telemetry"
)

func TestCommand_AckComesAfterItIsStored(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	stored := make(chan command.Draft)
	commit := make(chan struct{})
	w.out.set(func(p auth.Principal, d command.Draft) (command.Command, error) {
		if p != ann {
			t.Errorf("commanded by %v, want %v", p, ann)
		}
		stored <- d
		<-commit
		return command.Command{ID: "own-id"}, nil
	})
	c, _ := w.dial(ann, dev.Serial)
	if err := c.Send(json.RawMessage(`{"type":"command","id":"c1","serial_no":"` + dev.Serial + `","name":"set","data":{"n":1234567890123456789},"expires_in":60}`)); err != nil {
		t.Fatal(err)
	}
	d := <-stored
	if d.Serial != dev.Serial || d.Name != "set" || string(d.Data) != `{"n":1234567890123456789}` || d.ExpiresIn != time.Minute {
		t.Errorf("got draft %+v", d)
	}
	w.reading(dev, 5) // goes on arriving, and before the acknowledgement
	w.expect(c, "state")
	w.expect(c, "reading")
	close(commit)
	if f := w.expect(c, "ack"); string(f.ID) != `"c1"` || f.CommandID != "own-id" {
		t.Errorf("got %s, want both ids", f.Raw)
	}
}

func TestCommand_LargestOneFits(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	c, _ := w.dial(ann)
	data := `"` + strings.Repeat("x", command.MaxDataBytes-2) + `"`
	name, id := strings.Repeat(`\ud83d\ude00`, 100), strings.Repeat("i", maxIDBytes-2)
	for _, m := range []string{
		`{"type":"command","id":"` + id + `","serial_no":"` + dev.Serial + `","name":"` + name + `","data":` + data + `,"expires_in":2592000}`,
		`{"type":"command","serial_no":"` + dev.Serial + `","name":"x"}`,
	} {
		if err := c.Send(json.RawMessage(m)); err != nil {
			t.Fatal(err)
		}
		w.expect(c, "ack")
	}
}

func TestCommand_ErrorsNameWhatIsWrong(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	var asked counterOf
	w.out.set(func(_ auth.Principal, d command.Draft) (command.Command, error) {
		asked.add()
		switch d.Name {
		case "":
			return command.Command{}, telemetry.Invalid("name", "must not be empty")
		case "full":
			return command.Command{}, command.ErrFull
		case "watch":
			return command.Command{}, fmt.Errorf("only: %w", telemetry.ErrForbidden)
		case "down":
			return command.Command{}, fmt.Errorf("disk-text: %w", telemetry.ErrUnavailable)
		}
		return command.Command{}, errors.New("fault-text")
	})
	c, _ := w.dial(ann, dev.Serial)
	for _, m := range []struct {
		fields, code, says string
		reaches            bool // the outbox
	}{
		{`"name":"x"`, "invalid", "serial_no", false},
		{`"serial_no":7,"name":"x"`, "invalid", "serial_no", false},
		{`"serial_no":"$","name":7`, "invalid", "name", false},
		{`"serial_no":"$","name":"x","expires_in":0`, "invalid", "expires_in", false},
		{`"serial_no":"$","name":"x","expires_in":9223372036854775807`, "invalid", "expires_in", false},
		{`"serial_no":"$","name":"x","expires_in":"1h"`, "invalid", "expires_in", false},
		{`"serial_no":"$","name":"x","expire":1`, "invalid", "no keys but", false},
		{`"serial_no":"SN-ann-2","name":"x"`, "not_found", "serial_no", false},
		{`"serial_no":"$"`, "invalid", "name", true},
		{`"serial_no":"$","name":"full"`, "too_many", "1000 commands", true},
		{`"serial_no":"$","name":"watch"`, "forbidden", "watched", true},
		{`"serial_no":"$","name":"down"`, "unavailable", "again", true},
		{`"serial_no":"$","name":"fault"`, "unavailable", "again", true},
	} {
		c.Close()
		c, _ = w.dial(ann, dev.Serial) // each with a fresh allowance
		before := asked.get()
		c.Send(json.RawMessage(`{"type":"command","id":3,` + strings.ReplaceAll(m.fields, "$", dev.Serial) + `}`))
		f := w.expect(c, "error")
		if f.Code != m.code || string(f.ID) != "3" || !strings.Contains(f.Message, m.says) || strings.Contains(f.Message, "-text") {
			t.Errorf("%s: got %s, want code %s that says %q", m.fields, f.Raw, m.code, m.says)
		}
		if got := asked.get() > before; got != m.reaches {
			t.Errorf("%s: reached the outbox: %v, want %v", m.fields, got, m.reaches)
		}
	}
	c.Send(json.RawMessage(`{"type":"command","id":{"no":"id"},"serial_no":"` + dev.Serial + `","name":"x"}`))
	if f := w.expect(c, "error"); f.Code != "invalid" || f.ID != nil || !strings.Contains(f.Message, "id") {
		t.Errorf("id that cannot be repeated: got %s", f.Raw)
	}
	if logs := w.log.String(); !strings.Contains(logs, "fault-text") || strings.Contains(logs, "disk-text") {
		t.Errorf("the log has to tell of faults, and of an outage elsewhere: %s", logs)
	}
}

// A ticket for some sensors commands no others, its owner's included: it may have been given away to show just those.
func TestCommand_TicketReachesNoOtherSensor(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	one, two := w.sensor(ann, 1), w.sensor(ann, 2)
	w.out.set(func(_ auth.Principal, d command.Draft) (command.Command, error) {
		if d.Serial == two.Serial {
			t.Errorf("a ticket for %s commanded %s", one.Serial, two.Serial)
		}
		return command.Command{ID: "queued"}, nil
	})
	c, _ := w.dial(ann, one.Serial)
	c.Send(map[string]any{"type": "command", "id": "a", "serial_no": two.Serial, "name": "x"})
	if f := w.expect(c, "error"); f.Code != "not_found" {
		t.Errorf("got %s, want not_found", f.Raw)
	}
	c.Send(map[string]any{"type": "command", "id": "b", "serial_no": one.Serial, "name": "x"})
	w.expect(c, "ack")
}

func TestCommand_SensorsOwnSocketMayNot(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	w.out.set(func(auth.Principal, command.Draft) (command.Command, error) {
		t.Error("a sensor's socket commanded")
		return command.Command{}, nil
	})
	dev := w.sensor(ann, 1)
	c, _ := w.dial(sensorPrincipal(dev))
	c.Send(map[string]any{"type": "command", "id": "a", "serial_no": dev.Serial, "name": "x", "data": map[string]any{}})
	if f := w.expect(c, "error"); f.Code != "unknown_type" {
		t.Errorf("got %s, want unknown_type", f.Raw)
	}
}

// The socket is not closed yet, the authority has ended: what counts is now.
func TestCommand_EndedAuthorityCommandsNothing(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	w.out.set(func(auth.Principal, command.Draft) (command.Command, error) {
		t.Error("an ended session commanded")
		return command.Command{}, nil
	})
	out := &tape{}
	s := &session{hub: w.hub, conn: out, all: true, principal: ann}
	s.box.init(&w.hub.counters, func() {})
	s.box.open = false
	s.sender = w.pool.Attach(out, s)
	w.hub.tickets = deadTickets{w.hub.tickets}
	v := &viewer{session: s, commands: w.out}
	if err := v.message([]byte(`{"type":"command","serial_no":"` + dev.Serial + `","name":"x"}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the answer to be written", s.sender.Idle)
	messages, _ := out.frames(t)
	if len(messages) != 1 || !strings.Contains(string(messages[0]), `"unauthenticated"`) {
		t.Errorf("got %s, want unauthenticated", messages)
	}
}

// deadTickets says that nothing anybody proved still holds.
type deadTickets struct{ Tickets }

func (deadTickets) Live(auth.Principal) bool { return false }

func TestCommand_RateIsThatOfOtherMessages(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	var asked counterOf
	w.out.set(func(auth.Principal, command.Draft) (command.Command, error) {
		asked.add()
		return command.Command{ID: "queued"}, nil
	})
	raw := w.dialRaw(w.address(ann, dev.Serial))
	for range messagesPerSecond + 1 {
		raw.text(`{"type":"command","serial_no":"` + dev.Serial + `","name":"x"}`)
	}
	if got := raw.closeCode(); got != ClosePolicy || asked.get() > messagesPerSecond {
		t.Errorf("got close code %d after %d commands, want %d after at most %d", got, asked.get(), ClosePolicy, messagesPerSecond)
	}
}
