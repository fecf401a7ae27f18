package store

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/session"
	"sensorcast/telemetry"
)

var code = [32]byte{1, 2, 3}

func offer(t testing.TB, d *DB, sensorID int64, t0 auth.Transfer) {
	t.Helper()
	if err := d.OfferSensor(t.Context(), sensorID, t0); err != nil {
		t.Fatalf("OfferSensor: %v", err)
	}
}

func inAnHour() telemetry.Millis { return telemetry.Now().Add(time.Hour) }

// All that hangs on the sensor of before is gone, however it is asked for, and what describes it stays.
func TestClaim_NothingOfBeforeIsLeft(t *testing.T) {
	d := openNew(t)
	ann, ben := newUser(t, d, "ann"), newUser(t, d, "ben")
	newUser(t, d, "guest")
	s := telemetry.Sensor{
		Serial: "SN1", OwnerID: ann.ID, Name: "Boiler", Description: "in the cellar", MACAddress: "84:fc:e6:12:34:56", SensorType: "outdoor",
		Manufacturer: "ACME", Tags: []string{"heat", "cellar"}, SilenceAfter: time.Hour,
	}
	if err := d.CreateSensor(t.Context(), &s, [32]byte{7}); err != nil {
		t.Fatal(err)
	}
	other := newSensor(t, d, ann.ID, "SN2")
	share(t, d, s.ID, "guest", auth.ManagerAccess)
	record(t, d, reads(s.ID, 1), reads(other.ID, 2), reads(s.ID, 3))
	change(t, d,
		session.Keep{Session: session.Session{ID: "s1/x", SensorID: s.ID, Expiry: time.Hour}},
		session.Retain{Retained: session.Retained{SensorID: s.ID, Message: session.Message{Topic: "sensors/SN1/telemetry", Payload: []byte("1")}}})
	queued := &command.Step{Command: command.Command{ID: "c1", SensorID: s.ID, State: command.Queued, ExpiresAt: inAnHour()}}
	if err := d.CommitCommands(t.Context(), []*command.Step{queued}); err != nil || !queued.Taken {
		t.Fatalf("CommitCommands: %v, taken %v", err, queued.Taken)
	}
	offer(t, d, s.ID, auth.Transfer{Code: code, ExpiresAt: inAnHour()})

	heir, secrets, err := d.ClaimSensor(t.Context(), code, ben.ID, &[32]byte{8})
	if err != nil {
		t.Fatal(err)
	}
	if len(secrets) != 1 || secrets[0] != (auth.Secret{Hash: [32]byte{8}}) {
		t.Errorf("secrets: got %d, want the new one", len(secrets))
	}
	want := s
	want.ID, want.UID, want.OwnerID, want.Owner, want.CreatedAt, want.UpdatedAt = heir.ID, heir.UID, ben.ID, "ben", heir.CreatedAt, heir.UpdatedAt
	if diff := cmp.Diff(want, heir); diff != "" || heir.ID <= s.ID || heir.UID == s.UID {
		t.Errorf("heir of %d (-want +got):\n%s", s.ID, diff)
	}
	if got, err := d.SensorBySerial(t.Context(), "SN1"); err != nil || !cmp.Equal(got, heir) {
		t.Errorf("read back: got %+v, %v, want %+v", got, err, heir)
	}
	for table, want := range map[string]int{"shares": 0, "transfers": 0, "commands": 0, "mqtt_sessions": 0, "mqtt_retained": 0, "sensor_secrets": 2} {
		if n := count(t, d, "SELECT count(*) FROM "+table); n != want {
			t.Errorf("%s: got %d rows, want %d", table, n, want)
		}
	}
	for _, id := range []int64{s.ID, heir.ID} {
		readings, err := d.Readings(t.Context(), telemetry.ReadingQuery{SensorID: id, Limit: 10})
		if err != nil || id == heir.ID && len(readings) > 0 {
			t.Errorf("readings of %d: got %v, %v, want none", id, readings, err)
		}
	}

	// What was under way comes to who had the sensor when it was taken, and to nobody else.
	record(t, d, reads(s.ID, 4), reads(heir.ID, 5))
	readings, err := d.Readings(t.Context(), telemetry.ReadingQuery{SensorID: heir.ID, Limit: 10})
	if err != nil || len(readings) != 1 || readings[0].Seq != 5 {
		t.Errorf("readings of the new owner's: got %v, %v, want seq 5 alone", readings, err)
	}
	if latest := status(t, d, "SN1").Latest; latest == nil || latest.Seq != 5 {
		t.Errorf("latest: got %+v, want seq 5", latest)
	}
	for done := 1; done > 0; {
		if done, err = d.advanceIndex(t.Context(), maxRows); err != nil {
			t.Fatal(err)
		}
		more, err := d.purge(t.Context(), maxRows)
		if err != nil {
			t.Fatal(err)
		}
		done += more
	}
	if n := count(t, d, "SELECT count(*) FROM readings WHERE sensor_id = ?", s.ID); n != 0 {
		t.Errorf("after the purge: got %d readings of before, want none", n)
	}
	if n := count(t, d, "SELECT count(*) FROM readings"); n != 2 {
		t.Errorf("after the purge: got %d readings in all, want 2", n)
	}
}

