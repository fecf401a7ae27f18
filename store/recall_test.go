package store

import (
	"context"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/session"
	"sensorcast/telemetry"
)

func TestSessions_EndedOnesAreForgottenAndTheirWillsAreNot(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	sensor := newSensors(t, d, 1)[0]
	now := telemetry.Now()
	stored := func(id string, endsAt telemetry.Millis, will *session.Will) session.Stored {
		s := session.Session{ID: id, SensorID: sensor.ID, Version: 5, EndsAt: endsAt}
		change(t, d, session.Keep{Session: s}, session.Queue{ID: id, Delivery: session.Delivery{PacketID: 1}},
			session.Subscribe{ID: id}, session.Receive{ID: id, PacketID: 1})
		if will != nil {
			change(t, d, session.Leave{ID: id, Will: *will})
		}
		return session.Stored{
			Session: s, Will: will, Received: []uint16{1}, Subscriptions: make([]session.Subscription, 1), Deliveries: []session.Delivery{{PacketID: 1}},
		}
	}
	will := &session.Will{Message: session.Message{Topic: "sensors/SN0/lwt", Payload: []byte("gone")}, Delay: time.Hour, DueAt: now.Add(time.Hour)}
	want := session.Snapshot{Sessions: []session.Stored{
		stored("connected when the server stopped", 0, will),
		stored("away", now.Add(time.Hour), nil),
		stored("away, will to come", now.Add(time.Hour), will),
	}}
	stored("over", now-1, nil)
	over := stored("over, will not published", now-1, will)
	want.Sessions = append(want.Sessions, session.Stored{Session: over.Session, Will: will})
	abandon(t, d)

	for range 2 { // a server that stops before it published the will finds it again
		d = openAt(t, dir)
		if diff := differ(sessions(t, d), want); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		abandon(t, d)
	}
	d = openAt(t, dir)
	change(t, d, session.Drop{ID: over.Session.ID})
	want.Sessions = want.Sessions[:3]
	if diff := differ(sessions(t, d), want); diff != "" {
		t.Errorf("after the will was published (-want +got):\n%s", diff)
	}
	for _, table := range []string{"subscriptions", "deliveries", "received"} {
		if got := count(t, d, "SELECT count(*) FROM mqtt_"+table); got != 3 {
			t.Errorf("%d rows in mqtt_%s, want one for each session that goes on", got, table)
		}
	}
}

func TestSessions_DeliveriesComeInTheOrderOfTheQueue(t *testing.T) {
	d := openNew(t)
	sensor := newSensors(t, d, 1)[0]
	for _, id := range []string{"s1/a", "s1/b"} {
		change(t, d, session.Keep{Session: session.Session{ID: id, SensorID: sensor.ID}})
	}
	for _, order := range []int64{3, 1, 5, 2, 4} { // a broker that says again what a failed batch lost
		for _, id := range []string{"s1/a", "s1/b"} {
			change(t, d, session.Queue{ID: id, Delivery: session.Delivery{Order: order, PacketID: uint16(100 - order)}})
		}
	}
	for _, s := range sessions(t, d).Sessions {
		for i, got := range s.Deliveries {
			if got.Order != int64(i)+1 || got.PacketID != uint16(99-i) {
				t.Errorf("%s: delivery %d is %+v", s.Session.ID, i, got)
			}
		}
		if len(s.Deliveries) != 5 {
			t.Errorf("%s: %d deliveries, want 5", s.Session.ID, len(s.Deliveries))
		}
	}
}

func TestSessions_GivesUpWithItsContext(t *testing.T) {
	d := openNew(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := d.Sessions(ctx); err == nil {
		t.Errorf("got %+v, want an error", got)
	}
}

// A database of the first schema gains the tables since and keeps what it has.
func TestOpen_FirstSchemaIsUpgraded(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	sensor := newSensors(t, d, 1)[0]
	record(t, d, reads(sensor.ID, 1))
	for _, query := range []string{
		"DROP TABLE mqtt_retained", "DROP TABLE mqtt_wills", "DROP TABLE mqtt_received", "DROP TABLE mqtt_deliveries",
		"DROP TABLE mqtt_subscriptions", "DROP TABLE mqtt_sessions", "DROP TABLE commands", "DROP TABLE spent_tokens", "ALTER TABLE log DROP COLUMN pruned_to",
		"DROP TABLE deliveries", "DROP TABLE channels", "DROP TABLE rule_waits", "DROP TABLE rules", "DROP TABLE rule_log", "DROP TABLE alerts", "DROP TABLE notices", "DROP TABLE cadences", "ALTER TABLE sensors DROP COLUMN silence_learned",
		"DROP TABLE heartbeat", "ALTER TABLE sensor_status DROP COLUMN silent_from",
		"DROP TABLE api_tokens", "DROP TABLE sensor_creations", "DROP TABLE strangers", "DROP TABLE audit_parties", "DROP TABLE audit", "DROP TABLE shares", "DROP TABLE transfers",
		"DROP TABLE letter_tokens", "DROP TABLE invitations", "ALTER TABLE users DROP COLUMN email_verified_at",
		"ALTER TABLE users DROP COLUMN last_login_at", "ALTER TABLE users DROP COLUMN search",
		"ALTER TABLE sessions DROP COLUMN last_used_at", "ALTER TABLE sessions DROP COLUMN address", "ALTER TABLE sessions DROP COLUMN client",
		"DROP TABLE recovery_codes", "DROP TABLE second_factors", "DROP TABLE debts",
		"DELETE FROM goose_db_version WHERE version_id > 1",
	} {
		if _, err := d.write.db.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openAt(t, dir)
	kept := session.Session{ID: "s1/a", SensorID: sensor.ID}
	change(t, d, session.Keep{Session: kept})
	if diff := differ(sessions(t, d), session.Snapshot{Sessions: []session.Stored{{Session: kept}}}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := status(t, d, sensor.Serial); got.Latest == nil || got.Latest.Seq != 1 {
		t.Errorf("latest reading after the upgrade: %+v, want seq 1", got.Latest)
	}
	if found, _, err := d.ListUsers(t.Context(), auth.UserQuery{Text: "OWNER@", Limit: 2}); err != nil || len(found) != 1 {
		t.Errorf("search for the account after the upgrade: %v, %v, want it found", found, err)
	}
}
