package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sensorcast/ingest"
	"sensorcast/session"
	"sensorcast/telemetry"
)

// Whatever is changed, in whatever groups, with sensors and people deleted in between and the server stopped or killed: the tables say
// what the mirror in memory says, and nothing makes a batch fail.
func TestJournal_AgreesWithItsMirror(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		d := openAt(t, dir)
		m := newMirror()
		for i := range int64(2) {
			u := newUser(t, d, fmt.Sprint("user", i))
			s := newSensor(t, d, u.ID, fmt.Sprint("SN", i))
			m.users[u.ID], m.sensors[s.ID] = true, true
		}
		third := newSensor(t, d, 1, "SN2") // ids 1 to 3; 4 is one that never was
		m.sensors[third.ID] = true

		n := func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "n") }
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch n(10) {
			case 0:
				if m.sensors[3] {
					if err := d.DeleteSensor(t.Context(), 3); err != nil {
						rt.Fatal(err)
					}
					m.deleteSensor(3)
				}
			case 1:
				if m.users[2] {
					if err := d.DeleteUser(t.Context(), 2); err != nil { // and sensor 2 with it
						rt.Fatal(err)
					}
					m.deleteSensor(2)
					m.deleteUser(2)
				}
			case 2:
				if n(2) == 0 {
					abandon(t, d)
				} else if err := d.Close(); err != nil {
					rt.Fatal(err)
				}
				d = openAt(t, dir)
				want := m.start(telemetry.Now())
				for range 2 { // asking changes nothing
					if diff := differ(sessions(t, d), want); diff != "" {
						rt.Fatalf("after a restart (-want +got):\n%s", diff)
					}
				}
			default:
				changes := changesOf(rapid.Uint64().Draw(rt, "seed")) // drawn one by one they would be nearly all alike
				if err := d.Record(ingest.Batch{Changes: changes}); err != nil {
					rt.Fatalf("Record(%+v) = %v", changes, err)
				}
				for _, c := range changes {
					m.apply(c)
				}
			}
		}
		if diff := differ(sessions(t, d), m.start(telemetry.Now())); diff != "" {
			rt.Fatalf("at the end (-want +got):\n%s", diff)
		}
		if rows := count(t, d, "SELECT count(*) FROM pragma_foreign_key_check"); rows != 0 {
			rt.Fatalf("%d rows hang on nothing", rows)
		}
		abandon(t, d) // at once: the cases are many
	})
}

func about(sensorID int64, m session.Message) session.Message {
	m.SensorID = sensorID
	return m
}

func TestJournal_EveryFieldSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	sensor := newSensors(t, d, 1)[0]
	ahead := telemetry.Now().Add(time.Hour)
	message := func(n byte) session.Message {
		return session.Message{
			Topic: "sensors/SN0/ü", Payload: []byte{n, 0, 255}, QoS: n, Retain: true, Properties: []byte{1, n}, ExpiresAt: ahead + 5,
		}
	}
	want := session.Snapshot{
		Sessions: []session.Stored{
			{
				Session:       session.Session{ID: "s1/é\x00", SensorID: sensor.ID, Version: 5, Expiry: math.MaxInt64, EndsAt: ahead},
				Subscriptions: []session.Subscription{{Filter: "$share/g/#", Options: 0x2d, Identifier: 268_435_455}, {Filter: "a/+", Options: 1}},
				Deliveries: []session.Delivery{
					{Order: 1, PacketID: 65_535, Message: about(sensor.ID, message(1))},
					{Order: 2, PacketID: 2, Released: true, Message: session.Message{QoS: 2}},
					{Order: math.MaxInt64, PacketID: 1, Message: message(2)},
				},
				Received: []uint16{1, 65_535},
				Will:     &session.Will{Message: message(1), Delay: time.Minute + 1, DueAt: ahead + 1},
			},
			{Session: session.Session{ID: "u1/", UserID: 1, Version: 3}},
		},
		Retained: []session.Retained{{SensorID: sensor.ID, Message: message(1)}},
	}
	for _, s := range want.Sessions {
		change(t, d, session.Keep{Session: s.Session})
		for _, x := range s.Subscriptions {
			change(t, d, session.Subscribe{ID: s.Session.ID, Subscription: x})
		}
		for _, x := range s.Deliveries {
			change(t, d, session.Queue{ID: s.Session.ID, Delivery: x})
		}
		for _, x := range s.Received {
			change(t, d, session.Receive{ID: s.Session.ID, PacketID: x})
		}
		if s.Will != nil {
			change(t, d, session.Leave{ID: s.Session.ID, Will: *s.Will})
		}
	}
	change(t, d, session.Retain{Retained: want.Retained[0]})
	abandon(t, d)
	if diff := differ(sessions(t, openAt(t, dir)), want); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
}

