package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// studio serves the event streams of a world as package api does, without what that adds.
type studio struct {
	*world
	server  *httptest.Server
	client  *http.Client
	serving atomic.Int64 // handlers that have not returned
}

func newStudio(w *world, over func(*httptest.Server)) *studio {
	w.t.Helper()
	st := &studio{world: w}
	events := w.hub.Events()
	st.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		st.serving.Add(1)
		defer st.serving.Add(-1)
		if err := events.Serve(rw, r, requestOf(r)); err != nil {
			http.Error(rw, err.Error(), statusOf(err))
		}
	}))
	over(st.server)
	st.client = st.server.Client()
	w.t.Cleanup(func() {
		st.client.CloseIdleConnections()
		st.server.Close()
	})
	return st
}

func plain(s *httptest.Server) { s.Start() }

func requestOf(r *http.Request) EventRequest {
	q := r.URL.Query()
	e := EventRequest{Ticket: q.Get("ticket"), Resume: q.Get("resume"), Bearer: q.Has("bearer"), Epoch: q.Get("epoch")}
	for _, since := range []string{q.Get("since"), r.Header.Get("Last-Event-ID")} {
		if seq, err := strconv.ParseInt(since, 10, 64); err == nil {
			e.Resumes, e.Since = true, seq
		}
	}
	e.MaxPerSecond, _ = strconv.ParseFloat(q.Get("max_per_second"), 64)
	return e
}

func statusOf(err error) int {
	for kind, status := range map[error]int{
		telemetry.ErrUnauthenticated: 401, telemetry.ErrForbidden: 403, telemetry.ErrUnavailable: 503,
	} {
		if errors.Is(err, kind) {
			return status
		}
	}
	if errors.Is(err, telemetry.ErrInvalid) {
		return 422
	}
	return 500
}

// audience is one client of a stream.
type audience struct {
	t    testing.TB
	resp *http.Response
	*eventReader
}

func (st *studio) ticket(p auth.Principal, serials ...string) string {
	st.t.Helper()
	ticket, err := st.auth.Service.MintTicket(p, serials, len(serials) == 0)
	if err != nil {
		st.t.Fatal(err)
	}
	return ticket.Token
}

// ask sends a request; header lines are "Name: value".
func (st *studio) ask(query string, header ...string) *audience {
	st.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	st.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, st.server.URL+"/api/v1/events?"+query, nil)
	if err != nil {
		st.t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := st.client.Do(req)
	if err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { resp.Body.Close() })
	return &audience{t: st.t, resp: resp, eventReader: newEventReader(resp.Body)}
}

// tune opens a stream as the bearer of an access token does.
func (st *studio) tune(p auth.Principal, query string, header ...string) *audience {
	st.t.Helper()
	l := st.ask("bearer&ticket="+st.ticket(p)+query, header...)
	if l.resp.StatusCode != http.StatusOK || l.resp.Header.Get("Content-Type") != "text/event-stream" {
		st.t.Fatalf("got %d %s, want an event stream", l.resp.StatusCode, l.resp.Header.Get("Content-Type"))
	}
	return l
}

// frame returns the next event as the frame it was.
func (l *audience) frame() (event, Frame) {
	l.t.Helper()
	ev, err := l.next()
	if err != nil {
		l.t.Fatalf("next event: %v", err)
	}
	var f Frame
	if err := json.Unmarshal([]byte(ev.data), &f); err != nil {
		l.t.Fatalf("event %+v: %v", ev, err)
	}
	if ev.name != "close" && ev.name != "problem" && ev.name != f.Type {
		l.t.Errorf("event %s holds a frame of type %s", ev.name, f.Type)
	}
	return ev, f
}

func (l *audience) expect(name string) (event, Frame) {
	l.t.Helper()
	ev, f := l.frame()
	if ev.name != name {
		l.t.Fatalf("got event %+v, want %s", ev, name)
	}
	return ev, f
}

