package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
	"sensorcast/wire"
)

// tap is a tape that takes nothing while it is shut, as a peer that does not read.
type tap struct {
	tape
	turn sync.Cond
	shut bool
	gone bool
}

func newTap() *tap {
	c := &tap{}
	c.turn.L = &c.mu
	return c
}

func (c *tap) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.shut && !c.gone {
		c.turn.Wait()
	}
	if c.gone {
		return 0, net.ErrClosed
	}
	return c.b.Write(p)
}

func (c *tap) set(shut bool) {
	c.mu.Lock()
	c.shut = shut
	c.mu.Unlock()
	c.turn.Broadcast()
}

func (c *tap) Close() error {
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	c.turn.Broadcast()
	return nil
}

// viewing is a viewer over any number of connections: it resumes from the highest seq it has read, as every client does.
type viewing struct {
	serials  []string
	start    int64 // seq of the first hello
	cursor   int64
	epoch    string
	got      map[string][]int64
	excused  []Frame // gaps of one sensor
	skipped  []Frame // gaps of all of them, before a hello
	greeted  bool
	awaiting *Frame // a gap of all that awaits its hello
}

func (v *viewing) take(t require, f Frame) {
	t.Helper()
	switch f.Type {
	case "hello":
		switch {
		case f.Resumed && f.Seq != v.cursor:
			t.Fatalf("resumed at seq %d, want %d", f.Seq, v.cursor)
		case f.Resumed && slices.ContainsFunc(f.Sensors, func(s SensorFrame) bool { return s.Reading != nil }):
			t.Fatalf("resumed hello has readings: %+v", f)
		case !f.Resumed && v.greeted && v.awaiting == nil:
			t.Fatalf("fresh hello at %d without a gap before it", f.Seq)
		case !f.Resumed && v.greeted:
			if v.awaiting.AfterSeq > v.cursor || v.awaiting.BeforeSeq != f.Seq+1 {
				t.Fatalf("gap (%d, %d) before a hello at %d, read up to %d", v.awaiting.AfterSeq, v.awaiting.BeforeSeq, f.Seq, v.cursor)
			}
			v.skipped, v.awaiting = append(v.skipped, *v.awaiting), nil
		case !f.Resumed:
			v.start = f.Seq
		}
		v.greeted, v.cursor, v.epoch = true, f.Seq, f.Epoch
	case "reading":
		if f.Seq <= v.cursor {
			t.Fatalf("reading %d after %d", f.Seq, v.cursor)
		}
		v.cursor = f.Seq
		v.got[f.SerialNo] = append(v.got[f.SerialNo], f.Seq)
	case "gap":
		if f.SerialNo == "" {
			v.awaiting = &f
		} else {
			v.excused = append(v.excused, f)
		}
	}
}

// balance checks that every reading since the first hello was delivered once, or that its absence was explained.
func (v *viewing) balance(t require, all past) {
	t.Helper()
	covers := func(gaps []Frame, r telemetry.Reading) bool {
		return slices.ContainsFunc(gaps, func(g Frame) bool {
			return (g.SerialNo == "" || g.SerialNo == r.Serial) && g.AfterSeq < r.Seq && r.Seq < g.BeforeSeq
		})
	}
	for _, r := range all {
		if r.Seq <= v.start || !slices.Contains(v.serials, r.Serial) || slices.Contains(v.got[r.Serial], r.Seq) {
			continue
		}
		if !covers(v.excused, r) && !covers(v.skipped, r) {
			t.Fatalf("reading %d of %s neither came nor was announced as left out\ngot %v\ngaps %v %v", r.Seq, r.Serial, v.got, v.excused, v.skipped)
		}
	}
}

// Random lives of a viewer: it stalls, breaks off in the midst of what it was sent, comes back where it left off, over restarts and crashes
// of the server, with a memory too short and a log that is pruned, while sensors send.
func TestReplay_AcrossConnectionsNothingIsLostOrRepeated(t *testing.T) {
	fixture := authtest.New(t, auth.Config{})
	devices := make([]auth.Device, 4)
	for i := range devices {
		devices[i] = auth.Device{SensorID: int64(i + 1), Serial: string(rune('A' + i)), OwnerID: ann.UserID}
		fixture.Directory.Put(devices[i])
	}
	pad := strings.Repeat("x", 40<<10)
	rapid.Check(t, func(t *rapid.T) {
		pool := wire.NewPool(1, 0)
		defer pool.Close()
		p := &play{t: t, pool: pool, dir: fixture.Directory, devices: devices, pad: pad, epoch: 1,
			store: &shelf{sensors: map[string]telemetry.Sensor{}, page: rapid.IntRange(0, 3).Draw(t, "page")},
			v:     &viewing{serials: []string{"A", "B", "C"}, got: map[string][]int64{}}}
		for _, dev := range devices {
			p.store.sensors[dev.Serial] = telemetry.Sensor{ID: dev.SensorID, Serial: dev.Serial}
		}
		p.start()
		p.connect()
		for range rapid.IntRange(2, 12).Draw(t, "connections") {
			p.c.set(rapid.Bool().Draw(t, "stalls"))
			for range rapid.IntRange(0, 25).Draw(t, "readings") {
				p.measure(t)
				p.commit(rapid.IntRange(0, 2).Draw(t, "commits"))
			}
			if rapid.Bool().Draw(t, "goes on") {
				p.drain()
			}
			if rapid.IntRange(0, 9).Draw(t, "pruned") == 0 {
				p.prune(rapid.Int64Range(-3, 1).Draw(t, "beyond the cursor"))
			}
			if rapid.IntRange(0, 3).Draw(t, "restarts") == 0 {
				p.restart(t)
			} else {
				p.disconnect(t)
			}
		}
		p.finish()
		p.v.balance(t, p.all)
	})
}

