package bridge

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// However pushes of all kinds and takes interleave, the bytes are whole frames in the right order: the hello first, nothing but control
// frames inside it, readings in order, the close frame last.
func TestOutbox_FramesNeverInterleave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c counters
		var box outbox
		box.init(&c, func() {})
		rm := &room{id: 1, serial: "A"}
		var out bytes.Buffer
		seq := int64(0)
		fragments := rapid.IntRange(1, 4).Draw(t, "fragments")
		helloParts := func(i int) []byte {
			first, b := byte(opContinuation), payload(0)
			if i == 0 {
				first, b = opText, append(b, `{"type":"hello","sensors":[`...)
			}
			b = append(b, strings.Repeat(" ", rapid.IntRange(0, 50_000).Draw(t, "size"))...)
			if i == fragments-1 {
				first, b = first|final, append(b, "]}"...)
			}
			return seal(first, b)
		}
		pushed := 0
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0:
				if pushed < fragments {
					box.pushHello(helloParts(pushed), pushed < fragments-1)
					pushed++
				}
			case 1, 2:
				seq++
				wire, _ := readingFrame(&telemetry.Reading{Serial: "A", Seq: seq, Time: 1, ReceivedAt: 1,
					Data: fmt.Appendf(nil, `{"p":"%s"}`, strings.Repeat("x", rapid.IntRange(0, 70_000).Draw(t, "data")))})
				f := &frame{room: rm, seq: seq, wire: wire}
				rm.newest.Store(f)
				box.push(f)
			case 3:
				box.setPong(strings.Repeat("p", rapid.IntRange(0, 125).Draw(t, "ping")))
			case 4:
				box.setPing()
			case 5:
				box.reply(ackFrame([]byte(`"x"`)))
			case 6:
				out.Write(box.Take(nil))
			}
		}
		box.close(closeFrame(CloseNormal, ""), rapid.Bool().Draw(t, "drain"))
		for !box.flushed {
			out.Write(box.Take(nil))
		}
		messages, control := parse(t, out.Bytes())
		if n := len(control); n == 0 || control[n-1].op != opClose {
			t.Fatalf("last control frame: got %+v, want a close", control)
		}
		last := int64(0)
		for i, m := range messages {
			var f Frame
			if err := json.Unmarshal(m, &f); err != nil || (i == 0) != (f.Type == "hello") {
				t.Fatalf("message %d: got %q (%v), want the hello first", i, f.Type, err)
			}
			if f.Type == "reading" {
				if f.Seq <= last {
					t.Fatalf("seq %d after %d", f.Seq, last)
				}
				last = f.Seq
			}
		}
	})
}

func TestSession_PingIsAnsweredInTheMidstOfReadings(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	raw := w.dialRaw(w.address(ann, dev.Serial))
	pad := bytes.Repeat([]byte("x"), 20_000)
	if m, _ := raw.message(nil); m.Type != "hello" {
		t.Fatalf("first message: got %+v, want a hello", m)
	}
	const pings = 8
	var pongs []string
	var l ledger
	collect := func(f wsFrame) {
		if f.op == opPong {
			pongs = append(pongs, string(f.payload))
		}
	}
	for i := range pings {
		for range 12 { // more than the sockets hold: frames are cut by full buffers
			w.seq++
			r := telemetry.Reading{SensorID: dev.SensorID, Serial: dev.Serial, Seq: w.seq, Time: telemetry.Now(), ReceivedAt: telemetry.Now(),
				Data: fmt.Appendf(nil, `{"p":"%s"}`, pad)}
			w.hub.Observe([]telemetry.Reading{r})
		}
		raw.ping(fmt.Sprint(i))
		for l.highest < w.seq {
			m, ok := raw.message(collect)
			if !ok {
				t.Fatal("connection ended")
			}
			l.take(t, m)
		}
		for !slices.Contains(pongs, fmt.Sprint(i)) {
			f, ok := raw.frame()
			if !ok {
				t.Fatal("connection ended")
			}
			collect(f)
		}
	}
}

// gorilla answers a breach by itself, at once and past our queue: its bytes must not end up inside a frame of ours.
func TestSession_BreachIsAnsweredBetweenFrames(t *testing.T) {
	w := newWorld(t, Config{CloseTimeout: 200 * time.Millisecond}, nil)
	dev := w.sensor(ann, 1)
	raw := w.dialRaw(w.address(ann, dev.Serial))
	pad := bytes.Repeat([]byte("x"), 60_000)
	eventually(t, "the socket to be full", func() bool {
		w.seq++
		r := telemetry.Reading{SensorID: dev.SensorID, Serial: dev.Serial, Seq: w.seq, Time: telemetry.Now(), Data: fmt.Appendf(nil, `{"p":"%s"}`, pad)}
		w.hub.Observe([]telemetry.Reading{r})
		return w.hub.Stats().Conflated > 0
	})
	raw.write([]byte{0x81, 2, '{', '}'}) // not masked
	eventually(t, "the breach to be noticed", func() bool { return w.hub.Stats().Closed[CloseProtocolError] == 1 })
	if got := raw.closeCode(); got != CloseProtocolError { // every frame on the way is parsed
		t.Errorf("close code: got %d, want %d", got, CloseProtocolError)
	}
}

