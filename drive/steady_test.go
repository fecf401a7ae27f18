package drive

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// steady is a few sensors that publish all the time, each when its last message was acknowledged, and measure how long that took. They
// are a process of their own: among the clients of a storm they would measure those.
type steady struct {
	t       testing.TB
	in      io.WriteCloser
	reports *json.Decoder
	over    func() error
}

// steadyOrder is what the other process is told.
type steadyOrder struct {
	Addr    string
	From, N int
	Pause   time.Duration
}

// steadyReport is what it tells of a phase.
type steadyReport struct {
	N             int
	P50, P99, Max time.Duration
	Failure       string
}

func (r steadyReport) String() string {
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d acknowledged, p50 %v, p99 %v, max %v", r.N, round(r.P50), round(r.P99), round(r.Max))
}

const asSteady = "RUN_AS_STEADY"

// steadily starts n publishers, sensors from the given one on, and waits until they publish.
func (s *instance) steadily(from, n int, pause time.Duration) *steady {
	s.t.Helper()
	order, err := json.Marshal(steadyOrder{s.addr["mqtt"], from, n, pause})
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSteady$")
	cmd.Env = append(os.Environ(), asSteady+"="+strconv.Quote(string(order)))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	st := &steady{t: s.t}
	if st.in, err = cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	st.reports = json.NewDecoder(out)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	st.over = sync.OnceValue(func() error {
		st.in.Close()
		_, _ = io.Copy(io.Discard, out) // what the test framework says at its end
		return cmd.Wait()
	})
	s.t.Cleanup(func() { _ = st.over() }) // said already by who asked
	st.phase()
	return st
}

// phase ends a phase and says how long acknowledgements took in it. A message that is not acknowledged fails the test.
func (st *steady) phase() (r steadyReport) {
	st.t.Helper()
	if _, err := io.WriteString(st.in, "\n"); err != nil {
		st.t.Fatalf("ask the publishers: %v", err)
	}
	if err := st.reports.Decode(&r); err != nil {
		st.t.Fatalf("hear the publishers: %v", err)
	}
	if r.Failure != "" {
		st.t.Errorf("a publisher was disturbed: %s", r.Failure)
	}
	return r
}

// end stops publishing.
func (st *steady) end() {
	st.t.Helper()
	st.phase()
	if err := st.over(); err != nil {
		st.t.Errorf("publishers: %v", err)
	}
}

// TestSteady is the other process.
func TestSteady(t *testing.T) {
	text, err := strconv.Unquote(os.Getenv(asSteady))
	if err != nil {
		t.Skip("is run by other tests")
	}
	var order steadyOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		t.Fatal(err)
	}
	m := meter{stop: make(chan struct{})}
	s := &instance{t: t, addr: map[string]string{"mqtt": order.Addr}}
	for i := order.From; i < order.From+order.N; i++ {
		d, err := s.client("tcp", sensorLogin(i, 4+byte(i&1)))
		if err != nil {
			m.failed(err)
			break
		}
		m.all.Go(func() { // ends when stop closes
			defer d.vanish()
			m.publish(d, topicOf(i), order.Pause)
		})
	}
	reports := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := reports.Encode(m.report()); err != nil {
			t.Fatal(err)
		}
	}
	close(m.stop)
	m.all.Wait()
}

// meter takes the time.
type meter struct {
	stop chan struct{}
	all  sync.WaitGroup

	mu      sync.Mutex
	waits   []time.Duration // guarded by mu: of the present phase
	failure error           // guarded by mu: the first
}

func (m *meter) publish(d *client, topic string, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-m.stop:
			return
		case <-tick.C:
		}
		start := time.Now()
		d.SetDeadline(start.Add(patience))
		if err := d.publish(topic, fmt.Sprintf(`{"n":%d}`, n)); err != nil {
			m.failed(fmt.Errorf("%s after %d messages: %w", topic, n, err))
			return
		}
		m.mu.Lock()
		m.waits = append(m.waits, time.Since(start))
		m.mu.Unlock()
	}
}

func (m *meter) failed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure == nil {
		m.failure = err
	}
}

func (m *meter) report() (r steadyReport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.N = len(m.waits); r.N > 0 {
		slices.Sort(m.waits)
		r.P50, r.P99, r.Max = m.waits[r.N/2], m.waits[r.N*99/100], m.waits[r.N-1]
	}
	if m.failure != nil {
		r.Failure = m.failure.Error()
	}
	m.waits = nil
	return r
}
