package drive

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestEndToEnd_MosquittoPubReachesTheBrowserUnchanged(t *testing.T) {
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	viewer := ann.watch("SN1")
	for qos := range 3 {
		for _, version := range []string{"mqttv311", "mqttv5"} {
			payload := fmt.Sprintf(`{"qos":%d,"version":"%s","nested":{"n":1234567890123456789},"t":21.50}`, qos, version)
			if out, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", payload, "-q", fmt.Sprint(qos), "-V", version); err != nil {
				t.Fatalf("mosquitto_pub -q %d -V %s: %v %s", qos, version, err, out)
			}
			if got := string(nextReading(t, viewer).Data); got != payload {
				t.Errorf("QoS %d %s arrived as %s, want %s", qos, version, got, payload)
			}
		}
	}
	var page struct {
		Items []struct{ Data json.RawMessage }
	}
	ann.call("GET", "/api/v1/sensors/SN1/readings", nil, 200, &page)
	if len(page.Items) != 6 {
		t.Errorf("history holds %d readings, want 6", len(page.Items))
	}
}

func TestEndToEnd_EachPayloadFormArrives(t *testing.T) {
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	viewer := ann.watch("SN1")
	for _, tc := range []struct{ topic, payload, want string }{
		{"sensors/SN1/telemetry", `21.5`, `{"value":21.5}`},
		{"sensors/SN1/telemetry/temperature", `21.5`, `{"temperature":21.5}`},
		{"sensors/SN1/telemetry/door", `OPEN`, `{"door":"OPEN"}`},
		{"sensors/SN1/telemetry", `[{"time":1716200000,"data":{"x":1}},{"time":1716200001,"data":{"x":2}}]`, `{"x":1}`},
	} {
		if out, err := s.mosquittoPub("SN1", secret, tc.topic, tc.payload, "-q", "1"); err != nil {
			t.Fatalf("mosquitto_pub %s: %v %s", tc.payload, err, out)
		}
		if got := string(nextReading(t, viewer).Data); got != tc.want {
			t.Errorf("%s %s arrived as %s, want %s", tc.topic, tc.payload, got, tc.want)
		}
	}
	if f := nextReading(t, viewer); string(f.Data) != `{"x":2}` || f.Time.String() != "2024-05-20T10:13:21.000Z" {
		t.Errorf("second of the batch = %s at %s, want {\"x\":2} at its own time", f.Data, f.Time)
	}
}

