package pulse_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sensorcast/auth"
	"sensorcast/pulse"
	"sensorcast/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door stands in for the broker, on pipes, so that time is the test's own. The real one is in drive's test.
type door struct {
	answers [][]byte                  // to the first packet, the second, and so on; after the last: silence
	observe func([]telemetry.Reading) // called with the reading of the publish; nil: nobody sees it
	stale   bool                      // that one is of an earlier test
	sensor  string                    // who logged in
}

func (d *door) dial(context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	go func() { // ends when the client closes its end
		defer server.Close()
		for _, answer := range append(d.answers, nil) {
			header := make([]byte, 2)
			if _, err := io.ReadFull(server, header); err != nil {
				return
			}
			body := make([]byte, header[1])
			if _, err := io.ReadFull(server, body); err != nil {
				return
			}
			if header[0] == 0x10 {
				d.sensor = string(body[14:50])
			}
			if header[0] == 0x32 && d.observe != nil {
				data := body[bytes.IndexByte(body, '{'):]
				if d.stale {
					data = []byte(`{"test":1}`)
				}
				d.observe([]telemetry.Reading{{SensorID: -1, Serial: d.sensor, Data: data}})
			}
			if answer == nil {
				_, _ = io.Copy(io.Discard, server)
				return
			}
			if _, err := server.Write(answer); err != nil {
				return
			}
		}
	}()
	return client, nil
}

var welcome, acknowledged = []byte{0x20, 2, 0, 0}, []byte{0x40, 2, 0, 1}

func newDirectory(t *testing.T) *auth.Directory {
	t.Helper()
	keys, err := auth.LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return auth.NewDirectory(keys)
}

type observer struct{ seen atomic.Int64 }

func (o *observer) Observe(rs []telemetry.Reading) { o.seen.Add(int64(len(rs))) }

func TestPulse_HearsOnlyWhatWentTheWholeWay(t *testing.T) {
	for name, tc := range map[string]struct {
		answers [][]byte
		unseen  bool
		stale   bool
		hears   bool
	}{
		"all of it":           {[][]byte{welcome, acknowledged}, false, false, true},
		"login refused":       {[][]byte{{0x20, 2, 0, 5}}, false, false, false},
		"login not answered":  {nil, false, false, false},
		"not acknowledged":    {[][]byte{welcome}, false, false, false},
		"another packet":      {[][]byte{welcome, {0x40, 2, 0, 9}}, false, false, false},
		"committed, not seen": {[][]byte{welcome, acknowledged}, true, false, false},
		"an old one seen":     {[][]byte{welcome, acknowledged}, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDirectory(t)
			synctest.Test(t, func(t *testing.T) {
				d, others := &door{answers: tc.answers, stale: tc.stale}, &observer{}
				p := pulse.New(pulse.Config{Dial: d.dial}, dir, slog.New(slog.DiscardHandler))
				if !tc.unseen {
					d.observe = p.Before(others).Observe
				}
				began := time.Now()
				err := p.Hears(t.Context())
				if (err == nil) != tc.hears {
					t.Errorf("got %v, want it to hear: %v", err, tc.hears)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %s", took)
				}
				if others.seen.Load() != 0 {
					t.Error("others were shown the test's reading")
				}
				synctest.Wait()
			})
		})
	}
}

func TestPulse_OthersSeeAllElse(t *testing.T) {
	var a, b observer
	p := pulse.New(pulse.Config{}, newDirectory(t), slog.New(slog.DiscardHandler))
	o := p.Before(&a, &b)
	for id := range int64(3) {
		o.Observe([]telemetry.Reading{{SensorID: id + 1}})
	}
	o.Observe([]telemetry.Reading{{SensorID: -1}})
	if a.seen.Load() != 3 || b.seen.Load() != 3 {
		t.Errorf("got %d and %d, want 3 each", a.seen.Load(), b.seen.Load())
	}
}

func TestPulse_DoubtsAfterTwoFailuresAndTellsOnce(t *testing.T) {
	dir := newDirectory(t)
	synctest.Test(t, func(t *testing.T) {
		var logs bytes.Buffer
		deaf := errors.New("deaf")
		d := &door{answers: [][]byte{welcome, acknowledged}}
		p := pulse.New(pulse.Config{Dial: func(ctx context.Context) (net.Conn, error) {
			if deaf != nil {
				return nil, deaf
			}
			return d.dial(ctx)
		}}, dir, slog.New(slog.NewTextHandler(&logs, nil)))
		d.observe = p.Before().Observe
		for i := range 5 {
			if err := p.Doubt(); (err != nil) != (i >= 2) || err != nil && !errors.Is(err, telemetry.ErrUnavailable) {
				t.Errorf("after %d failures: doubt is %v", i, err)
			}
			_ = p.Hears(t.Context())
			_ = p.Hears(t.Context()) // at once again: not repeated
			time.Sleep(time.Minute)
		}
		if s := p.Stats(); s.Tests != 5 || s.Failed != 5 || !s.Doubt {
			t.Errorf("got %+v, want 5 tests", s)
		}
		deaf = nil
		if err := p.Hears(t.Context()); err != nil || p.Doubt() != nil {
			t.Errorf("it hears again: got %v, doubt %v", err, p.Doubt())
		}
		if n := strings.Count(logs.String(), "\n"); n != 2 || !strings.Contains(logs.String(), "level=ERROR") {
			t.Errorf("want one error and one all clear, got\n%s", logs.String())
		}
		synctest.Wait()
	})
}

// The outside URL is asked as long as the server hears, and is in no log whatever it does.
func TestPulse_BeatsAsLongAsItHears(t *testing.T) {
	var beats atomic.Int64
	status := http.StatusOK
	var mu sync.Mutex // guards status
	watch := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/canary-token" && r.Method == http.MethodGet {
			beats.Add(1)
		}
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(status)
	}))
	var deaf atomic.Bool
	var logs safeBuffer
	d := &door{answers: [][]byte{welcome, acknowledged}}
	p := pulse.New(pulse.Config{Every: 20 * time.Millisecond, URL: watch.URL + "/canary-token", Dial: func(ctx context.Context) (net.Conn, error) {
		if deaf.Load() {
			return nil, errors.New("deaf")
		}
		return d.dial(ctx)
	}}, newDirectory(t), slog.New(slog.NewTextHandler(&logs, nil)))
	d.observe = p.Before().Observe
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }() // ends with ctx
	defer func() { stop(); <-done }()
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not within 10 s: %s", what)
			}
		}
	}
	await("three beats", func() bool { return beats.Load() >= 3 })
	deaf.Store(true)
	await("doubt", func() bool { return p.Doubt() != nil })
	before, tests := beats.Load(), p.Stats().Tests
	await("more tests", func() bool { return p.Stats().Tests >= tests+3 })
	if got := beats.Load(); got != before {
		t.Errorf("%d beats while deaf", got-before)
	}
	deaf.Store(false)
	await("beats again", func() bool { return beats.Load() > before })
	mu.Lock()
	status = http.StatusInternalServerError
	mu.Unlock()
	await("a beat that is not taken", func() bool { return p.Stats().BeatErrors > 0 })
	watch.Close()
	failed := p.Stats().BeatErrors
	await("a beat that does not arrive", func() bool { return p.Stats().BeatErrors > failed+1 })
	if strings.Contains(logs.String(), "canary") {
		t.Errorf("the log holds the URL:\n%s", logs.String())
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
