package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestSender_StalledSocketDelaysNoOther(t *testing.T) {
	p := newPool(t, 1, time.Minute)
	stalledConn, _ := pair(t, 4<<10)
	stalled := newSpool(stalledConn)
	stalled.add(make([]byte, 8<<20))
	s := p.Attach(stalledConn, stalled)
	s.Wake()

	type viewer struct {
		src    *spool
		sender *Sender
		client net.Conn
	}
	var all []viewer
	for range 100 {
		server, client := pair(t, 0)
		src := newSpool(server)
		all = append(all, viewer{src, p.Attach(server, src), client})
	}
	frame, buf := pattern(140, 1), make([]byte, 140)
	for range 20 {
		for _, v := range all {
			v.src.add(frame)
			v.sender.Wake()
		}
		s.Wake()
		for i, v := range all {
			v.client.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.ReadFull(v.client, buf); err != nil || !bytes.Equal(buf, frame) {
				t.Fatalf("viewer %d: %v", i, err)
			}
		}
	}
	if s.Idle() {
		t.Error("the stalled sender is idle, want it still waiting for its socket")
	}
}

func TestSender_StallBreaksOnce(t *testing.T) {
	for name, attach := range map[string]func(t *testing.T) (server net.Conn){
		"TCP":  func(t *testing.T) net.Conn { s, _ := pair(t, 4<<10); return s },
		"TLS":  func(t *testing.T) net.Conn { s, _ := tlsPair(t, 8<<10); return s },
		"pipe": func(t *testing.T) net.Conn { s, c := net.Pipe(); t.Cleanup(func() { s.Close(); c.Close() }); return s },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, 1, 50*time.Millisecond)
			server := attach(t)
			src := newSpool(server)
			src.add(make([]byte, 16<<20))
			s := p.Attach(server, src)
			s.Wake()
			if err := <-src.broken; !errors.Is(err, ErrStalled) {
				t.Fatalf("Broken(%v), want ErrStalled", err)
			}
			s.Wake()
			s.Flush()
			p.Close() // waits for whoever might still say something
			select {
			case err := <-src.broken:
				t.Errorf("Broken was called again: %v", err)
			default:
			}
			src.check(t)
		})
	}
}

func TestSender_StallIsSeenThoughOthersMoveTheDeadline(t *testing.T) {
	p := newPool(t, 1, 50*time.Millisecond)
	server, _ := pair(t, 4<<10)
	src := newSpool(server)
	src.add(make([]byte, 16<<20))
	s := p.Attach(server, src)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				server.SetDeadline(time.Time{})
			}
		}
	}()
	s.Wake()
	select {
	case err := <-src.broken:
		if !errors.Is(err, ErrStalled) {
			t.Errorf("Broken(%v), want ErrStalled", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the stall was not noticed")
	}
}

func TestSender_SlowReaderIsNotStalled(t *testing.T) {
	for name, dress := range map[string]func(server, client net.Conn) (net.Conn, net.Conn){
		"plain": func(s, c net.Conn) (net.Conn, net.Conn) { return s, c },
		"TLS":   tlsOver,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := NewPool(1, 10*time.Second)
				server, client := dress(net.Pipe())
				src := newSpool(server)
				want := pattern(1<<20, 3)
				src.add(want)
				p.Attach(server, src).Wake()
				// 4,000 bytes a second: what one Take hands out takes longer than the stall timeout.
				var got []byte
				for buf := make([]byte, 4000); len(got) < len(want) && len(src.broken) == 0; {
					time.Sleep(time.Second)
					n, err := client.Read(buf)
					if err != nil {
						t.Fatalf("read after %d bytes: %v", len(got), err)
					}
					got = append(got, buf[:n]...)
				}
				if len(src.broken) > 0 || !bytes.Equal(got, want) {
					t.Errorf("broken: %t, complete: %t; want false, true", len(src.broken) > 0, bytes.Equal(got, want))
				}
				server.Close()
				client.Close()
				p.Close()
				src.check(t)
			})
		})
	}
}

