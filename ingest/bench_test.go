package ingest

import (
	"fmt"
	"sync/atomic"
	"testing"

	"sensorcast/session"
)

// void is a Recorder that is always done.
type void struct{}

func (void) Record(Batch) error { return nil }

type ignore struct{}

func (ignore) Committed(error) {}

const usual = `{"temperature":21.53,"humidity":48.2,"pressure":1013.2,"co2":612,"battery":97,"rssi":-61,"door":false,"n":123456}`

func TestAccept_SteadyStateAllocatesNothing(t *testing.T) {
	p := New(Config{}, void{}, quiet)
	defer mustClose(t, p)
	m := message(1, usual)
	for range 30_000 { // until slices have grown to what they need
		mustAccept(t, p, m, ignore{})
	}
	if got := testing.AllocsPerRun(10_000, func() { mustAccept(t, p, m, ignore{}) }); got >= 1 {
		t.Errorf("Accept allocates %v times, want 0", got)
	}
}

func BenchmarkAccept(b *testing.B) {
	for name, payload := range map[string]string{
		"plain":    usual,
		"envelope": `{"time":1716200000000,"data":` + usual + `}`,
	} {
		b.Run(name, func(b *testing.B) {
			p := New(Config{}, void{}, quiet)
			m := message(1, payload)
			b.ReportAllocs()
			for b.Loop() {
				p.Accept(m, ignore{})
			}
			mustClose(b, p)
		})
	}
}

func BenchmarkAccept_Parallel(b *testing.B) {
	p := New(Config{}, void{}, quiet)
	var sensors atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		m := message(sensors.Add(1), usual)
		for pb.Next() {
			p.Accept(m, ignore{})
		}
	})
	mustClose(b, p)
}

// Many callers held back by a full queue, as in a reconnect storm.
func BenchmarkAccept_HeldBack(b *testing.B) {
	for _, callers := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			p := New(Config{QueueReadings: 64, BatchReadings: 16}, void{}, quiet)
			b.SetParallelism(callers / 2)
			var sensors atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				m := message(sensors.Add(1), usual)
				for pb.Next() {
					p.Accept(m, ignore{})
				}
			})
			mustClose(b, p)
		})
	}
}

func BenchmarkJournal(b *testing.B) {
	p := New(Config{}, void{}, quiet)
	changes := []session.Change{
		session.Queue{ID: "s1/client", Delivery: session.Delivery{PacketID: 1, Message: session.Message{Topic: "sensors/SN1/telemetry", Payload: []byte(usual)}}},
		session.Settle{ID: "s1/client", PacketID: 1},
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Journal(changes, ignore{})
	}
	mustClose(b, p)
}
