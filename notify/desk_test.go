package notify_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"sensorcast/auth"
	"sensorcast/notify"
	"sensorcast/telemetry"
)

func TestDesk_WebhooksAreSignedByTheScheme(t *testing.T) {
	h := newHouse(t)
	r := newReceiver(t, nil)
	c, secret := h.webhook(h.ada, r.URL)
	h.notice("A1", "n1", notify.Warning)
	h.settled(h.ada, c, 1)
	got := r.all()[0]
	check, err := standardwebhooks.NewWebhook(secret)
	must(t, err)
	if err := check.Verify(got.body, got.header); err != nil {
		t.Errorf("the reference implementation refuses the signature: %v", err)
	}
	if err := check.Verify(append(got.body, ' '), got.header); err == nil {
		t.Error("it takes a changed body too: the test sees nothing")
	}
	var event map[string]any
	must(t, json.Unmarshal(got.body, &event))
	data := event["data"].(map[string]any)
	if event["type"] != "alert.opened" || event["timestamp"] == nil || data["id"] != "n1" || data["serial_no"] != "A1" || data["severity"] != "warning" ||
		data["title"] != "title of n1" || data["alert"].(map[string]any)["kind"] != "silent" || got.header.Get("Webhook-Id") != "n1" {
		t.Errorf("got %s as %s", got.body, got.header.Get("Webhook-Id"))
	}
}

func TestDesk_EachNoticeGoesOnceToItsOwnersChannelsThatWantIt(t *testing.T) {
	h := newHouse(t)
	all, grave, off, bobs := newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil)
	first, _ := h.webhook(h.ada, all.URL)
	second, _ := h.channel(h.ada, notify.Draft{Name: "grave", Kind: notify.Webhook, URL: grave.URL, MinSeverity: notify.Critical, Enabled: true})
	third, _ := h.channel(h.ada, notify.Draft{Name: "off", Kind: notify.Webhook, URL: off.URL})
	fourth, _ := h.webhook(h.bob, bobs.URL)
	for i, s := range []notify.Severity{notify.Info, notify.Critical, notify.Warning} {
		h.notice("A1", fmt.Sprint("n", i), s)
	}
	h.notice("B1", "b", notify.Info)
	h.settled(h.ada, first, 3)
	h.settled(h.ada, second, 1)
	h.settled(h.bob, fourth, 1)
	if got := all.ids(); !slices.Equal(got, []string{"n0", "n1", "n2"}) {
		t.Errorf("all: got %v, want three in order", got)
	}
	if got := grave.ids(); !slices.Equal(got, []string{"n1"}) {
		t.Errorf("grave: got %v, want n1", got)
	}
	if got := h.log(h.ada, third); len(off.ids()) != 0 || len(got) != 0 {
		t.Errorf("off: got %v, log %v", off.ids(), got)
	}
	if got := bobs.ids(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("bob: got %v, want his own", got)
	}
	if _, err := h.desk.Channel(t.Context(), h.bob, first.UID); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("somebody else's channel: got %v, want ErrNotFound", err)
	}
}