// expectClosed reads up to the close event, checks its code and that the response ends in good order.
func (l *audience) expectClosed(code string) {
	l.t.Helper()
	for {
		ev, err := l.next()
		if err != nil {
			l.t.Fatalf("stream ended with %v and no close event", err)
		}
		if ev.name != "close" {
			continue
		}
		if !strings.HasPrefix(ev.data, `{"code":`+code+`,"reason":"`) {
			l.t.Errorf("got close %s, want code %s and a reason", ev.data, code)
		}
		break
	}
	if ev, err := l.next(); !errors.Is(err, io.EOF) {
		l.t.Errorf("after close: got %+v, %v, want the end", ev, err)
	}
}

// quiet waits until no session is left and every handler has returned.
func (st *studio) quiet() {
	st.t.Helper()
	eventually(st.t, "every stream to end", func() bool { return st.hub.Stats().Sessions == 0 && st.serving.Load() == 0 })
	st.hub.mu.Lock()
	defer st.hub.mu.Unlock()
	for _, rm := range st.hub.rooms {
		if len(rm.members) > 0 {
			st.t.Errorf("%s is still watched by %d", rm.serial, len(rm.members))
		}
	}
	if n := len(st.hub.sessionsLocked()) + len(st.hub.people); n > 0 {
		st.t.Errorf("%d sessions are still known", n)
	}
}

func TestEvents_HelloThenLive(t *testing.T) {
	for name, over := range map[string]func(*httptest.Server){
		"HTTP/1.1": plain,
		"HTTP/2":   func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		t.Run(name, func(t *testing.T) {
			st := newStudio(newWorld(t, Config{}, nil), over)
			dev, his := st.sensor(ann, 1), st.sensor(bob, 1)
			first := st.reading(dev, 1)
			l := st.tune(ann, "")
			if got := l.resp.Proto[:len(name)]; got != name {
				t.Errorf("got %s, want %s", got, name)
			}
			for header, want := range map[string]string{"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Access-Control-Allow-Origin": ""} {
				if got := l.resp.Header.Get(header); got != want {
					t.Errorf("%s: got %q, want %q", header, got, want)
				}
			}
			ev, hello := l.expect("hello")
			if ev.id != fmt.Sprint(first.Seq) || hello.Seq != first.Seq || len(hello.Sensors) != 1 || value(t, hello.Sensors[0].Reading.Data) != 1 {
				t.Errorf("got %+v, want a hello of the one sensor with its reading", ev)
			}
			if l.retry < retryLeast || l.retry > retryLeast+retrySpread {
				t.Errorf("got retry %s, want one from %s on", l.retry, retryLeast)
			}
			st.reading(his, 5)
			for i := range 3 {
				r := st.reading(dev, 10+i)
				ev, f := l.expect("reading")
				if ev.id != fmt.Sprint(r.Seq) || f.SerialNo != dev.Serial || value(t, f.Data) != 10+i {
					t.Errorf("got %+v, want reading %d", ev, r.Seq)
				}
			}
			added := st.sensor(ann, 2)
			st.auth.Changes.Notify(auth.Change{Kind: auth.SensorAdded, Serial: added.Serial, SensorID: added.SensorID, UserID: ann.UserID})
			if ev, f := l.expect("state"); f.SerialNo != added.Serial || ev.own {
				t.Errorf("got %+v, want the state of the sensor added, without an id", ev)
			}
			st.auth.Directory.Remove(added.Serial)
			st.auth.Changes.Notify(auth.Change{Kind: auth.SensorRemoved, Serial: added.Serial, SensorID: added.SensorID, UserID: ann.UserID})
			if _, f := l.expect("problem"); f.Code != "sensor_deleted" || f.SerialNo != added.Serial {
				t.Errorf("got %+v, want the removal", f)
			}
			if s := st.hub.Stats(); s.Streams != 1 || s.Opened != 0 || s.Sessions != 1 {
				t.Errorf("stats: got %+v", s)
			}
			l.resp.Body.Close()
			st.quiet()
		})
	}
}

