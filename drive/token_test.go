package drive

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// An API token is all that the tools of a person's scripts need, shows them the sensors it is for, and takes them along when it ends.
func TestToken_LetsToolsInUntilItIsRevoked(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, "--log-level", "debug")
	ann := s.register("ann")
	mine, other := ann.sensor("SN1"), ann.sensor("SN2")
	script, id := ann.script(map[string]any{"scopes": []string{"read"}, "serial_nos": []string{"SN1"}})
	if err := s.terminate(); err != nil { // it outlives the process
		t.Fatal(err)
	}
	s = serve(t, dir, "--log-level", "debug")
	ann.s, script.s = s, s
	lines := s.mosquittoSub(script, "#")
	stream := listen(t, "http://"+s.addr["http"], "", "-H", "Authorization: Bearer "+script.token)
	if hello := stream.expect("hello"); strings.Contains(hello.data, "SN2") {
		t.Errorf("hello of a token for SN1: got %s", hello.data)
	}
	watched := s.watches(script, "SN1")
	for _, sensor := range []struct{ serial, secret string }{{"SN2", other}, {"SN1", mine}} {
		if _, err := s.mosquittoPub(sensor.serial, sensor.secret, "sensors/"+sensor.serial+"/telemetry", `{"v":7}`, "-q", "1"); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := besideStatus(lines, "SN1"), `sensors/SN1/telemetry {"v":7}`; got != want {
		t.Errorf("mosquitto_sub printed %q, want %q first", got, want)
	}
	stream.expect("state")
	stream.expectReading(7)
	for line := range watched {
		if strings.Contains(line, `"data":{"v":7}`) {
			break
		}
	}
	for path, want := range map[string]int{"/sensors/SN1/readings": 200, "/sensors/SN2/readings": 404, "/users/me": 403, "/users/me/tokens": 403} {
		script.call("GET", "/api/v1"+path, nil, want, nil)
	}
	script.call("POST", "/api/v1/sensors/SN1/commands", map[string]any{"name": "blink"}, 403, nil)

	ann.call("DELETE", "/api/v1/users/me/tokens/"+id, nil, http.StatusNoContent, nil)
	revoked := time.Now()
	stream.expectEnd(4401)
	if took := time.Since(revoked); took > time.Second {
		t.Errorf("the stream ended %s after the token, want at most a second", took)
	}
	closed := time.After(patience)
	for name, output := range map[string]<-chan string{"mosquitto_sub": lines, "sensorcast watch": watched} {
		for open := true; open; { // each tries once more and is refused
			select {
			case _, open = <-output:
			case <-closed:
				t.Fatalf("%s goes on with a revoked token", name)
			}
		}
	}
	script.call("GET", "/api/v1/sensors", nil, http.StatusUnauthorized, nil)
	s.inspect()
}

func TestToken_ExpiryEndsAStreamWithinASecond(t *testing.T) {
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	ann.sensor("SN1")
	ends := time.Now().Add(2 * time.Second).Truncate(time.Millisecond)
	script, _ := ann.script(map[string]any{"scopes": []string{"read"}, "expires_at": ends.UTC().Format(time.RFC3339Nano)})
	stream := listen(t, "http://"+s.addr["http"], "", "-H", "Authorization: Bearer "+script.token)
	stream.expect("hello")
	eyes := s.subscriber(t, mqttScript, script)
	stream.expectEnd(4401)
	<-eyes.over
	for what, at := range map[string]time.Time{"stream": time.Now(), "MQTT connection": eyes.end} {
		if late := at.Sub(ends); late < 0 || late > time.Second {
			t.Errorf("the %s ended %v after the token, want within a second", what, late)
		}
	}
	script.call("GET", "/api/v1/sensors", nil, http.StatusUnauthorized, nil)
}

// watches runs `sensorcast watch` and returns the lines it prints, once it has said hello.
func (s *instance) watches(p *person, serial string) <-chan string {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	cmd := program(ctx, "watch", serial, "--json", "--url", "http://"+s.addr["http"])
	cmd.Env = append(os.Environ(), "SENSORCAST_TOKEN="+p.token)
	cmd.Stderr = &s.said
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	lines := make(chan string, 100)
	go func() { // ends with the program
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	if hello := <-lines; !strings.Contains(hello, `"type":"hello"`) {
		s.t.Fatalf("first line of watch = %q, want the hello frame", hello)
	}
	return lines
}
