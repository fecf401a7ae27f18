package wire

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ring is a Source of frames that all look the same: what waits is a number.
type ring struct {
	frame   []byte
	pending atomic.Int64
}

func (r *ring) Take(buf []byte) []byte {
	n := min(r.pending.Load(), int64(takeBytes/len(r.frame)))
	r.pending.Add(-n)
	for range n {
		buf = append(buf, r.frame...)
	}
	return buf
}

func (r *ring) Broken(error) {}

// drain reads c until it is closed and counts what came.
func drain(c net.Conn, wg *sync.WaitGroup, got *atomic.Int64) {
	wg.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
}

func TestSender_SteadyStateAllocatesNothing(t *testing.T) {
	p := newPool(t, 1, time.Minute)
	server, client := pair(t, 0)
	src := &ring{frame: make([]byte, 140)}
	s := p.Attach(server, src)
	buf := make([]byte, 140)
	for name, wake := range map[string]func(){"Wake": s.Wake, "Flush": s.Flush} {
		send := func() {
			src.pending.Add(1)
			wake()
			io.ReadFull(client, buf)
		}
		if got := testing.AllocsPerRun(1000, send); got != 0 {
			t.Errorf("%s and its write allocate %v times, want 0", name, got)
		}
	}
}

func BenchmarkOneSender(b *testing.B) {
	for name, wake := range map[string]func(*Sender){"Wake": (*Sender).Wake, "Flush": (*Sender).Flush} {
		b.Run(name, func(b *testing.B) {
			p := newPool(b, 0, time.Minute)
			server, client := pair(b, 0)
			src := &ring{frame: make([]byte, 140)}
			s := p.Attach(server, src)
			var wg sync.WaitGroup
			var got atomic.Int64
			drain(client, &wg, &got)
			b.ReportAllocs()
			for b.Loop() {
				src.pending.Add(1)
				wake(s)
			}
			b.StopTimer()
			client.Close()
			wg.Wait()
		})
	}
}

// One reading for 1,000 viewers, or several that come close together; the figure is what arrived at the other end.
func BenchmarkFanOut(b *testing.B) {
	const viewers = 1000
	for _, pending := range []int64{1, 4, 16} {
		b.Run(fmt.Sprintf("frames=%d", pending), func(b *testing.B) {
			p := newPool(b, 0, time.Minute)
			var (
				wg      sync.WaitGroup
				got     atomic.Int64
				senders []*Sender
				sources []*ring
				clients []net.Conn
			)
			frame := make([]byte, 140)
			for range viewers {
				server, client := pair(b, 0)
				src := &ring{frame: frame}
				sources, senders, clients = append(sources, src), append(senders, p.Attach(server, src)), append(clients, client)
				drain(client, &wg, &got)
			}
			sent := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				for _, src := range sources {
					src.pending.Add(pending)
				}
				sent += viewers * pending * int64(len(frame))
				p.WakeAll(senders)
				for got.Load() < sent {
					time.Sleep(20 * time.Microsecond)
				}
			}
			b.ReportMetric(float64(sent/int64(len(frame)))/b.Elapsed().Seconds(), "deliveries/s")
			b.StopTimer()
			for _, c := range clients {
				c.Close()
			}
			wg.Wait()
		})
	}
}
