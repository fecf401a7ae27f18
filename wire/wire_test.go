package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

func TestSender_BytesLeaveCompleteAndInOrder(t *testing.T) {
	p := newPool(t, 2, time.Minute)
	var wg sync.WaitGroup
	for i := range 40 {
		server, client := pair(t, 8<<10)
		src := newSpool(server)
		s := p.Attach(server, src)
		want := pattern(300_000, uint64(i))
		wg.Go(func() { // fills in random portions, by all three ways
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1+r.IntN(1<<r.IntN(17)))
				src.add(rest[:n])
				rest = rest[n:]
				switch r.IntN(3) {
				case 0:
					s.Wake()
				case 1:
					s.Flush()
				case 2:
					p.WakeAll([]*Sender{s})
				}
			}
		})
		wg.Go(func() { // reads in random portions
			r := rand.New(rand.NewPCG(uint64(i), 2))
			got := make([]byte, len(want))
			for read := 0; read < len(got); {
				n, err := client.Read(got[read:min(len(got), read+1+r.IntN(4096))])
				if err != nil {
					t.Errorf("socket %d: read after %d bytes: %v", i, read, err)
					return
				}
				read += n
			}
			if !bytes.Equal(got, want) {
				t.Errorf("socket %d: bytes were changed on the way", i)
			}
			src.check(t)
		})
	}
	wg.Wait()
}

func TestSender_LosesNoWake(t *testing.T) {
	p := newPool(t, 2, time.Minute)
	server, client := pair(t, 0)
	src := newSpool(server)
	s := p.Attach(server, src)
	buf := make([]byte, 1)
	// One byte at a time, each awaited: a lost wake-up would hang here at once.
	for i := range 20_000 {
		src.add([]byte{byte(i)})
		if i%3 == 0 {
			s.Flush()
		} else {
			s.Wake()
		}
		if _, err := io.ReadFull(client, buf); err != nil || buf[0] != byte(i) {
			t.Fatalf("byte %d came as %d, %v", i, buf[0], err)
		}
	}
	src.check(t)
}

func TestSender_ManyWakersOfOneSocket(t *testing.T) {
	p := newPool(t, 2, time.Minute)
	server, client := pair(t, 4<<10)
	src := newSpool(server)
	s := p.Attach(server, src)
	const wakers, each = 8, 5_000
	for i := range wakers {
		go func() {
			for range each {
				src.add([]byte{'x'})
				if i%2 == 0 {
					s.Wake()
				} else {
					s.Flush()
				}
			}
		}()
	}
	if _, err := io.CopyN(io.Discard, client, wakers*each); err != nil {
		t.Fatal(err)
	}
	src.check(t)
}

// A socket's reader moves its deadlines with every packet it receives.

// A peer that pings and does not read must not live for ever by that.

// In virtual time: the timeout is what it says.

func TestSender_WritesThroughTLS(t *testing.T) {
	p := newPool(t, 2, time.Minute)
	server, client := tlsPair(t, 0)
	src := newSpool(server)
	s := p.Attach(server, src)
	want := pattern(2<<20, 9)
	go func() {
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 7001)
			src.add(rest[:n])
			rest = rest[n:]
			s.Flush() // is Wake here
		}
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %v; equal: %t", err, bytes.Equal(got, want))
	}
	src.check(t)
}

func TestSender_FlushWritesInTheCaller(t *testing.T) {
	p := newPool(t, 1, time.Minute)
	server, client := pair(t, 0)
	src := newSpool(server)
	s := p.Attach(server, src)
	p.Close() // no flusher is left to do it
	src.add([]byte("now"))
	s.Flush()
	if !s.Idle() {
		t.Error("not idle after Flush")
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "now" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPool_WakeAllReachesEverySocket(t *testing.T) {
	p := newPool(t, 2, time.Minute)
	var (
		senders []*Sender
		clients []net.Conn
		sources []*spool
	)
	for range 50 {
		server, client := pair(t, 0)
		src := newSpool(server)
		sources, clients, senders = append(sources, src), append(clients, client), append(senders, p.Attach(server, src))
	}
	buf := make([]byte, 5)
	for range 50 {
		for _, src := range sources {
			src.add([]byte("hello"))
		}
		p.WakeAll(senders)
		for i, c := range clients {
			if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
				t.Fatalf("client %d got %q, %v", i, buf, err)
			}
		}
	}
}

func TestPool_CloseWritesWhatIsQueuedAndWaitsForParked(t *testing.T) {
	p := NewPool(1, time.Minute)
	server, client := pair(t, 4<<10)
	src := newSpool(server)
	s := p.Attach(server, src)
	src.add(make([]byte, 1<<20))
	s.Flush() // parks
	queued, reader := pair(t, 0)
	last := newSpool(queued)
	last.add([]byte("bye"))
	p.Attach(queued, last).Wake()

	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	got := make([]byte, 3)
	if _, err := io.ReadFull(reader, got); err != nil || string(got) != "bye" {
		t.Errorf("what was queued before Close came as %q, %v", got, err)
	}
	select {
	case <-closed:
		t.Error("Close returned while a socket was parked")
	default:
	}
	client.Close()
	server.Close()
	<-closed
	if err := <-src.broken; err == nil {
		t.Error("Broken(nil), want an error")
	}
}

func TestPool_AfterCloseAFullSocketIsBrokenNotParked(t *testing.T) {
	p := NewPool(1, time.Minute)
	p.Close()
	p.Close()
	server, _ := pair(t, 4<<10)
	src := newSpool(server)
	src.add(make([]byte, 16<<20))
	s := p.Attach(server, src)
	s.Flush()
	if err := <-src.broken; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Broken(%v), want net.ErrClosed", err)
	}
}

// endless always has something to say.

type endless struct{ takes int }

func (e *endless) Take(buf []byte) []byte { e.takes++; return append(buf, "again and "...) }

func (e *endless) Broken(error) {}

func TestPool_TalkativeSocketLeavesOthersTheirTurn(t *testing.T) {
	p := NewPool(1, time.Minute)
	p.Close() // the test is its flusher
	server, _ := pair(t, 0)
	src := &endless{}
	s := p.Attach(server, src)
	s.state.Store(writing)
	s.run(nil)
	if src.takes != turns || s.state.Load() != queued || p.fresh.tail != s {
		t.Errorf("after %d writes the state is %d; want %d writes and the end of the queue", src.takes, s.state.Load(), turns)
	}
}

// lateConn takes longer for a write than the stall timeout, whatever is done to it.

// A connection that embeds its socket, to say another address for it, is written as the socket itself.
func TestPool_WrappedSocketIsWrittenWithoutBlocking(t *testing.T) {
	p := newPool(t, 1, time.Minute)
	server, _ := pair(t, 0)
	src := newSpool(server)
	s := p.Attach(struct{ *net.TCPConn }{server.(*net.TCPConn)}, src)
	if s.raw == nil {
		t.Error("an embedded TCP connection got no raw access to its socket")
	}
	secure, _ := tlsPair(t, 8<<10)
	if s := p.Attach(secure, newSpool(secure)); s.raw != nil {
		t.Error("a TLS connection is written past its encryption")
	}
}
