package drive

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTakeover_TheNewestWins has several connections wait for a session that its holder cannot give back yet, because the store does not
// answer: the one that came last is the client's living one.
func TestTakeover_TheNewestWins(t *testing.T) {
	const waiting, received = 10, `mqtt_packets_total{direction="received"}`
	dir, _ := founded(t, 1)
	s := serve(t, dir)
	for _, version := range []byte{4, 5} {
		l := sensorLogin(0, version)
		holder, err := s.client("tcp", l)
		if err != nil {
			t.Fatal(err)
		}
		defer holder.vanish()
		before := s.metrics()[received]
		unlock := lockDatabase(t, dir)
		if _, err := holder.Write(publication{topic: topicOf(0), payload: `{"held":1}`, qos: 1, id: 1}.packet(version)); err != nil {
			t.Fatal(err)
		}
		s.settled(received, before+1)
		var all []*rival
		for n := range waiting {
			r, err := s.claim("tcp", l, topicOf(0), n)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
			if n == 0 {
				s.awaitClaim()
				continue
			}
			select {
			case <-all[n-1].over: // the one before gives up its claim for this one
			case <-time.After(patience):
				t.Fatalf("version %d: connection %d waits beside a newer one", version, n-1)
			}
		}
		unlock()
		patience := time.After(patience)
		for _, r := range all[:waiting-1] {
			select {
			case <-r.over:
			case <-patience:
				t.Errorf("version %d: connection %d is still there", version, r.number)
			}
		}
		if last := all[waiting-1]; !last.alive() {
			t.Errorf("version %d: the newest of %d connections was closed for an older one", version, waiting)
		}
		for _, r := range all {
			r.d.vanish()
		}
		s.settled("mqtt_connections", 0)
	}
}

// awaitClaim waits until a connection waits for its session. Only the server's stacks tell, for it has not answered yet.
func (s *instance) awaitClaim() {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		resp, err := http.Get("http://" + s.addr["admin"] + "/debug/pprof/goroutine?debug=2")
		if err != nil {
			s.t.Fatal(err)
		}
		stacks, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.Contains(string(stacks), "broker.(*sessions).claim(") {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("nobody waits for the session\n%s", stacks)
		}
	}
}
