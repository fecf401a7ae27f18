package simulator

import (
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// testBroker is a bare mochi on a loopback port, reached through our own accept loop so that a test can cut every connection at once.
type testBroker struct {
	t       testing.TB
	server  *mochi.Server
	address string
	hook    *testHook

	listener net.Listener
	loops    sync.WaitGroup // the accept loop and one goroutine per connection; they end when stop closes listener and conns

	closing sync.Once

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// testHook lets everybody in unless told otherwise and sees every PUBLISH before it is acknowledged.
type testHook struct {
	mochi.HookBase
	authenticate func(username, password string) bool // nil: yes
	onPublish    func(client, topic string, payload []byte)
	silent       bool // never acknowledge a PUBLISH
}

func (h *testHook) ID() string { return "test" }

func (h *testHook) Provides(event byte) bool {
	return slices.Contains([]byte{mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPublish}, event)
}

func (h *testHook) OnConnectAuthenticate(_ *mochi.Client, pk packets.Packet) bool {
	return h.authenticate == nil || h.authenticate(string(pk.Connect.Username), string(pk.Connect.Password))
}

func (h *testHook) OnACLCheck(*mochi.Client, string, bool) bool { return true }

func (h *testHook) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if h.onPublish != nil {
		h.onPublish(cl.ID, pk.TopicName, pk.Payload)
	}
	if h.silent {
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

// startBroker listens on address, 127.0.0.1:0 when empty, until stop or the end of the test.
func startBroker(t testing.TB, address string, hook *testHook) *testBroker {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return serveBroker(t, listener, hook)
}

func serveBroker(t testing.TB, listener net.Listener, hook *testHook) *testBroker {
	t.Helper()
	b := &testBroker{t: t, hook: hook, listener: listener, address: listener.Addr().String()}
	b.server = mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), InlineClient: true})
	if err := b.server.AddHook(hook, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.server.Serve(); err != nil {
		t.Fatal(err)
	}
	b.loops.Go(b.accept)
	t.Cleanup(b.stop)
	return b
}

func (b *testBroker) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		b.conns = append(b.conns, conn)
		b.mu.Unlock()
		b.loops.Go(func() { _ = b.server.EstablishConnection("test", conn) })
	}
}

// stop cuts every connection without a word and ends the broker. It may be called twice.
func (b *testBroker) stop() {
	_ = b.listener.Close()
	b.mu.Lock()
	for _, conn := range b.conns {
		_ = conn.Close()
	}
	b.conns = nil
	b.mu.Unlock()
	done := make(chan struct{})
	go func() { b.loops.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		b.t.Error("the test broker did not stop")
	}
	b.closing.Do(func() { _ = b.server.Close() }) // a second Close panics in v2.7.9
}

func (b *testBroker) url() string { return "tcp://" + b.address }
