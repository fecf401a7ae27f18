package drive

import (
	"io"
	"log"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// mailbox is a mail server that everybody's letters go to.
type mailbox struct {
	addr string

	mu      sync.Mutex
	letters []string // guarded by mu
}

// newMailbox starts it; it ends with the test.
func newMailbox(t testing.TB) *mailbox {
	t.Helper()
	m := &mailbox{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.addr = l.Addr().String()
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{box: m}, nil }))
	server.Domain, server.ErrorLog = "localhost", log.New(io.Discard, "", 0)
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		_ = server.Close()
		<-done
	})
	return m
}

// delivery is one letter on its way into the box.
type delivery struct {
	box *mailbox
	to  string
}

func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = to
	return nil
}

func (d *delivery) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	// Long lines come quoted-printable (RFC 2045 §6.7).
	plain := strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(string(text))
	d.box.letters = append(d.box.letters, "Envelope-To: "+d.to+"\r\n"+plain)
	return nil
}

func (d *delivery) Reset()        {}
func (d *delivery) Logout() error { return nil }

var codeInLetter = regexp.MustCompile(`(?:ev|pr|inv)_[A-Za-z0-9_-]{43}`)

// code waits for a letter to the address that says so, and returns the code behind the link in it.
func (m *mailbox) code(t testing.TB, to, link string) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		m.mu.Lock()
		for i, letter := range m.letters {
			_, rest, found := strings.Cut(letter, link)
			if found && strings.HasPrefix(letter, "Envelope-To: "+to+"\r\n") {
				m.letters = append(m.letters[:i], m.letters[i+1:]...)
				m.mu.Unlock()
				code := codeInLetter.FindString(rest)
				secrets.add("code of a letter", code)
				return code
			}
		}
		m.mu.Unlock()
	}
	t.Fatalf("no letter to %s with %s came within 10 s", to, link)
	return ""
}

// From an invitation to a replaced password, through a real mail server; then the admin disables the account, and what it has open ends.
func TestLetters_InvitedConfirmedForgottenDisabled(t *testing.T) {
	box := newMailbox(t)
	s := serve(t, t.TempDir(), "--registration", "invite", "--smtp-url", "smtp://"+box.addr, "--mail-from", "Sensorcast <no-reply@example.com>",
		"--public-url", "https://sensors.example.com/", "--log-level", "debug")
	admin := s.register("admin")
	stranger := &person{s: s, name: "bob", password: passwordOf("bob")}
	account := map[string]any{"username": "bob", "email": "bob@example.com", "password": stranger.password}
	stranger.call("POST", "/api/v1/auth/register", account, 403, nil)

	admin.call("POST", "/api/v1/invitations", map[string]any{"email": "bob@example.com"}, 201, nil)
	account["invitation"] = box.code(t, "bob@example.com", "https://sensors.example.com/register#")
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	stranger.call("POST", "/api/v1/auth/register", account, 201, &grant)
	bob := &person{s: s, name: "bob", password: stranger.password, token: grant.AccessToken}
	bob.call("POST", "/api/v1/auth/email-verification/confirm", map[string]any{"token": box.code(t, "bob@example.com", "https://sensors.example.com/confirm-email#")}, 204, nil)

	bob.call("POST", "/api/v1/auth/password-reset", map[string]any{"email": "bob@example.com"}, 202, nil)
	bob.call("POST", "/api/v1/auth/password-reset", map[string]any{"email": "nobody@example.com"}, 202, nil)
	token := box.code(t, "bob@example.com", "https://sensors.example.com/reset-password#")
	bob.password = "another horse bob"
	bob.call("POST", "/api/v1/auth/password-reset/confirm", map[string]any{"token": token, "new_password": bob.password}, 204, nil)
	bob.token, _ = bob.login()

	bob.sensor("BOBS-1")
	viewer := bob.socket(t, "viewer", "/api/v1/tickets", map[string]any{"serial_nos": []string{"BOBS-1"}})
	subscriber := s.subscriber(t, "subscriber", bob)
	admin.call("PATCH", "/api/v1/users/bob", map[string]any{"disabled": true}, 200, nil)
	disabled := time.Now()
	for _, w := range []*witness{viewer, subscriber} {
		select {
		case <-w.over:
		case <-time.After(10 * time.Second):
			t.Fatalf("the %s of a disabled account is still there after 10 s", w.who)
		}
		if took := w.end.Sub(disabled); took > patience {
			t.Errorf("the %s of a disabled account: got its end after %v, want within %v", w.who, took, patience)
		}
	}
	if viewer.code != 4401 {
		t.Errorf("the viewer's socket: got code %d, want 4401", viewer.code)
	}
	bob.call("POST", "/api/v1/auth/login", map[string]any{"login": "bob", "password": bob.password}, 401, nil)
	s.inspect()
	if err := s.terminate(); err != nil {
		t.Errorf("stop: %v", err)
	}
}
