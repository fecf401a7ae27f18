package simulator

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxLatency is the longest time the histogram tells apart; longer ones count as this.
const maxLatency = 10 * time.Minute

// meter counts what a fleet does. It is safe for concurrent use.
type meter struct {
	connected, connectedPeak        atomic.Int64
	reconnects, refused             atomic.Int64
	unreachable                     atomic.Int64 // connects that failed before a CONNACK
	published, acknowledged         atomic.Int64
	resent, lost, skipped, commands atomic.Int64

	silences, duplicates, garbage, late atomic.Int64 // faults committed

	mu        sync.Mutex // guards what follows
	latency   *hdrhistogram.Histogram
	lastError string
}

func newMeter() *meter {
	return &meter{latency: hdrhistogram.New(1, maxLatency.Microseconds(), 3)}
}

func (m *meter) connect() {
	now := m.connected.Add(1)
	for peak := m.connectedPeak.Load(); now > peak && !m.connectedPeak.CompareAndSwap(peak, now); {
		peak = m.connectedPeak.Load()
	}
}

func (m *meter) disconnect() { m.connected.Add(-1) }

func (m *meter) connectFailed(err error, refused bool) {
	if refused {
		m.refused.Add(1)
	} else {
		m.unreachable.Add(1)
	}
	m.failed(err)
}

// failed remembers the latest trouble, for people to read.
func (m *meter) failed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastError = oneLine(err.Error())
}

func (m *meter) acknowledge(latency time.Duration) {
	m.acknowledged.Add(1)
	micros := min(max(latency.Microseconds(), 1), maxLatency.Microseconds())
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.latency.RecordValue(micros) // fails only outside the range just clamped to
}

// Latency is the time from the first PUBLISH of a message to its acknowledgement (PUBACK, or PUBCOMP at QoS 2), resends included, in
// milliseconds; all zero at QoS 0.
type Latency struct {
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p99_9_ms"`
	Max  float64 `json:"max_ms"`
}

func (m *meter) percentiles() Latency {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.latency.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	ms := func(micros int64) float64 { return float64(micros) / 1000 }
	return Latency{P50: ms(at[0]), P90: ms(at[1]), P99: ms(at[2]), P999: ms(at[3]), Max: ms(m.latency.Max())}
}

func (m *meter) trouble() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lastError
}
