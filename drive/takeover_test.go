package drive

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rival is one of several connections that claim the same session. It subscribes to its sensor's telemetry and acknowledges what comes.
type rival struct {
	d      *client
	number int
	in     atomic.Bool   // CONNACK came
	over   chan struct{} // closed when the connection has ended

	mu  sync.Mutex
	got []string // guarded by mu: payloads
	end error    // guarded by mu: why the connection has ended
}

// claim connects and says CONNECT; what the server answers is seen to by a goroutine that ends with the connection.
func (s *instance) claim(transport string, l login, filter string, number int) (*rival, error) {
	c, err := s.door(transport, "").dial()
	if err != nil {
		return nil, err
	}
	r := &rival{d: newClient(c, l.version), number: number, over: make(chan struct{})}
	if err := r.d.send(l.packet()); err != nil {
		return nil, err
	}
	go r.read(filter)
	return r, nil
}

func (r *rival) read(filter string) {
	defer close(r.over)
	defer r.d.Close()
	if err := r.d.admitted(); err != nil {
		r.ended(err)
		return
	}
	r.in.Store(true)
	if err := r.d.send(subscribePacket(r.d.version, 1, 1, filter)); err != nil {
		r.ended(err)
		return
	}
	for {
		m, err := r.d.read()
		if err != nil {
			r.ended(err)
			return
		}
		if m.kind() != pPublish {
			continue
		}
		r.mu.Lock()
		r.got = append(r.got, m.payload)
		r.mu.Unlock()
		if m.qos() == 1 {
			if err := r.d.send(acknowledgement(pPuback, m.id)); err != nil {
				r.ended(err)
				return
			}
		}
	}
}

func (r *rival) ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end = err
}

func (r *rival) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%d: let in %v, heard %d, ended by %v", r.number, r.in.Load(), len(r.got), r.end)
}

func (r *rival) alive() bool {
	select {
	case <-r.over:
		return false
	default:
		return true
	}
}

// hears waits a moment for a payload.
func (r *rival) hears(payload string) bool {
	for deadline := time.Now().Add(100 * time.Millisecond); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		r.mu.Lock()
		heard := slices.Contains(r.got, payload)
		r.mu.Unlock()
		if heard || !r.alive() {
			return heard
		}
	}
	return false
}

// TestTakeover_NobodyIsDeafAfterwards reconnects clients with the same ids ten thousand times, in bursts of connections that do not wait
// for one another, while messages for them come in. After each burst one connection of each id is left, and it hears.
func TestTakeover_NobodyIsDeafAfterwards(t *testing.T) {
	const burst, ids = 10, 25
	rounds := full(10_000) / burst / ids / 4
	dir, _ := founded(t, ids)
	s := serve(t, dir)
	load := s.steadily(0, ids, 20*time.Millisecond) // of the same sensors, as clients of their own ids
	late := 0
	for _, version := range []byte{4, 5} {
		for _, durable := range []bool{false, true} {
			for round := range max(rounds, 1) {
				var all sync.WaitGroup
				var mu sync.Mutex
				for i := range ids {
					all.Go(func() {
						last, err := s.struggle("tcp", i, burst, login{
							role: role{serialOf(i), fleetSecret}, id: fmt.Sprintf("rival-%v", durable), version: version, keep: durable,
						}, round)
						if err != nil {
							t.Errorf("version %d, durable %v, round %d: %v", version, durable, round, err)
						}
						mu.Lock()
						defer mu.Unlock()
						if !last {
							late++
						}
					})
				}
				all.Wait()
				if t.Failed() {
					s.nothingRefused()
					t.Fatalf("server's log:\n%s", s.log)
				}
			}
		}
	}
	took := s.metrics()[`mqtt_disconnected_total{reason="takeover"}`]
	t.Logf("%v takeovers; in %d bursts another than the last to be sent was left; others: %v", took, late, load.phase())
	load.end()
	s.settled("mqtt_connections", 0)
	s.settled("mqtt_connections_pending", 0)
	s.settled("mqtt_sessions", ids)
	s.settled("mqtt_subscriptions", ids)
	s.nothingRefused()
}

// struggle makes one burst for one id, sees that one connection is left and that it hears, and lets it vanish. It reports whether that was
// the last one.
func (s *instance) struggle(transport string, sensor, burst int, l login, round int) (last bool, err error) {
	var all []*rival
	for n := range burst {
		r, err := s.claim(transport, l, topicOf(sensor), n)
		if err != nil {
			return false, err
		}
		all = append(all, r)
	}
	left := all
	for deadline := time.Now().Add(patience); len(left) > 1 || !left[0].in.Load(); time.Sleep(time.Millisecond) {
		left = slices.DeleteFunc(slices.Clone(all), func(r *rival) bool { return !r.alive() })
		if len(left) == 0 || time.Now().After(deadline) {
			return false, fmt.Errorf("%s: %d of %d connections are left: %v", l.name, len(left), burst, all)
		}
	}
	d, err := s.client("tcp", sensorLogin(sensor, 4).as("prober"))
	if err != nil {
		return false, err
	}
	defer d.vanish()
	probe := fmt.Sprintf(`{"version":%d,"durable":%v,"probe":%d}`, l.version, l.keep, round)
	// Until the subscription of a clean session is made a message may pass it by, however many are sent: so it is probed until it hears. A deaf
	// one never does.
	if err := left[0].d.send(subscribePacket(l.version, 2, 1, topicOf(sensor))); err != nil {
		return false, err
	}
	heard := false
	for deadline := time.Now().Add(patience); !heard && left[0].alive() && time.Now().Before(deadline); {
		d.SetDeadline(deadline)
		if err := d.publish(topicOf(sensor), probe); err != nil {
			return false, err
		}
		heard = left[0].hears(probe)
	}
	if !heard {
		return false, fmt.Errorf("%s: connection %d of %d is deaf (alive: %v)", l.name, left[0].number, burst, left[0].alive())
	}
	left[0].d.vanish()
	<-left[0].over
	return left[0].number == burst-1, nil
}

// TestTakeover_NothingComesBeforeConnack has a client with a lasting session come back again and again while messages for it come in:
// the first packet it gets is CONNACK [MQTT-3.2.0-1].
func TestTakeover_NothingComesBeforeConnack(t *testing.T) {
	times := full(4_000)
	dir, _ := founded(t, 1)
	s := serve(t, dir)
	l := sensorLogin(0, 5)
	l.keep = true
	r := newReader("subscriber", l, 1, topicOf(0))
	r.run(s, func() bool { return true })
	var busy sync.WaitGroup
	defer busy.Wait()
	defer s.kill()
	for i := range 4 {
		w := &writer{login: sensorLogin(0, 4).as(fmt.Sprint("writer ", i)), qos: 1}
		busy.Go(func() { // ends with the server
			if err := w.run(s, 1<<20); err != nil {
				t.Error(err)
			}
		})
	}
	for n := range times {
		d, err := s.client("tcp", l)
		if err != nil {
			t.Fatalf("login %d: %v", n, err)
		}
		d.vanish()
	}
}
