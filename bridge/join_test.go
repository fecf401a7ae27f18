package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"pgregory.net/rapid"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
	"sensorcast/wire"
)

// tape is a connection that remembers what is written to it.
type tape struct {
	net.Conn // nil: nothing else is called but Close
	mu       sync.Mutex
	b        bytes.Buffer
}

func (c *tape) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(p)
}

func (c *tape) Close() error { return nil }

// frames decodes what was written, with a parser that knows nothing of this package, into text messages and control frames.
func (c *tape) frames(t require) (messages [][]byte, control []wsFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return parse(t, c.b.Bytes())
}

// require is what testing.TB and rapid.T have in common.
type require interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// wsFrame is a frame as RFC 6455 §5.2 lays it out.
type wsFrame struct {
	fin     bool
	op      byte
	payload []byte
}

// nextFrame reads one unmasked frame.
func nextFrame(r io.Reader) (f wsFrame, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	size := int(head[1] & 0x7f)
	if size > 125 {
		long := make([]byte, map[int]int{126: 2, 127: 8}[size])
		if _, err := io.ReadFull(r, long); err != nil {
			return f, err
		}
		size = 0
		for _, b := range long {
			size = size<<8 | int(b)
		}
	}
	f = wsFrame{fin: head[0]&0x80 != 0, op: head[0] & 0x7f, payload: make([]byte, size)}
	_, err = io.ReadFull(r, f.payload)
	if head[1]&0x80 != 0 || f.op > 0xA || f.op >= 8 && (size > 125 || !f.fin) {
		return f, io.ErrNoProgress
	}
	return f, err
}

func parse(t require, b []byte) (messages [][]byte, control []wsFrame) {
	t.Helper()
	r := bytes.NewReader(b)
	var open []byte
	within := false
	for r.Len() > 0 {
		f, err := nextFrame(r)
		switch {
		case err != nil:
			t.Fatalf("broken frame %+v after %d messages: %v", f, len(messages), err)
		case f.op >= 8:
			control = append(control, f)
			continue
		case within != (f.op == 0):
			t.Fatalf("opcode %d while a message is under way: %v", f.op, within)
		}
		open, within = append(open, f.payload...), !f.fin
		if f.fin {
			if !json.Valid(open) {
				t.Fatalf("message is no JSON: %q", open)
			}
			messages, open = append(messages, open), nil
		}
	}
	return messages, control
}

// always is a Tickets that never ends anything.
type always struct{}

func (always) RedeemTicket(string) (auth.Claim, error) {
	return auth.Claim{}, telemetry.ErrUnauthenticated
}
func (always) RedeemResume(context.Context, string) (auth.Claim, error) {
	return auth.Claim{}, telemetry.ErrUnauthenticated
}
func (always) MintResume(auth.Claim, time.Duration) (string, error) { return "", telemetry.ErrInvalid }
func (always) Live(auth.Principal) bool                             { return true }

// past is everything that was ever measured, in the order of Seq.
type past []telemetry.Reading

// newest is the truth a hello is held against.
func (p past) newest(serial string, through int64) (n telemetry.Reading) {
	for _, r := range p {
		if r.Serial == serial && r.Seq <= through && (n.Seq == 0 || r.Time > n.Time || r.Time == n.Time && r.Seq > n.Seq) {
			n = r
		}
	}
	return n
}

func (p past) after(serials []string, seq int64) (seqs []int64) {
	for _, r := range p {
		if r.Seq > seq && slices.Contains(serials, r.Serial) {
			seqs = append(seqs, r.Seq)
		}
	}
	return seqs
}