func TestHeartbeat_SilentPeerIsDroppedAndLiveOneIsNot(t *testing.T) {
	w := newWorld(t, Config{PingEvery: 50 * time.Millisecond, PeerTimeout: 300 * time.Millisecond}, nil)
	dev := w.sensor(ann, 1)
	live, _ := w.dial(ann, dev.Serial)
	raw := w.dialRaw(w.address(ann, dev.Serial)) // reads, but never answers a ping
	heard := make(chan Frame, 1)
	go func() { // ends with the reading below, or with the connection: next answers pings meanwhile
		for {
			f, err := live.Next(t.Context())
			if f.Type != "resume" || err != nil {
				heard <- f
				return
			}
		}
	}()
	pings := 0
	for {
		f, ok := raw.frame()
		if !ok {
			break
		}
		if f.op == opPing {
			pings++
		}
	}
	if pings < 2 {
		t.Errorf("pings before the peer was given up: got %d, want several", pings)
	}
	eventually(t, "it to be counted as lost", func() bool { return w.hub.Stats().Closed[CloseLost] == 1 })
	w.reading(dev, 1)
	if f := <-heard; f.Type != "state" {
		t.Errorf("peer that answers pings: got %+v, want it still there", f)
	}
}

func TestHeartbeat_SessionEndsWithItsLifetime(t *testing.T) {
	w := newWorld(t, Config{PingEvery: 25 * time.Millisecond, Lifetime: 50 * time.Millisecond}, nil)
	dev := w.sensor(ann, 1)
	w.expectClosed(w.open(w.address(ann, dev.Serial)), CloseGoingAway)
}

func TestSession_LifetimesAreSpread(t *testing.T) {
	w := newWorld(t, Config{Lifetime: 10 * time.Hour}, nil)
	shortest, longest := time.Duration(1<<62), time.Duration(0)
	for range 200 {
		left := time.Until(w.hub.newSession(&tape{}, auth.Claim{}).expires)
		shortest, longest = min(shortest, left), max(longest, left)
	}
	if shortest < 8*time.Hour-time.Minute || longest > 12*time.Hour || longest-shortest < 3*time.Hour {
		t.Errorf("lifetimes: got %v to %v, want them spread over 8 to 12 h", shortest, longest)
	}
}

func TestHub_CloseSaysRestartAfterWhatWaits(t *testing.T) {
	w := newWorld(t, Config{CloseTimeout: 500 * time.Millisecond}, nil)
	dev := w.sensor(ann, 1)
	var clients []*Client
	for range 50 {
		c, _ := w.dial(ann, dev.Serial)
		clients = append(clients, c)
	}
	mute := w.dialRaw(w.address(ann, dev.Serial)) // answers nothing
	last := w.reading(dev, 1)
	closed := make(chan error)
	go func() { closed <- w.hub.Close(context.Background()) }()
	for _, c := range clients {
		w.expect(c, "state")
		if f := w.expect(c, "reading"); f.Seq != last.Seq {
			t.Errorf("reading before the close: got %d, want %d", f.Seq, last.Seq)
		}
		w.expectClosed(c, CloseRestart)
	}
	if got := mute.closeCode(); got != CloseRestart {
		t.Errorf("mute peer: got close code %d, want %d", got, CloseRestart)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if got := w.refused(w.with("x"), nil); got.Status != http.StatusServiceUnavailable {
		t.Errorf("after close: got %d, want 503", got.Status)
	}
	if stats := w.hub.Stats(); stats.Sessions != 0 || stats.Closed[CloseRestart] != 51 || stats.Watched != 0 {
		t.Errorf("after close: got %+v", stats)
	}
}

func TestHub_CloseIsBoundedByItsContext(t *testing.T) {
	w := newWorld(t, Config{CloseTimeout: time.Hour}, nil)
	dev := w.sensor(ann, 1)
	if m, _ := w.dialRaw(w.address(ann, dev.Serial)).message(nil); m.Type != "hello" {
		t.Fatalf("first message: got %+v, want a hello", m)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.hub.Close(short); err == nil {
		t.Error("close with a peer that does not answer: got nil, want the context's error")
	}
	long, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if err := w.hub.Close(long); err != nil {
		t.Errorf("close once more: got %v, want nil, for the peer was cut off", err)
	}
}

func TestHub_ChurnLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, Config{CloseTimeout: 100 * time.Millisecond}, nil)
	before := goleak.IgnoreCurrent()
	var devices []auth.Device
	for i := range 4 {
		devices = append(devices, w.sensor(ann, i))
	}
	const sockets, atOnce = 2000, 50
	var wg sync.WaitGroup
	for worker := range atOnce {
		wg.Go(func() {
			for i := range sockets / atOnce {
				c, _ := w.dial(ann, devices[(worker+i)%len(devices)].Serial, devices[(worker+i+1)%len(devices)].Serial)
				switch i % 3 {
				case 0:
					c.Close()
				case 1:
					c.ws.NetConn().Close()
				default:
					c.Send("malformed")
					c.ws.NetConn().Close()
				}
			}
		})
	}
	stop := make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				w.reading(devices[i%len(devices)], i)
			}
		}
	})
	wg.Wait()
	close(stop)
	publisher.Wait()
	eventually(t, "all sessions to end", func() bool { return w.hub.Stats().Sessions == 0 })
	w.hub.mu.Lock()
	members := 0
	for _, rm := range w.hub.rooms {
		members += len(rm.members)
	}
	left := len(w.hub.sessionsLocked()) + len(w.hub.people) + members
	w.hub.mu.Unlock()
	if left != 0 {
		t.Errorf("sessions still known to the hub: got %d, want 0", left)
	}
	w.http.CloseClientConnections()
	if err := goleak.Find(before); err != nil {
		t.Errorf("goroutines left: %v", err)
	}
	if stats := w.hub.Stats(); stats.Opened != sockets {
		t.Errorf("sockets opened: got %d, want %d", stats.Opened, sockets)
	}
}

