package drive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// logins is how many people want in at one moment, as on a Monday or when somebody tries.
const logins = 500

// logInAtOnce has many log in at one moment, each once, and returns how often each status was the answer. Whoever is to come again is told when.
func (s *instance) logInAtOnce(n int, login func(i int) (name, password string)) map[int]int {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	answers := make([]int, n)
	failures := make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		name, password := login(i)
		all.Go(func() {
			<-start
			answers[i], failures[i] = s.logIn(client, name, password)
		})
	}
	close(start)
	all.Wait()
	counts := map[int]int{}
	for i, status := range answers {
		if failures[i] != nil {
			s.t.Errorf("login %d: %v", i, failures[i])
			continue
		}
		counts[status]++
	}
	return counts
}

func (s *instance) logIn(client *http.Client, name, password string) (status int, err error) {
	body, err := json.Marshal(map[string]any{"login": name, "password": password})
	if err != nil {
		return 0, err
	}
	resp, err := client.Post("http://"+s.addr["http"]+"/api/v1/auth/login", "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		secrets.learn(reply)
	case http.StatusUnauthorized:
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if resp.Header.Get("Retry-After") == "" {
			return 0, fmt.Errorf("%d without Retry-After: %s", resp.StatusCode, reply)
		}
	default:
		return 0, fmt.Errorf("got %d %s, want 200, 401, 429 or 503", resp.StatusCode, reply)
	}
	return resp.StatusCode, nil
}

// TestLogins_FiveHundredAtOnceLeaveTheServerWhole: all are answered, sensors publish on, and memory is that of the few passwords compared at a
// time (19 MiB each), whatever waits.
func TestLogins_FiveHundredAtOnceLeaveTheServerWhole(t *testing.T) {
	const publishers = 10
	needFiles(t, 2*logins)
	dir, ann := founded(t, publishers)
	s := serve(t, dir)
	ann.s = s
	others := s.steadily(0, publishers, 10*time.Millisecond)
	s.logInAtOnce(4, func(int) (string, string) { return "ann", ann.password }) // what any login costs
	s.collect()
	before, most := s.resident(), 0
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends when stop closes
		defer close(stopped)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			most = max(most, s.resident())
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	t.Logf("quiet: %v", others.phase())
	for _, storm := range []struct {
		name  string
		login func(i int) (string, string)
	}{
		{"right passwords", func(int) (string, string) { return "ann", ann.password }},
		{"right, wrong and unknown", func(i int) (string, string) {
			return []string{"ann", "ann", fmt.Sprint("nobody", i)}[i%3], []string{ann.password, "not the password", "not the password"}[i%3]
		}},
	} {
		counts := s.logInAtOnce(logins, storm.login)
		t.Logf("%s: %v; publishers: %v", storm.name, counts, others.phase())
		if sum(maps.Values(counts)) != logins || storm.name == "right passwords" && counts[200] == 0 {
			t.Errorf("%s: got answers %v, want %d, some of them 200", storm.name, counts, logins)
		}
	}
	close(stop)
	<-stopped
	others.end()
	t.Logf("memory: %d MiB before, %d MiB at most", before>>20, most>>20)
	if grown := most - before; !raceEnabled() && grown > 160<<20 {
		t.Errorf("memory grew by %d MiB, want at most 160: 500 passwords at once would take 9,500", grown>>20)
	}
	if status, reply := ann.request("GET", "/api/v1/users/me", ann.token, nil); status != 200 {
		t.Errorf("somebody logged in before: got %d %s, want 200", status, reply)
	}
	s.nothingRefused()
}

func sum(values func(yield func(int) bool)) (n int) {
	for v := range values {
		n += v
	}
	return n
}

// BenchmarkLogins_OthersWait is how long acknowledgements take to ten publishers while nobody else is there, while 500 people log in at once, and
// while they do at another server on this machine. ratio is the second by the first, what the promise is about: less than 2 where there is a
// processor for each. On few, elsewhere-ratio tells what of it is the machine's.
func BenchmarkLogins_OthersWait(b *testing.B) {
	const publishers, rounds = 10, 5
	needFiles(b, 2*logins)
	start := func() (*instance, *person) {
		dir, ann := founded(b, publishers)
		return serve(b, dir, "--login-failures-per-minute", "0"), ann
	}
	s, ann := start()
	control, _ := start()
	others := s.steadily(0, publishers, 10*time.Millisecond)
	waits := map[string][]time.Duration{}
	note := func(what string, r steadyReport) {
		b.Logf("%s: %v", what, r)
		waits[what] = append(waits[what], r.P99)
	}
	storm := func(s *instance) crowdReport {
		return s.order(crowdOrder{Addr: s.addr, N: logins, Person: [2]string{ann.name, ann.password}})
	}
	for b.Loop() {
		for range rounds {
			time.Sleep(time.Second)
			note("quiet", others.phase())
			r := storm(s)
			note("logins", others.phase())
			storm(control)
			note("elsewhere", others.phase())
			b.Logf("all answered after %v: %d in, the others %v", r.Took.Round(time.Millisecond), r.In, r.Refused)
		}
	}
	middle := map[string]float64{}
	for what, all := range waits {
		slices.Sort(all)
		middle[what] = float64(all[len(all)/2].Microseconds()) / 1000
		b.ReportMetric(middle[what], what+"-p99-ms")
	}
	b.ReportMetric(middle["logins"]/middle["quiet"], "ratio")
	b.ReportMetric(middle["elsewhere"]/middle["quiet"], "elsewhere-ratio")
	others.end()
}
