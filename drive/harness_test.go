// Package drive has the tests that drive the whole server as its users do: the command, built once, in a process of its own; MQTT through
// TCP, TLS and WebSockets, by hand and by the clients of others; REST, tickets and sockets of viewers. Of the server they know what it
// prints, what it answers and what its admin listener tells, so that they hold whatever becomes of the code. What wants a clock of its
// own or a look inside belongs to the package it is about.
//
// harness, fleet: processes, accounts, sensors, figures. door, packet, client, peer: MQTT by hand. The rest are tests: endtoend, login, edge
// and command for the product; conformance, malformed and defects for the protocol; interop for other people's clients; journal, crash, will,
// takeover, storm, logins and footprint for what goes wrong and for many at once; relay for viewers, many of them, through all of it; access for
// who may what, as docs/access.md shows it. canary looks
// for secrets in whatever any of these servers said.
package drive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sensorcast/bridge"
)

// executable is the sensorcast command as it is packaged, built once, with the race detector when the tests are.
var executable string

func TestMain(m *testing.M) {
	if os.Getenv(asSteady) != "" {
		os.Exit(m.Run()) // one of our own children, which starts no server
	}
	os.Exit(withBinary(m.Run))
}

func withBinary(run func() int) int {
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64 // or thousands of requests leave as many ports behind
	dir, err := os.MkdirTemp("", "sensorcast-drive-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a directory for the binary:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	executable = filepath.Join(dir, "sensorcast")
	args := []string{"build", "-o", executable}
	if raceEnabled() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "sensorcast/cmd/sensorcast")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the server: %v\n%s", err, out)
		return 1
	}
	return run()
}

// raceEnabled reports whether the tests were built with -race.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// program prepares the command as a child process.
func program(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, executable, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// instance is a running server.
type instance struct {
	t    testing.TB
	cmd  *exec.Cmd
	dir  string            // its data directory
	addr map[string]string // by listener: http, mqtt, admin
	log  *safeBuffer
	said safeBuffer // what else it said that must hold no secret: errors, figures, profiles
	done chan error
}

// serve starts a server on free ports and waits until it listens.
func serve(t testing.TB, dir string, args ...string) *instance {
	t.Helper()
	args = append([]string{
		"serve", "--data-dir", dir, "--http-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
	}, args...)
	s := &instance{t: t, cmd: program(context.Background(), args...), dir: dir, addr: map[string]string{}, log: new(safeBuffer), done: make(chan error, 1)}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.kill(); s.sound(t) })
	ready := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(io.TeeReader(stderr, s.log))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var entry struct{ Msg, Listener, Addr string }
			_ = json.Unmarshal(lines.Bytes(), &entry) // what is no JSON is no such entry
			if entry.Msg == "listening" {
				s.addr[entry.Listener] = entry.Addr
			}
			if entry.Msg == "serving" {
				close(ready)
			}
		}
		s.done <- s.cmd.Wait()
	}()
	select {
	case <-ready:
	case err := <-s.done:
		t.Fatalf("server ended at start: %v\n%s", err, s.log)
	case <-time.After(30 * time.Second):
		t.Fatalf("server did not start within 30 s\n%s", s.log)
	}
	return s
}

// kill ends the server the hard way.
func (s *instance) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		<-s.done
		s.done <- nil
	}
}

// sound checks that the server told of no data race, which only one built to look for them can, of no panic and no secret.
func (s *instance) sound(t testing.TB) {
	t.Helper()
	if leaks := secrets.in(s.log.String(), s.said.String()); len(leaks) > 0 {
		t.Errorf("the server told secrets: %q", leaks)
	}
	if leaks := secrets.kept(t, s.dir); len(leaks) > 0 {
		t.Errorf("the server keeps secrets as they are: %q", leaks)
	}
	for _, mark := range []string{"WARNING: DATA RACE", "panic: ", "\ngoroutine "} {
		if log := s.log.String(); strings.Contains(log, mark) {
			t.Errorf("the server's log holds %q:\n%s", mark, log)
			return
		}
	}
}

// terminate ends it politely and returns how it ended.
func (s *instance) terminate() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-s.done:
		s.done <- nil
		return err
	case <-time.After(30 * time.Second):
		return fmt.Errorf("still running 30 s after SIGTERM\n%s", s.log)
	}
}

