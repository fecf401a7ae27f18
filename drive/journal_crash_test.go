package drive

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// roomForAll has queues hold all that twelve rounds of four writers can write, 600 messages each: a full queue would prove nothing.
const roomForAll = "--mqtt-queue=30000"

// TestJournalCrash_EveryAcknowledgedMessageReachesItsSubscribers kills the server with SIGKILL at random moments while clients publish
// with QoS 1 and 2, retained messages too, to subscribers with sessions that last, some connected and some away. What the server has
// acknowledged to a publisher reaches each of them: once or more with QoS 1, once with QoS 2, in order per publisher.
func TestJournalCrash_EveryAcknowledgedMessageReachesItsSubscribers(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir, ann := founded(t, 4)

	var writers []*writer
	for i := range 4 {
		l := sensorLogin(i, 4+byte(i&1))
		l.keep = true
		writers = append(writers, &writer{number: i, login: l, qos: 1 + byte(i/2), retained: [2]int{-1, -1}})
	}
	present := []*reader{
		newReader("QoS 1, connected", ann.lasting("p1", 4), 1, "sensors/+/telemetry"),
		newReader("QoS 2, connected", ann.lasting("p2", 5), 2, "sensors/+/telemetry"),
	}
	fickle := []*reader{
		newReader("QoS 1, now and then", ann.lasting("f1", 5), 1, "sensors/+/telemetry"),
		newReader("QoS 2, now and then", ann.lasting("f2", 4), 2, "sensors/+/telemetry"),
	}
	all := append(append([]*reader{}, present...), fickle...)

	s := serve(t, dir, roomForAll)
	for _, r := range all { // subscribes, and is away
		r.run(s, func() bool { return true })
		if !r.known {
			t.Fatalf("%s could not subscribe\n%s", r.name, s.log)
		}
	}
	away := map[*reader]bool{}
	for round := range rounds {
		before := 0
		for _, w := range writers {
			before += w.acknowledged
		}
		var busy sync.WaitGroup
		for _, r := range all {
			// Who was away for a round comes back in the next.
			if away[r] = !away[r] && r != present[0] && r != present[1] && random.IntN(2) == 0; !away[r] {
				busy.Go(func() { r.run(s, func() bool { return false }) })
			}
		}
		for _, w := range writers {
			limit := w.next + 600
			busy.Go(func() {
				if err := w.run(s, limit); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		time.Sleep(100*time.Millisecond + time.Duration(random.Int64N(int64(300*time.Millisecond)))) // the random moment
		dropped := s.metrics()[`mqtt_deliveries_dropped_total{queue="subscriber"}`]
		s.kill()
		busy.Wait()
		if dropped > 0 {
			t.Fatalf("round %d: %v deliveries found a full queue, so nothing is tested", round, dropped)
		}
		after := 0
		for _, w := range writers {
			after += w.acknowledged
		}
		if after == before {
			t.Errorf("round %d: nothing was acknowledged, so nothing was tested", round)
		}
		s = serve(t, dir, roomForAll)
		if want := float64(len(all) + len(writers)); s.metrics()["mqtt_sessions"] != want {
			t.Errorf("round %d: %v sessions after the start, want %v", round, s.metrics()["mqtt_sessions"], want)
		}
		s.settled("mqtt_subscriptions", float64(len(all)))
		checkRetained(t, s, ann, writers)
	}
	for _, w := range writers {
		if err := w.run(s, w.next+1); err != nil { // one more, the last in every queue
			t.Error(err)
		}
		if len(w.open) > 0 {
			t.Errorf("writer %d: %d messages are never acknowledged", w.number, len(w.open))
		}
	}
	total := 0
	for _, w := range writers {
		total += w.acknowledged
	}
	t.Logf("%d messages acknowledged in %d rounds", total, rounds)
	for _, r := range all {
		r.run(s, func() bool { return r.got[note{len(writers) - 1, writers[len(writers)-1].next - 1}] > 0 })
		if n, first := r.missing(writers); n > 0 {
			t.Errorf("%s: %d acknowledged messages never came, the first is %v", r.name, n, first)
		}
		if r.fault != nil {
			t.Error(r.fault)
		}
		if r.twice > 0 {
			t.Errorf("%s: %d messages of QoS 2 came again", r.name, r.twice)
		}
		again := 0
		for _, n := range r.got {
			again += n - 1
		}
		t.Logf("%s: %d messages, %d of them again", r.name, len(r.got), again)
	}
}

// checkRetained compares what is retained with what its publishers know: the last acknowledged, or one sent after it.
func checkRetained(t *testing.T, s *instance, ann *person, writers []*writer) {
	t.Helper()
	d, err := s.client("tcp", login{role: role{"ann", ann.password}, id: "curious", version: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer d.vanish()
	want := 0
	for _, w := range writers {
		if w.retained[0] >= 0 {
			want++
		}
	}
	if err := d.subscribe(1, "sensors/+/telemetry"); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	d.SetDeadline(time.Now().Add(patience))
	for len(seen) < want {
		p, err := d.read()
		if err != nil {
			t.Errorf("got %d retained messages, want %d: %v", len(seen), want, err)
			return
		}
		n, err := readNote(p.payload)
		if err != nil {
			t.Fatal(err)
		}
		seen[n.Writer] = true
		if at := writers[n.Writer].retained; n.Number < at[0] || n.Number > at[1] || n.Number%retainEvery != 0 {
			t.Errorf("retained is message %v; %d was acknowledged last and %d sent last", n, at[0], at[1])
		}
	}
}

// TestJournalCrash_UnconfirmedDeliveryMustNotTakeAnothersPlace has a message on its way to a QoS 2 subscriber when the server dies before
// the message is stored. The packet id it came with belongs to nothing then, and the client holds it: the next message, which is
// acknowledged to its publisher, must not get lost by it [MQTT-4.3.3-10].
func TestJournalCrash_UnconfirmedDeliveryMustNotTakeAnothersPlace(t *testing.T) {
	dir, ann := founded(t, 2)
	s := serve(t, dir)
	r := newReader("subscriber", ann.lasting("r", 5), 2, "sensors/+/telemetry")
	r.run(s, func() bool { return true })
	sub, err := s.client("tcp", r.login)
	if err != nil {
		t.Fatal(err)
	}
	lost, err := s.client("tcp", sensorLogin(0, 5))
	if err != nil {
		t.Fatal(err)
	}
	unlock := lockDatabase(t, dir)
	if _, err := lost.Write(publication{topic: topicOf(0), payload: note{0, 0}.String(), qos: 2, id: 1}.packet(5)); err != nil {
		t.Fatal(err)
	}
	sub.SetReadDeadline(time.Now().Add(time.Second)) // long enough, if it comes at all
	if m, err := sub.read(); err == nil {
		t.Logf("the subscriber has message %s as packet %d while the database is locked", m.payload, m.id)
		if err := r.received(sub, m); err != nil {
			t.Fatal(err)
		}
	}
	s.kill()
	unlock()
	s = serve(t, dir)
	other := &writer{number: 1, login: sensorLogin(1, 5), qos: 2}
	if err := other.run(s, 2); err != nil || other.acknowledged != 2 {
		t.Fatalf("%d messages acknowledged, %v", other.acknowledged, err)
	}
	r.run(s, func() bool { return r.got[note{1, 1}] > 0 })
	if r.got[note{1, 0}] == 0 {
		t.Errorf("the acknowledged message %v is lost: the subscriber took it for the one it holds", note{1, 0})
	}
}
