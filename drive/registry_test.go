package drive

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

type inbox struct {
	Items []struct {
		Serial   string `json:"serial_no"`
		Attempts int
		Secret   string
	}
}

// A device with a serial and a secret of its own is refused, shows up, is adopted with one click, and is in at its next try.
func TestRegistry_UnknownDeviceIsAdopted(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	ann := s.register("ann")
	const secret = "flashed-at-the-factory"
	secrets.add("secret_key", secret)
	for range 2 {
		if out, err := s.mosquittoPub("SN-NEW", secret, "sensors/SN-NEW/telemetry", `{"t":1}`, "-q", "1"); err == nil {
			t.Fatalf("an unknown device was let in: %s", out)
		}
	}
	if _, err := s.mosquittoPub("ann", "not her password", "sensors/x", "x"); err == nil {
		t.Fatal("a wrong password was taken")
	}
	var seen inbox
	for until := time.Now().Add(patience); len(seen.Items) == 0; time.Sleep(100 * time.Millisecond) {
		if ann.call("GET", "/api/v1/inbox", nil, 200, &seen); time.Now().After(until) {
			t.Fatal("the device never showed up")
		}
	}
	if got := fmt.Sprint(seen.Items); got != "[{SN-NEW 2 shown}]" {
		t.Errorf("got inbox %s, want SN-NEW alone, twice, with its secret", got)
	}
	if err := s.terminate(); err != nil {
		t.Fatal(err)
	}
	s = serve(t, dir)
	ann.s = s
	if ann.call("GET", "/api/v1/inbox", nil, 200, &seen); len(seen.Items) != 1 {
		t.Fatalf("after a restart: got %v, want it still there", seen.Items)
	}
	ann.call("POST", "/api/v1/inbox/SN-NEW/adopt", map[string]any{"name": "Attic"}, 201, nil)
	viewer := ann.watch("SN-NEW")
	if out, err := s.mosquittoPub("SN-NEW", secret, "sensors/SN-NEW/telemetry", `{"t":2}`, "-q", "1"); err != nil {
		t.Fatalf("after adoption: %v %s", err, out)
	}
	if got := string(nextReading(t, viewer).Data); got != `{"t":2}` {
		t.Errorf("got %s, want {\"t\":2}", got)
	}
	if ann.call("GET", "/api/v1/inbox", nil, 200, &seen); len(seen.Items) != 0 {
		t.Errorf("got %v, want an empty inbox", seen.Items)
	}
}

// Ten thousand rows go in while sensors publish, 2,000 readings a second where there are processors for it: what they publish is acknowledged all the
// time, and what was acknowledged is there.
func TestRegistry_ImportUnderLoad(t *testing.T) {
	const publishers, rows = 10, 10_000
	dir, ann := founded(t, publishers)
	s := serve(t, dir)
	ann.s = s
	var ticket struct{ URL string }
	ann.call("POST", "/api/v1/tickets", map[string]any{"all": true}, 201, &ticket)
	viewer := s.dial(ticket.URL) // is told of each
	load := s.steadily(0, publishers, 5*time.Millisecond)
	time.Sleep(time.Second) // the measure of a quiet server
	quiet := load.phase()
	t.Logf("quiet: %v", quiet)

	var sheet strings.Builder
	sheet.WriteString("serial_no,name,tags,secret_key\n")
	for i := range rows {
		fmt.Fprintf(&sheet, "IM-%d,Imported %d,imported;hall %d,%s\n", i, i, i%20, fleetSecret)
	}
	start := time.Now()
	status, reply := s.csv("POST", "/api/v1/sensors/import", ann.token, sheet.String())
	took, during := time.Since(start), load.phase()
	t.Logf("import of %d in %v, others: %v", rows, took.Round(time.Millisecond), during)
	if status != http.StatusCreated || !strings.Contains(reply, fmt.Sprintf(`"created":%d`, rows)) {
		t.Fatalf("import = %d %.500s", status, reply)
	}
	status, reply = s.csv("POST", "/api/v1/sensors/import", ann.token, "serial_no\nIM-1\nbad serial\n")
	if status != http.StatusUnprocessableEntity || !strings.Contains(reply, `"row 3.serial_no"`) {
		t.Errorf("a bad row = %d %s, want 422 that names it", status, reply)
	}
	in, refused := crowd(100, func(i int) (*client, error) {
		serial := fmt.Sprintf("IM-%d", i*97)
		return s.client("tcp", login{role: role{serial, fleetSecret}, id: serial, version: 5})
	})
	if len(refused) > 0 {
		t.Errorf("of 100 imported sensors %d got in: %v", len(in), refused)
	}
	vanish(in)
	load.end()
	stored := 0
	for serial, all := range ann.log(publishers) {
		for at, r := range all {
			if r.Data.N != int64(at) {
				t.Errorf("%s: reading %d of the log is number %d", serial, at, r.Data.N)
				break
			}
		}
		stored += len(all)
	}
	if acknowledged := quiet.N + during.N; stored < acknowledged {
		t.Errorf("%d readings are stored, want the %d acknowledged", stored, acknowledged)
	}
	if out, err := s.mosquittoPub("IM-9999", fleetSecret, "sensors/IM-9999/telemetry", `{"last":1}`, "-q", "1"); err != nil {
		t.Fatalf("publish as an imported sensor: %v %s", err, out)
	}
	for f := nextReading(t, viewer); string(f.Data) != `{"last":1}`; f = nextReading(t, viewer) {
	}
	status, reply = s.csv("GET", "/api/v1/sensors/export", ann.token, "")
	if lines := strings.Count(reply, "\n"); status != http.StatusOK || lines != 1+rows+publishers {
		t.Errorf("export = %d with %d lines, want %d", status, lines, 1+rows+publishers)
	}
	s.nothingRefused()
}

// csv makes a request with a sheet, or for one.
func (s *instance) csv(method, path, token, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, "http://"+s.addr["http"]+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/csv")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode < 400 {
		secrets.learn(reply)
	}
	return resp.StatusCode, string(reply)
}
