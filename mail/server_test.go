package mail

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// post is a real SMTP server on loopback.
type post struct {
	addr  string
	roots *x509.CertPool
	hooks hooks

	mu      sync.Mutex
	letters []received
}

type received struct {
	from, to, user string
	tls            bool
	data           string
}

// hooks let a test misbehave in the server's place; nil ones do not.
type hooks struct {
	mail func() error
	rcpt func() error
	data func(c *smtp.Conn, r io.Reader) error
}

const (
	mailUser     = "relay-user"
	mailPassword = "relay p@ssword/1"
)

// newPost starts a server: in the clear (clear, strange), with STARTTLS, or with TLS from the first byte.
func newPost(t *testing.T, mode string, h hooks) *post {
	t.Helper()
	p := &post{hooks: h}
	s := smtp.NewServer(p)
	s.Domain, s.AllowInsecureAuth, s.ErrorLog = "localhost", true, log.New(io.Discard, "", 0)
	s.ReadTimeout, s.WriteTimeout = 5*time.Second, 5*time.Second
	host := "127.0.0.1"
	if mode == "strange" {
		host = "127.0.0.2" // no name the library knows this machine by
	}
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	if mode == "starttls" || mode == "tls" {
		cert, roots := certificate(t)
		p.roots = roots
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	if mode == "tls" {
		l = tls.NewListener(l, s.TLSConfig)
	}
	p.addr = l.Addr().String()
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = l.Close() // Close alone misses a server that has not begun to listen
		_ = s.Close()
		<-done
	})
	return p
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// taken returns the letters that arrived.
func (p *post) taken() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]received(nil), p.letters...)
}

func (p *post) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, encrypted := c.TLSConnectionState()
	return &visit{post: p, conn: c, letter: received{tls: encrypted}}, nil
}

// visit is one connection's session.
type visit struct {
	post   *post
	conn   *smtp.Conn
	letter received
}

func (v *visit) AuthMechanisms() []string { return []string{sasl.Plain} }

func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != mailUser || password != mailPassword {
			return smtp.ErrAuthFailed
		}
		v.letter.user = user
		return nil
	}), nil
}

func (v *visit) Mail(from string, _ *smtp.MailOptions) error {
	v.letter.from = from
	return call(v.post.hooks.mail)
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	v.letter.to = to
	return call(v.post.hooks.rcpt)
}

func (v *visit) Data(r io.Reader) error {
	if v.post.hooks.data != nil {
		if err := v.post.hooks.data(v.conn, r); err != nil {
			return err
		}
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	v.post.mu.Lock()
	defer v.post.mu.Unlock()
	v.letter.data = string(text)
	v.post.letters = append(v.post.letters, v.letter)
	return nil
}

func (v *visit) Reset()        {}
func (v *visit) Logout() error { return nil }

func call(hook func() error) error {
	if hook == nil {
		return nil
	}
	return hook()
}

// header returns a header field of the letter.
func (r received) header(name string) string {
	head, _, _ := strings.Cut(r.data, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return value
		}
	}
	return ""
}
