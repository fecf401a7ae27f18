package drive

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/store"
	"sensorcast/telemetry"
)

// fleetSecret is every sensor's of a fleet.
const fleetSecret = "sdk_of-the-whole-fleet"

// founded makes a data directory with the account ann and n sensors of hers, F0 and on. The sensors come by way of the store, while no
// server runs: through REST ten thousand would take longer than what they are for.
func founded(t testing.TB, n int) (dir string, ann *person) {
	t.Helper()
	dir = t.TempDir()
	s := serve(t, dir)
	ann = s.register("ann")
	if err := s.terminate(); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(store.Config{Dir: dir}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	keys, err := auth.LoadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := db.UserByLogin(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	secrets.add("secret_key", fleetSecret)
	hash := auth.NewDirectory(keys).HashSecret(fleetSecret)
	for i := range n {
		if err := db.CreateSensor(t.Context(), &telemetry.Sensor{Serial: serialOf(i), Name: serialOf(i), OwnerID: owner.ID}, hash); err != nil {
			t.Fatal(err)
		}
	}
	return dir, ann
}

func serialOf(i int) string { return "F" + strconv.Itoa(i) }

// willOfSensor is for the i-th sensor's own topic, with QoS 1.
func willOfSensor(i int, payload string, props []byte) *willOf {
	return &willOf{topic: "sensors/" + serialOf(i) + "/lwt", payload: payload, qos: 1, props: props}
}

func topicOf(i int) string { return "sensors/" + serialOf(i) + "/telemetry" }

// sensorLogin is the i-th sensor's, with a clean session and its serial as client id.
func sensorLogin(i int, version byte) login {
	return login{role: role{serialOf(i), fleetSecret}, id: serialOf(i), version: version}
}

// needFiles makes sure that this process, and the server it starts, may have n sockets.
func needFiles(t testing.TB, n uint64) {
	t.Helper()
	n += 500 // and what else is open
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < n {
		limit.Cur, limit.Max = n, max(n, limit.Max)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatalf("%d open files are needed and not allowed (%v); allow them with: ulimit -n %d", n, err, n)
		}
	}
}

// metrics reads the server's figures, by name with labels.
func (s *instance) metrics() map[string]float64 {
	s.t.Helper()
	resp, err := http.Get("http://" + s.addr["admin"] + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	all := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[strings.TrimPrefix(name, "sensorcast_")] = v
		}
	}
	return all
}

// attending is how many goroutines of the server attend to clients of MQTT.
func (s *instance) attending() (n int) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.addr["admin"] + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	profile, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, stack := range strings.Split(string(profile), "\n\n") {
		if strings.Contains(stack, "sensorcast/broker.(*conn)") || strings.Contains(stack, "sensorcast/bridge.(*Tunnel)") {
			head := stack[:strings.Index(stack, " @")]
			some, err := strconv.Atoi(head[strings.LastIndex(head, "\n")+1:]) // the first one has the profile's title above it
			if err != nil {
				s.t.Fatalf("read the profile: %v in %.200s", err, stack)
			}
			n += some
		}
	}
	return n
}

// settled waits until a figure is what it should be.
func (s *instance) settled(name string, want float64) {
	s.t.Helper()
	s.comesTo(name, fmt.Sprint(want), func(got float64) bool { return got == want })
}

// comesTo waits until a figure is as it should be.
func (s *instance) comesTo(name, want string, fine func(got float64) bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := s.metrics()[name]
		if fine(got) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("%s = %v, want %s", name, got, want)
			return
		}
		time.Sleep(10 * time.Millisecond) // asks a process of its own, again and again
	}
}

// nothingRefused checks that the server turned nobody away and ended no connection by itself.
func (s *instance) nothingRefused() {
	s.t.Helper()
	m := s.metrics()
	for name, n := range m {
		if n > 0 && (strings.HasPrefix(name, "mqtt_logins_refused_total") || name == "mqtt_accept_errors_total" ||
			strings.HasPrefix(name, "mqtt_disconnected_total") && !strings.Contains(name, "takeover")) {
			s.t.Errorf("%s = %v, want 0", name, n)
		}
	}
}

// resident is how much memory the server has, in bytes.
func (s *instance) resident() int {
	s.t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "status"))
	if err != nil {
		if runtime.GOOS != "linux" {
			s.t.Skip("only Linux has /proc")
		}
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return kib << 10
}

// crowd runs n logins at once and returns who got in, and the errors of the others by their text.
func crowd(n int, enter func(i int) (*client, error)) (in []*client, refused map[string]int) {
	refused = map[string]int{}
	in = make([]*client, n)
	errs := make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			in[i], errs[i] = enter(i)
		})
	}
	close(start)
	all.Wait()
	for _, err := range errs {
		if err != nil {
			if inner := errors.Unwrap(err); inner != nil {
				err = inner // without its port
			}
			refused[err.Error()]++
		}
	}
	return slices.DeleteFunc(in, func(d *client) bool { return d == nil }), refused
}

func vanish(all []*client) {
	for _, d := range all {
		d.vanish()
	}
}
