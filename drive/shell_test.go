package drive

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sensorcast/bridge"
)

// shell runs a command to its end and returns what it printed, what it complained of and its exit status.
func shell(t testing.TB, env []string, stdin string, args ...string) (out, complaint string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := program(ctx, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		status = failed.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	secrets.learn([]byte(stdout.String()))
	return stdout.String(), stderr.String(), status
}

// obeyed runs a command that succeeds and reads what it printed.
func obeyed(t testing.TB, result any, stdin string, args ...string) {
	t.Helper()
	out, complaint, status := shell(t, nil, stdin, append(args, "--json")...)
	if status != 0 {
		t.Fatalf("sensorcast %v: exit status %d, %s", args, status, complaint)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal([]byte(out), result); err != nil {
		t.Fatalf("sensorcast %v: %v in %s", args, err, out)
	}
}

// controlOf is the server's control socket.
func controlOf(dir string) string { return filepath.Join(dir, "control.sock") }

// signIn gives p the token of an account made elsewhere.
func (s *instance) signIn(name string) *person {
	s.t.Helper()
	p := &person{s: s, name: name, password: passwordOf(name)}
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	p.call("POST", "/api/v1/auth/login", map[string]any{"login": name, "password": p.password}, http.StatusOK, &grant)
	p.token = grant.AccessToken
	return p
}

// wantEnded expects the viewer's socket to be closed with the code.
func wantEnded(t *testing.T, viewer *bridge.Client, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for {
		_, err := viewer.Next(ctx)
		if err == nil {
			continue
		}
		if closed, ok := errors.AsType[*bridge.Closed](err); !ok || closed.Code != code {
			t.Errorf("the socket ended with %v, want code %d", err, code)
		}
		return
	}
}

func TestShell_CommandsReachTheRunningServer(t *testing.T) {
	// Longer than the address of a Unix socket.
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	s := serve(t, dir, "--registration", "closed")
	if info, err := os.Stat(controlOf(dir)); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Fatalf("control socket: %v, %v, want mode 0600", info, err)
	}
	var made struct {
		Role      string
		SecretKey string `json:"secret_key"`
	}
	obeyed(t, &made, passwordOf("ann")+"\n", "user", "create", "ann", "--email", "ann@example.com", "--password-stdin", "--data-dir", dir)
	if made.Role != "admin" {
		t.Errorf("the first account is %q, want admin, though registration is closed", made.Role)
	}
	ann := s.signIn("ann")
	var ticket struct{ URL string }
	ann.call("POST", "/api/v1/tickets", map[string]any{"all": true}, http.StatusCreated, &ticket)
	viewer := s.dial(ticket.URL)
	obeyed(t, &made, "", "sensor", "create", "SN1", "--as", "ann", "--data-dir", dir)
	if out, err := s.mosquittoPub("SN1", made.SecretKey, "sensors/SN1/telemetry", `{"t":1}`, "-q", "1"); err != nil {
		t.Errorf("the new sensor cannot publish: %v %s", err, out)
	}
	if f := nextReading(t, viewer); f.SerialNo != "SN1" {
		t.Errorf("the viewer was told %s, want SN1's reading", f.Raw)
	}
	if err := viewer.Send(map[string]any{"type": "command", "id": "c1", "serial_no": "SN1", "name": "reboot"}); err != nil {
		t.Fatal(err)
	}
	for f := next(t, viewer); f.Type != "ack"; f = next(t, viewer) {
	}
	obeyed(t, nil, passwordOf("anew")+"\n", "user", "password", "ann", "--password-stdin", "--data-dir", dir)
	wantEnded(t, viewer, 4401)
	var trail []struct{ Action, Actor, Via string }
	obeyed(t, &trail, "", "audit", "--data-dir", dir)
	var got []string
	for _, e := range trail {
		got = append(got, strings.TrimSpace(e.Actor+" "+e.Action+" "+e.Via))
	}
	want := []string{"set-password shell", "ann create-command session", "ann create-sensor shell", "ann login", "create-user shell"}
	if !slices.Equal(got, want) {
		t.Errorf("got trail %q, want %q", got, want)
	}
	if err := s.terminate(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(controlOf(dir)); err == nil {
		t.Errorf("the socket is still there after the stop")
	}
}

func TestShell_CommandsOutliveTheServerAndItsEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	obeyed(t, nil, passwordOf("ann")+"\n", "user", "create", "ann", "--email", "ann@example.com", "--password-stdin", "--data-dir", dir) // before the first start
	s := serve(t, dir)
	ann := s.signIn("ann")
	ann.sensor("SN1")
	s.kill()
	if _, err := os.Stat(controlOf(dir)); err != nil {
		t.Fatalf("a killed server leaves no socket: the test sees nothing: %v", err)
	}
	obeyed(t, nil, "", "sensor", "create", "SN2", "--as", "ann", "--data-dir", dir)
	s = serve(t, dir)
	ann = s.signIn("ann")
	ann.call("GET", "/api/v1/sensors/SN2", nil, http.StatusOK, nil)
	obeyed(t, nil, "", "sensor", "delete", "SN2", "--yes", "--as", "ann", "--data-dir", dir)
	ann.call("GET", "/api/v1/sensors/SN2", nil, http.StatusNotFound, nil)
	var list []struct {
		SerialNo string `json:"serial_no"`
	}
	obeyed(t, &list, "", "sensor", "list", "--as", "ann", "--data-dir", dir)
	if len(list) != 1 || list[0].SerialNo != "SN1" {
		t.Errorf("got %+v, want SN1", list)
	}
}

func TestShell_CommandsReachAServerElsewhereWithAToken(t *testing.T) {
	s := serve(t, t.TempDir())
	ann, bob := s.register("ann"), s.register("bob")
	ann.sensor("SN1")
	at := []string{"--url", "http://" + s.addr["http"]}
	run := func(p *person, args ...string) (string, string, int) {
		t.Helper()
		return shell(t, []string{"SENSORCAST_TOKEN=" + p.token}, passwordOf("eve")+"\n", append(args, at...)...)
	}
	if out, complaint, status := run(ann, "sensor", "list"); status != 0 || !strings.Contains(out, "SN1") {
		t.Errorf("ann's list: %d %s%s, want SN1", status, out, complaint)
	}
	if out, complaint, status := run(bob, "sensor", "show", "SN1"); status != 1 || !strings.Contains(complaint, "404") || out != "" {
		t.Errorf("bob looks at SN1: %d %s%s, want 404", status, out, complaint)
	}
	if _, complaint, status := run(ann, "user", "create", "eve", "--email", "eve@example.com", "--password-stdin"); status != 1 || !strings.Contains(complaint, "own machine") {
		t.Errorf("an admin makes an account from afar: %d %s, want to be told where", status, complaint)
	}
	if out, complaint, status := run(bob, "audit"); status != 0 || strings.Contains(out, "ann") || !strings.Contains(out, "register") {
		t.Errorf("bob's trail: %d %s%s, want his own only", status, out, complaint)
	}
	ann.token = ann.token[:len(ann.token)-6] + "forged"
	if _, complaint, status := run(ann, "sensor", "list"); status != 1 || !strings.Contains(complaint, "401") {
		t.Errorf("with a forged token: %d %s, want 401", status, complaint)
	}
}
