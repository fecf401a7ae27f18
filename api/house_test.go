package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sensorcast/alert"
	"sensorcast/audit"
	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/inbox"
	"sensorcast/ingest"
	"sensorcast/notify"
	"sensorcast/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is the API on the real parts: SQLite file, accounts, intake, and a socket on 127.0.0.1.
type house struct {
	t       *testing.T
	api     *API
	url     string
	db      *store.DB
	dir     *auth.Directory
	auth    *auth.Service
	pipe    *ingest.Pipe
	box     *command.Outbox
	inbox   *inbox.Inbox
	watch   *alert.Watch
	desk    *notify.Desk
	rules   *alert.Rules
	changes *changeLog
	logs    *logBuffer
	mail    *satchel
}

type option func(*Config, *auth.Config, *Deps)

func newHouse(t *testing.T, options ...option) *house {
	t.Helper()
	h := &house{t: t, changes: &changeLog{}, logs: &logBuffer{}, mail: &satchel{}}
	log := slog.New(slog.NewJSONHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	data := t.TempDir()
	keys, err := auth.LoadKeys(data)
	must(t, err)
	h.db, err = store.Open(store.Config{Dir: data}, log)
	must(t, err)
	h.dir = auth.NewDirectory(keys)
	devices, err := h.db.Devices(t.Context())
	must(t, err)
	h.dir.Load(devices)
	h.pipe = ingest.New(ingest.Config{LastSeq: h.db.LastSeq()}, h.db, log)
	h.box = command.New(h.db, h.dir, h.pipe, log)
	must(t, h.box.Load(t.Context()))
	h.watch = alert.New(alert.Config{}, h.db, h.dir, log)
	must(t, h.watch.Load(t.Context()))
	h.desk = notify.New(notify.Config{}, notify.Deps{Keeper: h.db, Addresses: h.db, Directory: h.dir, Seal: keys.Sealer("channels")}, log)
	h.rules = alert.NewRules(h.db, h.watch, log)
	must(t, h.rules.Load(t.Context()))
	h.pipe.Watch(h.rules)
	writing, stop := context.WithCancel(context.Background())
	written := make(chan struct{})
	go func() { // ends when the cleanup stops it
		defer close(written)
		var both sync.WaitGroup
		both.Go(func() { h.rules.Run(writing) })
		_ = h.box.Run(writing)
		both.Wait()
	}()
	changes := &auth.Changes{}
	changes.Watch(h.changes)
	changes.Watch(h.box)
	h.inbox = inbox.New(h.db, h.dir, log)
	changes.Watch(h.inbox)
	changes.Watch(h.watch)
	changes.Watch(h.rules)

	cfg := Config{Version: "v1.2.3", Registration: "open", SilenceAfter: 10 * time.Minute}
	policy := auth.Config{Registration: "open", Courier: h.mail}
	deps := Deps{
		Directory: h.dir, Changes: changes, Registry: h.db, History: h.db, Sharing: h.db, Transfers: h.db, Intake: h.pipe, Commands: h.box, Inbox: h.inbox,
		Audit: audit.New(h.db, log), Alerts: h.watch.Incidents(), Rules: h.rules, Cadences: h.watch, Channels: h.desk,
		Events: new(stage).serve, Ready: h.db.Ready, Log: log,
	}
	for _, o := range options {
		o(&cfg, &policy, &deps)
	}
	h.auth, err = auth.NewService(policy, keys, h.db, h.db, h.db, h.dir, changes, log)
	must(t, err)
	deps.Auth = h.auth
	h.api = New(cfg, deps)
	server := httptest.NewServer(h.api.Handler())
	h.url = server.URL
	t.Cleanup(func() {
		server.Close()
		h.api.Close()
		stop()
		<-written
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		must(t, h.pipe.Close(ctx))
		must(t, h.db.Close())
		http.DefaultClient.CloseIdleConnections()
		if t.Failed() {
			for line := range strings.Lines(h.logs.String()) {
				if strings.Contains(line, `"level":"ERROR"`) {
					t.Log(line)
				}
			}
		}
	})
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is what came back.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

// call sends a request. body is JSON-encoded unless it is a []byte or nil; header lines are "Name: value".
func (h *house) call(method, path, token string, body any, header ...string) answer {
	h.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	default:
		j, err := json.Marshal(b)
		must(h.t, err)
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, r)
	must(h.t, err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	must(h.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(h.t, err)
	return answer{t: h.t, what: method + " " + path, status: resp.StatusCode, header: resp.Header, body: b}
}

// want fails the test when the status is another.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: got %d %s, want %d", a.what, a.status, a.body, status)
	}
	return a
}

// wantProblem checks status, media type and the end of the problem's type, and returns the problem.
func (a answer) wantProblem(status int, kind string) Problem {
	a.t.Helper()
	a.want(status)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("%s: got content type %q, want application/problem+json", a.what, got)
	}
	var p Problem
	a.into(&p)
	if p.Type != "/problems/"+kind || p.Status != status || p.Title == "" {
		a.t.Errorf("%s: got problem %+v, want type /problems/%s, status %d and a title", a.what, p, kind, status)
	}
	return p
}

// wantFault checks that the problem names the field.
func (a answer) wantFault(status int, kind, location string) {
	a.t.Helper()
	p := a.wantProblem(status, kind)
	if !slices.ContainsFunc(p.Errors, func(f Fault) bool { return f.Location == location && f.Message != "" }) {
		a.t.Errorf("%s: got faults %+v, want one at %s", a.what, p.Errors, location)
	}
}

func (a answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.t.Fatalf("%s: body %q: %v", a.what, a.body, err)
	}
}

// fields decodes the body as an object.
func (a answer) fields() map[string]any {
	a.t.Helper()
	var m map[string]any
	a.into(&m)
	return m
}

// person is a logged-in account.
type personFixture struct {
	username, password string
	access, refresh    string
}

const goodPassword = "correct horse battery"

func (h *house) person(username string) personFixture {
	h.t.Helper()
	f := h.call("POST", "/api/v1/auth/register", "", map[string]any{
		"username": username, "email": username + "@example.org", "password": goodPassword,
	}).want(http.StatusCreated).fields()
	return personFixture{
		username: username,
		password: goodPassword,
		access:   f["access_token"].(string),
		refresh:  f["refresh_token"].(string),
	}
}

// sensor registers a sensor and returns its serial and secret.
func (h *house) sensor(p personFixture, draft map[string]any) (serial, secret string) {
	h.t.Helper()
	var created sensorAnswer
	h.call("POST", "/api/v1/sensors", p.access, draft).want(http.StatusCreated).into(&created)
	return created.Sensor["serial_no"].(string), created.Secret
}

type sensorAnswer struct {
	Sensor map[string]any `json:"sensor"`
	Secret string         `json:"secret_key"`
}

// send sends readings as the sensor does, one request each.
func (h *house) send(serial, secret string, payloads ...string) {
	h.t.Helper()
	for _, p := range payloads {
		h.call("POST", "/api/v1/sensors/"+serial+"/telemetry", secret, []byte(p)).want(http.StatusAccepted)
	}
}

// changeLog remembers the changes that were announced.
type changeLog struct {
	mu   sync.Mutex
	seen []auth.Change
}

func (c *changeLog) AuthorityChanged(ch auth.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, ch)
}

func (c *changeLog) count(kind auth.ChangeKind, serial string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.seen {
		if ch.Kind == kind && ch.Serial == serial {
			n++
		}
	}
	return n
}

// logBuffer collects what all parts log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
