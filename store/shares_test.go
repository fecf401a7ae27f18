package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func share(t testing.TB, d *DB, sensorID int64, username string, access auth.Access) auth.Shared {
	t.Helper()
	s, err := d.Share(t.Context(), sensorID, username, access)
	if err != nil {
		t.Fatalf("Share with %s: %v", username, err)
	}
	return s
}

// shares tells with whom a sensor is shared, as the list and as the doors know it at boot.
func shares(t testing.TB, d *DB, sensorID int64) string {
	t.Helper()
	listed, err := d.Shares(t.Context(), sensorID)
	if err != nil {
		t.Fatal(err)
	}
	devices, err := d.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var dev auth.Device
	for _, other := range devices {
		if other.SensorID == sensorID {
			dev = other
		}
	}
	var all []string
	for _, s := range listed {
		all = append(all, s.Username+" "+s.Access.String())
		if got := dev.AccessOf(s.UserID); got != s.Access {
			t.Errorf("%s: the doors know %q, the list %q", s.Username, got, s.Access)
		}
	}
	if len(dev.Shares) != len(listed) {
		t.Errorf("the doors know %v, the list %v", dev.Shares, listed)
	}
	return strings.Join(all, ", ")
}

func TestShare_IsGivenChangedAndTaken(t *testing.T) {
	d := openNew(t)
	sensors := newSensors(t, d, 3)
	zoe, ben := newUser(t, d, "Zoe"), newUser(t, d, "ben")
	id := sensors[1].ID
	first := share(t, d, id, "zoe", auth.ViewerAccess)
	if first.UserID != zoe.ID || first.Username != "Zoe" || first.Access != auth.ViewerAccess || first.Since == 0 {
		t.Errorf("share: got %+v, want Zoe's, viewer", first)
	}
	if again := share(t, d, id, "Zoe", auth.ViewerAccess); again != first {
		t.Errorf("the same again: got %+v, want %+v", again, first)
	}
	share(t, d, id, "ben", auth.ManagerAccess)
	share(t, d, sensors[2].ID, "ben", auth.ViewerAccess)
	if got, want := shares(t, d, id), "ben manager, Zoe viewer"; got != want {
		t.Errorf("shares: got %q, want %q", got, want)
	}
	share(t, d, id, "ben", auth.ViewerAccess)
	if got, want := shares(t, d, id), "ben viewer, Zoe viewer"; got != want {
		t.Errorf("after a change: got %q, want %q", got, want)
	}
	if userID, err := d.Unshare(t.Context(), id, "BEN"); err != nil || userID != ben.ID {
		t.Errorf("Unshare: got %d, %v, want %d", userID, err, ben.ID)
	}
	if _, err := d.Unshare(t.Context(), id, "ben"); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("Unshare again: got %v, want %v", err, telemetry.ErrNotFound)
	}
	if got, want := shares(t, d, id), "Zoe viewer"; got != want {
		t.Errorf("after the end of one: got %q, want %q", got, want)
	}
	if got, want := shares(t, d, sensors[2].ID), "ben viewer"; got != want {
		t.Errorf("another sensor: got %q, want %q", got, want)
	}
}

func TestShare_NamesWhatIsWrongWithTheUserName(t *testing.T) {
	d := openNew(t)
	owner := newUser(t, d, "ann")
	s := newSensor(t, d, owner.ID, "SN1")
	ben := newUser(t, d, "ben")
	for name, want := range map[string]error{
		"nobody": telemetry.ErrNotFound, ben.Email: telemetry.ErrNotFound, "": telemetry.ErrNotFound, "ANN": telemetry.ErrInvalid,
	} {
		_, err := d.Share(t.Context(), s.ID, name, auth.ViewerAccess)
		if field, ok := errors.AsType[*telemetry.FieldError](err); !errors.Is(err, want) || !ok || field.Field != "username" {
			t.Errorf("Share with %q: got %v, want %v of username", name, err, want)
		}
	}
	if _, err := d.Share(t.Context(), 999, "ben", auth.ViewerAccess); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("no such sensor: got %v, want %v", err, telemetry.ErrNotFound)
	}
}

func TestShare_GoesWithSensorAndPerson(t *testing.T) {
	d := openNew(t)
	sensors := newSensors(t, d, 2)
	ben := newUser(t, d, "ben")
	for _, s := range sensors {
		share(t, d, s.ID, "ben", auth.ViewerAccess)
	}
	if err := d.DeleteSensor(t.Context(), sensors[0].ID); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "SELECT count(*) FROM shares"); n != 1 {
		t.Errorf("after a sensor was deleted: got %d shares, want 1", n)
	}
	if err := d.DeleteUser(t.Context(), ben.ID); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "SELECT count(*) FROM shares"); n != 0 {
		t.Errorf("after the person was deleted: got %d shares, want none", n)
	}
}