// Random histories: readings before the start, readings and commits after it, and a join in the midst, with readings and commits even
// between the store's answer and registration.
func TestJoin_HelloAndLiveAreCompleteAndWithoutDuplicate(t *testing.T) {
	fixture := authtest.New(t, auth.Config{})
	pool := wire.NewPool(1, 0)
	defer pool.Close()
	devices := make([]auth.Device, 3)
	for i := range devices {
		devices[i] = auth.Device{SensorID: int64(i + 1), Serial: string(rune('A' + i)), OwnerID: ann.UserID}
		fixture.Directory.Put(devices[i])
	}
	rapid.Check(t, func(t *rapid.T) {
		store := &shelf{sensors: map[string]telemetry.Sensor{}}
		for _, dev := range devices {
			store.sensors[dev.Serial] = telemetry.Sensor{ID: dev.SensorID, Serial: dev.Serial}
		}
		var all past
		committed := 0
		measure := func() telemetry.Reading {
			dev := rapid.SampledFrom(devices).Draw(t, "sensor")
			r := telemetry.Reading{
				SensorID: dev.SensorID, Serial: dev.Serial, Seq: int64(len(all) + 1), ReceivedAt: telemetry.Now(), Data: []byte(`{}`),
				Time: telemetry.Millis(rapid.Int64Range(1, 8).Draw(t, "time")), // few values: ties and late data
			}
			all = append(all, r)
			return r
		}
		commit := func() {
			for range rapid.IntRange(0, 4).Draw(t, "commits") {
				if committed < len(all) {
					store.store(all[committed])
					committed++
				}
			}
		}
		for range rapid.IntRange(0, 5).Draw(t, "readings before the start") {
			store.store(measure())
			committed++
		}
		hub := New(Config{LastSeq: func() int64 { return int64(committed) }}, always{}, fixture.Directory, store, pool, slog.New(slog.DiscardHandler))
		act := func(label string) {
			for range rapid.IntRange(0, 6).Draw(t, label) {
				if rapid.Bool().Draw(t, "commit") {
					commit()
					continue
				}
				r := measure()
				hub.Observe([]telemetry.Reading{r})
			}
		}
		act("before joining")
		store.during = func() { act("between answer and registration") }
		out := &tape{}
		s := hub.newSession(out, auth.Claim{Principal: ann, Kind: "user"})
		if err := hub.admit(); err != nil || !hub.enter(s) {
			t.Fatalf("enter: %v", err)
		}
		serials := []string{"A", "B", "C"}[:rapid.IntRange(1, 3).Draw(t, "watched")]
		if !hub.join(context.Background(), s, serials, nil) {
			t.Fatalf("join: session ended")
		}
		registered := int64(len(all))
		store.during = nil
		act("after joining")
		s.end(CloseNormal, "", true)
		s.box.awaitFlushed()
		hub.release()
		hub.Close(context.Background())

		messages, _ := out.frames(t)
		check(t, all, serials, registered, messages)
	})
}

// check holds the messages of a session that watched serials against what was measured.
func check(t require, all past, serials []string, registered int64, messages [][]byte) {
	t.Helper()
	var hello Frame
	if err := json.Unmarshal(messages[0], &hello); err != nil || hello.Type != "hello" {
		t.Fatalf("first message: got %s, want a hello", messages[0])
	}
	if hello.Seq != registered {
		t.Fatalf("hello: got seq %d, want %d", hello.Seq, registered)
	}
	if got := serialsOf(hello.Sensors); !slices.Equal(got, serials) {
		t.Fatalf("hello: got sensors %v, want %v", got, serials)
	}
	for _, s := range hello.Sensors {
		want, got := all.newest(s.SerialNo, hello.Seq).Seq, int64(0)
		if s.Reading != nil {
			got = s.Reading.Seq
		}
		if got != want {
			t.Fatalf("hello at seq %d, sensor %s: got reading %d, want %d\n%v", hello.Seq, s.SerialNo, got, want, all)
		}
	}
	var live []int64
	for _, m := range messages[1:] {
		var f Frame
		if err := json.Unmarshal(m, &f); err != nil {
			t.Fatalf("message %s: %v", m, err)
		}
		if f.Type == "reading" {
			live = append(live, f.Seq)
		}
	}
	if want := all.after(serials, hello.Seq); !slices.Equal(live, want) {
		t.Fatalf("live after seq %d: got %v, want %v", hello.Seq, live, want)
	}
}

