package drive

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listening is curl on an event stream.
type listening struct {
	t      *testing.T
	cmd    *exec.Cmd
	events chan event  // closed when curl ends
	said   *safeBuffer // what curl complains of
}

// event is one as curl prints it. Ours have one data line each.
type event struct{ id, name, data string }

// listen starts curl, unbuffered, on /api/v1/events.
func listen(t *testing.T, base, query string, args ...string) *listening {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is missing; install it with: sudo apt-get install curl")
	}
	l := &listening{t: t, events: make(chan event, 1024), said: new(safeBuffer)}
	l.cmd = exec.Command(path, append([]string{"-sSN", "--fail-with-body", base + "/api/v1/events" + query}, args...)...)
	l.cmd.Stderr = l.said
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.leave)
	go func() { // ends with curl
		defer close(l.events)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		var e event
		for lines.Scan() {
			switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e.data != "" {
					l.events <- e
				}
				e = event{}
			}
		}
	}()
	return l
}

// leave ends curl the hard way.
func (l *listening) leave() {
	if l.cmd.ProcessState == nil {
		_ = l.cmd.Process.Kill()
		_ = l.cmd.Wait() // killed: what it says of that is known
	}
}

func (l *listening) expect(name string) event {
	l.t.Helper()
	select {
	case e, ok := <-l.events:
		if !ok || e.name != name {
			l.t.Fatalf("got event %+v (stream open: %v), want %s %s", e, ok, name, l.said)
		}
		return e
	case <-time.After(10 * time.Second):
		l.t.Fatalf("no event came, want %s", name)
	}
	return event{}
}

// expectReading checks id and data of the next event.
func (l *listening) expectReading(value int) event {
	l.t.Helper()
	e := l.expect("reading")
	var f struct {
		Seq  int64
		Data struct{ V int }
	}
	if err := json.Unmarshal([]byte(e.data), &f); err != nil || f.Data.V != value || fmt.Sprint(f.Seq) != e.id {
		l.t.Errorf("got %+v, %v, want value %d and its seq as id", e, err, value)
	}
	return e
}

// expectEnd checks the close event, and that curl finds the response complete.
func (l *listening) expectEnd(code int) {
	l.t.Helper()
	if e := l.expect("close"); !strings.HasPrefix(e.data, fmt.Sprintf(`{"code":%d,`, code)) {
		l.t.Errorf("got %+v, want close code %d", e, code)
	}
	if err := l.over(); err != nil {
		l.t.Errorf("curl: %v %s", err, l.said)
	}
}

// over waits for curl to end by itself, after no further event.
func (l *listening) over() error {
	l.t.Helper()
	for e := range l.events {
		l.t.Errorf("got %+v, want no further event", e)
	}
	return l.cmd.Wait()
}

// The whole of it with the tool everybody has: hello, live, the line cut, the server restarted, the login ended.
func TestEvents_CurlWatchesAndComesBack(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	bearer := "Authorization: Bearer " + ann.token
	publish := func(value int) {
		t.Helper()
		if status, text := ann.request("POST", "/api/v1/sensors/SN1/telemetry", secret, map[string]any{"v": value}); status != 202 {
			t.Fatalf("telemetry = %d %s", status, text)
		}
	}
	base := "http://" + s.addr["http"]
	l := listen(t, base, "", "-H", bearer)
	if hello := l.expect("hello"); hello.id != "0" || !strings.Contains(hello.data, `"serial_no":"SN1"`) {
		t.Errorf("got %+v, want a hello of the sensor at 0", hello)
	}
	publish(1)
	l.expect("state")
	last := l.expectReading(1)
	l.leave()

	publish(2)
	publish(3)
	l = listen(t, base, "?serial_no=SN1", "-H", bearer, "-H", "Last-Event-ID: "+last.id)
	if hello := l.expect("hello"); hello.id != last.id || !strings.Contains(hello.data, `"resumed":true`) {
		t.Errorf("got %+v, want it resumed at %s", hello, last.id)
	}
	l.expectReading(2)
	l.expectReading(3)
	publish(4)
	last = l.expectReading(4)
	if err := s.terminate(); err != nil {
		t.Errorf("the server did not stop cleanly with a stream open: %v", err)
	}
	l.expectEnd(1012)

	s = serve(t, dir)
	ann.s, base = s, "http://"+s.addr["http"]
	publish(5)
	l = listen(t, base, "", "-H", bearer, "-H", "Last-Event-ID: "+last.id)
	l.expect("hello")
	l.expectReading(5)
	start := time.Now()
	ann.call("POST", "/api/v1/auth/logout-all", nil, http.StatusNoContent, nil)
	l.expectEnd(4401)
	if took := time.Since(start); took > time.Second {
		t.Errorf("the stream ended %s after the login, want at most a second", took)
	}

	l = listen(t, base, "", "-H", bearer)
	if err := l.over(); err == nil {
		t.Errorf("an ended login still opens a stream")
	}
	if log := s.log.String(); strings.Contains(log, ann.token) {
		t.Errorf("the log holds the access token")
	}
}

func TestEvents_CurlWatchesOverHTTP2(t *testing.T) {
	s, _, _ := overTLS(t)
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	l := listen(t, "https://"+s.addr["https"], "?serial_no=SN1", "-H", "Authorization: Bearer "+ann.token,
		"--http2", "--insecure") // whose certificate it is other tests ask; curl takes none that names nobody
	l.expect("hello")
	if out, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", `{"v":1}`, "-q", "1"); err != nil {
		t.Fatalf("mosquitto_pub: %v %s", err, out)
	}
	l.expect("state")
	l.expectReading(1)
	ann.call("DELETE", "/api/v1/sensors/SN1", nil, http.StatusNoContent, nil)
	l.expectEnd(4404)
}
