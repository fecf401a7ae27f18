package bridge

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
	"sensorcast/wire"
)

// BenchmarkHub_Observe is what one reading costs under ingest's lock and in the flushers, without the sockets: it is pushed to all its
// viewers, and every fourth time they take what waits.
func BenchmarkHub_Observe(b *testing.B) {
	for _, viewers := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("viewers=%d", viewers), func(b *testing.B) {
			w := newWorld(b, Config{}, nil)
			idle := wire.NewPool(1, 0)
			idle.Close() // nobody takes but the loop below
			w.hub.pool, w.hub.log = idle, slog.New(slog.DiscardHandler)
			dev := w.sensor(ann, 1)
			var sessions []*session
			for range viewers {
				s := w.hub.newSession(&tape{}, auth.Claim{Principal: ann, Kind: "user"})
				w.hub.admit()
				w.hub.enter(s)
				w.hub.join(context.Background(), s, []string{dev.Serial}, nil)
				defer w.hub.release()
				defer s.kill()
				sessions = append(sessions, s)
			}
			r := telemetry.Reading{SensorID: dev.SensorID, Serial: dev.Serial, ReceivedAt: telemetry.Now(), Data: payload128}
			buf := make([]byte, 0, takeBytes)
			b.ReportAllocs()
			for b.Loop() {
				r.Seq++
				r.Time = r.ReceivedAt
				w.hub.Observe([]telemetry.Reading{r})
				if r.Seq%4 == 0 {
					for _, s := range sessions {
						buf = s.Take(buf[:0])
					}
				}
			}
		})
	}
}

var payload128 = []byte(`{"p":"` + strings.Repeat("x", 120) + `"}`)

// BenchmarkHub_Fanout is one sensor and a thousand viewers on loopback, with as many readings under way as window says. Server and
// viewers share the machine.
func BenchmarkHub_Fanout(b *testing.B) {
	const viewers, window = 1000, 4
	w := newWorld(b, Config{}, nil)
	w.hub.log = slog.New(slog.DiscardHandler)
	dev := w.sensor(ann, 1)
	var received atomic.Int64
	var readers sync.WaitGroup
	var conns []net.Conn
	progress := make(chan struct{}, 1)
	frameBytes := 0
	for range viewers {
		c, _ := w.dial(ann, dev.Serial)
		conn := c.ws.NetConn()
		conns = append(conns, conn)
		readers.Go(func() { // ends when the connection is closed
			buf, rest := make([]byte, 16<<10), 0
			for {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				if frameBytes == 0 {
					continue // the state frame
				}
				rest += n
				if whole := rest / frameBytes; whole > 0 {
					rest -= whole * frameBytes
					if after := received.Add(int64(whole)); after/viewers != (after-int64(whole))/viewers {
						select {
						case progress <- struct{}{}:
						default:
						}
					}
				}
			}
		})
	}
	r := telemetry.Reading{SensorID: dev.SensorID, Serial: dev.Serial, Seq: 1_000_000, ReceivedAt: telemetry.Now(), Data: payload128}
	r.Time = r.ReceivedAt
	first := r
	w.hub.Observe([]telemetry.Reading{first})
	eventually(b, "the first reading to be everywhere", func() bool { return w.settled() && w.hub.Stats().Frames >= 3*viewers })
	<-idleFor(w)
	wire, _ := readingFrame(&r)
	frameBytes = len(wire)
	before := w.hub.Stats()
	start, cpu := received.Load(), cpuTime()
	sent := int64(0)
	for b.Loop() {
		r.Seq++
		next := r
		w.hub.Observe([]telemetry.Reading{next})
		sent++
		for sent-(received.Load()-start)/viewers >= window {
			<-progress
		}
	}
	deliveries := float64(received.Load() - start)
	b.ReportMetric(deliveries/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/deliveries, "cpu-ns/delivery") // viewers included; the surest figure on a busy machine
	after := w.hub.Stats()
	b.ReportMetric(float64(after.Frames-before.Frames)/float64(after.Writes-before.Writes), "frames/write")
	for _, c := range conns {
		c.Close()
	}
	readers.Wait()
}

// idleFor waits until the peers have read what the hub sent.
func idleFor(w *world) <-chan struct{} {
	done := make(chan struct{})
	last := int64(-1)
	go func() {
		defer close(done)
		eventually(w.t, "quiet", func() bool {
			now := w.hub.Stats().Bytes
			quiet := now == last
			last = now
			return quiet
		})
	}()
	return done
}

// BenchmarkHub_IdleMemory reports what an idle viewer costs the process. The peers are bare sockets, whose share is small but in it.
func BenchmarkHub_IdleMemory(b *testing.B) {
	const sockets = 5000
	w := newWorld(b, Config{}, nil)
	w.hub.log = slog.New(slog.DiscardHandler)
	dev := w.sensor(ann, 1)
	for b.Loop() {
		heap, stacks, rss := memoryInUse()
		var conns []net.Conn
		for range sockets {
			conns = append(conns, rawSocket(b, w, dev))
		}
		eventually(b, "all to have joined", func() bool { return w.hub.Stats().Frames >= sockets })
		heap2, stacks2, rss2 := memoryInUse()
		b.ReportMetric(float64(heap2-heap)/sockets, "heapB/socket")
		b.ReportMetric(float64(stacks2-stacks)/sockets, "stackB/socket")
		b.ReportMetric(float64(rss2-rss)/sockets, "rssB/socket")
		for _, c := range conns {
			c.Close()
		}
		eventually(b, "all to have left", func() bool { return w.hub.Stats().Sessions == 0 })
	}
}

// rawSocket opens a viewer without keeping any buffer for it.
func rawSocket(b *testing.B, w *world, dev auth.Device) net.Conn {
	address := strings.TrimPrefix(w.address(ann, dev.Serial), "ws://")
	host, path, _ := strings.Cut(address, "/")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", path, host)
	var status [12]byte
	if _, err := io.ReadFull(conn, status[:]); err != nil || string(status[:]) != "HTTP/1.1 101" {
		b.Fatalf("upgrade: got %q, %v", status, err)
	}
	return conn
}

func memoryInUse() (heap, stacks, rss int64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	statm, _ := os.ReadFile("/proc/self/statm")
	if fields := strings.Fields(string(statm)); len(fields) > 1 {
		pages, _ := strconv.ParseInt(fields[1], 10, 64)
		rss = pages * int64(os.Getpagesize())
	}
	return int64(m.HeapAlloc), int64(m.StackInuse), rss
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