// A viewer that loses its stream again and again, and each time comes back with the last id it read.
func TestEvents_LastEventIDComesBackWithoutGapOrDuplicate(t *testing.T) {
	st := newStudio(newWorld(t, Config{}, nil), plain)
	devices := []auth.Device{st.sensor(ann, 1), st.sensor(ann, 2)}
	st.hub.memory.limit = 20 // some of it from memory, some from the store
	l := st.tune(ann, "")
	_, hello := l.expect("hello")
	const readings = 600
	written := make(chan past)
	go func() { // ends when all is written
		var all past
		for i := range readings {
			r := st.reading(devices[i%2], i)
			st.shelf.store(r)
			if all = append(all, r); i%20 == 0 {
				time.Sleep(time.Millisecond) // spreads the writing over the reading; nothing waits for it
			}
		}
		written <- all
	}()
	var got ledger
	var last string
	for n := 0; got.highest < readings; n++ {
		for range 7 + n%11 {
			ev, err := l.next()
			if err != nil {
				t.Fatal(err)
			}
			var f Frame
			if err := json.Unmarshal([]byte(ev.data), &f); err != nil {
				t.Fatal(err)
			}
			got.take(t, f)
			if last = ev.id; got.highest == readings {
				break
			}
		}
		l.resp.Body.Close()
		l = st.tune(ann, "", "Last-Event-ID: "+last)
		if _, f := l.expect("hello"); !f.Resumed || fmt.Sprint(f.Seq) != last {
			t.Fatalf("got %+v, want it resumed at %s", f, last)
		}
	}
	got.all = <-written
	for _, dev := range devices {
		got.balance(t, dev.Serial, hello.Seq)
	}
}

func TestEvents_SlowReaderIsConflatedAndThenReadsTheNewest(t *testing.T) {
	st := newStudio(newWorld(t, Config{}, nil), plain)
	dev := st.sensor(ann, 1)
	l := st.tune(ann, "")
	_, hello := l.expect("hello")
	pad := bytes.Repeat([]byte("x"), 16<<10)
	var all past
	eventually(t, "the reader of nothing to be conflated", func() bool {
		for range 20 {
			st.seq++
			r := telemetry.Reading{SensorID: dev.SensorID, Serial: dev.Serial, Seq: st.seq, Time: telemetry.Now(), ReceivedAt: telemetry.Now(), Data: fmt.Appendf(nil, `{"p":"%s"}`, pad)}
			all = append(all, r)
			st.hub.Observe([]telemetry.Reading{r})
		}
		if held, _ := st.held(); held > maxPending {
			t.Errorf("got %d bytes held, want at most %d", held, maxPending)
		}
		return st.hub.Stats().Conflated > 0
	})
	for range 50 {
		all = append(all, st.reading(dev, 1))
	}
	got := ledger{all: all}
	for got.highest < st.seq {
		_, f := l.frame()
		got.take(t, f)
	}
	got.balance(t, dev.Serial, hello.Seq)
	if len(got.gaps[dev.Serial]) == 0 {
		t.Errorf("no gap was announced")
	}
	st.reading(dev, 2)
	for {
		ev, f := l.frame()
		if ev.name == "state" { // the newest state of a sensor follows its newest reading
			continue
		}
		if ev.name != "reading" || value(t, f.Data) != 2 {
			t.Errorf("live again: got %+v", ev)
		}
		break
	}
}