func TestShare_IsBounded(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	for i := range auth.MaxShares {
		name := fmt.Sprint("guest", i)
		newUser(t, d, name)
		share(t, d, s.ID, name, auth.ViewerAccess)
	}
	newUser(t, d, "late")
	if _, err := d.Share(t.Context(), s.ID, "late", auth.ViewerAccess); !errors.Is(err, telemetry.ErrConflict) {
		t.Errorf("one too many: got %v, want %v", err, telemetry.ErrConflict)
	}
	share(t, d, s.ID, "guest7", auth.ManagerAccess) // no one more
	if _, err := d.Unshare(t.Context(), s.ID, "guest7"); err != nil {
		t.Fatal(err)
	}
	share(t, d, s.ID, "late", auth.ViewerAccess)
}

// One's own sensors and those shared come in one order, each once, whatever they are sorted and filtered by and however long the pages are.
func TestListSensors_PagesRunOverOwnAndShared(t *testing.T) {
	d := openNew(t)
	me, friend := newUser(t, d, "me"), newUser(t, d, "friend")
	newUser(t, d, "somebody")
	access := map[string]string{} // by serial: what I am to it
	var seq int64
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		s := telemetry.Sensor{Serial: fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"a", "B", "ä"}).Draw(rt, "serial"), n), OwnerID: friend.ID}
		s.Name = rapid.SampledFrom([]string{"", "x", "X", "y"}).Draw(rt, "name")
		if rapid.Bool().Draw(rt, "tagged") {
			s.Tags = []string{"roof"}
		}
		what := rapid.SampledFrom([]string{"owner", "owner", "viewer", "manager", ""}).Draw(rt, "access")
		if what == "owner" {
			s.OwnerID = me.ID
		}
		n++
		if err := d.CreateSensor(t.Context(), &s, [32]byte{}); err != nil {
			rt.Fatalf("CreateSensor: %v", err)
		}
		share(t, d, s.ID, "somebody", auth.ViewerAccess)
		if what == "viewer" || what == "manager" {
			share(t, d, s.ID, "me", auth.AccessNamed(what))
		}
		if access[s.Serial] = what; what == "" {
			delete(access, s.Serial)
		}
		if rapid.Bool().Draw(rt, "seen") {
			seq++
			record(t, d, reads(s.ID, seq))
		}

		q := telemetry.SensorQuery{UserID: me.ID, Limit: rapid.IntRange(1, 7).Draw(rt, "limit")}
		q.Sort = rapid.SampledFrom([]string{"serial_no", "name", "last_seen_at", "created_at"}).Draw(rt, "sort")
		q.Access = rapid.SampledFrom([]string{"", "", "owner", "manager", "viewer"}).Draw(rt, "asked for")
		q.Tags = rapid.SampledFrom([][]string{nil, nil, {"roof"}}).Draw(rt, "tags")
		up := list(rt, d, q)
		q.Sort = "-" + q.Sort
		down := list(rt, d, q)
		slices.Reverse(down)
		if !slices.Equal(up, down) {
			rt.Fatalf("by %s: backwards got %v, want the reverse of %v", q.Sort, down, up)
		}
		q.Limit = 1000
		q.Sort = q.Sort[1:]
		if whole := list(rt, d, q); !slices.Equal(up, whole) {
			rt.Fatalf("by %s: in pages got %v, want %v", q.Sort, up, whole)
		}
		if q.Tags == nil {
			want := 0
			for _, what := range access {
				if q.Access == "" || what == q.Access {
					want++
				}
			}
			slices.Sort(up)
			if len(up) != want || len(slices.Compact(up)) != want {
				rt.Fatalf("%+v: got %v, want %d different ones", q, up, want)
			}
		}
		for _, serial := range up {
			if access[serial] == "" || q.Access != "" && access[serial] != q.Access {
				rt.Fatalf("%+v: got %s, to which I am %q", q, serial, access[serial])
			}
		}
	})
}

// Of 10,000 sensors a page in the order of their serials is read from the index: nothing is sorted, nor gathered before it is cut.
func TestListSensors_APageBySerialSortsNothing(t *testing.T) {
	d := openNew(t)
	query, args := selectCandidates(telemetry.SensorQuery{UserID: 1, Access: "owner"}, orderings["serial_no"], cursor{})
	own := plan(t, d, query, args)
	if strings.Contains(own, "TEMP B-TREE") || !strings.Contains(own, "sensors_by_owner") {
		t.Errorf("own sensors: got the plan\n%s\nwant none that sorts", own)
	}
	query, args = selectCandidates(telemetry.SensorQuery{UserID: 1}, orderings["serial_no"], cursor{})
	both := plan(t, d, query, args)
	if !strings.Contains(both, "MERGE (UNION ALL)") || !strings.Contains(both, "sensors_by_owner") || !strings.Contains(both, "shares_by_user") ||
		strings.Count(both, "TEMP B-TREE") != 1 { // the shared ones
		t.Errorf("own and shared ones: got the plan\n%s\nwant two reads that are merged", both)
	}
}

func plan(t testing.TB, d *DB, query string, args []any) string {
	t.Helper()
	rows, err := d.read.Query("EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	return strings.Join(steps, "\n")
}
