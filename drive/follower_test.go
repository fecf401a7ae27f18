package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sensorcast/bridge"
)

// follower is a viewer as a good client is one: it comes back by itself, with the newest token it was given and from the highest seq it
// has read, which gaps of single sensors never move. It believes nothing: what it is sent must be in order, and what it is not announced.
type follower struct {
	as      *person
	serials []string
	quiet   bool          // shows its token in a subprotocol, as clients behind logging proxies do
	jitter  time.Duration // it comes back within this after its connection ended
	window  int           // bytes its socket takes in unread; zero: what the system likes
	hears   func(data json.RawMessage)

	reading sync.Mutex // held by who wants it to read nothing; leave before mu

	mu      sync.Mutex // guards all below
	ws      *websocket.Conn
	token   string // to come back with; empty: it asks for a ticket
	spent   string // the one it came with
	epoch   string
	start   int64 // seq of the last hello that was no continuation
	cursor  int64
	hellos  int // connections that came so far
	tickets int
	refused int // tokens
	codes   []int
	ends    []error // of its connections
	got     map[string][]int64
	latest  map[string]int64 // by serial: the newest reading it knows of
	gaps    map[string][]bridge.Frame
	lost    []string       // reasons of the gaps of all its sensors
	excuses map[string]int // by reason: gaps of single ones, ever
	pending *bridge.Frame
	fault   error // the first
}

func (p *person) follower(serials ...string) *follower {
	as := *p // of this server, and of those that take its place on its ports
	return &follower{as: &as, serials: serials, got: map[string][]int64{}, gaps: map[string][]bridge.Frame{}, excuses: map[string]int{}, latest: map[string]int64{}}
}

// follow has all of them watch until the test ends, or stop is called.
func follow(t testing.TB, all []*follower) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var over sync.WaitGroup
	turns := make(chan struct{}, 100) // how many may be connecting: this is no test of the listen backlog
	for _, f := range all {
		over.Go(func() { f.run(ctx, turns) }) // ends with ctx
	}
	stop = func() { cancel(); over.Wait() }
	t.Cleanup(stop)
	return stop
}

func (f *follower) run(ctx context.Context, turns chan struct{}) {
	for ctx.Err() == nil {
		turns <- struct{}{}
		ws, err := f.connect(ctx)
		<-turns
		if err == nil {
			over := context.AfterFunc(ctx, func() { ws.NetConn().Close() })
			err = f.read(ws)
			over()
			ws.Close()
		}
		if ctx.Err() == nil && err != nil {
			f.ended(err)
		}
		select { // full jitter
		case <-ctx.Done():
		case <-time.After(rand.N(f.jitter + 1)):
		}
	}
}

// connect comes back, or comes for the first time.
func (f *follower) connect(ctx context.Context) (*websocket.Conn, error) {
	f.mu.Lock()
	token, query := f.token, url.Values{}
	if f.hellos > 0 {
		query.Set("epoch", f.epoch)
		query.Set("since", strconv.FormatInt(f.cursor, 10))
	}
	f.pending = nil
	name := "resume"
	if token == "" {
		name = "ticket"
		f.tickets++
	}
	f.mu.Unlock()
	if name == "ticket" {
		var err error
		if token, err = f.as.ticket(f.serials); err != nil {
			return nil, err
		}
	}
	ws, status, err := f.as.s.viewer(ctx, name, token, query, f.quiet, f.window)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.ws, f.token, f.spent = ws, "", token
	case status == http.StatusUnauthorized && name == "resume":
		f.token = ""
		f.refused++
	}
	return ws, err
}

// ticket asks for one.
func (p *person) ticket(serials []string) (string, error) {
	status, body, err := p.try("POST", "/api/v1/tickets", p.token, map[string]any{"serial_nos": serials})
	var made struct{ Ticket string }
	if err == nil && status == http.StatusCreated {
		err = json.Unmarshal(body, &made)
	}
	if err == nil && made.Ticket == "" {
		err = fmt.Errorf("a ticket is refused with %d %s", status, body)
	}
	return made.Ticket, err
}

// viewer opens a viewer's socket. A status is told if the server gave one instead.
func (s *instance) viewer(ctx context.Context, name, token string, query url.Values, quiet bool, window int) (ws *websocket.Conn, status int, err error) {
	dialer := websocket.Dialer{ReadBufferSize: 2 << 10, WriteBufferSize: 256, HandshakeTimeout: patience}
	if window > 0 {
		dialer.NetDial = func(network, addr string) (net.Conn, error) { return narrowDialer(window).Dial(network, addr) }
	}
	if quiet {
		dialer.Subprotocols = []string{"sensorcast.v1", name + "." + token}
	} else {
		query.Set(name, token)
	}
	ws, resp, err := dialer.DialContext(ctx, "ws://"+s.addr["http"]+"/ws?"+query.Encode(), nil)
	if resp != nil {
		status = resp.StatusCode
		if err != nil {
			_, _ = io.Copy(&s.said, resp.Body) // as much as there is
			err = fmt.Errorf("refused with %d", status)
		}
		resp.Body.Close()
	}
	return ws, status, err
}

// narrowDialer makes sockets that take few bytes in unread. The system doubles what it is told.
func narrowDialer(window int) *net.Dialer {
	return &net.Dialer{Timeout: patience, Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, window/2)
		}); failed != nil {
			return failed
		}
		return err
	}}
}

func (f *follower) read(ws *websocket.Conn) error {
	ws.SetPingHandler(func(data string) error { // gorilla's own gives up after a second, which is nothing on a busy machine
		return ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(patience))
	})
	for n := 0; ; n++ {
		f.awaitTurn()
		_, text, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		m, err := decode(text, n%32 == 0 || f.hears != nil)
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.take(m)
		f.mu.Unlock()
	}
}

// awaitTurn passes when nobody has it stall.
func (f *follower) awaitTurn() {
	f.reading.Lock()
	defer f.reading.Unlock()
}

// decode reads a frame; of a reading, unless all is wanted, only serial and seq. Thousands of viewers in one process would else do little
// but read JSON.
func decode(text []byte, all bool) (m bridge.Frame, err error) {
	if rest, ok := bytes.CutPrefix(text, []byte(`{"type":"reading","serial_no":"`)); ok && !all {
		serial, rest, _ := bytes.Cut(rest, []byte(`","seq":`))
		digits, _, _ := bytes.Cut(rest, []byte(`,`))
		if m.Seq, err = strconv.ParseInt(string(digits), 10, 64); err == nil {
			m.Type, m.SerialNo = "reading", string(serial)
			return m, nil
		}
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("frame %.100q: %w", text, err)
	}
	return m, nil
}

func (f *follower) ended(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if closed := (*websocket.CloseError)(nil); errors.As(err, &closed) {
		f.codes = append(f.codes, closed.Code)
	}
	f.ws, f.ends = nil, append(f.ends, err)
}

func (f *follower) failed(format string, args ...any) {
	if f.fault == nil {
		f.fault = fmt.Errorf(format, args...)
	}
}
