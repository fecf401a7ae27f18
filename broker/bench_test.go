package broker

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/wire"
)

// benchHouse is a broker in front of a committer, with n sensors named S0…
func benchHouse(b *testing.B, n int) *house {
	b.Helper()
	keys, err := auth.LoadKeys(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	dir := auth.NewDirectory(keys)
	for i := range n {
		serial := fmt.Sprint("S", i)
		dir.Put(auth.Device{SensorID: int64(i + 1), Serial: serial, OwnerID: 1, Secrets: []auth.Secret{{Hash: dir.HashSecret(secretOf(serial))}}})
	}
	c := newCommitter()
	h := &house{pool: wire.NewPool(2, 0), people: &people{}}
	h.Broker, err = newBroker(Config{}, h.people, Deps{Directory: dir, Intake: c, Commands: &outbox{}, Pool: h.pool}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	h.Start()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	h.addr = l.Addr().String()
	go h.Serve(l)
	b.Cleanup(func() { h.close(b); c.close() })
	return h
}

func (h *house) sensor(b *testing.B, i int) *peer {
	b.Helper()
	p := h.dial(b)
	serial := fmt.Sprint("S", i)
	if ack := p.connect(serial, secretOf(serial), clientID("c")); ack.ReasonCode != 0 {
		b.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	return p
}

// 10 sensors with 100 messages in flight each; acknowledgements after the (fake) commit.
func BenchmarkQoS1_Pipelined(b *testing.B) {
	const sensors, window = 10, 100
	h := benchHouse(b, sensors)
	peers := make([]*peer, sensors)
	for i := range peers {
		peers[i] = h.sensor(b, i)
	}
	payload := `{"temperature":21.5,"humidity":48.2,"battery":3.71,"rssi":-67,"note":"` + strings.Repeat("x", 50) + `"}`
	const batch = window / 2
	batches, owed := make([][]byte, sensors), make([]int, sensors)
	for i, p := range peers {
		for id := uint16(1); id <= batch; id++ {
			batches[i] = append(batches[i], encode(publish("sensors/S"+strconv.Itoa(i)+"/telemetry", payload, 1, id))...)
		}
		p.c.SetReadDeadline(time.Time{})
	}
	acks := make([]byte, 4*batch)
	collect := func(i int) {
		if _, err := io.ReadFull(peers[i].c, acks); err != nil {
			b.Fatal(err)
		}
		owed[i]--
	}
	for i := 0; b.Loop(); i = (i + 1) % sensors {
		if owed[i] == 2 {
			collect(i)
		}
		peers[i].c.Write(batches[i])
		owed[i]++
	}
	for i := range owed {
		for owed[i] > 0 {
			collect(i)
		}
	}
	b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "acks/s")
}

// One message in flight for each of 100 sensors.
func BenchmarkQoS1_OneInFlight(b *testing.B) {
	const sensors = 100
	h := benchHouse(b, sensors)
	work := make(chan struct{}, 1<<10)
	var wg sync.WaitGroup
	for i := range sensors {
		p := h.sensor(b, i)
		pk := encode(publish("sensors/S"+strconv.Itoa(i)+"/telemetry", `{"temperature":21.5}`, 1, 1))
		p.c.SetReadDeadline(time.Time{})
		wg.Go(func() {
			ack := make([]byte, 4)
			for range work {
				p.c.Write(pk)
				if _, err := io.ReadFull(p.c, ack); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
}

func BenchmarkQoS0(b *testing.B) {
	const sensors = 10
	h := benchHouse(b, sensors)
	var batch [sensors][]byte
	peers := make([]*peer, sensors)
	for i := range peers {
		peers[i] = h.sensor(b, i)
		for range 100 {
			batch[i] = append(batch[i], encode(publish("sensors/S"+strconv.Itoa(i)+"/telemetry", `{"temperature":21.5}`, 0, 0))...)
		}
	}
	i := 0
	for b.Loop() {
		if i++; i%100 == 0 {
			p := i / 100 % sensors
			peers[p].raw(batch[p])
		}
	}
	for _, p := range peers {
		p.wantAlive()
	}
}

// One publish delivered to 100 subscribers.
func BenchmarkFanOut_100(b *testing.B) {
	const subscribers = 100
	h := benchHouse(b, 1)
	h.people.password = func(string, string) (auth.Principal, error) {
		return auth.Principal{Kind: auth.Person, UserID: 1, Username: "ann"}, nil
	}
	got := make(chan struct{}, subscribers)
	for i := range subscribers {
		p := h.dial(b)
		p.connect("ann", "pw", clientID(fmt.Sprint(i)))
		p.subscribe(0, "sensors/+/telemetry")
		go func() {
			for {
				if _, err := p.next(); err != nil {
					return
				}
				got <- struct{}{}
			}
		}()
	}
	p := h.sensor(b, 0)
	for b.Loop() {
		p.send(publish("sensors/S0/telemetry", `{"temperature":21.5}`, 1, 1))
		p.want(packets.Puback)
		for range subscribers {
			<-got
		}
	}
}

// What an idle sensor's connection costs the server: reported, with both ends in one process, as heap and stacks of the server's side.
func BenchmarkIdleConnection(b *testing.B) {
	const sensors = 2000
	h := benchHouse(b, sensors)
	clients := make([]net.Conn, 0, sensors)
	var m runtime.MemStats
	measure := func() (heap, stack float64) {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / sensors / 1024, float64(m.StackInuse) / sensors / 1024
	}
	// Dialled connections without a broker, to take the test's own share away.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	own, _ := measure()
	for range sensors {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		clients = append(clients, c)
	}
	with, _ := measure()
	own = with - own
	for _, c := range clients {
		c.Close()
	}
	clients = clients[:0]
	l.Close()

	heap0, stack0 := measure()
	for i := range sensors {
		c, err := net.Dial("tcp", h.addr)
		if err != nil {
			b.Fatal(err)
		}
		serial := fmt.Sprint("S", i)
		c.Write(encode(connectPacket(serial, secretOf(serial))))
		io.ReadFull(c, make([]byte, 4))
		c.Write(encode(publish("sensors/"+serial+"/telemetry", `{"temperature":21.5}`, 1, 1)))
		io.ReadFull(c, make([]byte, 4))
		clients = append(clients, c)
	}
	heap1, stack1 := measure()
	for b.Loop() {
	}
	b.ReportMetric(heap1-heap0-own, "heapKB/conn")
	b.ReportMetric(stack1-stack0, "stackKB/conn")
	for _, c := range clients {
		c.Close()
	}
}
