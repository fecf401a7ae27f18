package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func TestCreateSensor_IsReadBackWhole(t *testing.T) {
	d := openNew(t)
	owner := newUser(t, d, "ada")
	s := telemetry.Sensor{
		Serial: "SN:1", OwnerID: owner.ID, Name: "Küche", Description: "über dem Herd", MACAddress: "84:fc:e6:12:34:56", SensorType: "outdoor",
		Manufacturer: "ACME", Tags: []string{"z", "a", "ü"}, SilenceAfter: 90 * time.Second,
	}
	if err := d.CreateSensor(t.Context(), &s, [32]byte{9}); err != nil {
		t.Fatal(err)
	}
	if s.ID == 0 || len(s.UID) != 26 || s.CreatedAt == 0 || s.UpdatedAt != s.CreatedAt {
		t.Errorf("set by CreateSensor: got id %d, uid %q, created %v, updated %v", s.ID, s.UID, s.CreatedAt, s.UpdatedAt)
	}
	got, err := d.SensorBySerial(t.Context(), "SN:1")
	if err != nil {
		t.Fatal(err)
	}
	want := s
	want.Owner = "ada"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("SensorBySerial (-want +got):\n%s", diff)
	}
}

func TestCreateSensor_SerialIsUniqueByCase(t *testing.T) {
	d := openNew(t)
	a, b := newUser(t, d, "a"), newUser(t, d, "b")
	newSensor(t, d, a.ID, "SN1")
	newSensor(t, d, b.ID, "sn1") // another serial
	err := d.CreateSensor(t.Context(), &telemetry.Sensor{Serial: "SN1", OwnerID: b.ID}, [32]byte{})
	field, ok := errors.AsType[*telemetry.FieldError](err)
	if !errors.Is(err, telemetry.ErrConflict) || !ok || field.Field != "serial_no" {
		t.Errorf("taken serial: got %v, want a conflict of serial_no", err)
	}
	err = d.CreateSensor(t.Context(), &telemetry.Sensor{Serial: "A", OwnerID: b.ID}, [32]byte{})
	if !errors.Is(err, telemetry.ErrConflict) {
		t.Errorf("somebody's user name as serial: got %v, want a conflict", err)
	}
	err = d.CreateSensor(t.Context(), &telemetry.Sensor{Serial: "SN2", OwnerID: 999}, [32]byte{})
	if !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("unknown owner: got %v, want %v", err, telemetry.ErrNotFound)
	}
}

func TestUpdateSensor_WritesDescriptiveFieldsOnly(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	record(t, d, reads(s.ID, 1))
	s.Serial, s.Name, s.Tags, s.SilenceAfter = "other", "new name", []string{"t"}, time.Minute
	if err := d.UpdateSensor(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	got, err := d.SensorBySerial(t.Context(), "SN0")
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "new name" || !slices.Equal(got.Tags, s.Tags) || got.SilenceAfter != time.Minute || got.Status.Latest == nil {
		t.Errorf("got %+v", got)
	}
	s.ID = 999
	if err := d.UpdateSensor(t.Context(), s); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("unknown: got %v, want %v", err, telemetry.ErrNotFound)
	}
}

func TestDeleteSensor_FreesTheSerialButNotTheID(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	record(t, d, reads(s.ID, 1))
	if err := d.DeleteSensor(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SensorBySerial(t.Context(), s.Serial); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("after deletion: got %v, want %v", err, telemetry.ErrNotFound)
	}
	if err := d.DeleteSensor(t.Context(), s.ID); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("deleted twice: got %v, want %v", err, telemetry.ErrNotFound)
	}
	again := newSensor(t, d, s.OwnerID, s.Serial)
	if again.ID == s.ID {
		t.Fatal("the id was given again")
	}
	got, err := d.Readings(t.Context(), telemetry.ReadingQuery{SensorID: again.ID, Limit: 10})
	if err != nil || len(got) != 0 {
		t.Errorf("readings of the new sensor: got %v, %v; want none", got, err)
	}
	if st := status(t, d, s.Serial); st.Latest != nil || st.LastSeenAt != 0 {
		t.Errorf("status of the new sensor: got %+v, want empty", st)
	}
}

func TestDevices_ListEverySensorWithItsSecrets(t *testing.T) {
	d := openNew(t)
	sensors := newSensors(t, d, 3)
	secrets := []auth.Secret{{Hash: [32]byte{7}}, {Hash: [32]byte{8}, ValidUntil: day}}
	if err := d.SetSecrets(t.Context(), sensors[1].ID, secrets); err != nil {
		t.Fatal(err)
	}
	if err := d.SetSecrets(t.Context(), sensors[2].ID, nil); err != nil {
		t.Fatal(err)
	}
	got, err := d.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	owner := sensors[0].OwnerID
	want := []auth.Device{
		{SensorID: sensors[0].ID, Serial: "SN0", OwnerID: owner, Secrets: []auth.Secret{{Hash: [32]byte{1}}}},
		{SensorID: sensors[1].ID, Serial: "SN1", OwnerID: owner, Secrets: secrets},
		{SensorID: sensors[2].ID, Serial: "SN2", OwnerID: owner},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Devices (-want +got):\n%s", diff)
	}
	if err := d.SetSecrets(t.Context(), sensors[0].ID, make([]auth.Secret, 3)); !errors.Is(err, telemetry.ErrInvalid) {
		t.Errorf("three secrets: got %v, want %v", err, telemetry.ErrInvalid)
	}
	if err := d.SetSecrets(t.Context(), 999, secrets); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("unknown sensor: got %v, want %v", err, telemetry.ErrNotFound)
	}
}

