package mail

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

const token = "pr_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"

func letter() Letter {
	return Letter{To: "ada@example.org", Subject: "A new password", Text: "Use this:\n\n.dot first\nhttps://example.org/reset-password#" + token + "\n"}
}

func (p *post) sender(t *testing.T, scheme, userinfo string) *SMTP {
	t.Helper()
	s, err := NewSMTP(Config{
		URL: scheme + "://" + userinfo + p.addr, From: "Sensorcast <no-reply@example.org>", Timeout: 5 * time.Second, RootCAs: p.roots,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// elsewhere makes s think that the server is another machine.
func (s *SMTP) elsewhere() *SMTP {
	s.local = false
	return s
}

const goodUser = "relay-user:relay%20p%40ssword%2F1@"

func TestSMTP_DeliversWithAndWithoutTLSAndPassword(t *testing.T) {
	for _, c := range []struct {
		mode, scheme, user string
		remote, tls        bool
	}{
		{"clear", "smtp", "", false, false},
		{"clear", "smtp", goodUser, false, false},
		{"starttls", "smtp", goodUser, true, true},
		{"starttls", "smtp", "", true, true},
		{"tls", "smtps", goodUser, true, true},
		{"tls", "smtps", "", false, true},
	} {
		p := newPost(t, c.mode, hooks{})
		s := p.sender(t, c.scheme, c.user)
		s.local = !c.remote
		if err := s.Send(t.Context(), letter()); err != nil {
			t.Errorf("%+v: got %v, want nil", c, err)
			continue
		}
		got := p.taken()
		if len(got) != 1 || got[0].to != "ada@example.org" || got[0].from != "no-reply@example.org" || got[0].tls != c.tls || (got[0].user == mailUser) != (c.user != "") {
			t.Errorf("%+v: got %+v, want one letter, over TLS and as the user where asked", c, got)
			continue
		}
		if !strings.Contains(got[0].data, "\r\n.dot first\r\n") || !strings.Contains(got[0].data, token) || got[0].header("Subject") != "A new password" ||
			got[0].header("From") != `"Sensorcast" <no-reply@example.org>` || got[0].header("Auto-Submitted") != "auto-generated" ||
			!strings.HasSuffix(got[0].header("Message-ID"), "@example.org>") || got[0].header("Date") == "" {
			t.Errorf("%+v: got letter\n%s", c, got[0].data)
		}
	}
}

func TestSMTP_FailuresSayWhatToDoAndWhetherToTryAgain(t *testing.T) {
	reply := func(code int) func() error {
		return func() error {
			return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 7, 1}, Message: "no: " + token}
		}
	}
	refuseData := func(_ *smtp.Conn, r io.Reader) error {
		text, _ := io.ReadAll(r)
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "spam: " + string(text[len(text)-50:len(text)-4])}
	}
	for what, c := range map[string]struct {
		mode, scheme, user string
		hooks              hooks
		opportunistic      bool
		temporary          bool
		want               string
	}{
		"sender refused":      {"clear", "smtp", "", hooks{mail: reply(550)}, true, false, "--mail-from"},
		"recipient unknown":   {"clear", "smtp", "", hooks{rcpt: reply(550)}, true, false, "recipient"},
		"greylisted":          {"clear", "smtp", "", hooks{rcpt: reply(451)}, true, true, "451"},
		"content refused":     {"clear", "smtp", "", hooks{data: refuseData}, true, false, "554"},
		"dies mid-message":    {"clear", "smtp", "", hooks{data: func(c *smtp.Conn, _ io.Reader) error { _ = c.Conn().Close(); return io.EOF }}, true, true, "broke off"},
		"no TLS there":        {"clear", "smtp", "", hooks{}, false, false, "--smtp-tls opportunistic"},
		"password in clear":   {"strange", "smtp", goodUser, hooks{}, true, false, "password does not go without"},
		"wrong password":      {"starttls", "smtp", "relay-user:hunter2-hunter2@", hooks{}, false, false, "--smtp-url"},
		"TLS where none is":   {"clear", "smtps", "", hooks{}, false, true, "broke off"},
		"untrusted":           {"starttls", "smtp", "", hooks{}, false, true, "unknown authority"},
		"untrusted, implicit": {"tls", "smtps", "", hooks{}, false, true, "unknown authority"},
	} {
		t.Run(what, func(t *testing.T) {
			p := newPost(t, c.mode, c.hooks)
			if strings.HasPrefix(what, "untrusted") {
				p.roots = nil
			}
			s := p.sender(t, c.scheme, c.user).elsewhere()
			s.cfg.Opportunistic = c.opportunistic
			err := s.Send(t.Context(), letter())
			failure, ok := errors.AsType[*SendError](err)
			if !ok || failure.Temporary != c.temporary || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, temporary %v; want %q, temporary %v", err, ok && failure.Temporary, c.want, c.temporary)
			}
			for _, secret := range []string{"hunter2", "p@ssword", "p%40ssword", token[len(token)-16:], "ada@"} {
				if strings.Contains(fmt.Sprint(err), secret) {
					t.Errorf("got %q, which holds %q", err, secret)
				}
			}
			if got := p.taken(); len(got) > 0 {
				t.Errorf("got %d letters taken, want none", len(got))
			}
		})
	}
}

