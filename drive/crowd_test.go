package drive

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const asCrowd = "RUN_AS_CROWD"

// crowdOrder is what a crowd in a process of its own is told.
type crowdOrder struct {
	Transport string
	Addr      map[string]string
	N         int
	Person    [2]string // name and password to log in with over HTTP, in place of the sensors; empty: the sensors
}

// crowdReport is what became of it.
type crowdReport struct {
	In      int
	Took    time.Duration
	Refused map[string]int
}

// besiege has n sensors log in at once from a process that only gets processors nobody else wants (sched(7), SCHED_IDLE): in the world
// they are not on the server's machine, nor on its clients'.
func (s *instance) besiege(transport string, n int) (r crowdReport) {
	s.t.Helper()
	r = s.order(crowdOrder{Transport: transport, Addr: s.addr, N: n})
	if len(r.Refused) > 0 || r.In != n {
		s.t.Errorf("got %d in, want %d; the others: %v", r.In, n, r.Refused)
	}
	return r
}

// order has a crowd do as it is told.
func (s *instance) order(o crowdOrder) (r crowdReport) {
	s.t.Helper()
	order, err := json.Marshal(o)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("chrt", "--idle", "0", os.Args[0], "-test.run=^TestCrowd$")
	cmd.Env = append(os.Environ(), asCrowd+"="+strconv.Quote(string(order)))
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("the crowd (chrt is in util-linux): %v\n%s", err, out)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		s.t.Fatalf("the crowd said %q: %v", line, err)
	}
	return r
}

// TestCrowd is the other process.
func TestCrowd(t *testing.T) {
	text, err := strconv.Unquote(os.Getenv(asCrowd))
	if err != nil {
		t.Skip("is run by other tests")
	}
	var order crowdOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		t.Fatal(err)
	}
	s := &instance{t: t, addr: order.Addr}
	start := time.Now()
	if order.Person[0] != "" {
		report := crowdReport{Refused: map[string]int{}}
		for status, n := range s.logInAtOnce(order.N, func(int) (string, string) { return order.Person[0], order.Person[1] }) {
			report.Refused[strconv.Itoa(status)] = n
		}
		report.In, report.Took = report.Refused["200"], time.Since(start)
		delete(report.Refused, "200")
		if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
			t.Fatal(err)
		}
		return
	}
	in, refused := crowd(order.N, func(i int) (*client, error) { return s.client(order.Transport, sensorLogin(i, 4+byte(i&1))) })
	if err := json.NewEncoder(os.Stdout).Encode(crowdReport{len(in), time.Since(start), refused}); err != nil {
		t.Fatal(err)
	}
	vanish(in)
}

// BenchmarkStorm_OthersWait is how long acknowledgements take to ten publishers while nobody else is there, while a fleet logs in at
// once, and while it logs in at another server on this machine, which is what the fleet's own work and the kernel's cost them here.
func BenchmarkStorm_OthersWait(b *testing.B) {
	for _, c := range []struct {
		transport string
		fleet     int
	}{{"tcp", 10_000}, {"tls", 2_000}} {
		b.Run(c.transport, func(b *testing.B) {
			const others, rounds = 10, 5
			needFiles(b, uint64(c.fleet))
			start := func() *instance {
				dir, _ := founded(b, c.fleet+others)
				cert, key, _ := selfSigned(b, b.TempDir(), 1)
				return serve(b, dir, "--mqtts-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
			}
			s, control := start(), start()
			publishers := s.steadily(c.fleet, others, 10*time.Millisecond)
			waits := map[string][]time.Duration{}
			note := func(what string, r steadyReport) {
				b.Logf("%s: %v", what, r)
				waits[what] = append(waits[what], r.P99)
			}
			for b.Loop() {
				for range rounds {
					time.Sleep(time.Second)
					note("quiet", publishers.phase())
					took := s.besiege(c.transport, c.fleet).Took
					note("storm", publishers.phase())
					s.settled("mqtt_connections", others)
					publishers.phase()
					control.besiege(c.transport, c.fleet)
					note("elsewhere", publishers.phase())
					control.settled("mqtt_connections", 0)
					publishers.phase()
					b.Logf("all in after %v", took.Round(time.Millisecond))
				}
			}
			for what, all := range waits {
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, what+"-p99-ms")
			}
			publishers.end()
		})
	}
}
