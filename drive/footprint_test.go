package drive

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// idleMark is what an idle sensor may cost the server over TCP. From one run to the next the same server differs by a tenth and more, so
// that a test can only tell what is far from it.
const (
	idleMark = 10 << 10
	tooMuch  = idleMark * 3 / 2
)

// TestFootprint_IdleSensorsCostLittle tells what an idle connection costs the server in resident memory, by the way it came: go test -v
// -run TestFootprint prints it. A server of its own for each, so that nothing is reused.
func TestFootprint_IdleSensorsCostLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("memory under the race detector tells nothing")
	}
	cert, key, _ := selfSigned(t, t.TempDir(), 1)
	needFiles(t, 10_000)
	for _, tc := range []struct {
		name string
		n    int
		most int // bytes a connection; zero: any
		open func(s *instance, i int) (*client, error)
	}{
		{"TCP, not logged in", 3_000, 0, func(s *instance, i int) (*client, error) {
			c, err := net.Dial("tcp", s.addr["mqtt"])
			return newClient(c, 4), err
		}},
		{"TCP", 10_000, tooMuch, func(s *instance, i int) (*client, error) { return s.client("tcp", sensorLogin(i, 4)) }},
		{"TCP, subscribed", 10_000, 0, func(s *instance, i int) (*client, error) {
			d, err := s.client("tcp", sensorLogin(i, 4))
			if err == nil {
				err = d.subscribe(1, "sensors/"+serialOf(i)+"/commands")
			}
			return d, err
		}},
		{"TLS", 2_000, 0, func(s *instance, i int) (*client, error) { return s.client("tls", sensorLogin(i, 4)) }},
		{"WebSocket", 2_000, 0, func(s *instance, i int) (*client, error) { return s.client("ws", sensorLogin(i, 4)) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, _ := founded(t, tc.n)
			s := serve(t, dir, "--mqtts-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--connect-timeout", "1m")
			s.collect()
			before := s.resident()
			var all []*client
			defer func() { vanish(all) }()
			for from := 0; from < tc.n; from += 100 {
				in, refused := crowd(100, func(i int) (*client, error) { return tc.open(s, from+i) })
				if all = append(all, in...); len(refused) > 0 {
					t.Fatalf("refused: %v", refused)
				}
			}
			s.settled("mqtt_connections", float64(tc.n))
			each := (s.resident() - before) / tc.n
			s.collect()
			t.Logf("%-20s %5d connections: %5.1f KB each; after a collection %.1f KB; %s",
				tc.name, tc.n, float64(each)/1024, float64(s.resident()-before)/float64(tc.n)/1024, s.memory(tc.n))
			if tc.most > 0 && each > tc.most {
				t.Errorf("%d bytes a connection, want %d and certainly no more than %d", each, idleMark, tc.most)
			}
		})
	}
}

// collect has the server collect its garbage.
func (s *instance) collect() {
	s.t.Helper()
	resp, err := http.Get("http://" + s.addr["admin"] + "/debug/pprof/heap?gc=1")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		s.t.Fatal(err)
	}
}

// memory says what Go's own account of the memory in use is, for each of n.
func (s *instance) memory(n int) string {
	m := s.metrics()
	return fmt.Sprintf("heap %.1f KB, stacks %.1f KB of it", m["go_memstats_heap_inuse_bytes"]/float64(n)/1024, m["go_memstats_stack_inuse_bytes"]/float64(n)/1024)
}
