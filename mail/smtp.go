package mail

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// Config says how letters leave.
type Config struct {
	URL           string         `json:"-"` // smtp://user:password@host:587 (STARTTLS) or smtps://… (TLS from the first byte)
	From          string         // address the letters come from, with or without a name
	Opportunistic bool           // without TLS where the server has none; the password is not sent then
	Timeout       time.Duration  // for one attempt, from the connection on; 30 s when zero
	RootCAs       *x509.CertPool // who may vouch for the server; nil: whom the system trusts
}

const (
	defaultTimeout = 30 * time.Second
	submission     = 587 // RFC 6409
	submissionTLS  = 465 // RFC 8314 §3.3
)

// SMTP sends letters through one server, each over a connection of its own: they are few, and a kept connection would have to be watched.
// Safe for concurrent use.
type SMTP struct {
	cfg      Config
	host     string
	port     int
	implicit bool // TLS before SMTP
	local    bool // this machine
	user     string
	password string
	from     mail.Address
	domain   string // of from
}

// NewSMTP checks cfg. Nothing is connected to. Its errors say what the setting should be and never repeat it, for it holds a password.
func NewSMTP(cfg Config) (*SMTP, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || u.Opaque != "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the mail server must be given as smtp://user:password@host:587 or smtps://…, with special characters in user and password written as %XX")
	}
	s := &SMTP{cfg: cfg, host: u.Hostname(), port: submission, implicit: u.Scheme == "smtps", user: u.User.Username()}
	s.password, _ = u.User.Password()
	if s.implicit {
		s.port = submissionTLS
	}
	if text := u.Port(); text != "" {
		if s.port, err = strconv.Atoi(text); err != nil || s.port < 1 || s.port > 65535 {
			return nil, fmt.Errorf("the mail server's port must lie between 1 and 65535")
		}
	}
	if s.user != "" && s.password == "" {
		return nil, errors.New("the mail server's address has a user and no password: smtp://user:password@host:587")
	}
	ip, err := netip.ParseAddr(s.host)
	s.local = err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(s.host, "localhost")
	from, err := mail.ParseAddress(cfg.From)
	if err != nil {
		return nil, errors.New("the sender must be an e-mail address such as sensorcast@example.org or Sensorcast <sensorcast@example.org>")
	}
	s.from = *from
	_, s.domain, _ = strings.Cut(from.Address, "@")
	if s.cfg.Timeout <= 0 {
		s.cfg.Timeout = defaultTimeout
	}
	return s, nil
}

// Send hands the letter to the server and returns nil once the server has taken it. It blocks, within the timeout. Every error is a *SendError, but ctx's.
func (s *SMTP) Send(ctx context.Context, l Letter) error {
	if err := l.check(); err != nil {
		return err
	}
	msg, err := s.message(l)
	if err != nil {
		return refused("the letter could not be put together")
	}
	attempt, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err = s.deliver(attempt, msg)
	switch {
	case msg.IsDelivered(): // what failed after the server had taken it does not matter; a second copy helps nobody
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return s.explain(err)
}

// deliver opens the connection and closes it, because the library leaves it open when the greeting fails, and knows no context once it is
// connected.
func (s *SMTP) deliver(ctx context.Context, msg *gomail.Msg) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	there := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	client, err := gomail.NewClient(s.host, append(s.options(), gomail.WithDialContextFunc(there))...)
	if err != nil {
		return err
	}
	return client.DialAndSendWithContext(ctx, msg)
}

func (s *SMTP) connect(ctx context.Context) (net.Conn, error) {
	address := net.JoinHostPort(s.host, strconv.Itoa(s.port))
	if s.implicit {
		return (&tls.Dialer{Config: s.tls()}).DialContext(ctx, "tcp", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// message builds the letter as RFC 5322 has it.
func (s *SMTP) message(l Letter) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := errors.Join(msg.FromFormat(s.from.Name, s.from.Address), msg.To(l.To)); err != nil {
		return nil, err
	}
	msg.Subject(l.Subject)
	msg.SetDate()
	msg.SetMessageIDWithValue(strings.ToLower(rand.Text()) + "@" + s.domain) // the library's own would name this machine
	msg.SetGenHeader("Auto-Submitted", "auto-generated")                     // RFC 3834 §5: so that nobody's absence notice answers
	msg.SetBodyString(gomail.TypeTextPlain, l.Text)
	return msg, nil
}

func (s *SMTP) tls() *tls.Config {
	return &tls.Config{ServerName: s.host, RootCAs: s.cfg.RootCAs, MinVersion: tls.VersionTLS12}
}

func (s *SMTP) options() []gomail.Option {
	policy := gomail.TLSMandatory
	switch {
	case s.implicit, s.local: // nobody listens between this machine and itself
		policy = gomail.NoTLS
	case s.cfg.Opportunistic:
		policy = gomail.TLSOpportunistic
	}
	options := []gomail.Option{
		gomail.WithPort(s.port), gomail.WithTimeout(s.cfg.Timeout), gomail.WithTLSConfig(s.tls()), gomail.WithTLSPolicy(policy), gomail.WithoutNoop(), gomail.WithoutRset(),
	}
	if s.user != "" {
		// PLAIN and LOGIN refuse by themselves to send a password in the clear to another machine.
		options = append(options, gomail.WithUsername(s.user), gomail.WithPassword(s.password), gomail.WithOpportunisticSMTPAuth(
			gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthCramMD5))
	}
	return options
}
