package store

import (
	"errors"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func TestCreation_IsForgottenAfterADayAndWithItsSensor(t *testing.T) {
	d := openNew(t)
	owner := newUser(t, d, "ada")
	create := func(serial string, key byte) telemetry.Sensor {
		t.Helper()
		s := telemetry.Sensor{Serial: serial, OwnerID: owner.ID}
		if err := d.CreateSensorOnce(t.Context(), &s, [32]byte{1}, auth.Once{Key: [32]byte{key}, Body: [32]byte{2}, Salt: [16]byte{key, 3}}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	known := func(key byte) string {
		t.Helper()
		o, serial, err := d.Creation(t.Context(), [32]byte{key})
		if errors.Is(err, telemetry.ErrNotFound) {
			return ""
		}
		if err != nil || o.Body != [32]byte{2} || o.Salt != [16]byte{key, 3} {
			t.Errorf("got %v, %v", o, err)
		}
		return serial
	}
	gone := create("SN1", 1)
	create("SN2", 2)
	create("SN3", 3)
	if known(1) != "SN1" || known(9) != "" {
		t.Errorf("got %q and %q, want SN1 and none", known(1), known(9))
	}
	if err := d.DeleteSensor(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	if known(1) != "" {
		t.Error("the creation outlived its sensor")
	}
	if _, err := d.write.db.Exec("UPDATE sensor_creations SET created_at = created_at - ? WHERE key = ?", creationLife.Milliseconds()+1, append([]byte{2}, make([]byte, 31)...)); err != nil {
		t.Fatal(err)
	}
	if known(2) != "" || known(3) != "SN3" {
		t.Error("a creation is known for longer than a day, or not as long")
	}
	if done, err := d.forgetCreations(t.Context(), 100); err != nil || done != 1 {
		t.Errorf("forgot %d, %v; want 1", done, err)
	}
	create("SN4", 2) // the key is free again
	if known(2) != "SN4" {
		t.Errorf("got %q, want SN4", known(2))
	}
}