func TestEvents_EndOfAuthorityIsTheLastEvent(t *testing.T) {
	st := newStudio(newWorld(t, Config{}, nil), plain)
	dev := st.sensor(ann, 1)
	elsewhere := ann
	elsewhere.SessionID = "another-session-of-ann"
	gone, other := st.tune(ann, ""), st.tune(elsewhere, "")
	named := st.ask("bearer&ticket=" + st.ticket(elsewhere, dev.Serial))
	for _, l := range []*audience{gone, other, named} {
		l.expect("hello")
	}
	start := time.Now()
	if err := st.auth.Service.EndSession(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
	gone.expectClosed("4401")
	if took := time.Since(start); took > time.Second {
		t.Errorf("closing took %s, want at most a second", took)
	}
	st.reading(dev, 1)
	other.expect("state")
	other.expect("reading")
	st.auth.Directory.Remove(dev.Serial)
	st.auth.Changes.Notify(auth.Change{Kind: auth.SensorRemoved, Serial: dev.Serial, SensorID: dev.SensorID, UserID: ann.UserID})
	named.expectClosed("4404")
	other.resp.Body.Close()
	st.quiet()
}

func TestEvents_TicketOpensOnceAndResumeTokenBringsBack(t *testing.T) {
	st := newStudio(newWorld(t, Config{}, nil), plain)
	dev := st.sensor(ann, 1)
	ticket := st.ticket(ann, dev.Serial)
	l := st.ask("ticket=" + ticket)
	hello, _ := l.expect("hello")
	resume, f := l.expect("resume")
	if resume.own || f.Token == "" {
		t.Fatalf("got %+v, want a token and no id", resume)
	}
	if again := st.ask("ticket=" + ticket); again.resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the ticket again: got %d, want 401", again.resp.StatusCode)
	}
	l.resp.Body.Close()
	st.reading(dev, 7)
	l = st.ask("resume=" + f.Token + "&since=" + hello.id + "&epoch=epoch-1")
	if _, f := l.expect("hello"); !f.Resumed {
		t.Errorf("got %+v, want it resumed", f)
	}
	if _, f := l.expect("reading"); value(t, f.Data) != 7 {
		t.Errorf("got %+v, want what was missed", f)
	}
	if again := st.ask("resume=" + f.Token); again.resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the token again: got %d, want 401", again.resp.StatusCode)
	}
	if foreign := st.tune(ann, "&since=0&epoch=another"); true {
		if _, f := foreign.expect("gap"); f.Reason != gapEpoch {
			t.Errorf("another epoch: got %+v", f)
		}
		foreign.expect("hello")
	}
}

func TestEvents_ForeignPageNeitherUsesNorSpoilsATicket(t *testing.T) {
	st := newStudio(newWorld(t, Config{AllowedOrigins: []string{"https://app.example.com"}}, nil), plain)
	st.sensor(ann, 1)
	ticket := st.ticket(ann)
	for _, header := range []string{
		"Origin: https://evil.example", "Origin: null", "Origin: https://app.example.com.evil.example",
		"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", // a picture's address sends no Origin
	} {
		if l := st.ask("ticket="+ticket, header); l.resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403", header, l.resp.StatusCode)
		}
	}
	l := st.ask("ticket="+ticket, "Origin: https://app.example.com", "Sec-Fetch-Site: cross-site")
	l.expect("hello")
	if got := l.resp.Header.Get("Access-Control-Allow-Origin"); got != "https://app.example.com" {
		t.Errorf("an allowed page may read: got %q", got)
	}
	for _, header := range []string{"Origin: " + st.server.URL, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"} {
		st.ask("ticket="+st.ticket(ann), header).expect("hello")
	}
	// A page cannot send a bearer token to another origin without leave, and gets none: who sends one is no page, or the server's own.
	if l := st.tune(ann, "", "Origin: https://evil.example"); l.resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign page may read what is sent for a bearer token")
	}
	if n := st.hub.Stats().Refused["origin"]; n != 5 {
		t.Errorf("refused for origin: got %d, want 5", n)
	}
}

