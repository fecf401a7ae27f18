package store

import (
	"errors"
	"fmt"
	"testing"

	"sensorcast/notify"
	"sensorcast/telemetry"
)

// channelOf adds a channel of the person's.
func channelOf(t testing.TB, d *DB, user int64, uid string) notify.Channel {
	t.Helper()
	c := notify.Channel{
		UID: uid, UserID: user, Name: "name of " + uid, Kind: notify.Webhook, Shown: "https://example.com/…", Host: "example.com:443",
		Target: []byte("sealed " + uid), Secret: []byte{1}, MinSeverity: notify.Info, Enabled: true, CreatedAt: now(), UpdatedAt: now(),
	}
	if err := d.CreateChannel(t.Context(), &c); err != nil {
		t.Fatalf("CreateChannel: %v", err)
	}
	return c
}

// noticing writes a notice as alerts do, and returns its id.
func noticing(t testing.TB, d *DB, owner, sensor int64, uid string) int64 {
	t.Helper()
	result, err := d.write.db.Exec(`
		INSERT INTO notices (uid, what, owner_id, sensor_id, severity, title, body, data, created_at) VALUES (?, 'opened', ?, nullif(?, 0), 'warning', ?, '', '{}', ?)`,
		uid, owner, sensor, "title of "+uid, int64(now()))
	if err != nil {
		t.Fatal(err)
	}
	id, err := result.LastInsertId()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// posted fans one notice out to channels.
func posted(t testing.TB, d *DB, notice int64, channels ...notify.Channel) {
	t.Helper()
	f := notify.Fan{NoticeID: notice}
	for _, c := range channels {
		f.To = append(f.To, notify.Posting{ChannelID: c.ID})
	}
	if err := d.FanOut(t.Context(), now(), []notify.Fan{f}); err != nil {
		t.Fatalf("FanOut: %v", err)
	}
}

func due(t testing.TB, d *DB, c notify.Channel) []notify.Delivery {
	t.Helper()
	all, err := d.Due(t.Context(), c.ID, now(), 100)
	if err != nil {
		t.Fatalf("Due: %v", err)
	}
	return all
}

func ready(t testing.TB, d *DB, at telemetry.Millis, but ...string) (names []string) {
	t.Helper()
	all, err := d.ReadyChannels(t.Context(), at, but, 100)
	if err != nil {
		t.Fatalf("ReadyChannels: %v", err)
	}
	for _, c := range all {
		names = append(names, c.UID)
	}
	return names
}

func TestChannels_AreTheirOwnersAndBounded(t *testing.T) {
	d := openNew(t)
	ada, bob := newUser(t, d, "ada"), newUser(t, d, "bob")
	for i := range notify.MaxChannels {
		channelOf(t, d, ada.ID, fmt.Sprintf("c%02d", i))
	}
	one := notify.Channel{UID: "more", UserID: ada.ID}
	if err := d.CreateChannel(t.Context(), &one); !errors.Is(err, notify.ErrChannels) {
		t.Errorf("one too many: got %v, want ErrChannels", err)
	}
	channelOf(t, d, bob.ID, "b")
	if all, err := d.Channels(t.Context(), ada.ID); err != nil || len(all) != notify.MaxChannels || all[0].UID != "c00" {
		t.Errorf("got %d, %v, want %d, oldest first", len(all), err, notify.MaxChannels)
	}
	if _, err := d.Channel(t.Context(), bob.ID, "c00"); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("somebody else's: got %v, want ErrNotFound", err)
	}
	bob.Disabled = true
	if err := d.UpdateUser(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	if all, err := d.Channels(t.Context(), bob.ID); err != nil || len(all) != 0 {
		t.Errorf("of a disabled account: got %d, %v, want none", len(all), err)
	}
	if err := d.DeleteUser(t.Context(), ada.ID); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "SELECT count(*) FROM channels"); n != 1 {
		t.Errorf("after their owner went: got %d channels, want 1", n)
	}
}

func TestFanOut_HappensOnce(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	a, b := channelOf(t, d, s.OwnerID, "a"), channelOf(t, d, s.OwnerID, "b")
	id := noticing(t, d, s.OwnerID, s.ID, "n1")
	fresh, err := d.NewNotices(t.Context(), 10)
	if err != nil || len(fresh) != 1 || fresh[0].Serial != s.Serial || fresh[0].SensorID != s.ID || fresh[0].UID != "n1" {
		t.Fatalf("NewNotices: got %+v, %v, want n1 of %s", fresh, err, s.Serial)
	}
	posted(t, d, id, a, b, notify.Channel{ID: 999}) // one that is gone is nobody's concern
	posted(t, d, id, a, b)
	posted(t, d, 999, a)
	if n := count(t, d, "SELECT count(*) FROM deliveries"); n != 2 {
		t.Errorf("got %d deliveries, want 2", n)
	}
	if fresh, err := d.NewNotices(t.Context(), 10); err != nil || len(fresh) != 0 {
		t.Errorf("NewNotices after: got %+v, %v, want none", fresh, err)
	}
}

