package main

import (
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/broker"
	"sensorcast/ingest"
	"sensorcast/session"
	"sensorcast/telemetry"
	"sensorcast/wire"
)

// forgetful is an intake that keeps nothing and says it did.
type forgetful struct{}

func (forgetful) Accept(_ ingest.Message, r ingest.Receipt) error { return kept(r) }

func (forgetful) Journal(_ []session.Change, r ingest.Receipt) error { return kept(r) }

func (forgetful) Refused(int64, string) {}

func kept(r ingest.Receipt) error {
	if r != nil {
		r.Committed(nil)
	}
	return nil
}

type noCommands struct{ broker.Commands }

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
				house := authtest.New(t, auth.Config{})
				house.Directory.Put(auth.Device{SensorID: 1, Serial: serialOf(0), OwnerID: 1, Secrets: []auth.Secret{{Hash: house.Directory.HashSecret(fleetSecret)}}})
				pool := wire.NewPool(1, time.Second)
				defer pool.Close()
				b, err := broker.New(broker.Config{}, broker.Deps{
					Auth: house.Service, Directory: house.Directory, Intake: forgetful{}, Commands: noCommands{}, Pool: pool,
				}, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				at := func(d time.Duration) telemetry.Millis { return telemetry.MillisOf(start.Add(d)) }
				l := sensorLogin(0, 5)
				p, err := house.Directory.Authenticate(l.user, l.password)
				if err != nil {
					t.Fatal(err)
				}
				st := session.Stored{
					Session: session.Session{ID: p.Scope() + "/" + l.id, SensorID: 1, Version: 5, Expiry: tc.expiry},
					Will: &session.Will{Delay: tc.delay, Message: session.Message{
						Topic: "sensors/" + serialOf(0) + "/lwt", Payload: []byte("gone"), QoS: 1, Retain: true,
					}},
				}
				if tc.due != 0 {
					st.Will.DueAt, st.Session.EndsAt = at(tc.due), at(tc.away)
				}
				b.Restore(session.Snapshot{Sessions: []session.Stored{st}}, map[int64]string{1: serialOf(0)})
				b.Start()
				defer func() {
					if err := b.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}()
				var client *device
				published := time.Duration(0)
				for time.Since(start) < 3*time.Minute && published == 0 {
					time.Sleep(time.Millisecond)
					synctest.Wait()
					if b.Stats().Retained > 0 {
						published = time.Since(start)
					}
					if tc.returns > 0 && client == nil && time.Since(start) >= tc.returns {
						ours, theirs := net.Pipe()
						defer ours.Close()
						b.ServeConn(theirs)
						l.durable = true
						if client, err = handshake(ours, l); err != nil {
							t.Fatal(err)
						}
					}
				}
				if published != tc.want {
					t.Errorf("published %v after the start, want %v", published, tc.want)
				}
			})
		})
	}
}
