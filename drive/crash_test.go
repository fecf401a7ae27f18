package drive

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"sensorcast/simulator"
)

// ledger remembers what was acknowledged: by serial, the data of each reading.
type ledger struct {
	mu    sync.Mutex
	acked map[string]map[string]int
	total int
}

func (l *ledger) acknowledged(serial string, payload []byte) {
	var envelope struct{ Data json.RawMessage }
	if err := json.Unmarshal(payload, &envelope); err != nil {
		panic(err) // the simulator wrote it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked[serial] == nil {
		l.acked[serial] = map[string]int{}
	}
	l.acked[serial][string(envelope.Data)]++
	l.total++
}

// TestCrash_EveryAcknowledgedReadingSurvivesKill kills the server with SIGKILL at random moments under QoS 1 load and compares what
// its publishers saw acknowledged with what it still has.
func TestCrash_EveryAcknowledgedReadingSurvivesKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	books := &ledger{acked: map[string]map[string]int{}}

	s := serve(t, dir)
	ann := s.register("ann")
	cfg := simulator.Config{
		Sensors: 8, Interval: time.Millisecond, InFlight: 20, QoS: 1, OnAcknowledged: books.acknowledged,
		Profiles: []string{simulator.Profiles()[0].Name}, ConnectRate: 1000, AckTimeout: 5 * time.Second,
	}
	for i := range cfg.Sensors {
		serial := fmt.Sprintf("CRASH-%d", i)
		cfg.Credentials = append(cfg.Credentials, simulator.Credential{Serial: serial, Secret: ann.sensor(serial)})
	}
	for round := range rounds {
		cfg.Broker = "tcp://" + s.addr["mqtt"]
		cfg.Seed = seed + uint64(round)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		before := books.total
		var fleet sync.WaitGroup
		fleet.Go(func() {
			if _, err := simulator.Run(ctx, cfg); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		})
		time.Sleep(300*time.Millisecond + time.Duration(random.Int64N(int64(500*time.Millisecond)))) // the random moment
		s.kill()
		cancel()
		fleet.Wait()
		if books.total == before {
			t.Errorf("round %d: nothing was acknowledged, so nothing was tested", round)
		}
		s = serve(t, dir)
		ann.s = s
	}
	missing := 0
	for serial, acked := range books.acked {
		stored := ann.history(serial)
		for data, n := range acked {
			if stored[data] < n {
				missing += n - stored[data]
			}
		}
	}
	t.Logf("%d readings acknowledged in %d rounds, %d missing", books.total, rounds, missing)
	if missing > 0 {
		t.Errorf("%d acknowledged readings are gone", missing)
	}
}

// history counts every stored reading of a sensor by its data.
func (p *person) history(serial string) map[string]int {
	p.s.t.Helper()
	all := map[string]int{}
	for cursor := ""; ; {
		var page struct {
			Items      []struct{ Data json.RawMessage }
			NextCursor *string `json:"next_cursor"`
		}
		p.call("GET", "/api/v1/sensors/"+serial+"/readings?limit=500&order=asc&cursor="+url.QueryEscape(cursor), nil, 200, &page)
		for _, r := range page.Items {
			all[string(r.Data)]++
		}
		if page.NextCursor == nil {
			return all
		}
		cursor = *page.NextCursor
	}
}