func TestDesk_OrderIsKeptWhileOneIsTriedAgain(t *testing.T) {
	h := newHouse(t)
	r := newReceiver(t, func(n int) int {
		if n <= 2 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	c, _ := h.webhook(h.ada, r.URL)
	h.notice("A1", "n1", notify.Warning)
	h.settled(h.ada, c, 1)
	h.notice("A1", "n2", notify.Warning)
	h.eventually("n2 waits", func() bool { return len(h.log(h.ada, c)) == 2 })
	time.Sleep(50 * time.Millisecond) // it must not overtake
	h.retry()
	h.eventually("a second failure", func() bool { return h.log(h.ada, c)[0].Attempts == 2 })
	if got := h.log(h.ada, c); got[0].Error != "answered with 500" || got[1].Attempts != 0 {
		t.Errorf("while it fails: got %+v", got)
	}
	if shown, err := h.desk.Channel(t.Context(), h.ada, c.UID); err != nil || shown.Failures != 2 || shown.RetryAt.Sub(telemetry.Now()) < time.Minute {
		t.Errorf("channel: got %d failures, again at %v, %v", shown.Failures, shown.RetryAt, err)
	}
	h.retry()
	h.eventually("both are sent", func() bool {
		return !slices.ContainsFunc(h.log(h.ada, c), func(d notify.Delivery) bool { return d.State != notify.Sent })
	})
	if got := r.ids(); !slices.Equal(got, []string{"n1", "n1", "n1", "n2"}) {
		t.Errorf("got %v, want n1 until it is taken, then n2, always by the same id", got)
	}
}

// What says that the message is at fault is not repeated and holds nothing up; what says "never again" switches the channel off.
func TestDesk_RefusalsAreFinal(t *testing.T) {
	h := newHouse(t)
	r := newReceiver(t, func(n int) int { return []int{400, 200, 410}[min(n, 3)-1] })
	c, _ := h.webhook(h.ada, r.URL)
	for i := range 4 {
		h.notice("A1", fmt.Sprint("n", i), notify.Warning)
	}
	h.eventually("all are settled", func() bool {
		got := h.log(h.ada, c)
		return len(got) >= 3 && !slices.ContainsFunc(got, func(d notify.Delivery) bool { return d.State == notify.Waiting })
	})
	got := h.log(h.ada, c)
	if got[0].State != notify.Failed || got[0].Error != "answered with 400" || got[1].State != notify.Sent || got[2].State != notify.Failed {
		t.Errorf("got %+v", got)
	}
	if shown, err := h.desk.Channel(t.Context(), h.ada, c.UID); err != nil || shown.Enabled || len(r.ids()) != 3 {
		t.Errorf("after 410: enabled is %v, %d requests, %v", shown.Enabled, len(r.ids()), err)
	}
}

func TestDesk_AnOldOwnerIsNotTold(t *testing.T) {
	h := newHouse(t)
	r := newReceiver(t, func(n int) int {
		if n == 1 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	c, _ := h.webhook(h.ada, r.URL)
	h.notice("A1", "n1", notify.Critical)
	h.settled(h.ada, c, 1)
	dev, _ := h.sensors.Lookup("A1")
	dev.OwnerID = h.bob.UserID
	h.sensors.Put(dev) // while its alert waits
	h.retry()
	h.eventually("it is withdrawn", func() bool { return h.log(h.ada, c)[0].State == notify.Failed })
	if got := h.log(h.ada, c)[0].Error; len(r.ids()) != 1 || !strings.Contains(got, "not yours") {
		t.Errorf("%d requests, log says %q", len(r.ids()), got)
	}
	dev.Shares = []auth.Share{{UserID: h.ada.UserID, Access: auth.ViewerAccess}}
	h.sensors.Put(dev)
	must(t, writeNotice(h.raw, h.ada.UserID, dev.SensorID, "n2", notify.Warning)) // one that was under way when a share remained
	h.desk.Wake()
	h.eventually("who may still view it is told", func() bool { return slices.Contains(r.ids(), "n2") })
	h.sensors.Remove("A1")
	must(t, writeNotice(h.raw, h.ada.UserID, dev.SensorID, "n3", notify.Warning))
	h.desk.Wake()
	if got := h.settledState(h.ada, c, "n3"); got != notify.Failed {
		t.Errorf("of a sensor that is gone: got %s", got)
	}
}

// settledState waits until a notice waits no longer in a channel.
func (h *house) settledState(p auth.Principal, c notify.Channel, uid string) (s notify.State) {
	h.t.Helper()
	h.eventually(uid+" is settled", func() bool {
		for _, d := range h.log(p, c) {
			if d.Notice.UID == uid {
				s = d.State
			}
		}
		return s != "" && s != notify.Waiting
	})
	return s
}

func TestDesk_QuietHoursHoldBackAndSumUp(t *testing.T) {
	h := newHouse(t)
	r := newReceiver(t, nil)
	now := time.Now().UTC()
	quiet, err := notify.ParseQuiet(now.Add(-time.Hour).Format("15:04"), now.Add(time.Hour).Format("15:04"), "")
	must(t, err)
	hook, _ := h.channel(h.ada, notify.Draft{Name: "hook", Kind: notify.Webhook, URL: r.URL, Enabled: true, Quiet: quiet})
	mail, _ := h.channel(h.ada, notify.Draft{Name: "mail", Kind: notify.Email, Enabled: true, Quiet: quiet})
	h.notice("A1", "n1", notify.Warning)
	h.notice("A1", "n2", notify.Critical)
	h.notice("A1", "n3", notify.Info)
	h.eventually("the critical one is sent", func() bool { return len(r.ids()) == 1 && len(h.post.all()) == 1 })
	h.eventually("the others wait", func() bool { return len(h.log(h.ada, hook)) == 3 && len(h.log(h.ada, mail)) == 3 })
	h.settledState(h.ada, hook, "n2") // which is written down behind its arrival
	for _, d := range h.log(h.ada, hook) {
		if held := d.Notice.Severity != notify.Critical; held != (d.State == notify.Waiting) || held != (d.DueAt > telemetry.Now()) {
			t.Errorf("%s: %s until %v", d.Notice.UID, d.State, d.DueAt)
		}
	}
	_, err = h.raw.Exec("UPDATE deliveries SET due_at = 1 WHERE due_at > 0") // it is morning
	must(t, err)
	h.desk.Wake()
	h.eventually("one message each", func() bool { return len(r.ids()) == 2 && len(h.post.all()) == 2 })
	h.settled(h.ada, hook, 3)
	var event struct {
		Type string
		Data struct {
			ID      string
			Notices []struct{ Data struct{ ID string } }
		}
	}
	must(t, json.Unmarshal(r.all()[1].body, &event))
	if event.Type != "alert.digest" || len(event.Data.Notices) != 2 || event.Data.Notices[0].Data.ID != "n1" || event.Data.Notices[1].Data.ID != "n3" || event.Data.ID != r.ids()[1] {
		t.Errorf("digest: got %s", r.all()[1].body)
	}
	if got := h.post.all()[1]; !strings.HasPrefix(got.Subject, "2 alerts since") || !strings.Contains(got.Text, "title of n1") || !strings.Contains(got.Text, "title of n3") {
		t.Errorf("letter: got %+v", got)
	}
}

// A mail server that dies half-way through gets the letter again, one that refuses it for good does not; mail that piled up is one letter.
func TestDesk_MailIsTriedAgainAndSummedUp(t *testing.T) {
	h := newHouse(t)
	c, _ := h.channel(h.ada, notify.Draft{Name: "mail", Kind: notify.Email, Enabled: true})
	h.post.fail(errors.New("421 canary-password: connection lost after DATA"))
	h.notice("A1", "n1", notify.Warning)
	if got := h.settled(h.ada, c, 1)[0]; got.State != notify.Waiting || got.Error == "" || strings.Contains(got.Error, "canary") {
		t.Errorf("after the failure: got %s, %q, want that it waits, in our own words", got.State, got.Error)
	}
	for i := range 30 {
		h.notice("A1", fmt.Sprint("m", i), notify.Info)
	}
	h.eventually("all wait", func() bool { return len(h.log(h.ada, c)) == 31 })
	h.post.fail(nil)
	h.retry()
	for _, d := range h.settled(h.ada, c, 31) {
		if d.State != notify.Sent {
			t.Errorf("%s: %s %s", d.Notice.UID, d.State, d.Error)
		}
	}
	letters := h.post.all()
	if len(letters) != 2 || letters[0].To != "ada@example.org" || letters[0].Subject != "title of n1" {
		t.Fatalf("got %d letters, first %+v, want the one that failed and one for all", len(letters), letters[0])
	}
	if got := letters[1]; !strings.HasPrefix(got.Subject, "31 alerts") || !strings.Contains(got.Text, "title of n1") || !strings.Contains(got.Text, "and 11 more") {
		t.Errorf("letter: got %+v", got)
	}
	h.post.fail(fmt.Errorf("550 canary-password: %w", telemetry.ErrInvalid))
	h.notice("A1", "last", notify.Warning)
	if got := h.settledState(h.ada, c, "last"); got != notify.Failed {
		t.Errorf("refused for good: got %s", got)
	}
	for _, d := range h.log(h.ada, c) {
		if strings.Contains(d.Error, "canary") {
			t.Errorf("the log repeats the mail server's words: %q", d.Error)
		}
	}
}

func TestDesk_TestTellsInWords(t *testing.T) {
	h := newHouse(t)
	r := newReceiver(t, nil)
	c, secret := h.webhook(h.ada, r.URL)
	got, err := h.desk.Test(t.Context(), h.ada, c.UID)
	if err != nil || !got.Sent {
		t.Fatalf("got %+v, %v", got, err)
	}
	check, err := standardwebhooks.NewWebhook(secret)
	must(t, err)
	if err := check.Verify(r.all()[0].body, r.all()[0].header); err != nil || !strings.Contains(string(r.all()[0].body), `"alert.test"`) {
		t.Errorf("got %s, %v", r.all()[0].body, err)
	}
	if _, err := h.desk.Test(t.Context(), h.ada, c.UID); !errors.Is(err, telemetry.ErrTooMany) {
		t.Errorf("at once again: got %v, want ErrTooMany", err)
	}
	refused, _ := h.webhook(h.bob, "https://127.0.0.1:1/")
	if got, err := h.desk.Test(t.Context(), h.bob, refused.UID); err != nil || got.Sent || got.Outcome != "connection refused" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := h.log(h.ada, c); len(got) != 0 {
		t.Errorf("a test is in the log: %+v", got)
	}
}
