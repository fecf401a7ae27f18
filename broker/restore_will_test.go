package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	state "sensorcast/session"
	"sensorcast/telemetry"
)

// TestRestore_WillsKeepTheirTime restores what a dead server left, and looks when each will is published. Wills are retained ones here, so
// that the broker's own figures tell.
func TestRestore_WillsKeepTheirTime(t *testing.T) {
	for name, tc := range map[string]struct {
		delay   time.Duration
		due     time.Duration // from the start; zero: the client was connected when the server died
		expiry  time.Duration
		away    time.Duration // when the session of a client that was away ends, from the start
		returns time.Duration // when the client comes back; zero: never
		want    time.Duration // zero: never published
	}{
		"was connected":                        {want: time.Minute},
		"was connected, session lasts":         {expiry: time.Hour, want: time.Minute},
		"was connected, delayed will":          {expiry: time.Hour, delay: 30 * time.Second, want: 90 * time.Second},
		"was away, will to come":               {expiry: time.Hour, away: time.Hour, delay: time.Minute, due: 10 * time.Second, want: 10 * time.Second},
		"was away, will overdue":               {expiry: time.Hour, away: time.Hour, delay: time.Minute, due: -10 * time.Second, want: time.Millisecond},
		"was away, session ends before":        {expiry: time.Hour, away: 5 * time.Second, delay: time.Minute, due: 20 * time.Second, want: 5 * time.Second},
		"comes back within the minute":         {expiry: time.Hour, returns: 59 * time.Second},
		"comes back after it":                  {expiry: time.Hour, returns: 61 * time.Second, want: time.Minute},
		"comes back before a delayed will":     {expiry: time.Hour, away: time.Hour, delay: time.Minute, due: 10 * time.Second, returns: 9 * time.Second},
		"comes back while the delay goes on":   {expiry: time.Hour, delay: 30 * time.Second, returns: 80 * time.Second},
		"comes back too late for its own good": {expiry: time.Hour, delay: 30 * time.Second, returns: 91 * time.Second, want: 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				at := func(d time.Duration) telemetry.Millis { return telemetry.MillisOf(start.Add(d)) }
				st := state.Stored{
					Session: state.Session{ID: fmt.Sprintf("s%d/client", sensorID("A")), SensorID: sensorID("A"), Version: 5, Expiry: tc.expiry},
					Will:    &state.Will{Delay: tc.delay, Message: state.Message{Topic: "sensors/A/lwt", Payload: []byte("gone"), QoS: 1, Retain: true}},
				}
				if tc.due != 0 {
					st.Will.DueAt, st.Session.EndsAt = at(tc.due), at(tc.away)
				}
				h := newHouse(t, autoIntake(), func(h *house, _ *Config) { h.kept = &state.Snapshot{Sessions: []state.Stored{st}} })
				defer h.close(t)
				returned := false
				published := time.Duration(0)
				for time.Since(start) < 3*time.Minute && published == 0 {
					time.Sleep(time.Millisecond)
					synctest.Wait()
					if h.Stats().Retained > 0 {
						published = time.Since(start)
					}
					if tc.returns > 0 && !returned && time.Since(start) >= tc.returns {
						h.pipeLogin(t, "A", v5, persistently)
						returned = true
					}
				}
				if published != tc.want {
					t.Errorf("published %v after the start, want %v", published, tc.want)
				}
			})
		})
	}
}
