package bridge

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sensorcast/auth"
)

// refused dials and returns the refusal.
func (w *world) refused(address string, header http.Header) *Refused {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	c, err := Dial(ctx, address, header)
	if err == nil {
		c.ws.Close()
		w.t.Fatal("dial: got a connection, want a refusal")
	}
	var refused *Refused
	if !errors.As(err, &refused) {
		w.t.Fatalf("dial: got %v, want a refusal", err)
	}
	return refused
}

func TestHandshake_OneTicketOpensOneSocket(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	address := w.address(ann, dev.Serial)
	const attempts = 100
	var wg sync.WaitGroup
	var mu sync.Mutex
	opened, statuses := 0, map[int]int{}
	for range attempts {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
			defer cancel()
			c, err := Dial(ctx, address, nil)
			var refused *Refused
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				opened++
				c.Close()
			case errors.As(err, &refused):
				statuses[refused.Status]++
			default:
				t.Errorf("dial: %v", err)
			}
		})
	}
	wg.Wait()
	if opened != 1 || statuses[http.StatusUnauthorized] != attempts-1 {
		t.Errorf("one ticket, %d attempts: got %d sockets and refusals %v, want 1 and %d × 401", attempts, opened, statuses, attempts-1)
	}
}

func TestHandshake_BadTicketsAreUnauthenticated(t *testing.T) {
	w := newWorldWith(t, Config{}, auth.Config{TicketTTL: 20 * time.Millisecond}, nil, 0)
	dev := w.sensor(ann, 1)
	ticket, err := w.auth.Service.MintTicket(ann, []string{dev.Serial}, false)
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(ticket.ExpiresAt) + time.Millisecond) // the defence under test is a clock
	base := strings.TrimSuffix(w.with(""), "?ticket=")
	for name, address := range map[string]string{
		"missing":       base,
		"empty":         w.with(""),
		"garbage":       w.with("not.a.ticket"),
		"expired":       w.with(ticket.Token),
		"tampered":      w.with(ticket.Token[:len(ticket.Token)-4] + "AAAA"),
		"two":           w.with("a") + "&ticket=b",
		"resume token":  base + "?resume=anything",
		"old and since": w.with(ticket.Token) + "&since=3&epoch=x",
	} {
		if got := w.refused(address, nil); got.Status != http.StatusUnauthorized || got.Detail == "" {
			t.Errorf("%s ticket: got %d %q, want 401 with a reason", name, got.Status, got.Detail)
		}
	}
}