func TestEndToEnd_MalformedIsAcknowledgedCountedAndNotRelayed(t *testing.T) {
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	viewer := ann.watch("SN1")
	// mosquitto_pub returns only when a QoS 1 publish was acknowledged.
	if out, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", `{"broken":`, "-q", "1"); err != nil {
		t.Fatalf("malformed publish was not acknowledged: %v %s", err, out)
	}
	if _, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", `{"good":1}`, "-q", "1"); err != nil {
		t.Fatal(err)
	}
	if got := string(nextReading(t, viewer).Data); got != `{"good":1}` {
		t.Errorf("viewer got %s, want only the good reading", got)
	}
	var sensor struct {
		Problems struct {
			Malformed  int
			LastReason string `json:"last_reason"`
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for sensor.Problems.Malformed == 0 && time.Now().Before(deadline) {
		ann.call("GET", "/api/v1/sensors/SN1", nil, 200, &sensor)
	}
	if sensor.Problems.Malformed != 1 || !strings.Contains(sensor.Problems.LastReason, "JSON") {
		t.Errorf("problems = %+v, want 1 malformed with its reason", sensor.Problems)
	}
}

func TestEndToEnd_OthersTopicsAreRefused(t *testing.T) {
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	ann.sensor("SN2")
	viewer := ann.watch("SN2")
	if out, err := s.mosquittoPub("SN1", secret, "sensors/SN2/telemetry", `{"forged":1}`, "-q", "1"); err == nil && !strings.Contains(strings.ToLower(out), "error") && !strings.Contains(out, "lost") {
		t.Logf("mosquitto_pub said %q", out) // the tool of this version may end silently after the disconnect
	}
	if out, err := s.mosquittoPub("SN1", "wrong-secret-wrong", "sensors/SN1/telemetry", `{}`, "-q", "1"); err == nil {
		t.Errorf("a wrong secret was let in: %s", out)
	}
	status, text := ann.request("POST", "/api/v1/sensors/SN2/telemetry", secret, map[string]any{"forged": 2})
	if status != http.StatusUnauthorized {
		t.Errorf("SN1's secret on SN2's HTTP door = %d %s, want 401", status, text)
	}
	secret2 := rotate(ann, "SN2")
	if _, err := s.mosquittoPub("SN2", secret2, "sensors/SN2/telemetry", `{"own":1}`, "-q", "1"); err != nil {
		t.Fatal(err)
	}
	if got := string(nextReading(t, viewer).Data); got != `{"own":1}` {
		t.Errorf("viewer of SN2 got %s, want only what SN2 sent", got)
	}
}

func rotate(p *person, serial string) string {
	var made struct {
		SecretKey string `json:"secret_key"`
	}
	p.call("POST", "/api/v1/sensors/"+serial+"/secret", map[string]any{"grace_seconds": 0}, 200, &made)
	return made.SecretKey
}

func TestEndToEnd_SensorSocketReachesViewerAndMosquittoSub(t *testing.T) {
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	viewer := ann.watch("SN1")
	lines := s.mosquittoSub(ann, "+/+/telemetry")

	var ticket struct{ URL string }
	ann.call("POST", "/api/v1/device/tickets", map[string]any{"serial_no": "SN1", "secret_key": secret}, 201, &ticket)
	sensor := s.dial(ticket.URL)
	if err := sensor.Send(json.RawMessage(`{"id":"a1","data":{"numberOfPerson":12}}`)); err != nil {
		t.Fatal(err)
	}
	if f := next(t, sensor); f.Type != "ack" || string(f.ID) != `"a1"` {
		t.Errorf("sensor got %s, want ack a1", f.Raw)
	}
	if got := string(nextReading(t, viewer).Data); got != `{"numberOfPerson":12}` {
		t.Errorf("viewer got %s", got)
	}
	if got, want := <-lines, `sensors/SN1/telemetry {"numberOfPerson":12}`; got != want {
		t.Errorf("mosquitto_sub printed %q, want %q", got, want)
	}
	status, text := ann.request("POST", "/api/v1/sensors/SN1/telemetry", secret, map[string]any{"http": true})
	if status != http.StatusAccepted {
		t.Fatalf("HTTP ingest = %d %s, want 202", status, text)
	}
	if got := string(nextReading(t, viewer).Data); got != `{"http":true}` {
		t.Errorf("viewer got %s over HTTP ingest", got)
	}
}

// mosquittoSub subscribes as a person with the real tool and returns the lines it prints, once the subscription stands.
func (s *instance) mosquittoSub(p *person, filter string) <-chan string {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	// Into a pipe the tool would keep its debug lines, the SUBACK among them, in a buffer of its own.
	cmd := exec.CommandContext(ctx, "stdbuf", "-oL", tool(s.t, "mosquitto_sub"), "-h", "127.0.0.1", "-p", s.port("mqtt"), "-u", p.name, "-P", p.password, "-t", filter, "-v", "-d")
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	lines, standing := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			switch text := scan.Text(); {
			case strings.Contains(text, "received SUBACK"):
				close(standing)
			case strings.HasPrefix(text, "sensors/"), strings.HasPrefix(text, "alerts/"), strings.HasPrefix(text, "$"):
				lines <- text
			}
		}
	}()
	select {
	case <-standing:
	case <-time.After(10 * time.Second):
		s.t.Fatalf("mosquitto_sub -t %q as %s got no SUBACK\n%s", filter, p.name, s.log)
	}
	return lines
}

// besideStatus is the next line that is not the sensor's status.
func besideStatus(lines <-chan string, serial string) string {
	for line := range lines {
		if !strings.HasPrefix(line, "sensors/"+serial+"/status ") {
			return line
		}
	}
	return "nothing"
}