func TestSnapshot_KeepsTheOrderAskedForAndLeavesOutTheMissing(t *testing.T) {
	d := openNew(t)
	sensors := newSensors(t, d, 3)
	record(t, d, reads(sensors[2].ID, 1))
	got, err := d.Snapshot(t.Context(), []string{"SN2", "nobody's", "SN0", `"],[`, "SN1", "SN2"})
	if err != nil {
		t.Fatal(err)
	}
	var serials []string
	for _, s := range got {
		serials = append(serials, s.Serial)
	}
	if want := []string{"SN2", "SN0", "SN1", "SN2"}; !slices.Equal(serials, want) {
		t.Fatalf("got %v, want %v", serials, want)
	}
	if got[0].Name != "name of SN2" || got[0].Status.Latest == nil || got[0].Status.LastSeenAt != day+1 {
		t.Errorf("got %+v, want it with its status", got[0])
	}
	if got, err := d.Snapshot(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("of nothing: got %v, %v", got, err)
	}
}

func TestSnapshot_MoreThanOneQueryHolds(t *testing.T) {
	d := openNew(t)
	newSensors(t, d, 3)
	serials := make([]string, serialsPerQuery+2)
	for i := range serials {
		serials[i] = "missing"
	}
	serials[0], serials[len(serials)-1] = "SN1", "SN0"
	got, err := d.Snapshot(t.Context(), serials)
	if err != nil || len(got) != 2 || got[0].Serial != "SN1" || got[1].Serial != "SN0" {
		t.Errorf("got %v, %v; want SN1, SN0", got, err)
	}
}

// list walks all pages and returns the serials.
func list(t interface {
	Helper()
	Fatalf(string, ...any)
}, d *DB, q telemetry.SensorQuery) (serials []string) {
	t.Helper()
	for {
		items, next, err := d.ListSensors(context.Background(), q)
		if err != nil {
			t.Fatalf("ListSensors(%+v): %v", q, err)
		}
		if len(items) > q.Limit || next != "" && len(items) != q.Limit {
			t.Fatalf("page of %d: got %d items, next %q", q.Limit, len(items), next)
		}
		for _, s := range items {
			serials = append(serials, s.Serial)
		}
		if next == "" {
			return serials
		}
		q.After = next
	}
}

func TestListSensors_PagesHoldEachSensorOnce(t *testing.T) {
	d := openNew(t)
	owner := newUser(t, d, "owner")
	newSensor(t, d, newUser(t, d, "other").ID, "theirs")
	var seq int64
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		// More sensors with each case: equal names, equal times, never seen ones.
		s := telemetry.Sensor{Serial: fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"a", "B", "ä"}).Draw(rt, "serial"), n), OwnerID: owner.ID}
		s.Name = rapid.SampledFrom([]string{"", "x", "X", "y"}).Draw(rt, "name")
		n++
		if err := d.CreateSensor(t.Context(), &s, [32]byte{}); err != nil {
			rt.Fatalf("CreateSensor: %v", err)
		}
		if rapid.Bool().Draw(rt, "seen") {
			seq++
			r := reads(s.ID, seq)
			r.ReceivedAt = day + telemetry.Millis(rapid.Int64Range(0, 3).Draw(rt, "at"))
			record(t, d, r)
		}
		q := telemetry.SensorQuery{UserID: owner.ID, Limit: rapid.IntRange(1, 10).Draw(rt, "limit")}
		q.Sort = rapid.SampledFrom([]string{"", "serial_no", "name", "last_seen_at", "created_at"}).Draw(rt, "sort")
		up := list(rt, d, q)
		if q.Sort == "" {
			q.Sort = "serial_no"
		}
		q.Sort = "-" + q.Sort
		down := list(rt, d, q)
		slices.Reverse(down)
		if !slices.Equal(up, down) {
			rt.Fatalf("by %s: backwards got %v, want the reverse of %v", q.Sort, down, up)
		}
		slices.Sort(up)
		if len(slices.Compact(up)) != n {
			rt.Fatalf("by %s: got %d different sensors, want %d", q.Sort, len(slices.Compact(up)), n)
		}
	})
}

