package store

import (
	"errors"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

func TestDB_KeepsTheContractOfAuth(t *testing.T) {
	authtest.TestStore(t, func(t *testing.T) authtest.Store { return openNew(t) })
}

func TestCreateUser_UsernameMayNotShadowAnAddress(t *testing.T) {
	d := openNew(t)
	newUser(t, d, "ada") // ada@example.org
	for field, u := range map[string]auth.User{
		"username": {Username: "ADA@Example.org", Email: "mallory@example.org"},
		"email":    {Username: "mallory", Email: "Ada"},
	} {
		err := d.CreateUser(t.Context(), &u)
		got, ok := errors.AsType[*telemetry.FieldError](err)
		if !ok || got.Field != field || !errors.Is(err, telemetry.ErrConflict) {
			t.Errorf("%+v: got %v, want a conflict of %s", u, err, field)
		}
	}
}

func TestDeleteUser_TakesSensorsAndHistoryAlong(t *testing.T) {
	d := openNew(t)
	ada, bob := newUser(t, d, "ada"), newUser(t, d, "bob")
	hers, his := newSensor(t, d, ada.ID, "hers"), newSensor(t, d, bob.ID, "his")
	record(t, d, reads(hers.ID, 1), reads(his.ID, 2), reads(hers.ID, 3))
	if err := d.DeleteUser(t.Context(), ada.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SensorBySerial(t.Context(), "hers"); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("her sensor: got %v, want %v", err, telemetry.ErrNotFound)
	}
	purgeAll(t, d)
	if got := count(t, d, "SELECT count(*) FROM readings"); got != 1 {
		t.Errorf("readings left: got %d, want his 1", got)
	}
	if st := status(t, d, "his"); st.Latest == nil || st.Latest.Seq != 2 {
		t.Errorf("his sensor: got %+v, want its latest", st)
	}
}

func TestForgetSessions_KeepsWhatMayStillBeAskedFor(t *testing.T) {
	d := openNew(t)
	u := newUser(t, d, "ada")
	now := telemetry.Now()
	old, recent := now.Add(-rememberSessions-time.Hour), now.Add(-time.Hour)
	open := func(id string, created, expires telemetry.Millis) {
		t.Helper()
		if err := d.CreateSession(t.Context(), auth.Session{ID: id, UserID: u.ID, CreatedAt: created, ExpiresAt: expires}, []byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	open("live", old, now.Add(time.Hour))
	open("expired long ago", old, old)
	open("expired", old, recent)
	open("ended long ago", old, now.Add(time.Hour))
	open("ended", old, now.Add(time.Hour))
	for id, at := range map[string]telemetry.Millis{"ended long ago": old, "ended": recent} {
		if err := d.EndSession(t.Context(), id, at); err != nil {
			t.Fatal(err)
		}
	}
	// Spent tokens: one long ago, one lately.
	for _, r := range []struct {
		old, next string
		at        telemetry.Millis
	}{{"live", "second", old}, {"second", "third", recent}} {
		if _, err := d.RotateRefresh(t.Context(), []byte(r.old), []byte(r.next), auth.Use{At: r.at}, r.at); err != nil {
			t.Fatal(err)
		}
	}
	for done := 1; done > 0; {
		var err error
		if done, err = d.forgetSessions(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, d, "SELECT count(*) FROM sessions WHERE id IN ('live', 'expired', 'ended')"); got != 3 {
		t.Errorf("sessions kept: got %d, want 3", got)
	}
	if got := count(t, d, "SELECT count(*) FROM sessions"); got != 3 {
		t.Errorf("sessions left: got %d, want 3", got)
	}
	_, err := d.RotateRefresh(t.Context(), []byte("live"), []byte("x"), auth.Use{At: now}, now)
	if !errors.Is(err, telemetry.ErrUnauthenticated) || errors.Is(err, auth.ErrReused) {
		t.Errorf("forgotten token: got %v, want unknown", err)
	}
	if _, err := d.RotateRefresh(t.Context(), []byte("second"), []byte("x"), auth.Use{At: now}, now); !errors.Is(err, auth.ErrReused) {
		t.Errorf("remembered token: got %v, want %v", err, auth.ErrReused)
	}
}
