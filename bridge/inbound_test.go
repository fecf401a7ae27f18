package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/ingest"
	"sensorcast/telemetry"
	"sensorcast/telemetry/format"
)

func TestPublisher_AckComesAfterCommitInOrder(t *testing.T) {
	var mu sync.Mutex
	var waiting []ingest.Receipt
	var got []ingest.Message
	w := newWorld(t, Config{}, func(m ingest.Message, r ingest.Receipt) error {
		mu.Lock()
		defer mu.Unlock()
		got, waiting = append(got, m), append(waiting, r)
		return nil
	})
	dev := w.sensor(ann, 1)
	w.reading(dev, 5)
	c := w.open(w.address(sensorPrincipal(dev)))
	hello := w.expect(c, "hello")
	if len(hello.Sensors) != 1 || hello.Sensors[0].SerialNo != dev.Serial || hello.Sensors[0].Reading == nil {
		t.Errorf("hello of a sensor: got %+v, want its own", hello.Sensors)
	}
	sent := []string{`{"id":"a","data":{"t":1}}`, `{"data":{"t":2}}`, `{"id":7,"time":1700000000,"data":{"t":3}}`}
	for _, text := range sent {
		if err := c.Send(json.RawMessage(text)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the readings to be accepted", func() bool { mu.Lock(); defer mu.Unlock(); return len(waiting) == len(sent) })
	for i, m := range got {
		if m.SensorID != dev.SensorID || m.Serial != dev.Serial || m.Via != telemetry.ViaWebSocket || string(m.Payload) != sent[i] || m.Shed {
			t.Errorf("message %d: got %+v", i, m)
		}
	}
	w.reading(dev, 6) // a sensor is shown no readings, not even its own
	waiting[0].Committed(nil)
	waiting[1].Committed(nil)
	waiting[2].Committed(errors.New("disk full"))
	if f := w.expect(c, "ack"); string(f.ID) != `"a"` {
		t.Errorf("first ack: got id %s, want \"a\"", f.ID)
	}
	if f := w.expect(c, "ack"); f.ID != nil {
		t.Errorf("second ack: got id %s, want none", f.ID)
	}
	if f := w.expect(c, "error"); f.Code != "unavailable" || string(f.ID) != "7" || strings.Contains(f.Message, "disk") {
		t.Errorf("failed commit: got %+v, want unavailable with id 7", f)
	}
}

func TestPublisher_NamesWhatIsWrong(t *testing.T) {
	w := newWorld(t, Config{}, func(m ingest.Message, r ingest.Receipt) error {
		if _, err := format.Decode(nil, m.Metric, m.Payload, telemetry.Now()); err != nil {
			return err
		}
		if strings.Contains(string(m.Payload), "down") {
			return telemetry.ErrUnavailable
		}
		r.Committed(nil)
		return nil
	})
	dev := w.sensor(ann, 1)
	c, _ := w.dial(sensorPrincipal(dev))
	for _, m := range []struct{ text, code, id string }{
		{`{"id":"1","data":{"t":1}}`, "", `"1"`},
		{`{"id":"2","data":{"down":1}}`, "unavailable", `"2"`},
		{`{"id":"3","data":5}`, "malformed", `"3"`},
		{`{"id":"4"}`, "malformed", `"4"`},
		{`{"id":"5","temperature":21}`, "malformed", `"5"`},
		{`{"id":"6","time":"yesterday","data":{}}`, "malformed", `"6"`},
		{`{"id":"7","type":"command","name":"x","data":{}}`, "unknown_type", `"7"`},
		{`{"id":{"no":"id"},"data":{}}`, "malformed", ""},
		{`[{"data":{}}]`, "malformed", ""},
		{`21.5`, "malformed", ""},
		{`null`, "malformed", ""},
		{`"text"`, "malformed", ""},
	} {
		c.Send(json.RawMessage(m.text))
		f := w.next(c)
		if m.code == "" && f.Type != "ack" || f.Code != m.code || string(f.ID) != m.id || m.code != "" && f.Message == "" {
			t.Errorf("%s: got %+v, want code %q and id %s", m.text, f, m.code, m.id)
		}
	}
}

// A sensor that sends and never reads what comes back is held back, not stored for.
func TestPublisher_UnreadAcksHoldTheSenderBack(t *testing.T) {
	var accepted counterOf
	w := newWorld(t, Config{}, func(ingest.Message, ingest.Receipt) error { accepted.add(); return nil }) // a store that never finishes
	dev := w.sensor(ann, 1)
	c, _ := w.dial(sensorPrincipal(dev))
	go func() { // ends when the world closes the connection
		for i := 0; c.Send(json.RawMessage(fmt.Sprintf(`{"id":"%d","data":{}}`, i))) == nil; i++ {
		}
	}()
	limit := maxReplies/len(ackFrame([]byte(`"1"`))) + 1
	eventually(t, "the sender to be held back", func() bool {
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		s := w.hub.devices[dev.SensorID][0]
		s.box.mu.Lock()
		defer s.box.mu.Unlock()
		return s.box.owed > maxReplies
	})
	before := accepted.get()
	if before > limit {
		t.Errorf("readings in flight for one sensor: got %d, want at most %d", before, limit)
	}
	c.ws.NetConn().Close()
}

type counterOf struct {
	mu sync.Mutex
	n  int
}

func (c *counterOf) add()     { c.mu.Lock(); c.n++; c.mu.Unlock() }
func (c *counterOf) get() int { c.mu.Lock(); defer c.mu.Unlock(); return c.n }

func TestViewer_CannotSendReadings(t *testing.T) {
	w := newWorld(t, Config{}, func(ingest.Message, ingest.Receipt) error {
		t.Error("a viewer's message reached the intake")
		return nil
	})
	dev := w.sensor(ann, 1)
	c, _ := w.dial(ann, dev.Serial)
	for i := range maxOffences {
		c.Send(json.RawMessage(fmt.Sprintf(`{"id":%d,"data":{"t":1}}`, i)))
	}
	for i := range maxOffences - 1 {
		if f := w.expect(c, "error"); f.Code != "read_only" || string(f.ID) != fmt.Sprint(i) {
			t.Errorf("viewer that sends data: got %+v, want read_only with id %d", f, i)
		}
	}
	w.expectClosed(c, ClosePolicy)
}

func TestViewer_UnknownMessagesAreAnsweredKindly(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	c, _ := w.dial(ann, dev.Serial)
	for _, m := range []struct{ text, code, id string }{
		{`{"type":"rates","max_per_second":5}`, "unknown_type", ""},
		{`{"type":"rate"}`, "malformed", ""},
		{`{"type":"rate","id":7,"max_per_second":-1}`, "malformed", "7"},
		{`{"type":"rate","max_per_second":"5"}`, "malformed", ""},
		{`{"type":"rate","max_per_second":1e9}`, "malformed", ""},
		{`{"type":"commands","id":"x","serial_no":"S","name":"n","data":{}}`, "unknown_type", `"x"`},
		{`{"type":5}`, "malformed", ""},
		{`{}`, "malformed", ""},
		{`[1]`, "malformed", ""},
		{`5`, "malformed", ""},
	} {
		c.Send(json.RawMessage(m.text))
		if f := w.expect(c, "error"); f.Code != m.code || string(f.ID) != m.id || f.Message == "" {
			t.Errorf("%s: got %+v, want code %q, id %s", m.text, f, m.code, m.id)
		}
	}
}

func TestSession_BreachesEndWithTheirCode(t *testing.T) {
	w := newWorld(t, Config{CloseTimeout: 50 * time.Millisecond}, nil)
	dev := w.sensor(ann, 1)
	for name, c := range map[string]struct {
		send func(c *rawClient)
		code int
	}{
		"too big": {func(c *rawClient) { c.text(strings.Repeat("x", viewerLimit+1)) }, CloseTooBig},
		"too big, in parts": {func(c *rawClient) {
			c.write(masked(0x01, make([]byte, viewerLimit)))
			c.write(masked(0x80, []byte("x")))
		}, CloseTooBig},
		"huge length": {func(c *rawClient) {
			c.write([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4})
		}, CloseTooBig},
		"binary":              {func(c *rawClient) { c.write(masked(0x82, []byte("{}"))) }, CloseUnsupported},
		"broken UTF-8":        {func(c *rawClient) { c.text("\"\xff\"") }, CloseInvalidText},
		"not masked":          {func(c *rawClient) { c.write([]byte{0x81, 2, '{', '}'}) }, CloseProtocolError},
		"compressed":          {func(c *rawClient) { c.write(masked(0xC1, []byte("{}"))) }, CloseProtocolError},
		"unknown opcode":      {func(c *rawClient) { c.write(masked(0x83, nil)) }, CloseProtocolError},
		"continuation first":  {func(c *rawClient) { c.write(masked(0x80, nil)) }, CloseProtocolError},
		"long ping":           {func(c *rawClient) { c.write(masked(0x89, make([]byte, 126))) }, CloseProtocolError},
		"flood":               {func(c *rawClient) { flood(c, 0x81) }, ClosePolicy},
		"flood of pings":      {func(c *rawClient) { flood(c, 0x89) }, ClosePolicy},
		"flood of pongs":      {func(c *rawClient) { flood(c, 0x8A) }, ClosePolicy},
		"impossible code":     {func(c *rawClient) { c.write(masked(0x88, []byte{0x03, 0xEC})) }, CloseProtocolError},
		"goodbye":             {func(c *rawClient) { c.write(masked(0x88, []byte{0x03, 0xE8})) }, CloseNormal},
		"goodbye, own code":   {func(c *rawClient) { c.write(masked(0x88, []byte{0x0F, 0xA1, 'b', 'y', 'e'})) }, 4001},
		"goodbye, no code":    {func(c *rawClient) { c.write(masked(0x88, nil)) }, 0},
		"goodbye in mid-text": {func(c *rawClient) { c.write(masked(0x01, []byte("{"))); c.write(masked(0x88, []byte{0x03, 0xE8})) }, CloseNormal},
	} {
		t.Run(name, func(t *testing.T) {
			raw := w.dialRaw(w.address(ann, dev.Serial))
			raw.t = t
			c.send(raw)
			if got := raw.closeCode(); got != c.code {
				t.Errorf("close code: got %d, want %d", got, c.code)
			}
		})
	}
}

func flood(c *rawClient, first byte) {
	for range messagesPerSecond + 1 {
		c.write(masked(first, []byte("{}")))
	}
}

// FuzzMessage: whatever text a peer sends, answers are whole frames of JSON, no reading but an envelope's reaches the intake, and no command
// but a well-formed one the outbox.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{`{"id":"a","time":1,"data":{"t":1}}`, `{"type":"rate"}`, `{"type":"command","id":"a","serial_no":"SN-ann-1","name":"n"}`, `{"data":{}}`, `{"id":1e5,"data":{}}`, `{"id":"\u0000<&>","data":[]}`, `[]`, `{"type":{}}`, "\xff"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	w := newWorld(f, Config{}, nil)
	w.hub.log = slog.New(slog.DiscardHandler)
	dev := w.sensor(ann, 1)
	f.Fuzz(func(t *testing.T, text []byte, device bool) {
		out := &tape{}
		s := &session{hub: w.hub, conn: out, principal: sensorPrincipal(dev), device: device}
		s.box.init(&w.hub.counters, func() {})
		s.box.open = false
		s.sender = w.pool.Attach(out, s)
		accepted := 0
		w.out.set(func(_ auth.Principal, d command.Draft) (command.Command, error) {
			if d.Serial == "" || d.Data != nil && !json.Valid(d.Data) || d.ExpiresIn < 0 || d.ExpiresIn > command.MaxLife {
				t.Errorf("message %q: got draft %+v", text, d)
			}
			accepted++
			return command.Command{ID: "queued"}, nil
		})
		var in inbound = &viewer{session: s, commands: w.out}
		if !device {
			s.principal, s.all = ann, true
		} else {
			in = &publisher{session: s, intake: intake(func(m ingest.Message, r ingest.Receipt) error {
				points, err := format.Decode(nil, "", m.Payload, telemetry.Now())
				if err == nil && len(points) != 1 {
					t.Errorf("one message, %d readings: %q", len(points), m.Payload)
				}
				if err != nil {
					return err
				}
				accepted++
				r.Committed(nil)
				return nil
			})}
		}
		if err := in.message(text); err != nil {
			t.Fatalf("message %q ended the session: %v", text, err)
		}
		eventually(t, "the answer to be written", s.sender.Idle)
		messages, _ := out.frames(t)
		if len(messages) != 1 {
			t.Fatalf("message %q: got %d answers, want 1", text, len(messages))
		}
		var answer Frame
		if err := json.Unmarshal(messages[0], &answer); err != nil || (answer.Type == "ack") != (accepted == 1) || s.box.owed != 0 {
			t.Errorf("message %q: got %s, %d accepted, %d bytes owed", text, messages[0], accepted, s.box.owed)
		}
	})
}