// port is the port of a listener.
func (s *instance) port(listener string) string {
	_, port, _ := strings.Cut(s.addr[listener], ":")
	return port
}

// person is an account with an access token.
type person struct {
	s        *instance
	name     string
	password string
	token    string
}

// passwordOf is what people of the tests log in with. It ends in what is nobody's name, since secrets are looked for by their ends.
func passwordOf(name string) string { return name + ", a correct horse" }

func (s *instance) register(name string) *person {
	s.t.Helper()
	p := &person{s: s, name: name, password: passwordOf(name)}
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	p.call("POST", "/api/v1/auth/register", map[string]any{
		"username": name, "email": name + "@example.com", "password": p.password, "first_name": "F", "last_name": "L",
	}, 201, &grant)
	p.token = grant.AccessToken
	return p
}

// call makes one request and fails the test on another status than wanted.
func (p *person) call(method, path string, body any, want int, result any) {
	p.s.t.Helper()
	status, text := p.request(method, path, p.token, body)
	if status != want {
		p.s.t.Fatalf("%s %s = %d %s, want %d", method, path, status, text, want)
	}
	if result != nil {
		if err := json.Unmarshal(text, result); err != nil {
			p.s.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
}

func (p *person) request(method, path, token string, body any) (int, []byte) {
	p.s.t.Helper()
	status, reply, err := p.try(method, path, token, body)
	if err != nil {
		p.s.t.Fatal(err)
	}
	return status, reply
}

// try is request for goroutines, and for servers that may be down.
func (p *person) try(method, path, token string, body any) (status int, reply []byte, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
		secrets.learn(text)
	}
	req, err := http.NewRequest(method, "http://"+p.s.addr["http"]+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if reply, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil, err
	}
	if resp.StatusCode >= 400 {
		_, _ = p.s.said.Write(reply) // memory
	} else {
		secrets.learn(reply)
	}
	return resp.StatusCode, reply, nil
}

// sensor registers a sensor and returns its secret.
func (p *person) sensor(serial string) (secret string) {
	p.s.t.Helper()
	var made struct {
		SecretKey string `json:"secret_key"`
	}
	p.call("POST", "/api/v1/sensors", map[string]any{"serial_no": serial, "name": "Sensor " + serial}, 201, &made)
	return made.SecretKey
}

// watch opens a viewer's socket and reads its hello.
func (p *person) watch(serials ...string) *bridge.Client {
	p.s.t.Helper()
	var ticket struct{ URL string }
	p.call("POST", "/api/v1/tickets", map[string]any{"serial_nos": serials}, 201, &ticket)
	return p.s.dial(ticket.URL)
}

func (s *instance) dial(path string) *bridge.Client {
	s.t.Helper()
	c, err := bridge.Dial(s.t.Context(), "ws://"+s.addr["http"]+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if f := next(s.t, c); f.Type != "hello" {
		s.t.Fatalf("first frame = %s, want hello", f.Raw)
	}
	return c
}

// next reads one frame within a bound.
func next(t testing.TB, c *bridge.Client) bridge.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	f, err := c.Next(ctx)
	if err != nil {
		t.Fatalf("next frame: %v", err)
	}
	secrets.learn(f.Raw)
	return f
}

// nextReading skips what is no reading.
func nextReading(t testing.TB, c *bridge.Client) bridge.Frame {
	t.Helper()
	for {
		if f := next(t, c); f.Type == "reading" {
			return f
		}
	}
}

// tool finds one of the mosquitto tools, without which the end-to-end tests cannot be trusted.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing; install it with: sudo apt-get install mosquitto-clients", name)
	}
	return path
}

// mosquittoPub publishes one payload with the real tool and returns its output.
func (s *instance) mosquittoPub(user, password, topic, payload string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
	defer cancel()
	args = append([]string{"-h", "127.0.0.1", "-p", s.port("mqtt"), "-u", user, "-P", password, "-t", topic, "-m", payload}, args...)
	out, err := exec.CommandContext(ctx, tool(s.t, "mosquitto_pub"), args...).CombinedOutput()
	return string(out), err
}

// safeBuffer is a bytes.Buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
