package store

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"sensorcast/ingest"
	"sensorcast/session"
)

// BenchmarkJournal queues a delivery and settles the oldest of the same session, pairs times in each batch, as subscribers with
// persistent sessions do that keep up, beside what waits for those who are away.
func BenchmarkJournal(b *testing.B) {
	for _, sessions := range []int{1, 5000} {
		for _, waiting := range []int{0, 100_000} {
			for _, pairs := range []int{1, 200, 5000} {
				b.Run(fmt.Sprintf("sessions=%d/waiting=%d/pairs=%d", sessions, waiting, pairs), func(b *testing.B) {
					d := openNew(b)
					newSensors(b, d, 1)
					benchmarkJournal(b, d, sessions, waiting, pairs)
				})
			}
		}
	}
}

const window = 20 // deliveries a session has in flight

func benchmarkJournal(b *testing.B, d *DB, sessions, waiting, pairs int) {
	payload := newLoad(nil, noKeys, 0).data
	queue := func(id string, n int) session.Change {
		m := session.Message{Topic: "sensors/SN0/telemetry", Payload: payload, QoS: 1}
		return session.Queue{ID: id, Delivery: session.Delivery{Order: int64(n), PacketID: uint16(n), Message: m}}
	}
	record := func(changes []session.Change) {
		if err := d.Record(ingest.Batch{Changes: changes}); err != nil {
			b.Fatal(err)
		}
	}
	var changes []session.Change
	ids := make([]string, sessions)
	for i := range ids {
		ids[i] = fmt.Sprintf("s1/client-%d", i)
		changes = append(changes, session.Keep{Session: session.Session{ID: ids[i], SensorID: 1}})
	}
	for n := range window {
		for _, id := range ids {
			changes = append(changes, queue(id, n))
		}
	}
	for i := range waiting {
		id := fmt.Sprintf("s1/away-%d", i%100)
		if i < 100 {
			changes = append(changes, session.Keep{Session: session.Session{ID: id, SensorID: 1}})
		}
		changes = append(changes, queue(id, i/100))
	}
	record(changes)

	var took []time.Duration
	next := make([]int, sessions)
	for i := range next {
		next[i] = window
	}
	turn := 0
	used, wrote := cpu(), written()
	for b.Loop() {
		changes = changes[:0]
		for range pairs {
			i := turn % sessions
			turn++
			changes = append(changes, queue(ids[i], next[i]), session.Settle{ID: ids[i], PacketID: uint16(next[i] - window)})
			next[i]++
		}
		start := time.Now()
		record(changes)
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64((cpu()-used).Nanoseconds())/float64(2*pairs*b.N), "cpu-ns/change")
	b.ReportMetric(float64(written()-wrote)/float64(2*pairs*b.N), "written-B/change")
	b.ReportMetric(float64(2*pairs)*float64(b.N)/b.Elapsed().Seconds(), "changes/s")
	b.ReportMetric(quantile(took, 0.5), "p50-ms")
	b.ReportMetric(quantile(took, 0.99), "p99-ms")
	b.ReportMetric(float64(fileSize(d.path))/1e6, "file-MB")
}

// written is how many bytes the process has sent to the disk so far.
func written() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Oublock * 512
}

// BenchmarkSessions loads what a server with many clients away finds.
func BenchmarkSessions(b *testing.B) {
	d := openNew(b)
	newSensors(b, d, 1)
	benchmarkFill(b, d, 1000, 100)
	for b.Loop() {
		if _, err := d.Sessions(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkFill(b *testing.B, d *DB, sessions, each int) {
	payload := newLoad(nil, noKeys, 0).data
	var changes []session.Change
	for i := range sessions {
		id := fmt.Sprintf("s1/client-%d", i)
		changes = append(changes, session.Keep{Session: session.Session{ID: id, SensorID: 1}}, session.Subscribe{ID: id})
		for n := range each {
			changes = append(changes, session.Queue{ID: id, Delivery: session.Delivery{
				Order: int64(n), PacketID: uint16(n + 1), Message: session.Message{Topic: "sensors/SN0/telemetry", Payload: payload},
			}})
		}
	}
	if err := d.Record(ingest.Batch{Changes: changes}); err != nil {
		b.Fatal(err)
	}
}