func TestListSensors_PagesAreStableUnderInserts(t *testing.T) {
	d := openNew(t)
	owner := newUser(t, d, "owner").ID
	for _, serial := range []string{"b", "d", "f", "h"} {
		newSensor(t, d, owner, serial)
	}
	first, next, err := d.ListSensors(t.Context(), telemetry.SensorQuery{UserID: owner, Limit: 2})
	if err != nil || len(first) != 2 {
		t.Fatalf("first page: %v, %v", first, err)
	}
	for _, serial := range []string{"a", "c", "e"} {
		newSensor(t, d, owner, serial)
	}
	if got, want := list(t, d, telemetry.SensorQuery{UserID: owner, Limit: 2, After: next}), []string{"e", "f", "h"}; !slices.Equal(got, want) {
		t.Errorf("after b, d: got %v, want %v", got, want)
	}
}

func TestListSensors_Filters(t *testing.T) {
	d := openNew(t)
	owner := newUser(t, d, "owner").ID
	other := newUser(t, d, "other").ID
	for _, s := range []telemetry.Sensor{
		{Serial: "SN1", Name: "100 % Ökostrom", Tags: []string{"roof", "pv"}, SilenceAfter: time.Hour},
		{Serial: "SN2", Name: "100 x", Description: "under_score", Tags: []string{"roof2"}},
		{Serial: "SN3", SensorType: "outdoor", Manufacturer: "ACME"},
	} {
		s.OwnerID = owner
		if err := d.CreateSensor(t.Context(), &s, [32]byte{}); err != nil {
			t.Fatal(err)
		}
	}
	theirs := telemetry.Sensor{Serial: "SN9", OwnerID: other, Name: "100", Tags: []string{"roof"}}
	if err := d.CreateSensor(t.Context(), &theirs, [32]byte{}); err != nil {
		t.Fatal(err)
	}
	record(t, d, reads(1, 1), reads(2, 2))
	if _, _, err := d.Silence(t.Context(), []telemetry.Liveness{{SensorID: 2, LastSeenAt: day + 2}}, opening(now())); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		q    telemetry.SensorQuery
		want string
	}{
		{"all", telemetry.SensorQuery{}, "SN1 SN2 SN3"},
		{"percent is no wildcard", telemetry.SensorQuery{Text: "100 %"}, "SN1"},
		{"underscore is no wildcard", telemetry.SensorQuery{Text: "_s"}, "SN2"},
		{"case beyond ASCII", telemetry.SensorQuery{Text: "öKO"}, "SN1"},
		{"type", telemetry.SensorQuery{Text: "outd"}, "SN3"},
		{"manufacturer", telemetry.SensorQuery{Text: "acme"}, "SN3"},
		{"part of a tag", telemetry.SensorQuery{Text: "oof"}, "SN1 SN2"},
		{"serial", telemetry.SensorQuery{Text: "sn2"}, "SN2"},
		{"quotes", telemetry.SensorQuery{Text: `' OR 1=1 --`}, ""},
		{"tag is exact", telemetry.SensorQuery{Tags: []string{"roof"}}, "SN1"},
		{"tag and text", telemetry.SensorQuery{Tags: []string{"roof"}, Text: "x"}, ""},
		{"online", telemetry.SensorQuery{State: telemetry.StateOnline}, "SN1"},
		{"silent", telemetry.SensorQuery{State: telemetry.StateSilent}, "SN2"},
		{"never seen", telemetry.SensorQuery{State: telemetry.StateNeverSeen}, "SN3"},
		{"nobody's", telemetry.SensorQuery{UserID: -1}, ""},
	} {
		if c.q.UserID == 0 {
			c.q.UserID = owner
		}
		c.q.Limit = 2
		if got := strings.Join(list(t, d, c.q), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestListSensors_WrongInputNamesItsField(t *testing.T) {
	d := openNew(t)
	good := cursor{Sort: "name", Text: "x", ID: 3}.String()
	for field, q := range map[string]telemetry.SensorQuery{
		"sort":      {Sort: "name; DROP TABLE users"},
		"state":     {State: "asleep"},
		"cursor":    {Sort: "name", After: "%%%"},
		"cursor ":   {Sort: "name", After: "e30"}, // {}
		"cursor  ":  {Sort: "-name", After: good},
		"cursor   ": {Sort: "name", After: strings.Repeat("A", 5000)},
	} {
		q.Limit = 1
		_, _, err := d.ListSensors(t.Context(), q)
		got, ok := errors.AsType[*telemetry.FieldError](err)
		if want := strings.TrimSpace(field); !ok || got.Field != want || !errors.Is(err, telemetry.ErrInvalid) {
			t.Errorf("%+v: got %v, want a mistake of %s", q, err, want)
		}
	}
}

// Whatever a stranger sends as a cursor, it is understood or refused, and what was given out is understood as it was meant.
func FuzzCursor(f *testing.F) {
	f.Add("e30", "name")
	f.Add(cursor{Sort: "name", Text: "x", ID: 3}.String(), "name")
	f.Fuzz(func(t *testing.T, s, sort string) {
		c, err := parseCursor(s, sort)
		if err != nil {
			if !errors.Is(err, telemetry.ErrInvalid) {
				t.Errorf("got %v, want %v", err, telemetry.ErrInvalid)
			}
			return
		}
		again, err := parseCursor(c.String(), sort)
		if err != nil || again != c {
			t.Errorf("%+v reads back as %+v, %v", c, again, err)
		}
	})
}