func TestHandshake_AccessTokenIsNoTicket(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	grant, err := w.auth.Service.Register(t.Context(), auth.Registration{
		Username: "carol", Email: "carol@example.org", Password: "correct horse battery staple", FirstName: "C", LastName: "C", Remote: loopback,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{grant.AccessToken, grant.RefreshToken} {
		if got := w.refused(w.with(token), nil); got.Status != http.StatusUnauthorized {
			t.Errorf("token of another kind: got %d, want 401", got.Status)
		}
	}
}

func TestHandshake_ForeignPageNeitherUsesNorSpoilsATicket(t *testing.T) {
	w := newWorld(t, Config{AllowedOrigins: []string{"https://app.example.com"}}, nil)
	dev := w.sensor(ann, 1)
	address := w.address(ann, dev.Serial)
	for _, origin := range []string{"https://evil.example", "null", w.http.URL + ".evil.example", "https" + strings.TrimPrefix(w.http.URL, "http")} {
		if got := w.refused(address, http.Header{"Origin": {origin}}); got.Status != http.StatusForbidden {
			t.Errorf("origin %q: got %d, want 403", origin, got.Status)
		}
	}
	c, err := Dial(t.Context(), address, http.Header{"Origin": {w.http.URL}})
	if err != nil {
		t.Fatalf("own page after foreign ones tried: got %v, want a connection", err)
	}
	w.expect(c, "hello")
	c.Close()
	c, err = Dial(t.Context(), w.address(ann, dev.Serial), http.Header{"Origin": {"https://app.example.com"}})
	if err != nil {
		t.Fatalf("allowed page: got %v, want a connection", err)
	}
	c.Close()
}

func TestOrigins_ExactMatch(t *testing.T) {
	o := newOrigins([]string{"https://App.example.com:443", "http://10.0.0.7:3000", "https://bad.example/path", "*"})
	for _, c := range []struct {
		origin, host, proto string
		tls, want           bool
	}{
		{origin: "", host: "sense.example", want: true},
		{origin: "http://sense.example", host: "sense.example", want: true},
		{origin: "http://sense.example:80", host: "sense.example", want: true},
		{origin: "http://SENSE.example", host: "sense.EXAMPLE", want: true},
		{origin: "http://sense.example:8080", host: "sense.example:8080", want: true},
		{origin: "http://[::1]:8080", host: "[::1]:8080", want: true},
		{origin: "https://sense.example", host: "sense.example", tls: true, want: true},
		{origin: "https://sense.example", host: "sense.example", proto: "https", want: true},
		{origin: "https://app.example.com", host: "sense.example", want: true},
		{origin: "http://10.0.0.7:3000", host: "sense.example", want: true},
		{origin: "https://sense.example", host: "sense.example"},
		{origin: "http://sense.example", host: "sense.example", tls: true},
		{origin: "http://sense.example", host: "sense.example", proto: "https"},
		{origin: "http://sense.example:8081", host: "sense.example:8080"},
		{origin: "http://sense.example", host: "sense.example:8080"},
		{origin: "http://sense.example.evil", host: "sense.example"},
		{origin: "http://evilsense.example", host: "sense.example"},
		{origin: "http://sense.example@evil", host: "sense.example"},
		{origin: "http://evil#sense.example", host: "sense.example"},
		{origin: "http://sense.example/", host: "sense.example"},
		{origin: "null", host: "sense.example"},
		{origin: "file://", host: "sense.example"},
		{origin: "sense.example", host: "sense.example"},
		{origin: "http://app.example.com", host: "sense.example"},
		{origin: "https://bad.example", host: "sense.example"},
		{origin: "*", host: "sense.example"},
	} {
		r, _ := http.NewRequest(http.MethodGet, "http://placeholder/ws", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.proto != "" {
			r.Header.Set("X-Forwarded-Proto", c.proto)
		}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := o.allow(r); got != c.want {
			t.Errorf("origin %q at host %q (tls %v, proto %q): got %v, want %v", c.origin, c.host, c.tls, c.proto, got, c.want)
		}
	}
}

func TestHandshake_LostAccessIsForbidden(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	address := w.address(ann, dev.Serial)
	w.auth.Directory.Remove(dev.Serial)
	if got := w.refused(address, nil); got.Status != http.StatusForbidden {
		t.Errorf("sensor deleted after minting: got %d, want 403", got.Status)
	}
}

func TestHandshake_FullServerKeepsTheTicketGood(t *testing.T) {
	w := newWorld(t, Config{MaxSessions: 1}, nil)
	dev := w.sensor(ann, 1)
	first, _ := w.dial(ann, dev.Serial)
	address := w.address(ann, dev.Serial)
	resp := w.get(address, upgradeHeader())
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("full server: got %d, Retry-After %q, want 503 with one", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	first.Close()
	eventually(t, "the first session to end", func() bool { return w.hub.Stats().Sessions == 0 })
	w.expect(w.open(address), "hello")
}

func upgradeHeader() http.Header {
	return http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
}

// get sends a plain request; the body is read.
func (w *world) get(address string, header http.Header) *http.Response {
	w.t.Helper()
	return w.send(http.MethodGet, address, header)
}

func (w *world) send(method, address string, header http.Header) *http.Response {
	w.t.Helper()
	req, err := http.NewRequest(method, "http"+strings.TrimPrefix(address, "ws"), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header = header
	resp, err := w.http.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

func TestHandshake_RefusalsAreProblemsThatRepeatNothing(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	noKey := upgradeHeader()
	noKey.Set("Sec-Websocket-Key", "short")
	oldVersion := upgradeHeader()
	oldVersion.Set("Sec-Websocket-Version", "8")
	address := w.address(ann, dev.Serial)
	secret := address[strings.Index(address, "=")+1:]
	for _, c := range []struct {
		name, method, address string
		header                http.Header
		want                  int
	}{
		{"POST", http.MethodPost, address, upgradeHeader(), 405},
		{"no upgrade", http.MethodGet, address, http.Header{}, 426},
		{"old version", http.MethodGet, address, oldVersion, 426},
		{"bad key", http.MethodGet, address, noKey, 400},
		{"no ticket, no upgrade", http.MethodGet, w.with(""), http.Header{}, 401},
		{"bad ticket", http.MethodGet, w.with("canary"), upgradeHeader(), 401},
	} {
		resp := w.send(c.method, c.address, c.header)
		var p problem
		body, _ := io.ReadAll(resp.Body)
		if err := json.Unmarshal(body, &p); err != nil || resp.StatusCode != c.want || p.Status != c.want || p.Detail == "" ||
			resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %s %s, want problem %d", c.name, resp.StatusCode, resp.Header.Get("Content-Type"), body, c.want)
		}
		if strings.Contains(string(body), "canary") || strings.Contains(string(body), secret) {
			t.Errorf("%s: the ticket is repeated in %s", c.name, body)
		}
	}
	w.expect(w.open(address), "hello") // none of the above spent it
}

func TestHandshake_TicketInSubprotocolIsNotEchoed(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	ticket, err := w.auth.Service.MintTicket(ann, []string{dev.Serial}, false)
	if err != nil {
		t.Fatal(err)
	}
	d := websocket.Dialer{Subprotocols: []string{"sensorcast.v1", "ticket." + ticket.Token}}
	ws, resp, err := d.DialContext(t.Context(), strings.TrimSuffix(w.with(""), "?ticket="), nil)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	defer ws.Close()
	if got := resp.Header.Values("Sec-WebSocket-Protocol"); len(got) != 1 || got[0] != "sensorcast.v1" {
		t.Errorf("subprotocol: got %v, want sensorcast.v1 alone", got)
	}
	w.expect(&Client{ws: ws}, "hello")
}

func TestHandshake_NoTicketInAnyLog(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	address := w.address(ann, dev.Serial)
	c := w.open(address)
	w.expect(c, "hello")
	again := w.refused(address, nil)
	foreign := w.refused(w.with("canary"), http.Header{"Origin": {"https://evil.example"}})
	w.shelf.err = errors.New("disk on fire")
	second := w.address(ann, dev.Serial)
	w.expectClosed(w.open(second), CloseOverloaded)
	c.Send(map[string]string{"type": "canary"})
	w.expect(c, "error")
	c.Close()
	eventually(t, "the sessions to end", func() bool { return w.hub.Stats().Sessions == 0 })
	_, noAddress := Dial(t.Context(), "ws://\x00/?ticket=canary", nil)
	seen := w.log.String() + again.Error() + foreign.Error() + noAddress.Error()
	if !strings.Contains(seen, "session opened") {
		t.Fatalf("log: got %q, want debug messages in it", seen)
	}
	for _, secret := range []string{"canary", "ticket=", address[strings.Index(address, "=")+1:], second[strings.Index(second, "=")+1:]} {
		if strings.Contains(seen, secret) {
			t.Errorf("log or error contains %q:\n%s", secret, seen)
		}
	}
}
