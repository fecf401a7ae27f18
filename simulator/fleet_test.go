package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"
)

// ledger is what one side knows of the messages, by payload.
type ledger struct {
	mu      sync.Mutex // guards what follows
	count   map[string]int
	target  int
	reached chan struct{} // closed when there are target different messages; nil: nobody waits
}

func newLedger() *ledger { return &ledger{count: map[string]int{}} }

func (l *ledger) add(payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[string(payload)]++
	if l.reached != nil && len(l.count) >= l.target {
		close(l.reached)
		l.reached = nil
	}
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.count)
}

// await blocks until n different messages are in.
func (l *ledger) await(t *testing.T, n int) {
	t.Helper()
	reached := make(chan struct{})
	l.mu.Lock()
	l.target, l.reached = n, reached
	enough := len(l.count) >= n
	l.mu.Unlock()
	if enough {
		return
	}
	select {
	case <-reached:
	case <-time.After(20 * time.Second):
		t.Fatalf("got %d messages in time want %d", l.len(), n)
	}
}

func (l *ledger) missing(from *ledger) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from.mu.Lock()
	defer from.mu.Unlock()
	for payload := range from.count {
		if l.count[payload] == 0 {
			n++
		}
	}
	return n
}

func mustRun(t *testing.T, ctx context.Context, cfg Config) Report {
	t.Helper()
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatalf("run: %v\n%s", err, r)
	}
	if cfg.QoS > 0 && r.Published != r.Acknowledged+r.Lost {
		t.Errorf("published %d is not acknowledged %d + lost %d", r.Published, r.Acknowledged, r.Lost)
	}
	return r
}

func TestRun_EveryAcknowledgedMessageArrives(t *testing.T) {
	for _, c := range []struct {
		name               string
		qos, inFlight, per int
	}{{"qos 1", 1, 1, 20}, {"qos 1 pipelined", 1, 16, 100}, {"qos 2", 2, 4, 20}} {
		t.Run(c.name, func(t *testing.T) {
			broker := startBroker(t, "", &testHook{})
			subscriber, acknowledged := newLedger(), newLedger()
			if err := broker.server.Subscribe("sensors/+/telemetry", 1, func(_ *mochi.Client, _ packets.Subscription, pk packets.Packet) {
				subscriber.add(pk.Payload)
			}); err != nil {
				t.Fatal(err)
			}
			r := mustRun(t, t.Context(), Config{
				Broker: broker.url(), Sensors: 20, QoS: c.qos, InFlight: c.inFlight, Count: c.per, Rate: 20_000,
				OnAcknowledged: func(_ string, payload []byte) { acknowledged.add(payload) },
			})
			want := 20 * c.per
			if r.Acknowledged != int64(want) || r.Lost != 0 || r.Reconnects != 0 || r.Refused != 0 || r.ConnectedPeak < 1 {
				t.Errorf("report: %s", r)
			}
			if len(acknowledged.count) != want {
				t.Errorf("ledger holds %d different messages want %d", len(acknowledged.count), want)
			}
			subscriber.await(t, want) // mochi acknowledges before it delivers
			if n := subscriber.missing(acknowledged); n != 0 {
				t.Errorf("%d acknowledged messages did not arrive", n)
			}
			if l := r.Latency; !(l.P50 > 0 && l.P50 <= l.P90 && l.P90 <= l.P99 && l.P99 <= l.P999 && l.P999 <= l.Max) {
				t.Errorf("latency got %+v", l)
			}
		})
	}
}

func TestRun_QoS0IsPublishedNotAcknowledged(t *testing.T) {
	arrived := newLedger()
	broker := startBroker(t, "", &testHook{onPublish: func(_, _ string, payload []byte) { arrived.add(payload) }})
	r := mustRun(t, t.Context(), Config{Broker: broker.url(), Sensors: 5, Count: 10, Rate: 2000})
	if r.Published != 50 || r.Acknowledged != 0 || r.Lost != 0 || r.Refused != 0 {
		t.Errorf("report: %s", r)
	}
	arrived.await(t, 50)
}