func TestEndToEnd_MosquittoSubSeesItsOwnSensorsOnly(t *testing.T) {
	s := serve(t, t.TempDir())
	ann, bob := s.register("ann"), s.register("bob")
	annSecret, bobSecret := ann.sensor("SN-ann"), bob.sensor("SN-bob")
	annSees, bobSees := s.mosquittoSub(ann, "#"), s.mosquittoSub(bob, "sensors/+/telemetry")
	for range 3 {
		if _, err := s.mosquittoPub("SN-ann", annSecret, "sensors/SN-ann/telemetry", `{"of":"ann"}`, "-q", "1"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.mosquittoPub("SN-bob", bobSecret, "sensors/SN-bob/telemetry", `{"of":"bob"}`, "-q", "1"); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if got := besideStatus(annSees, "SN-ann"); got != `sensors/SN-ann/telemetry {"of":"ann"}` {
			t.Errorf("ann sees %q", got)
		}
		if got := <-bobSees; got != `sensors/SN-bob/telemetry {"of":"bob"}` {
			t.Errorf("bob sees %q", got)
		}
	}
}

func TestEndToEnd_TicketsAreRefusedBeforeTheUpgrade(t *testing.T) {
	s := serve(t, t.TempDir(), "--ticket-ttl", "300ms")
	ann, bob := s.register("ann"), s.register("bob")
	ann.sensor("SN1")
	if status, _ := bob.request("POST", "/api/v1/tickets", bob.token, map[string]any{"serial_no": "SN1"}); status != http.StatusNotFound {
		t.Errorf("bob's ticket for ann's sensor = %d, want 404", status)
	}
	var ticket struct{ URL string }
	ann.call("POST", "/api/v1/tickets", map[string]any{"serial_no": "SN1"}, 201, &ticket)
	s.dial(ticket.URL)
	for name, path := range map[string]string{"used": ticket.URL, "none": "/ws", "access token": "/ws?ticket=" + ann.token} {
		if status, _ := ann.upgrade(path); status != http.StatusUnauthorized {
			t.Errorf("%s ticket = %d, want 401", name, status)
		}
	}
	ann.call("POST", "/api/v1/tickets", map[string]any{"serial_no": "SN1"}, 201, &ticket)
	time.Sleep(310 * time.Millisecond) // the very lifetime is what is tested
	if status, _ := ann.upgrade(ticket.URL); status != http.StatusUnauthorized {
		t.Errorf("expired ticket = %d, want 401", status)
	}
}

// upgrade asks for a WebSocket by hand and returns what comes instead.
func (p *person) upgrade(path string) (int, string) {
	p.s.t.Helper()
	req, err := http.NewRequest("GET", "http://"+p.s.addr["http"]+path, nil)
	if err != nil {
		p.s.t.Fatal(err)
	}
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		p.s.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Content-Type")
}

func TestEndToEnd_RestartKeepsEverythingAndSaysGoodbye(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	viewer := ann.watch("SN1")
	if _, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", `{"before":1}`, "-q", "1"); err != nil {
		t.Fatal(err)
	}
	nextReading(t, viewer)
	if err := s.terminate(); err != nil {
		t.Fatalf("SIGTERM: %v\n%s", err, s.log)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := viewer.Next(ctx); err == nil || !strings.Contains(err.Error(), "1012") {
		t.Errorf("viewer was told %v, want close code 1012", err)
	}

	s = serve(t, dir)
	ann.s = s
	if _, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", `{"after":1}`, "-q", "1"); err != nil {
		t.Fatal(err)
	}
	var page struct {
		Items []struct {
			Seq  int64
			Data json.RawMessage
		}
	}
	ann.call("GET", "/api/v1/sensors/SN1/readings", nil, 200, &page)
	if len(page.Items) != 2 || string(page.Items[0].Data) != `{"after":1}` || page.Items[0].Seq <= page.Items[1].Seq {
		t.Errorf("history after the restart = %+v, want both readings, newest first, seq rising", page.Items)
	}
}

func TestEndToEnd_WatchPrintsWhatABrowserGets(t *testing.T) {
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := program(ctx, "watch", "SN1", "--json", "--url", "http://"+s.addr["http"])
	cmd.Env = append(os.Environ(), "SENSORCAST_TOKEN="+ann.token)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.Contains(lines.Text(), `"type":"hello"`) {
		t.Fatalf("first line = %q, want the hello frame", lines.Text())
	}
	if _, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", `{"temperature":21.5}`, "-q", "1"); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"type":"reading"`) {
			break
		}
	}
	if !strings.Contains(lines.Text(), `"data":{"temperature":21.5}`) {
		t.Errorf("watch printed %q, want the reading", lines.Text())
	}
}

func TestEndToEnd_NothingPrintedHoldsASecret(t *testing.T) {
	s := serve(t, t.TempDir(), "--log-level", "debug")
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	viewer := ann.watch("SN1")
	var ticket struct{ Ticket, URL string }
	ann.call("POST", "/api/v1/tickets", map[string]any{"serial_no": "SN1"}, 201, &ticket)
	for _, path := range []string{ticket.URL, ticket.URL, ticket.URL + "x"} {
		ann.upgrade(path)
	}
	if _, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", `{"canary":"payload-canary"}`, "-q", "1"); err != nil {
		t.Fatal(err)
	}
	nextReading(t, viewer)
	_, _ = s.mosquittoPub("SN1", "wrong-"+secret, "sensors/SN1/telemetry", `{}`)
	_, _ = s.mosquittoPub("ann", ann.password+"x", "sensors/SN1/telemetry", `{}`)
	ann.request("POST", "/api/v1/auth/login", "", map[string]any{"login": "ann", "password": "nope-" + ann.password})
	_, metrics := func() (int, []byte) {
		admin := &person{s: &instance{t: t, addr: map[string]string{"http": s.addr["admin"]}}}
		return admin.request("GET", "/metrics", "", nil)
	}()
	if err := s.terminate(); err != nil {
		t.Fatal(err)
	}
	printed := s.log.String() + string(metrics)
	for name, canary := range map[string]string{
		"secret": secret, "password": ann.password, "access token": ann.token, "ticket": ticket.Ticket, "payload": "payload-canary",
	} {
		if canary == "" {
			t.Fatalf("no %s to look for", name)
		}
		if strings.Contains(printed, canary) {
			t.Errorf("the %s was printed", name)
		}
	}
	if strings.Contains(string(metrics), "SN1") {
		t.Error("a serial number is in the metrics")
	}
}
