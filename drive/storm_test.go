package drive

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// full is how many a storm has, or few of them where time is short, as with the race detector.
func full(n int) int {
	if testing.Short() {
		return n / 20
	}
	return n
}

// TestStorm_EverySensorGetsInAtOnce has a fleet log in at one moment, as after a power cut, while others publish.
func TestStorm_EverySensorGetsInAtOnce(t *testing.T) {
	plain, secure, others := full(10_000), full(2_000), 10
	needFiles(t, uint64(plain+secure))
	dir, ann := founded(t, plain+others)
	cert, key, _ := selfSigned(t, t.TempDir(), 1)
	s := serve(t, dir, "--mqtts-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	ann.s = s
	publishers := s.steadily(plain, others, 10*time.Millisecond)
	time.Sleep(time.Second) // the measure of a quiet server
	t.Logf("quiet: %v", publishers.phase())

	storm := func(name, transport string, n int) {
		start := time.Now()
		in, refused := crowd(n, func(i int) (*client, error) { return s.client(transport, sensorLogin(i, 4+byte(i&1))) })
		took := time.Since(start)
		t.Logf("%s: %d in after %v, others: %v", name, len(in), took.Round(time.Millisecond), publishers.phase())
		if len(refused) > 0 {
			t.Errorf("%s: got %d in, want %d; the others: %v", name, len(in), n, refused)
		}
		s.settled("mqtt_connections", float64(len(in)+others))
		vanish(in)
		s.settled("mqtt_connections", float64(others))
	}
	storm("plain", "tcp", plain)
	storm("plain, again", "tcp", plain)
	storm("TLS", "tls", secure)
	publishers.end()
	s.nothingRefused()
	s.settled("mqtt_sessions", 0)

	// The same with a database nobody can read or write: who a sensor is the server has in its memory.
	s.settled("mqtt_connections", 0)
	unlock := lockDatabase(t, dir)
	if ann.reads(500 * time.Millisecond) {
		t.Fatal("the database can be read, so nothing is tested")
	}
	storm2 := time.Now()
	in, refused := crowd(plain, func(i int) (*client, error) { return s.client("tcp", sensorLogin(i, 4+byte(i&1))) })
	t.Logf("locked database: %d in after %v", len(in), time.Since(storm2).Round(time.Millisecond))
	if len(refused) > 0 {
		t.Errorf("locked database: got %d in, want %d; the others: %v", len(in), plain, refused)
	}
	if ann.reads(500 * time.Millisecond) {
		t.Error("the database could be read before the end of the storm, so nothing was tested")
	}
	unlock()
	vanish(in)
	if !ann.reads(patience) {
		t.Error("the database cannot be read after the lock is gone")
	}
	s.nothingRefused()
}

// lockDatabase takes, from outside, the locks without which SQLite neither reads nor writes a database with a write-ahead log: bytes 120
// to 127 of the index of that log (sqlite.org/walformat.html §2.3), the write lock to the last read lock.
func lockDatabase(t *testing.T, dir string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "sensorcast.db-shm"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	set := func(kind int16) error {
		return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: kind, Whence: io.SeekStart, Start: 120, Len: 8})
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // somebody may be reading
		if err = set(syscall.F_WRLCK); err == nil {
			return func() {
				if err := set(syscall.F_UNLCK); err != nil {
					t.Fatal(err)
				}
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("lock the database: %v", err)
		}
	}
}

// reads reports whether the server can look something up in the database within the time.
func (p *person) reads(limit time.Duration) bool {
	p.s.t.Helper()
	req, err := http.NewRequest("GET", "http://"+p.s.addr["http"]+"/api/v1/sensors/"+serialOf(0), nil)
	if err != nil {
		p.s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := (&http.Client{Timeout: limit}).Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// TestStorm_SilentAndSlowSocketsDisturbNobody opens thousands of sockets that say nothing, and hundreds that say it byte by byte or
// never read, while normal clients publish, and come and go.
func TestStorm_SilentAndSlowSocketsDisturbNobody(t *testing.T) {
	silent, slow, others := full(5_000), full(1_000), 10
	needFiles(t, uint64(silent+slow))
	dir, _ := founded(t, others+slow)
	s := serve(t, dir, "--connect-timeout", "5s")
	publishers := s.steadily(slow, others, 10*time.Millisecond)
	time.Sleep(time.Second) // the measure of a quiet server
	t.Logf("quiet: %v", publishers.phase())

	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", s.addr["mqtt"])
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		return c
	}
	start := time.Now()
	for i := range silent {
		c := dial()
		if i%2 == 1 { // half a CONNECT is as good as none
			if _, err := c.Write([]byte{pConnect << 4, 40, 0, 4, 'M'}); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d silent sockets open after %v", silent, time.Since(start).Round(time.Millisecond))
	// Those who subscribe to themselves, publish and do not read.
	for i := range slow {
		d, err := s.client("tcp", sensorLogin(i, 4+byte(i&1)))
		if err != nil {
			t.Errorf("login %d beside silent sockets: %v", i, err)
			break
		}
		open = append(open, d)
		m := publication{topic: topicOf(i), payload: `{"x":1}`}
		if err := d.send(subscribePacket(d.version, 1, 0, topicOf(i)), m.packet(d.version)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("slow ones in: %v", publishers.phase())
	for i := range 20 { // clients that come meanwhile
		d, err := s.client("tcp", login{role: role{serialOf(slow), fleetSecret}, id: "late", version: 4 + byte(i&1)})
		if err != nil {
			t.Errorf("newcomer %d: %v", i, err)
			continue
		}
		if err := d.publish(topicOf(slow), `{"late":1}`); err != nil {
			t.Errorf("newcomer %d: %v", i, err)
		}
		d.vanish()
	}
	t.Logf("with %d silent and %d slow: %v", silent, slow, publishers.phase())
	s.settled("mqtt_connections_pending", 0) // the connect timeout ends the silent ones
	t.Logf("silent ones are gone: %v", publishers.phase())
	publishers.end()
	s.nothingRefused()
}