// Readings of others are in the same batch: nothing a change says, however late or odd, may cost them.
func TestJournal_HostileChangesCostNobodyElseAReading(t *testing.T) {
	d := openNew(t)
	sensor, gone := newSensors(t, d, 2)[0], int64(2)
	if err := d.DeleteSensor(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	keep := session.Keep{Session: session.Session{ID: "s1/a", SensorID: sensor.ID}}
	change(t, d, keep, session.Queue{ID: "s1/a", Delivery: session.Delivery{PacketID: 1}})
	seq := int64(0)
	for name, changes := range map[string][]session.Change{
		"sensor gone":       {session.Keep{Session: session.Session{ID: "s2/a", SensorID: gone}}},
		"person gone":       {session.Keep{Session: session.Session{ID: "u9/a", UserID: 9}}},
		"nobody":            {session.Keep{Session: session.Session{ID: "/a"}}},
		"kept by one gone":  {session.Keep{Session: session.Session{ID: "s1/a", SensorID: gone}}},
		"retained, gone":    {session.Retain{Retained: session.Retained{SensorID: gone, Message: session.Message{Payload: []byte("x")}}}},
		"retained, nobody":  {session.Retain{Retained: session.Retained{Message: session.Message{Payload: []byte("x")}}}},
		"removed, gone":     {session.Retain{Retained: session.Retained{SensorID: gone}}},
		"session not kept":  {session.Queue{ID: "?"}, session.Leave{ID: "?"}, session.Subscribe{ID: "?"}, session.Receive{ID: "?"}},
		"nothing to remove": {session.Drop{ID: "?"}, session.Settle{ID: "s1/a", PacketID: 7}, session.Withdraw{ID: "s1/a"}, session.Unsubscribe{ID: "s1/a"}},
		"twice": {
			session.Queue{ID: "s1/a", Delivery: session.Delivery{PacketID: 1}}, session.Queue{ID: "s1/a", Delivery: session.Delivery{PacketID: 1}},
			session.Receive{ID: "s1/a", PacketID: 1}, session.Receive{ID: "s1/a", PacketID: 1},
			session.Leave{ID: "s1/a"}, session.Leave{ID: "s1/a"}, session.Subscribe{ID: "s1/a"}, session.Subscribe{ID: "s1/a"},
		},
		"not UTF-8":   {session.Subscribe{ID: "s1/a", Subscription: session.Subscription{Filter: "\xff\x00"}}},
		"not a value": {nil, &keep, new(session.Drop)},
	} {
		seq++
		if err := d.Record(ingest.Batch{Readings: []telemetry.Reading{reads(sensor.ID, seq)}, Changes: changes}); err != nil {
			t.Errorf("%s: Record = %v", name, err)
		}
	}
	if got := count(t, d, "SELECT count(*) FROM readings"); int64(got) != seq {
		t.Errorf("%d readings are stored of %d", got, seq)
	}
	if got := sessions(t, d); len(got.Sessions) != 1 || len(got.Sessions[0].Deliveries) != 1 || len(got.Retained) != 0 {
		t.Errorf("kept: %+v, want the one session with its one delivery", got)
	}
}

func TestJournal_UnknownKindIsLogged(t *testing.T) {
	var log bytes.Buffer
	d := openNew(t)
	d.log = slog.New(slog.NewTextHandler(&log, nil))
	change(t, d, &session.Drop{ID: "secret-id"})
	if got := log.String(); !strings.Contains(got, "kind=*session.Drop") || strings.Contains(got, "secret") {
		t.Errorf("log %q, want the kind and nothing of its content", got)
	}
}

// What a batch takes away itself is not written, what comes behind it is.
func TestJournal_PacketIDsAreFreeAgainWithinABatch(t *testing.T) {
	d := openNew(t)
	newSensors(t, d, 1)
	queue := func(order int64) session.Change {
		return session.Queue{ID: "s1/a", Delivery: session.Delivery{Order: order, PacketID: 1}}
	}
	settle, receive, complete := session.Settle{ID: "s1/a", PacketID: 1}, session.Receive{ID: "s1/a", PacketID: 1}, session.Complete{ID: "s1/a", PacketID: 1}
	change(t, d, session.Keep{Session: session.Session{ID: "s1/a", SensorID: 1}}, queue(1), receive)
	change(t, d, queue(2), settle, complete, queue(3), settle, queue(4), receive, complete, receive)
	got := sessions(t, d).Sessions[0]
	if len(got.Deliveries) != 1 || got.Deliveries[0].Order != 4 || len(got.Received) != 1 {
		t.Errorf("got deliveries %+v and received %v, want the fourth delivery and the packet", got.Deliveries, got.Received)
	}
	change(t, d, settle, complete)
	if got := sessions(t, d).Sessions[0]; len(got.Deliveries) != 0 || len(got.Received) != 0 {
		t.Errorf("got deliveries %+v and received %v, want none", got.Deliveries, got.Received)
	}
}

// A serial is free once its sensor is gone; what comes late for the old one must not touch the new one's topics.
func TestJournal_LateChangesOfADeletedSensorDoNotReachItsSuccessor(t *testing.T) {
	d := openNew(t)
	old := newSensors(t, d, 1)[0]
	if err := d.DeleteSensor(t.Context(), old.ID); err != nil {
		t.Fatal(err)
	}
	heir := newSensor(t, d, 1, old.Serial)
	kept := session.Retained{SensorID: heir.ID, Message: session.Message{Topic: "sensors/SN0/x", Payload: []byte("new")}}
	change(t, d, session.Retain{Retained: kept})
	for _, payload := range [][]byte{[]byte("old"), nil} {
		change(t, d, session.Retain{Retained: session.Retained{SensorID: old.ID, Message: session.Message{Topic: "sensors/SN0/x", Payload: payload}}})
	}
	if diff := differ(sessions(t, d), session.Snapshot{Retained: []session.Retained{kept}}); diff != "" {
		t.Errorf("retained (-want +got):\n%s", diff)
	}
}

func TestJournal_GoesWithItsSensorOrPerson(t *testing.T) {
	tables := []string{"sessions", "subscriptions", "deliveries", "received", "wills", "retained"}
	for name, remove := range map[string]func(*DB) error{
		"sensor":                   func(d *DB) error { return d.DeleteSensor(t.Context(), 1) },
		"person, with the sensors": func(d *DB) error { return d.DeleteUser(t.Context(), 1) },
	} {
		d := openNew(t)
		newSensors(t, d, 1)
		other := newUser(t, d, "other")
		stays := session.Session{ID: "u2/a", UserID: other.ID}
		change(t, d, session.Keep{Session: stays})
		owners := []session.Session{{ID: "s1/a", SensorID: 1}}
		if name != "sensor" {
			owners = append(owners, session.Session{ID: "u1/a", UserID: 1})
		}
		for _, s := range owners {
			change(t, d, session.Keep{Session: s}, session.Subscribe{ID: s.ID}, session.Queue{ID: s.ID}, session.Receive{ID: s.ID}, session.Leave{ID: s.ID},
				session.Retain{Retained: session.Retained{SensorID: 1, Message: session.Message{Payload: []byte("x")}}})
		}
		for _, table := range tables {
			if count(t, d, "SELECT count(*) FROM mqtt_"+table) == 0 {
				t.Fatalf("%s: nothing in mqtt_%s to begin with", name, table)
			}
		}
		if err := remove(d); err != nil {
			t.Fatal(err)
		}
		for _, table := range tables[1:] {
			if got := count(t, d, "SELECT count(*) FROM mqtt_"+table); got != 0 {
				t.Errorf("%s deleted: %d rows stay in mqtt_%s", name, got, table)
			}
		}
		if diff := differ(sessions(t, d), session.Snapshot{Sessions: []session.Stored{{Session: stays}}}); diff != "" {
			t.Errorf("%s deleted (-want +got):\n%s", name, diff)
		}
	}
}

func TestJournal_FullDiskStoresNoneOfABatch(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	change(t, d, session.Keep{Session: session.Session{ID: "s1/a", SensorID: sensor.ID}})
	if _, err := d.write.db.Exec("PRAGMA max_page_count = 1"); err != nil { // SQLite takes the present size instead
		t.Fatal(err)
	}
	epoch := d.Epoch()
	batch := ingest.Batch{Changes: []session.Change{session.Receive{ID: "s1/a", PacketID: 1}}}
	for i := range 100 {
		batch.Changes = append(batch.Changes, session.Queue{ID: "s1/a", Delivery: session.Delivery{PacketID: uint16(i), Message: session.Message{Payload: make([]byte, 4000)}}})
	}
	if err := d.Record(batch); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Fatalf("full: got %v, want %v", err, telemetry.ErrUnavailable)
	}
	if got := sessions(t, d).Sessions[0]; len(got.Deliveries) != 0 || len(got.Received) != 0 {
		t.Errorf("%d deliveries and %v received of the refused batch are stored", len(got.Deliveries), got.Received)
	}
	if d.Epoch() != epoch {
		t.Error("epoch changed though no viewer was shown anything that is not stored")
	}
	if _, err := d.write.db.Exec("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if err := d.Record(batch); err != nil {
		t.Fatalf("with space again: %v", err)
	}
	if got := sessions(t, d).Sessions[0]; len(got.Deliveries) != 100 {
		t.Errorf("%d deliveries are stored, want 100", len(got.Deliveries))
	}
}