// The same promise with real sockets, a publisher that never pauses and a store that lags behind it.
func TestJoin_UnderFireIsCompleteAndWithoutDuplicate(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	var devices []auth.Device
	var serials []string
	for i := range 3 {
		dev := w.sensor(ann, i)
		devices, serials = append(devices, dev), append(serials, dev.Serial)
	}
	var mu sync.Mutex // guards all
	var all past
	stop := make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Go(func() {
		rng := rand.New(rand.NewPCG(1, 2))
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			r := w.readingAt(devices[rng.IntN(len(devices))], i, telemetry.Now()-telemetry.Millis(rng.IntN(3)))
			mu.Lock()
			all = append(all, r)
			lagging := max(0, len(all)-1-rng.IntN(50))
			mu.Unlock()
			w.shelf.store(all[lagging])
			if i%64 == 0 {
				// A viewer that is conflated proves nothing here: let them catch up.
				eventually(t, "the viewers to catch up", func() bool { return w.waiting() < 64<<10 })
			}
		}
	})
	const each = 300 // readings a viewer sees before it is content
	var viewers sync.WaitGroup
	for range 12 {
		viewers.Go(func() {
			c, hello := w.dial(ann, serials...)
			defer c.ws.Close()
			var live []int64
			for len(live) < each {
				if f := w.next(c); f.Type == "reading" {
					live = append(live, f.Seq)
				}
			}
			mu.Lock()
			known := slices.Clone(all)
			mu.Unlock()
			if want := known.after(serials, hello.Seq); len(want) >= each && !slices.Equal(live, want[:each]) {
				t.Errorf("live after seq %d: got %v, want %v", hello.Seq, live, want[:each])
			}
			for _, s := range hello.Sensors {
				if want := known.newest(s.SerialNo, hello.Seq); (s.Reading == nil) != (want.Seq == 0) || s.Reading != nil && s.Reading.Seq != want.Seq {
					t.Errorf("hello at seq %d, %s: got %+v, want reading %d", hello.Seq, s.SerialNo, s.Reading, want.Seq)
				}
			}
		})
	}
	viewers.Wait()
	close(stop)
	publisher.Wait()
}

// waiting is the most bytes that wait for any session.
func (w *world) waiting() (most int) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	for _, s := range w.hub.sessionsLocked() {
		s.box.mu.Lock()
		most = max(most, s.box.stream.bytes)
		s.box.mu.Unlock()
	}
	return most
}

func TestJoin_SensorAddedMeanwhileIsNotMissed(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	first := w.sensor(ann, 1)
	var second auth.Device
	var once sync.Once
	w.shelf.during = func() {
		once.Do(func() {
			second = auth.Device{SensorID: 1002, Serial: "SN-ann-2", OwnerID: ann.UserID}
			w.auth.Directory.Put(second)
			w.auth.Changes.Notify(auth.Change{Kind: auth.SensorAdded, Serial: second.Serial, SensorID: second.SensorID, UserID: ann.UserID})
		})
	}
	c, hello := w.dial(ann)
	if got := serialsOf(hello.Sensors); !slices.Equal(got, []string{first.Serial}) {
		t.Fatalf("hello: got %v, want the first sensor", got)
	}
	if f := w.expect(c, "state"); f.SerialNo != second.Serial || f.State != telemetry.StateNeverSeen {
		t.Errorf("after hello: got %+v, want the second sensor never seen", f)
	}
	w.reading(second, 7)
	w.expect(c, "state")
	if f := w.expect(c, "reading"); f.SerialNo != second.Serial {
		t.Errorf("reading: got %+v, want the second sensor's", f)
	}
}

// Whatever ends authority between redeeming the ticket and registration is caught after registration.
func TestJoin_AuthorityLostMeanwhileEndsTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(w *world, dev auth.Device)
		code int
	}{
		"sensor deleted": {func(w *world, dev auth.Device) { w.auth.Directory.Remove(dev.Serial) }, CloseSensorDeleted},
		"serial given to another": {func(w *world, dev auth.Device) {
			w.auth.Directory.Put(auth.Device{SensorID: 77, Serial: dev.Serial, OwnerID: bob.UserID})
		}, CloseSensorDeleted},
		"access lost": {func(w *world, dev auth.Device) {
			w.auth.Directory.Put(auth.Device{SensorID: dev.SensorID, Serial: dev.Serial, OwnerID: bob.UserID})
		}, CloseAccessLost},
		"logged out": {func(w *world, _ auth.Device) {
			if err := w.auth.Service.EndSession(context.Background(), ann); err != nil {
				w.t.Error(err)
			}
		}, CloseAuthorityEnded},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{}, nil)
			dev := w.sensor(ann, 1)
			w.shelf.during = func() { c.lose(w, dev) }
			address := w.address(ann, dev.Serial)
			ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), address, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			_, text, err := ws.ReadMessage()
			if !websocket.IsCloseError(err, c.code) {
				t.Errorf("got message %s, error %v, want close %d before anything is shown", text, err, c.code)
			}
		})
	}
}

// wholeMessages returns the text messages that lie whole in b, which may end anywhere.
func wholeMessages(b []byte) (messages [][]byte) {
	r := bytes.NewReader(b)
	var open []byte
	for {
		f, err := nextFrame(r)
		if err != nil {
			return messages
		}
		if f.op >= 8 {
			continue
		}
		if open = append(open, f.payload...); f.fin {
			messages, open = append(messages, open), nil
		}
	}
}
