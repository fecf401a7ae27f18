package notify_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sensorcast/notify"
)

// rawServer answers each connection by hand. It is closed with the test, and with it what hangs.
func rawServer(t *testing.T, answer func(c *net.TCPConn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() { // ends when the listener is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection, which the client closes
				defer c.Close()
				answer(c.(*net.TCPConn))
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/canary-path?k=canary-query"
}

// request reads a request to its end, so that what comes after is the answer's doing.
func request(c net.Conn) {
	if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// R23 of reliability.md: whatever a receiver does, others are told on time, it is tried again or given up with a reason, and nothing of its
// address is in a log or an error.
func TestDesk_NoReceiverHoldsUpOthers(t *testing.T) {
	h := newHouse(t)
	var metadata, hanging atomic.Int64
	hang := func(c *net.TCPConn) {
		hanging.Add(1)
		_, _ = io.Copy(io.Discard, c)
	}
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { metadata.Add(1) }))
	t.Cleanup(inside.Close)
	var sent atomic.Int64
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()

	faults := map[string]struct {
		url  string
		want string // part of the reason
	}{
		"hangs before the answer": {rawServer(t, hang), "no answer within 5s"},
		"hangs within the answer": {rawServer(t, func(c *net.TCPConn) {
			request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 500 Oh\r\nContent-Le")
			hang(c)
		}), "no answer within 5s"},
		"drips": {rawServer(t, func(c *net.TCPConn) {
			request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 500 Oh\r\nX: ")
			hanging.Add(1)
			for {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		}), "no answer within 5s"},
		"redirects inside": {rawServer(t, func(c *net.TCPConn) {
			request(c)
			fmt.Fprintf(c, "HTTP/1.1 307 There\r\nLocation: %s/latest/meta-data\r\nContent-Length: 0\r\n\r\n", inside.URL)
		}), "a redirect"},
		"answers 500": {rawServer(t, func(c *net.TCPConn) {
			request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 500 canary-answer\r\nContent-Length: 13\r\n\r\ncanary-answer")
		}), "answered with 500"},
		"resets": {rawServer(t, func(c *net.TCPConn) { _ = c.SetLinger(0) }), "broke off"},
		"resets after the request": {rawServer(t, func(c *net.TCPConn) {
			request(c)
			_ = c.SetLinger(0)
		}), "broke off"},
		"speaks no HTTP":  {rawServer(t, func(c *net.TCPConn) { request(c); _, _ = io.WriteString(c, "220 canary-answer ESMTP\r\n") }), "no HTTP"},
		"refuses":         {closed.URL + "/canary-path", "connection refused"},
		"untrusted TLS":   {secure.URL + "/canary-path", "TLS failed"},
		"no TLS":          {strings.Replace(inside.URL, "http:", "https:", 1) + "/canary-path", "TLS failed"},
		"unknown name":    {"https://canary-host.invalid/", "looked up"},
		"not public":      {"https://10.1.2.3/canary-path", "not a public one"},
		"endless headers": {rawServer(t, func(c *net.TCPConn) { request(c); endless(c, "HTTP/1.1 200 OK\r\n", "X-Canary: canary\r\n", &sent) }), "not reachable"},
		"a huge answer": {rawServer(t, func(c *net.TCPConn) {
			request(c)
			endless(c, "HTTP/1.1 500 Oh\r\nContent-Length: 1000000000\r\n\r\n", strings.Repeat("x", 1<<16), &sent)
		}), "answered with 500"},
		"a huge 200 answer": {rawServer(t, func(c *net.TCPConn) {
			request(c)
			endless(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", strings.Repeat("x", 1<<16), &sent)
		}), ""},
	}
	channels := map[string]notify.Channel{}
	for name, f := range faults {
		channels[name], _ = h.channel(h.ada, notify.Draft{Name: name, Kind: notify.Webhook, URL: f.url, Enabled: true})
	}
	good := newReceiver(t, nil)
	h.webhook(h.bob, good.URL)
	h.notice("A1", "fault", notify.Warning)
	h.eventually("those hang who will", func() bool { return hanging.Load() == 3 })
	started := time.Now()
	for i := range 20 {
		h.notice("B1", fmt.Sprint("n", i), notify.Warning)
	}
	h.eventually("the others are told", func() bool { return len(good.ids()) == 20 })
	if took := time.Since(started); took > 4*time.Second {
		t.Errorf("the others were told after %s: they waited for who hangs", took)
	}
	for name, f := range faults {
		got := h.settled(h.ada, channels[name], 1)[0]
		if f.want == "" && got.State == notify.Sent {
			continue
		}
		if got.State == notify.Sent || !strings.Contains(got.Error, f.want) {
			t.Errorf("%s: got %s, %q, want %q", name, got.State, got.Error, f.want)
		}
		if final := name == "not public"; final != (got.State == notify.Failed) {
			t.Errorf("%s: got %s", name, got.State)
		}
		if strings.Contains(got.Error, "canary") {
			t.Errorf("%s: the reason repeats an address or an answer: %q", name, got.Error)
		}
	}
	if n := metadata.Load(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%d MB of endless answers were taken", n>>20)
	}
	if strings.Contains(h.logs.String(), "canary") {
		t.Errorf("the log repeats an address or an answer:\n%s", h.logs.String())
	}
}

// endless writes begin and then more until the other side has had enough, and counts.
func endless(c net.Conn, begin, more string, sent *atomic.Int64) {
	_, err := io.WriteString(c, begin)
	for n := 0; err == nil; sent.Add(int64(n)) {
		n, err = io.WriteString(c, more)
	}
}

// Many channels that lead to one host that hangs hold two places, and after five failures none.
func TestDesk_AHostThatHangsHasTwoPlacesAndACircuit(t *testing.T) {
	h := newHouse(t)
	var now, most, all atomic.Int64
	url := rawServer(t, func(c *net.TCPConn) {
		all.Add(1)
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		request(c)
		time.Sleep(100 * time.Millisecond)
		_, _ = io.WriteString(c, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
	})
	for i := range notify.MaxChannels {
		h.channel(h.ada, notify.Draft{Name: fmt.Sprint("c", i), Kind: notify.Webhook, URL: url, Enabled: true})
	}
	h.notice("A1", "n", notify.Warning)
	h.eventually("the circuit opens", func() bool { return h.desk.Stats().OpenCircuits == 1 })
	h.eventually("nobody is sent to", func() bool { return h.desk.Stats().Sending == 0 })
	before := all.Load()
	time.Sleep(300 * time.Millisecond)
	h.desk.Wake()
	time.Sleep(100 * time.Millisecond)
	if most.Load() != 2 || before < 5 || before > 6 || all.Load() != before {
		t.Errorf("got %d at once, %d attempts, then %d, want 2, 5 or 6, and no more", most.Load(), before, all.Load())
	}
}

// More channels than are looked at in one round, all of one host that is down and all before the one that works, do not hide it.
func TestDesk_AHostThatIsDownHidesNobody(t *testing.T) {
	h := newHouse(t)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	var c notify.Channel
	for range 5 {
		c, _ = h.webhook(h.ada, down.URL)
	}
	h.notice("A1", "first", notify.Warning)
	h.eventually("the circuit opens", func() bool { return h.desk.Stats().OpenCircuits == 1 })
	_, err := h.raw.Exec(`
		WITH RECURSIVE more (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more WHERE n < 1500)
		INSERT INTO channels (uid, user_id, name, kind, shown, host, target, secret, min_severity, enabled, quiet_from, quiet_to, quiet_zone, created_at, updated_at)
		SELECT uid || n, user_id, name, kind, shown, host, target, secret, min_severity, enabled, quiet_from, quiet_to, quiet_zone, created_at, updated_at
		FROM channels, more WHERE id = ?`, c.ID)
	must(t, err)
	good := newReceiver(t, nil)
	h.webhook(h.bob, good.URL)
	h.notice("A1", "fault", notify.Warning)
	h.eventually("they wait", func() bool { return h.desk.Stats().Notices == 2 })
	started := time.Now()
	h.notice("B1", "n", notify.Warning)
	h.eventually("the other is told", func() bool { return len(good.ids()) == 1 })
	if took := time.Since(started); took > 4*time.Second {
		t.Errorf("the other was told after %s", took)
	}
}