func TestSMTP_UnreachableIsTemporary(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &post{addr: l.Addr().String()}
	l.Close()
	err = p.sender(t, "smtp", "").Send(t.Context(), letter())
	if !isTemporary(err) || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("got %v, want a temporary error that says so", err)
	}
}

// A server that takes the connection and then nothing, or dribbles, holds an attempt no longer than its timeout, and no longer than ctx.
func TestSMTP_HangingServerHoldsNobody(t *testing.T) {
	for what, greeting := range map[string]string{"silent": "", "after the greeting": "220 hello\r\n", "dribbling": "220-hello\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { // ends when the client hangs up
			defer close(done)
			for range 2 {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Write([]byte(greeting))
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			}
		}()
		s := (&post{addr: l.Addr().String()}).sender(t, "smtp", "")
		s.cfg.Timeout = 200 * time.Millisecond
		start := time.Now()
		if err := s.Send(t.Context(), letter()); !isTemporary(err) {
			t.Errorf("%s: got %v, want a temporary error", what, err)
		}
		s.cfg.Timeout = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := s.Send(ctx, letter()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want the context's error", what, err)
		}
		cancel()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: two attempts took %v", what, took)
		}
		<-done
		l.Close()
	}
}

// A server that hangs up as soon as it has taken the letter has taken it: it is not sent again.
func TestSMTP_TakenLetterIsSentWhateverFollows(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends after one connection
		defer close(done)
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		lines := bufio.NewScanner(conn)
		say := func(reply string) { _, _ = io.WriteString(conn, reply+"\r\n") }
		say("220 hello")
		for inLetter := false; lines.Scan(); {
			switch line := lines.Text(); {
			case inLetter && line == ".":
				say("250 taken")
				return
			case inLetter:
			case line == "DATA":
				inLetter = true
				say("354 go on")
			default:
				say("250 fine")
			}
		}
	}()
	if err := (&post{addr: l.Addr().String()}).sender(t, "smtp", "").Send(t.Context(), letter()); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	<-done
}

func TestLetter_CannotCarryAnotherHeader(t *testing.T) {
	p := newPost(t, "clear", hooks{})
	s := p.sender(t, "smtp", "")
	for what, l := range map[string]Letter{
		"recipient":       {To: "ada@example.org\r\nBcc: eve@example.org", Subject: "s", Text: "t"},
		"two recipients":  {To: "ada@example.org, eve@example.org", Subject: "s", Text: "t"},
		"named recipient": {To: "Ada <ada@example.org>", Subject: "s", Text: "t"},
		"no recipient":    {Subject: "s", Text: "t"},
		"long recipient":  {To: strings.Repeat("a", 250) + "@x.org", Subject: "s", Text: "t"},
		"subject":         {To: "ada@example.org", Subject: "s\r\nBcc: eve@example.org", Text: "t"},
		"subject, bare":   {To: "ada@example.org", Subject: "s\nBcc: eve@example.org", Text: "t"},
		"no subject":      {To: "ada@example.org", Text: "t"},
		"long text":       {To: "ada@example.org", Subject: "s", Text: strings.Repeat("x", maxTextBytes+1)},
	} {
		err := s.Send(t.Context(), l)
		if failure, ok := errors.AsType[*SendError](err); !ok || failure.Temporary {
			t.Errorf("%s: got %v, want a lasting refusal", what, err)
		}
	}
	if got := p.taken(); len(got) > 0 {
		t.Errorf("got %d letters sent, want none", len(got))
	}
	hidden := fmt.Sprintf("%v %+v %#v %s", letter(), letter(), letter(), letter())
	if strings.Contains(hidden, token) || strings.Contains(hidden, "ada") {
		t.Errorf("printed: %s", hidden)
	}
}

func TestNewSMTP_MistakesAreExplainedAndNotRepeated(t *testing.T) {
	for url, from := range map[string]string{
		"":                                     "a@example.org",
		"http://u:hunter2@h":                   "a@example.org",
		"smtp://u:hunter2@h:99999":             "a@example.org",
		"smtp://u:hunter2@h:x":                 "a@example.org",
		"smtp://u:hun ter2%zz@h":               "a@example.org",
		"smtp://hunter2@h":                     "a@example.org",
		"smtp://u:hunter2@":                    "a@example.org",
		"smtp://u:hunter2@h/path":              "a@example.org",
		"smtp://u:hunter2@h?tls=no":            "a@example.org",
		"smtp://u:hunter2@h:587":               "",
		"smtps://u:hunter2@h":                  "nobody",
		"smtps://u:hunter2@mail.example.org:1": "a@example.org\r\nBcc: b@example.org",
	} {
		if s, err := NewSMTP(Config{URL: url, From: from}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q, %q: got %v, %v, want an error without the password", url, from, s, err)
		}
	}
}
