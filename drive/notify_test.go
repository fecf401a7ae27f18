package drive

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// TestNotify_ANoticeArrivesWhateverStopsTheServer has a server told by its own database, as alerts do, and killed while it sends.
func TestNotify_ANoticeArrivesWhateverStopsTheServer(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards what follows
	var verify *standardwebhooks.Webhook
	var ids []string
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if err := verify.Verify(body, r.Header); err != nil {
			t.Errorf("signature: %v", err)
		}
		ids = append(ids, r.Header.Get("Webhook-Id"))
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(receiver.Close)

	dir := t.TempDir()
	allow := []string{"--webhook-allow", "127.0.0.0/8"}
	s := serve(t, dir, allow...)
	ann := s.register("ann")
	ann.sensor("SN1")
	var made struct {
		Channel struct{ ID string }
		Secret  string
	}
	ann.call("POST", "/api/v1/channels", map[string]any{"name": "hook", "type": "webhook", "url": receiver.URL + "/hooks/what-only-its-owner-knows"}, http.StatusCreated, &made)
	var err error
	verify, err = standardwebhooks.NewWebhook(made.Secret)
	if err != nil {
		t.Fatal(err)
	}
	var trial struct {
		Sent    bool
		Outcome string
	}
	ann.call("POST", "/api/v1/channels/"+made.Channel.ID+"/test", nil, http.StatusOK, &trial)
	if !trial.Sent {
		t.Fatalf("test: %s", trial.Outcome)
	}
	db, err := sql.Open("sqlite3", filepath.Join(dir, "sensorcast.db")+"?_busy_timeout=10000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	const notices, kills = 60, 3
	for i := range notices {
		_, err := db.Exec(`
			INSERT INTO notices (uid, what, owner_id, sensor_id, severity, title, body, data, created_at)
			SELECT ?, 'opened', owner_id, id, 'warning', 'Silent', '', '{}', ? FROM sensors WHERE serial = 'SN1'`, fmt.Sprintf("n%02d", i), time.Now().UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		if i%(notices/kills) == notices/kills/2 {
			time.Sleep(time.Duration(i) * 60 * time.Millisecond)
			s.kill()
			s = serve(t, dir, allow...)
		}
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		mu.Lock()
		distinct := slices.Compact(slices.Clone(ids[1:])) // the first is the test's
		n := len(ids) - 1
		mu.Unlock()
		if len(distinct) == notices && slices.IsSorted(distinct) && n <= notices+kills {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d of %d notices in %d requests: %v", len(distinct), notices, n, distinct)
		}
	}
}
