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

	heir, err := d.ClaimSensor(t.Context(), code, ben.ID, &[32]byte{8})
	if err != nil {
		t.Fatal(err)
	}
	if heir.SensorID <= s.ID || heir.Serial != "SN1" || heir.OwnerID != ben.ID || len(heir.Shares) != 0 ||
		len(heir.Secrets) != 1 || heir.Secrets[0] != (auth.Secret{Hash: [32]byte{8}}) {
		t.Errorf("heir: got %+v, want ben's SN1 of a new id with the new secret", heir)
	}
	got, err := d.SensorBySerial(t.Context(), "SN1")
	if err != nil {
		t.Fatal(err)
	}
	want := s
	want.ID, want.UID, want.OwnerID, want.Owner, want.CreatedAt, want.UpdatedAt = heir.SensorID, got.UID, ben.ID, "ben", got.CreatedAt, got.UpdatedAt
	if diff := cmp.Diff(want, got); diff != "" || got.UID == s.UID {
		t.Errorf("described (-want +got):\n%s", diff)
	}
	for table, want := range map[string]int{"shares": 0, "transfers": 0, "commands": 0, "mqtt_sessions": 0, "mqtt_retained": 0, "sensor_secrets": 2} {
		if n := count(t, d, "SELECT count(*) FROM "+table); n != want {
			t.Errorf("%s: got %d rows, want %d", table, n, want)
		}
	}
	for _, id := range []int64{s.ID, heir.SensorID} {
		readings, err := d.Readings(t.Context(), telemetry.ReadingQuery{SensorID: id, Limit: 10})
		if err != nil || id == heir.SensorID && len(readings) > 0 {
			t.Errorf("readings of %d: got %v, %v, want none", id, readings, err)
		}
	}

	// What was under way comes to who had the sensor when it was taken, and to nobody else.
	record(t, d, reads(s.ID, 4), reads(heir.SensorID, 5))
	readings, err := d.Readings(t.Context(), telemetry.ReadingQuery{SensorID: heir.SensorID, Limit: 10})
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
	heir, err := d.ClaimSensor(t.Context(), code, ben.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	devices, err := d.Devices(t.Context())
	if err != nil || len(devices) != 1 || !cmp.Equal(devices[0], heir) || !cmp.Equal(heir.Secrets, secrets) {
		t.Errorf("devices: got %+v, %v, want %+v with secrets %+v", devices, err, heir, secrets)
	}
}

func TestClaim_RefusesCodesAlike(t *testing.T) {
	d := openNew(t)
	ann, ben := newUser(t, d, "ann"), newUser(t, d, "ben")
	newUser(t, d, "cid")
	s := newSensor(t, d, ann.ID, "SN1")
	claim := func(by int64, want error) {
		t.Helper()
		if _, err := d.ClaimSensor(t.Context(), code, by, nil); !errors.Is(err, want) {
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
	if _, err := d.ClaimSensor(t.Context(), [32]byte{9}, ben.ID, nil); !errors.Is(err, telemetry.ErrNotFound) {
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
		won := make(chan auth.Device, len(claimers))
		for _, u := range claimers {
			if u.ID == s.OwnerID {
				continue
			}
			wg.Go(func() {
				if heir, err := d.ClaimSensor(t.Context(), code, u.ID, nil); err == nil {
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
		s.ID, s.OwnerID = heir.SensorID, heir.OwnerID
	}
}