func TestReadyChannels_WaitLongestFirstAndNotBeforeTheirTime(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	a, b, off := channelOf(t, d, s.OwnerID, "a"), channelOf(t, d, s.OwnerID, "b"), channelOf(t, d, s.OwnerID, "off")
	posted(t, d, noticing(t, d, s.OwnerID, s.ID, "n1"), b)
	posted(t, d, noticing(t, d, s.OwnerID, s.ID, "n2"), a, b, off)
	off.Enabled = false
	if err := d.UpdateChannel(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	at := now()
	if got := ready(t, d, at); fmt.Sprint(got) != "[b a]" {
		t.Errorf("got %v, want [b a]", got)
	}
	if got := ready(t, d, at, "other:443", a.Host); len(got) != 0 {
		t.Errorf("but those of %s: got %v, want none", a.Host, got)
	}
	if err := d.Settle(t.Context(), notify.Settlement{ChannelID: b.ID, At: at, Failures: 1, RetryAt: at + 60_000}); err != nil {
		t.Fatal(err)
	}
	if got := ready(t, d, at); fmt.Sprint(got) != "[a]" {
		t.Errorf("while b waits: got %v, want [a]", got)
	}
	if got := ready(t, d, at+60_000); fmt.Sprint(got) != "[b a]" {
		t.Errorf("after: got %v, want [b a]", got)
	}
	log, err := d.Deliveries(t.Context(), off.ID, 0, 10)
	if err != nil || len(log) != 1 || log[0].State != notify.Failed || log[0].Error == "" {
		t.Errorf("log of what was switched off: got %+v, %v, want one that failed, with the reason", log, err)
	}
}

func TestSettle_SentStaysSentAndOldOnesAreGivenUp(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	c := channelOf(t, d, s.OwnerID, "a")
	for i := range 3 {
		posted(t, d, noticing(t, d, s.OwnerID, s.ID, fmt.Sprint("n", i)), c)
	}
	waiting := due(t, d, c)
	if len(waiting) != 3 || waiting[0].Notice.UID != "n0" || waiting[2].Notice.UID != "n2" {
		t.Fatalf("got %+v, want three in order", waiting)
	}
	first := waiting[0]
	first.State, first.Attempts = notify.Sent, 1
	if err := d.Settle(t.Context(), notify.Settlement{ChannelID: c.ID, At: now(), Deliveries: []notify.Delivery{first}}); err != nil {
		t.Fatal(err)
	}
	first.State, first.Error = notify.Failed, "late"
	second := waiting[1]
	second.Attempts, second.Error = 1, "answered with 500"
	err := d.Settle(t.Context(), notify.Settlement{
		ChannelID: c.ID, At: now(), Deliveries: []notify.Delivery{first, second}, Failures: 12, GiveUp: now() + 1, Why: "answered with 500",
	})
	if err != nil {
		t.Fatal(err)
	}
	log, err := d.Deliveries(t.Context(), c.ID, 0, 10)
	if err != nil || len(log) != 3 || log[2].State != notify.Sent || log[2].SettledAt == 0 || log[1].State != notify.Failed || log[0].State != notify.Failed {
		t.Errorf("got %+v, %v, want, newest first, failed, failed, sent", log, err)
	}
	if n, err := d.Backlog(t.Context()); err != nil || n != 0 {
		t.Errorf("backlog: got %d, %v, want 0", n, err)
	}
}

// What was fanned out survives whatever ends the process, and so does that it was.
func TestDeliveries_SurviveACrash(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	s := newSensors(t, d, 1)[0]
	c := channelOf(t, d, s.OwnerID, "a")
	posted(t, d, noticing(t, d, s.OwnerID, s.ID, "n1"), c)
	noticing(t, d, s.OwnerID, s.ID, "n2")
	abandon(t, d)
	d = openAt(t, dir)
	if got := due(t, d, c); len(got) != 1 || got[0].Notice.UID != "n1" {
		t.Errorf("waiting: got %+v, want n1", got)
	}
	if fresh, err := d.NewNotices(t.Context(), 10); err != nil || len(fresh) != 1 || fresh[0].UID != "n2" {
		t.Errorf("new: got %+v, %v, want n2", fresh, err)
	}
}

func TestRun_ForgetsSettledDeliveriesAndTheirNotices(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	c := channelOf(t, d, s.OwnerID, "a")
	for _, uid := range []string{"old", "waiting", "new"} {
		posted(t, d, noticing(t, d, s.OwnerID, s.ID, uid), c)
	}
	old := int64(now().Add(-2 * notify.KeepSettled))
	for _, query := range []string{
		"UPDATE notices SET created_at = ? WHERE uid <> 'new'",
		"UPDATE deliveries SET state = 'sent', settled_at = ? WHERE notice_id = (SELECT id FROM notices WHERE uid = 'old')",
	} {
		if _, err := d.write.db.Exec(query, old); err != nil {
			t.Fatal(err)
		}
	}
	for done := 1; done > 0; {
		var err error
		if done, err = d.forgetNotices(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, d, "SELECT count(*) FROM notices"); n != 2 {
		t.Errorf("got %d notices, want 2: one waits, one is new", n)
	}
}

// A mistyped address is somebody else's.
func TestMailAddress_IsNobodysUntilItIsConfirmed(t *testing.T) {
	d := openNew(t)
	ada := newUser(t, d, "ada")
	if got, err := d.MailAddress(t.Context(), ada.ID); got != "" || !errors.Is(err, telemetry.ErrForbidden) {
		t.Errorf("unconfirmed: got %q, %v, want ErrForbidden", got, err)
	}
	ada.EmailVerifiedAt = telemetry.Now()
	if err := d.UpdateUser(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	if got, err := d.MailAddress(t.Context(), ada.ID); got != ada.Email || err != nil {
		t.Errorf("confirmed: got %q, %v, want %q", got, err, ada.Email)
	}
}