func TestEvents_RefusesWhatOpensNothing(t *testing.T) {
	st := newStudio(newWorld(t, Config{MaxSessions: 1}, nil), plain)
	dev := st.sensor(ann, 1)
	sender := auth.Principal{Kind: auth.Sensor, SensorID: dev.SensorID, Serial: dev.Serial}
	for query, want := range map[string]int{
		"":                              http.StatusUnauthorized,
		"ticket=garbage":                http.StatusUnauthorized,
		"resume=garbage":                http.StatusUnauthorized,
		"ticket=" + st.ticket(sender):   http.StatusForbidden,
		"ticket=x&max_per_second=NaN":   http.StatusUnprocessableEntity,
		"ticket=x&max_per_second=0.001": http.StatusUnprocessableEntity,
		"ticket=x&max_per_second=1001":  http.StatusUnprocessableEntity,
		"ticket=x&max_per_second=-1":    http.StatusUnprocessableEntity,
	} {
		if l := st.ask(query); l.resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", query, l.resp.StatusCode, want)
		}
	}
	first := st.tune(ann, "")
	first.expect("hello")
	if l := st.ask("ticket=" + st.ticket(ann)); l.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: got %d, want 503", l.resp.StatusCode)
	}
	first.resp.Body.Close()
	st.quiet()
	st.tune(ann, "").expect("hello") // whatever was refused holds no place
}

func TestEvents_RateIsAskedForInTheAddress(t *testing.T) {
	st := newStudio(newWorld(t, Config{}, nil), plain)
	dev := st.sensor(ann, 1)
	l := st.tune(ann, "&max_per_second=20")
	l.expect("hello")
	var all past
	for i := range 50 {
		all = append(all, st.reading(dev, i))
	}
	got := ledger{all: all, reason: "rate"}
	for got.highest < st.seq {
		_, f := l.frame()
		got.take(t, f)
	}
	got.balance(t, dev.Serial, 0)
	if n := len(got.seen[dev.Serial]); n > 10 {
		t.Errorf("got %d of 50 readings at once, want few", n)
	}
}

// The beat keeps proxies from taking a quiet stream for a dead one, and ends those that are too old.
func TestEvents_BeatIsACommentAndLifetimeEnds(t *testing.T) {
	// A client of a stream cannot answer, which nobody may take for its end.
	st := newStudio(newWorld(t, Config{PingEvery: 20 * time.Millisecond, PeerTimeout: 40 * time.Millisecond, Lifetime: 300 * time.Millisecond}, nil), plain)
	st.sensor(ann, 1)
	l := st.tune(ann, "")
	l.expect("hello")
	l.expectClosed("1001") // a resume event, which a bearer gets none of, would come first
	if l.comments < 2 {
		t.Errorf("got %d comments, want one at every beat", l.comments)
	}
	st.quiet()
}

// dripping is a client that sends a request and then reads nothing.
func (st *studio) dripping(query string) net.Conn {
	st.t.Helper()
	c, err := net.Dial("tcp", st.server.Listener.Addr().String())
	if err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET /api/v1/events?%s HTTP/1.1\r\nHost: x\r\n\r\n", query)
	eventually(st.t, "its session", func() bool { return st.hub.Stats().Sessions == 1 })
	return c
}

// flood sends until done, which is asked now and then.
func (st *studio) flood(dev auth.Device, what string, done func() bool) {
	st.t.Helper()
	pad := bytes.Repeat([]byte("x"), 32<<10)
	eventually(st.t, what, func() bool {
		for range 10 {
			st.seq++
			st.hub.Observe([]telemetry.Reading{{SensorID: dev.SensorID, Serial: dev.Serial, Seq: st.seq, Time: telemetry.Now(), Data: fmt.Appendf(nil, `{"p":"%s"}`, pad)}})
		}
		return done()
	})
}

