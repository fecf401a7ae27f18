package wire

import (
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// spool is a Source that holds bytes, checks the contract and closes its socket when it breaks.

type spool struct {
	conn   net.Conn
	taking atomic.Bool
	broken chan error // one error; a second one fails the test

	mu    sync.Mutex
	bytes []byte
	takes int
	over  bool // guarded by mu: Broken was called
	wrong string
}

func newSpool(c net.Conn) *spool { return &spool{conn: c, broken: make(chan error, 2)} }

func (s *spool) add(b []byte) {
	s.mu.Lock()
	s.bytes = append(s.bytes, b...)
	s.mu.Unlock()
}

func (s *spool) Take(buf []byte) []byte {
	if !s.taking.CompareAndSwap(false, true) {
		s.fault("Take was called by two goroutines at once")
	}
	defer s.taking.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		s.wrong = "Take was called after Broken"
	}
	s.takes++
	n := min(len(s.bytes), takeBytes)
	buf = append(buf, s.bytes[:n]...)
	s.bytes = append(s.bytes[:0], s.bytes[n:]...)
	return buf
}

func (s *spool) Broken(err error) {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.broken <- err
	s.conn.Close()
}

func (s *spool) fault(what string) {
	s.mu.Lock()
	s.wrong = what
	s.mu.Unlock()
}

func (s *spool) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrong != "" {
		t.Error(s.wrong)
	}
}

// tight is a socket whose small buffer stays as it is.
type tight struct{ *net.TCPConn }

// SetWriteBuffer does nothing.
func (tight) SetWriteBuffer(int) error { return nil }

// pair returns the two ends of a loopback connection, with small buffers unless bufferBytes is zero.
func pair(t testing.TB, bufferBytes int) (server net.Conn, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed := make(chan net.Conn, 1)
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
		}
		dialed <- c
	}()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server, client = s, (<-dialed).(*net.TCPConn)
	if bufferBytes > 0 {
		small := tight{s.(*net.TCPConn)}
		small.TCPConn.SetWriteBuffer(bufferBytes)
		client.SetReadBuffer(bufferBytes)
		server = small
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

// newPool returns a pool that is closed after the sockets of the test, which therefore have to be made after it.

func newPool(t testing.TB, flushers int, stall time.Duration) *Pool {
	p := NewPool(flushers, stall)
	t.Cleanup(p.Close)
	return p
}

func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(b)
	return b
}

var certificate = sync.OnceValue(func() tls.Certificate {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return s.TLS.Certificates[0]
})

func tlsPair(t *testing.T, bufferBytes int) (server, client net.Conn) {
	t.Helper()
	s, c := pair(t, bufferBytes)
	return tlsOver(s, c)
}

func tlsOver(s, c net.Conn) (server, client net.Conn) {
	ts := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{certificate()}, SessionTicketsDisabled: true})
	tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- tc.Handshake() }()
	if err := errors.Join(ts.Handshake(), <-shaken); err != nil {
		panic(err)
	}
	return ts, tc
}