func TestSession_WorksOverTLS(t *testing.T) {
	w := newWorld(t, Config{CloseTimeout: 500 * time.Millisecond}, nil)
	secure := httptest.NewTLSServer(w.hub.Handler(nil, nil))
	defer secure.Close()
	dev := w.sensor(ann, 1)
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}
	address := strings.Replace(w.address(ann, dev.Serial), w.http.Listener.Addr().String(), secure.Listener.Addr().String(), 1)
	ws, _, err := d.Dial(strings.Replace(address, "ws://", "wss://", 1), http.Header{"Origin": {secure.URL}})
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{ws: ws}
	w.expect(c, "hello")
	for i := range 100 {
		w.reading(dev, i)
	}
	w.expect(c, "state")
	for i := range 100 {
		if f := w.expect(c, "reading"); value(t, f.Data) != i {
			t.Fatalf("reading %d over TLS: got %s", i, f.Data)
		}
	}
	go w.hub.Close(context.Background()) // returns once c has answered; the world waits for it
	w.expectClosed(c, CloseRestart)
}

// FuzzSession: whatever bytes a peer sends after the upgrade, what comes back is whole frames, and the session ends with its connection.
func FuzzSession(f *testing.F) {
	f.Add([]byte{})
	f.Add(masked(0x81, []byte(`{"type":"x"}`)))
	f.Add(masked(0x89, []byte("ping")))
	f.Add(masked(0x88, []byte{3, 0xE8}))
	f.Add(append(masked(0x01, []byte(`{"da`)), masked(0x80, []byte(`ta":1}`))...))
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4})
	w := newWorld(f, Config{CloseTimeout: 50 * time.Millisecond}, nil)
	w.hub.log = slog.New(slog.DiscardHandler)
	dev := w.sensor(ann, 1)
	f.Fuzz(func(t *testing.T, b []byte) {
		here := *w
		here.t = t // f may not be used here
		c := here.dialRaw(here.address(ann, dev.Serial))
		defer c.conn.Close()
		c.conn.Write(b) // the server may have closed already
		c.conn.(*net.TCPConn).CloseWrite()
		m, ok := c.message(nil)
		if !ok || m.Type != "hello" {
			t.Fatalf("first message: got %+v, want a hello", m)
		}
		c.closeCode() // reads frames to the end
		eventually(t, "the session to end", func() bool { return w.hub.Stats().Sessions == 0 })
	})
}

// Somebody closes the socket while its reader is about to rest: nobody will be told of it, so the reader has to go on and end the session.
func TestSession_ReaderDoesNotRestOnAClosedSocket(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	if w.hub.poller == nil {
		t.Skip("this system watches no sockets")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := &session{hub: w.hub, conn: conn}
	raw, _ := conn.(*net.TCPConn).SyscallConn()
	socket, err := w.hub.poller.Add(raw, s)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Forget()
	s.socket.Store(socket)
	s.attended.Store(true)
	conn.Close()
	if !s.rest() {
		t.Error("rests on a closed socket, want it to go on")
	}
}