func TestClaim_CanLeaveTheSecrets(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	ben := newUser(t, d, "ben")
	secrets := []auth.Secret{{Hash: [32]byte{5}}, {Hash: [32]byte{4}, ValidUntil: inAnHour()}}
	if err := d.SetSecrets(t.Context(), s.ID, secrets); err != nil {
		t.Fatal(err)
	}
	offer(t, d, s.ID, auth.Transfer{Code: code, ExpiresAt: inAnHour()})
	heir, kept, err := d.ClaimSensor(t.Context(), code, ben.ID, nil)
	if err != nil || !cmp.Equal(kept, secrets) {
		t.Fatalf("got %d secrets, %v, want those it had", len(kept), err)
	}
	devices, err := d.Devices(t.Context())
	if want := []auth.Device{{SensorID: heir.ID, Serial: heir.Serial, OwnerID: ben.ID, Secrets: secrets}}; err != nil || !cmp.Equal(devices, want) {
		t.Errorf("devices: got %+v, %v, want %+v", devices, err, want)
	}
}

func TestClaim_RefusesCodesAlike(t *testing.T) {
	d := openNew(t)
	ann, ben := newUser(t, d, "ann"), newUser(t, d, "ben")
	newUser(t, d, "cid")
	s := newSensor(t, d, ann.ID, "SN1")
	claim := func(by int64, want error) {
		t.Helper()
		if _, _, err := d.ClaimSensor(t.Context(), code, by, nil); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	claim(ben.ID, telemetry.ErrNotFound) // none is open
	offer(t, d, s.ID, auth.Transfer{Code: code, ExpiresAt: telemetry.Now()})
	claim(ben.ID, telemetry.ErrNotFound) // expired
	offer(t, d, s.ID, auth.Transfer{Code: code, Username: "cid", ExpiresAt: inAnHour()})
	claim(ben.ID, telemetry.ErrNotFound) // for somebody else
	offer(t, d, s.ID, auth.Transfer{Code: code, ExpiresAt: inAnHour()})
	claim(ann.ID, telemetry.ErrInvalid) // one's own
	claim(999, telemetry.ErrNotFound)   // by nobody
	offer(t, d, s.ID, auth.Transfer{Code: [32]byte{9}, ExpiresAt: inAnHour()})
	claim(ben.ID, telemetry.ErrNotFound) // another one took its place
	if err := d.WithdrawTransfer(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.ClaimSensor(t.Context(), [32]byte{9}, ben.ID, nil); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("withdrawn: got %v, want %v", err, telemetry.ErrNotFound)
	}
	if _, err := d.SensorBySerial(t.Context(), "SN1"); err != nil {
		t.Errorf("the sensor: %v", err)
	}
	if n := count(t, d, "SELECT count(*) FROM sensors WHERE owner_id = ?", ann.ID); n != 1 {
		t.Errorf("got %d sensors of ann's, want 1", n)
	}
}

func TestTransfer_IsTold(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	ben := newUser(t, d, "ben")
	if _, err := d.OpenTransfer(t.Context(), s.ID); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("none: got %v, want %v", err, telemetry.ErrNotFound)
	}
	want := auth.Transfer{Username: "ben", ExpiresAt: inAnHour()}
	offer(t, d, s.ID, auth.Transfer{Code: code, Username: "BEN", ExpiresAt: want.ExpiresAt})
	if got, err := d.OpenTransfer(t.Context(), s.ID); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if err := d.DeleteUser(t.Context(), ben.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.OpenTransfer(t.Context(), s.ID); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("the person is gone: got %v, want %v", err, telemetry.ErrNotFound)
	}
	offer(t, d, s.ID, auth.Transfer{Code: code, ExpiresAt: telemetry.Now()})
	if _, err := d.OpenTransfer(t.Context(), s.ID); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("expired: got %v, want %v", err, telemetry.ErrNotFound)
	}
	for name, want := range map[string]error{"nobody": telemetry.ErrNotFound, "owner": telemetry.ErrInvalid} {
		err := d.OfferSensor(t.Context(), s.ID, auth.Transfer{Code: code, Username: name, ExpiresAt: inAnHour()})
		if field, ok := errors.AsType[*telemetry.FieldError](err); !ok || field.Field != "username" || !errors.Is(err, want) {
			t.Errorf("for %s: got %v, want %v of username", name, err, want)
		}
	}
	if err := d.OfferSensor(t.Context(), 999, auth.Transfer{Code: code}); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("no such sensor: got %v, want %v", err, telemetry.ErrNotFound)
	}
}

func TestClaim_OfManyAtOnceOneSucceeds(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	var claimers []auth.User
	for _, name := range []string{"a01", "a02", "a03", "a04", "a05", "a06", "a07", "a08"} {
		claimers = append(claimers, newUser(t, d, name))
	}
	for round := range 5 {
		offer(t, d, s.ID, auth.Transfer{Code: code, ExpiresAt: inAnHour()})
		var wg sync.WaitGroup
		won := make(chan telemetry.Sensor, len(claimers))
		for _, u := range claimers {
			if u.ID == s.OwnerID {
				continue
			}
			wg.Go(func() {
				if heir, _, err := d.ClaimSensor(t.Context(), code, u.ID, nil); err == nil {
					won <- heir
				} else if !errors.Is(err, telemetry.ErrNotFound) {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		close(won)
		if len(won) != 1 {
			t.Fatalf("round %d: %d claims succeeded, want 1", round, len(won))
		}
		heir := <-won
		s.ID, s.OwnerID = heir.ID, heir.OwnerID
	}
}