func TestRun_SurvivesABrokerRestart(t *testing.T) {
	arrived, acknowledged, returned := newLedger(), newLedger(), newLedger()
	hook := &testHook{onPublish: func(_, _ string, payload []byte) { arrived.add(payload) }}
	broker := startBroker(t, "", hook)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reports := make(chan Report, 1)
	go func() {
		reports <- mustRun(t, ctx, Config{
			Broker: broker.url(), Sensors: 20, QoS: 1, InFlight: 8, Rate: 4000,
			ReconnectMin: 20 * time.Millisecond, ReconnectMax: 200 * time.Millisecond,
			OnAcknowledged: func(_ string, payload []byte) { acknowledged.add(payload) },
		})
	}()
	acknowledged.await(t, 500)
	broker.stop()
	startBroker(t, broker.address, &testHook{onPublish: func(client, _ string, payload []byte) {
		arrived.add(payload)
		returned.add([]byte(client))
	}})
	returned.await(t, 20)
	cancel()
	r := <-reports

	if r.Reconnects < 20 || r.LastError == "" {
		t.Errorf("reconnects got %d want at least one for each of 20 sensors, last error %q", r.Reconnects, r.LastError)
	}
	if int64(len(acknowledged.count)) != r.Acknowledged {
		t.Errorf("ledger holds %d messages, the report says %d", len(acknowledged.count), r.Acknowledged)
	}
	if n := arrived.missing(acknowledged); n != 0 {
		t.Errorf("%d acknowledged messages never arrived", n)
	}
}

func TestRun_CountsWhatWasNeverAcknowledgedAsLost(t *testing.T) {
	arrived := newLedger()
	broker := startBroker(t, "", &testHook{silent: true, onPublish: func(_, _ string, payload []byte) { arrived.add(payload) }})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reports := make(chan Report, 1)
	go func() {
		reports <- mustRun(t, ctx, Config{Broker: broker.url(), Sensors: 3, QoS: 1, InFlight: 2, Rate: 300})
	}()
	arrived.await(t, 6)
	cancel()
	if r := <-reports; r.Published != 6 || r.Lost != 6 || r.Acknowledged != 0 {
		t.Errorf("report: %s", r)
	}
}

func TestRun_ResendsWhenNoAcknowledgementComes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var publishes atomic.Int64
	broker := startBroker(t, "", &testHook{silent: true, onPublish: func(string, string, []byte) {
		if publishes.Add(1) == 3 {
			cancel()
		}
	}})
	r := mustRun(t, ctx, Config{
		Broker: broker.url(), Sensors: 1, QoS: 1, Count: 1, Interval: time.Millisecond, AckTimeout: 40 * time.Millisecond,
		ReconnectMin: time.Millisecond, ReconnectMax: time.Millisecond,
	})
	if r.Published != 1 || r.Lost != 1 || r.Resent < 2 || publishes.Load() < 3 || !strings.Contains(r.LastError, "acknowledgement") {
		t.Errorf("broker saw %d publishes, report: %s", publishes.Load(), r)
	}
}

func TestRun_CancelStopsQuicklyAndLeaksNothing(t *testing.T) {
	hanging, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, never answers CONNECT
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close()
	for name, broker := range map[string]string{
		"answering": startBroker(t, "", &testHook{}).url(),
		"silent":    startBroker(t, "", &testHook{silent: true}).url(),
		"hanging":   "tcp://" + hanging.Addr().String(),
		"absent":    "tcp://127.0.0.1:1",
	} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, _ = Run(ctx, Config{Broker: broker, Sensors: 50, QoS: 1, Rate: 1000}) // no connection is an error, which is not the point here
			if took := time.Since(start); took > 2150*time.Millisecond {
				t.Errorf("stopping took %v", took-150*time.Millisecond)
			}
			goleak.VerifyNone(t, before)
		})
	}
}

func TestRun_RefusedLoginsAreCountedAndTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var refusals atomic.Int64
	broker := startBroker(t, "", &testHook{authenticate: func(username, password string) bool {
		if username == "B" && password == "right" {
			return true
		}
		if refusals.Add(1) == 3 {
			cancel()
		}
		return false
	}})
	cfg := Config{
		Broker: broker.url(), Credentials: []Credential{{"A", "wrong"}}, QoS: 1, Interval: time.Millisecond,
		ReconnectMin: 10 * time.Millisecond, ReconnectMax: 10 * time.Millisecond,
	}
	r, err := Run(ctx, cfg)
	if !errors.Is(err, ErrNeverConnected) || r.Refused < 2 || r.Unreachable != 0 || !strings.Contains(err.Error(), "refused by the broker") {
		t.Errorf("got %v, report: %s", err, r)
	}
	cfg.Credentials, cfg.Count = []Credential{{"B", "right"}}, 3
	if r := mustRun(t, t.Context(), cfg); r.Acknowledged != 3 || r.Refused != 0 {
		t.Errorf("report: %s", r)
	}
}

func TestRun_TopicWillAndUserOfAnyBroker(t *testing.T) {
	topics := make(chan string, 10)
	broker := startBroker(t, "", &testHook{
		authenticate: func(username, password string) bool { return username == "shared" && password == "p" },
		onPublish:    func(client, topic string, _ []byte) { topics <- client + " " + topic },
	})
	mustRun(t, t.Context(), Config{
		Broker: "mqtt://shared:p@" + broker.address, Sensors: 1, Prefix: "dev-", QoS: 1, Count: 1, Interval: time.Millisecond,
		Topic: "plant/{serial}/state", Will: "plant/{serial}/gone",
	})
	if got, want := <-topics, "dev-0001 plant/dev-0001/state"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

func TestRun_AnswersCommands(t *testing.T) {
	replies := make(chan string, 10)
	broker := startBroker(t, "", &testHook{onPublish: func(_, topic string, payload []byte) {
		if strings.HasSuffix(topic, "/commands/reply") {
			replies <- topic + " " + string(payload)
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reports := make(chan Report, 1)
	first := make(chan struct{}, 1000)
	go func() {
		reports <- mustRun(t, ctx, Config{Broker: broker.url(), Sensors: 1, QoS: 1, Interval: 10 * time.Millisecond, Commands: true,
			OnAcknowledged: func(string, []byte) {
				select {
				case first <- struct{}{}:
				default:
				}
			}})
	}()
	<-first // it has subscribed before it publishes
	for _, payload := range []string{"no JSON", `{"name":"no id"}`, `{"id":"c1","name":"blink","data":{}}`} {
		if err := broker.server.Publish("sensors/SIM-0001/commands", []byte(payload), false, 1); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := <-replies, `sensors/SIM-0001/commands/reply {"id":"c1","ok":true}`; got != want {
		t.Errorf("got %s want %s", got, want)
	}
	cancel()
	if r := <-reports; r.Commands != 1 {
		t.Errorf("commands got %d want 1", r.Commands)
	}
}

func TestRun_CommitsTheFaultsItIsAskedFor(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	var garbage, batches, duplicates int
	broker := startBroker(t, "", &testHook{onPublish: func(_, _ string, payload []byte) {
		mu.Lock()
		defer mu.Unlock()
		seen[string(payload)]++
		switch {
		case seen[string(payload)] == 2:
			duplicates++
		case !json.Valid(payload):
			garbage++
		case payload[0] == '[':
			batches++
		}
	}})
	r := mustRun(t, t.Context(), Config{
		Broker: broker.url(), Sensors: 10, QoS: 1, Count: 50, Rate: 20_000, Seed: 3,
		Faults: Faults{Duplicate: 0.2, Garbage: 0.1, Late: 0.1},
	})
	mu.Lock()
	defer mu.Unlock()
	f := r.Faults
	if int64(garbage) != f.Garbage || int64(batches) != f.Late || int64(duplicates) != f.Duplicates || f.Garbage*f.Late*f.Duplicates == 0 {
		t.Errorf("broker saw %d garbage, %d batches, %d duplicates; report: %s", garbage, batches, duplicates, r)
	}
	if r.Published != 500+f.Duplicates {
		t.Errorf("published %d want 500 + %d duplicates", r.Published, f.Duplicates)
	}
}

func TestRun_SilentSensorsPauseAndSomeHangUp(t *testing.T) {
	broker := startBroker(t, "", &testHook{})
	r := mustRun(t, t.Context(), Config{
		Broker: broker.url(), Sensors: 20, QoS: 1, Interval: 5 * time.Millisecond, Duration: 700 * time.Millisecond,
		Faults: Faults{Silence: 1, SilenceFor: 50 * time.Millisecond, SilenceEvery: 100 * time.Millisecond},
	})
	if r.Faults.Silences < 20 || r.Reconnects == 0 || r.Reconnects >= r.Faults.Silences || r.Published > 20*140*3/4 {
		t.Errorf("report: %s", r)
	}
}

func TestRun_StatusComesEverySecondAndAtTheEnd(t *testing.T) {
	broker := startBroker(t, "", &testHook{})
	var all []Status
	mustRun(t, t.Context(), Config{
		Broker: broker.url(), Sensors: 4, QoS: 1, Rate: 200, Duration: 1200 * time.Millisecond,
		OnStatus: func(s Status) { all = append(all, s) },
	})
	if len(all) < 2 {
		t.Fatalf("got %d statuses want 2: %v", len(all), all)
	}
	if s := all[0]; s.Connected != 4 || s.PerSecond <= 0 || s.Acknowledged == 0 || s.Latency.P99 == 0 {
		t.Errorf("after a second: %s", s)
	}
	if s := all[len(all)-1]; s.Connected != 0 || s.Acknowledged < all[0].Acknowledged {
		t.Errorf("at the end: %s", s)
	}
}

func TestRun_RampsUpAtTheConnectRate(t *testing.T) {
	var mu sync.Mutex
	var times []time.Time
	broker := startBroker(t, "", &testHook{authenticate: func(string, string) bool {
		mu.Lock()
		defer mu.Unlock()
		times = append(times, time.Now())
		return true
	}})
	mustRun(t, t.Context(), Config{Broker: broker.url(), Sensors: 20, ConnectRate: 50, QoS: 1, Count: 1, Interval: time.Millisecond})
	if got := times[len(times)-1].Sub(times[0]); len(times) != 20 || got < 300*time.Millisecond {
		t.Errorf("%d connects within %v want 20 over 380ms", len(times), got)
	}
}

func TestRun_DurationEndsItWithoutAFalseAlarm(t *testing.T) {
	hanging, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close()
	r, err := Run(t.Context(), Config{Broker: hanging.Addr().String(), Sensors: 5, Duration: 50 * time.Millisecond})
	if err != nil || r.Unreachable != 0 || r.LastError != "" {
		t.Errorf("a run that ended while connecting: got %v, report: %s", err, r)
	}
}

func TestRun_RefusesABadConfigBeforeDoingAnything(t *testing.T) {
	if _, err := Run(t.Context(), Config{QoS: 7}); err == nil || !strings.Contains(err.Error(), "qos") {
		t.Errorf("got %v", err)
	}
	if _, err := Run(t.Context(), Config{Broker: "ssl://127.0.0.1:1", CAFile: "/nowhere.pem"}); err == nil || !strings.Contains(err.Error(), "/nowhere.pem") {
		t.Errorf("got %v", err)
	}
}