// play is one server after another with one viewer.
type play struct {
	t         *rapid.T
	pool      *wire.Pool
	dir       *auth.Directory
	devices   []auth.Device
	pad       string
	store     *shelf
	v         *viewing
	all       past
	committed int
	epoch     int
	hub       *Hub
	s         *session
	c         *tap
	joined    chan struct{}
}

func (p *play) start() {
	epoch := fmt.Sprint("epoch-", p.epoch)
	p.hub = New(Config{Epoch: func() string { return epoch }, LastSeq: func() int64 { return int64(len(p.all)) }},
		always{}, p.dir, p.store, p.pool, slog.New(slog.DiscardHandler))
	p.hub.memory.limit = 4
}

func (p *play) measure(t *rapid.T) {
	dev := rapid.SampledFrom(p.devices).Draw(t, "sensor")
	r := telemetry.Reading{
		SensorID: dev.SensorID, Serial: dev.Serial, Seq: int64(len(p.all) + 1), ReceivedAt: telemetry.Now(),
		Time: telemetry.Millis(rapid.Int64Range(1, 100).Draw(t, "time")), Data: []byte(`{}`),
	}
	if rapid.IntRange(0, 4).Draw(t, "small") != 0 {
		r.Data = fmt.Appendf(nil, `{"p":"%s"}`, p.pad)
	}
	p.all = append(p.all, r)
	p.hub.Observe([]telemetry.Reading{r})
}

func (p *play) prune(beyond int64) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.store.pruned = max(p.store.pruned, p.v.cursor+beyond)
}

func (p *play) commit(n int) {
	for ; n > 0 && p.committed < len(p.all); n-- {
		p.store.store(p.all[p.committed])
		p.committed++
	}
}

// connect opens a connection; with a position when there was one before.
func (p *play) connect() {
	p.c, p.joined = newTap(), make(chan struct{})
	p.s = p.hub.newSession(p.c, auth.Claim{Principal: ann, Kind: "user"})
	if err := p.hub.admit(); err != nil || !p.hub.enter(p.s) {
		p.t.Fatalf("enter: %v", err)
	}
	var from *position
	if p.v.greeted {
		from = &position{p.v.epoch, p.v.cursor}
	}
	s, joined := p.s, p.joined
	go func() { // ends with the session
		p.hub.join(context.Background(), s, p.v.serials, from)
		close(joined)
	}()
}

// disconnect ends the connection having read a part of what was sent, and connects again.
func (p *play) disconnect(t *rapid.T) {
	p.commit(len(p.all)) // a replay waits for it
	p.part(rapid.IntRange(0, 100).Draw(t, "percent read"))
	p.connect()
}

func (p *play) part(percent int) {
	p.s.kill()
	<-p.joined
	p.hub.leave(p.s, CloseLost)
	p.hub.release()
	messages := p.messages()
	for _, m := range messages[:len(messages)*percent/100] {
		p.read(m)
	}
	if p.v.awaiting != nil { // it broke off between gap and hello
		p.v.awaiting = nil
	}
}

// messages are the whole ones that were sent.
func (p *play) messages() (whole [][]byte) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return wholeMessages(p.c.b.Bytes())
}

func (p *play) read(m []byte) {
	var f Frame
	if err := json.Unmarshal(m, &f); err != nil {
		p.t.Fatalf("message %.100q: %v", m, err)
	}
	p.v.take(p.t, f)
}

// restart stops the server, having stored everything, or not: then what was shown may be lost, and the epoch is another.
func (p *play) restart(t *rapid.T) {
	if rapid.Bool().Draw(t, "clean") {
		p.commit(len(p.all))
		p.part(rapid.IntRange(0, 100).Draw(t, "percent read"))
	} else {
		p.part(rapid.IntRange(0, 100).Draw(t, "percent read"))
		p.committed = len(p.all)
		p.epoch++
	}
	p.hub.Close(context.Background())
	p.start()
	p.connect()
}

// finish reads to the end.
func (p *play) finish() {
	p.drain()
	r := telemetry.Reading{SensorID: 1, Serial: "A", Seq: int64(len(p.all) + 1), Time: 101, ReceivedAt: telemetry.Now(), Data: []byte(`{}`)}
	p.all = append(p.all, r)
	p.hub.Observe([]telemetry.Reading{r})
	p.drain()
	p.part(100)
	p.hub.Close(context.Background())
	if got := p.v.got["A"]; len(got) == 0 || got[len(got)-1] != r.Seq {
		p.t.Fatalf("the newest reading, %d, never came: got %v, gaps %v", r.Seq, p.v.got, p.v.excused)
	}
}

// drain lets the viewer read on, and waits until nothing waits for it.
func (p *play) drain() {
	p.commit(len(p.all)) // a replay waits for it
	p.c.set(false)
	<-p.joined
	for !p.s.drained() || !p.s.sender.Idle() {
		p.s.sender.Wake()
	}
}

func (s *session) drained() bool {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	return s.box.stream.empty() && s.box.hello.empty() && !s.box.open
}