func TestSender_StallTimeoutIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(1, 10*time.Second)
		server, client := net.Pipe()
		defer client.Close()
		src := newSpool(server)
		src.add(make([]byte, 100_000))
		start := time.Now()
		p.Attach(server, src).Wake()
		if _, err := io.CopyN(io.Discard, client, chunkBytes); err != nil {
			t.Fatal(err)
		}
		if err := <-src.broken; !errors.Is(err, ErrStalled) {
			t.Errorf("Broken(%v), want ErrStalled", err)
		}
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("broken after %v, want 10s", got)
		}
		p.Close()
	})
}

func TestSender_ClosedSocketBreaksOnce(t *testing.T) {
	p := newPool(t, 2, time.Minute)
	for name, wake := range map[string]func(*Sender){"Wake": (*Sender).Wake, "Flush": (*Sender).Flush} {
		t.Run(name, func(t *testing.T) {
			server, _ := pair(t, 0)
			src := newSpool(server)
			s := p.Attach(server, src)
			server.Close()
			src.add([]byte("too late"))
			wake(s)
			if err := <-src.broken; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Broken(%v), want net.ErrClosed", err)
			}
			wake(s)
			if len(src.broken) != 0 || !s.Idle() {
				t.Errorf("Broken again: %t, idle: %t; want false, true", len(src.broken) != 0, s.Idle())
			}
			src.check(t)
		})
	}
}

func TestSender_PeerThatLeftBreaksOnce(t *testing.T) {
	p := newPool(t, 2, time.Minute)
	server, client := pair(t, 4<<10)
	src := newSpool(server)
	s := p.Attach(server, src)
	src.add(make([]byte, 1<<20))
	s.Wake() // parks
	client.SetLinger(0)
	client.Close()
	if err := <-src.broken; err == nil || errors.Is(err, ErrStalled) {
		t.Errorf("Broken(%v), want what the socket said", err)
	}
	src.check(t)
}

type lateConn struct{ net.Conn }

func (c lateConn) Write(b []byte) (int, error) { time.Sleep(11 * time.Second); return len(b), nil }

func (c lateConn) Close() error { return nil }

func TestSender_WriteThatEndsTooLateBreaksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(1, 10*time.Second)
		src := newSpool(lateConn{})
		src.add([]byte("hello"))
		s := p.Attach(src.conn, src)
		s.Wake()
		if err := <-src.broken; !errors.Is(err, ErrStalled) {
			t.Errorf("Broken(%v), want ErrStalled", err)
		}
		p.Close()
		if len(src.broken) > 0 || s.state.Load() != broken {
			t.Errorf("Broken again: %t, state %d; want false, broken", len(src.broken) > 0, s.state.Load())
		}
	})
}

// What the system holds for a peer that takes nothing is memory, too, and two hundred times 4 MB of it were seen to hold up everybody.
func TestPool_BoundsWhatTheSystemHolds(t *testing.T) {
	for name, dress := range map[string]func(server, client net.Conn) net.Conn{
		"TCP": func(server, _ net.Conn) net.Conn { return server },
		"TLS": func(server, client net.Conn) net.Conn { secure, _ := tlsOver(server, client); return secure },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, 1, 200*time.Millisecond)
			server, client := pair(t, 0)
			client.SetReadBuffer(4 << 10)
			conn := dress(server, client)
			src := newSpool(conn)
			src.add(make([]byte, 16<<20))
			p.Attach(conn, src).Wake()
			<-src.broken
			src.mu.Lock()
			defer src.mu.Unlock()
			if held := 16<<20 - len(src.bytes); held > 2*socketBytes+2*takeBytes {
				t.Errorf("%d KiB left for a peer that takes nothing, want at most %d", held>>10, (2*socketBytes+2*takeBytes)>>10)
			}
		})
	}
}