func TestEvents_ReaderOfNothingIsClosed(t *testing.T) {
	for name, over := range map[string]func(*httptest.Server){
		"HTTP/1.1": plain,
		"HTTP/2":   func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		t.Run(name, func(t *testing.T) {
			st := newStudio(newWorldWith(t, Config{}, auth.Config{}, nil, 100*time.Millisecond), over)
			dev := st.sensor(ann, 1)
			if name == "HTTP/2" {
				st.tune(ann, "") // whose body nobody reads: the stream's window fills
			} else {
				st.dripping("bearer&ticket=" + st.ticket(ann))
			}
			st.flood(dev, "it to be closed", func() bool { return st.hub.Stats().Closed[CloseNotReading] == 1 })
			st.quiet()
		})
	}
}

// The server stops while a Write waits for a peer that reads nothing, and while another reads well.
func TestEvents_StopDoesNotWaitForWhoReadsNothing(t *testing.T) {
	w := newWorld(t, Config{CloseTimeout: 200 * time.Millisecond}, nil)
	st := newStudio(w, plain)
	dev := st.sensor(ann, 1)
	st.dripping("bearer&ticket=" + st.ticket(ann))
	var writes int64
	idle := 0
	st.flood(dev, "its socket to be full", func() bool {
		before := writes
		if writes = st.hub.Stats().Writes; writes == before {
			idle++
		} else {
			idle = 0
		}
		return idle == 20
	})
	l := st.tune(bob, "")
	l.expect("hello")
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if err := st.hub.Close(ctx); err != nil {
		t.Fatal(err)
	}
	l.expectClosed("1012")
	st.quiet()
	if l := st.ask("ticket=" + st.ticket(ann)); l.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after the stop: got %d, want 503", l.resp.StatusCode)
	}
}

// Clients that leave at any moment, most of them while they are being let in or written to.
func TestEvents_WhoLeavesLeavesNothingBehind(t *testing.T) {
	for name, over := range map[string]func(*httptest.Server){
		"HTTP/1.1": plain,
		"HTTP/2":   func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		t.Run(name, func(t *testing.T) {
			st := newStudio(newWorld(t, Config{}, nil), over)
			dev := st.sensor(ann, 1)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() { // ends with stop
				defer close(stopped)
				tick := time.NewTicker(200 * time.Microsecond)
				defer tick.Stop()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-tick.C:
						st.reading(dev, i)
					}
				}
			}()
			for i := range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, st.server.URL+"/?bearer&since=0&ticket="+st.ticket(ann), nil)
				if err != nil {
					t.Fatal(err)
				}
				if i%3 == 0 {
					time.AfterFunc(time.Duration(i)*20*time.Microsecond, cancel)
				}
				if resp, err := st.client.Do(req); err == nil {
					io.CopyN(io.Discard, resp.Body, int64(i*100))
					resp.Body.Close()
				}
				cancel()
			}
			close(stop)
			<-stopped
			st.quiet()
			if s := st.hub.Stats(); s.Closed[CloseLost] != s.Streams {
				t.Errorf("got %d streams and the ends %v", s.Streams, s.Closed)
			}
		})
	}
}

// No log line holds a ticket or token.
func TestEvents_TicketIsNotLogged(t *testing.T) {
	st := newStudio(newWorld(t, Config{}, nil), plain)
	st.sensor(ann, 1)
	ticket := st.ticket(ann)
	l := st.ask("ticket=" + ticket)
	l.expect("hello")
	_, f := l.expect("resume")
	st.ask("ticket=" + ticket)
	l.resp.Body.Close()
	st.quiet()
	for _, secret := range []string{ticket, f.Token} {
		if strings.Contains(st.log.String(), secret) {
			t.Errorf("the log holds a ticket or token")
		}
	}
}

// A client of a stream may leave before its session is known to anybody, who could then not forget it.
func TestHub_SessionThatLeftIsNotEntered(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	s := w.hub.newSession(&tape{}, auth.Claim{Principal: ann, Kind: "user"})
	w.hub.leave(s, CloseLost)
	if w.hub.enter(s) || len(w.hub.people) > 0 || len(w.hub.sessionsLocked()) > 0 {
		t.Errorf("it was entered")
	}
}
