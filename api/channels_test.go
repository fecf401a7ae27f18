package api

import (
	"net/http"
	"strings"
	"testing"

	"sensorcast/notify"
)

// channelAnswer is what tests read of a channel.
type channelAnswer struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	URL         *string         `json:"url"`
	Address     *string         `json:"address"`
	MinSeverity notify.Severity `json:"min_severity"`
	Enabled     bool            `json:"enabled"`
	QuietHours  *quietHours     `json:"quiet_hours"`
}

type channelCreatedAnswer struct {
	Channel channelAnswer `json:"channel"`
	Secret  *string       `json:"secret"`
}

// channel adds a channel of the person's.
func (h *house) channel(p personFixture, draft fields) channelAnswer {
	h.t.Helper()
	var created channelCreatedAnswer
	h.call("POST", "/api/v1/channels", p.access, draft).want(http.StatusCreated).into(&created)
	return created.Channel
}

func TestChannels_SecretAndAddressAreShownOnce(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	const url = "https://user:canary-pw@hooks.example.com/canary-path?k=canary-query"
	made := h.call("POST", "/api/v1/channels", p.access, fields{"name": "hook", "type": "webhook", "url": url}).want(http.StatusCreated)
	var created channelCreatedAnswer
	made.into(&created)
	if created.Secret == nil || !strings.HasPrefix(*created.Secret, "whsec_") || len(*created.Secret) != len("whsec_")+44 {
		t.Errorf("secret: got %v, want whsec_ and 32 bytes in base64", created.Secret)
	}
	if got := *created.Channel.URL; got != "https://hooks.example.com/…" {
		t.Errorf("url: got %q", got)
	}
	path := "/api/v1/channels/" + created.Channel.ID
	for _, a := range []answer{
		made,
		h.call("GET", path, p.access, nil).want(http.StatusOK),
		h.call("GET", "/api/v1/channels", p.access, nil).want(http.StatusOK),
		h.call("PATCH", path, p.access, fields{"name": "other"}).want(http.StatusOK),
		h.call("POST", path+"/test", p.access, nil).want(http.StatusOK),
		h.call("GET", path+"/deliveries", p.access, nil).want(http.StatusOK),
	} {
		body := string(a.body)
		if strings.Contains(body, "canary") || a.status != http.StatusCreated && strings.Contains(body, *created.Secret) {
			t.Errorf("%s shows what is secret: %s", a.what, body)
		}
	}
	for _, secret := range []string{"canary", *created.Secret} {
		if strings.Contains(h.logs.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}

func TestChannels_MistakesNameTheirField(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	for name, tc := range map[string]struct {
		change fields
		want   string
	}{
		"no name":            {fields{"name": " "}, "body.name"},
		"unknown type":       {fields{"type": "pigeon"}, "body.type"},
		"no url":             {fields{"url": ""}, "body.url"},
		"no web address":     {fields{"url": "ftp://example.com/"}, "body.url"},
		"no host":            {fields{"url": "https:///x"}, "body.url"},
		"long url":           {fields{"url": "https://example.com/" + strings.Repeat("x", 2048)}, "body.url"},
		"unknown service":    {fields{"type": "url", "url": "pigeon://roost"}, "body.url"},
		"unknown option":     {fields{"type": "url", "url": "ntfy://ntfy.sh/topic?disabletlsverification=yes"}, "body.url"},
		"foreign address":    {fields{"type": "email", "url": "", "address": "someone@else.example"}, "body.address"},
		"mail with url":      {fields{"type": "email"}, "body.url"},
		"webhook with mail":  {fields{"address": "ada@example.org"}, "body.address"},
		"unknown severity":   {fields{"min_severity": "dire"}, "body.min_severity"},
		"unknown time zone":  {fields{"quiet_hours": fields{"from": "22:00", "to": "07:00", "time_zone": "Mars/Base"}}, "body.quiet_hours.time_zone"},
		"the server's clock": {fields{"quiet_hours": fields{"from": "22:00", "to": "07:00", "time_zone": "Local"}}, "body.quiet_hours.time_zone"},
		"no time of day":     {fields{"quiet_hours": fields{"from": "25:00", "to": "07:00"}}, "body.quiet_hours.from"},
		"no quiet at all":    {fields{"quiet_hours": fields{"from": "07:00", "to": "07:00"}}, "body.quiet_hours.to"},
	} {
		t.Run(name, func(t *testing.T) {
			draft := fields{"name": "hook", "type": "webhook", "url": "https://example.com/hook"}
			for k, v := range tc.change {
				draft[k] = v
			}
			h.t = t
			h.call("POST", "/api/v1/channels", p.access, draft).wantFault(http.StatusUnprocessableEntity, "invalid", tc.want)
		})
	}
}

func TestChannels_AreChangedInPartAndBounded(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.call("POST", "/api/v1/channels", p.access, fields{"name": "mail", "type": "email", "address": "ada@example.org"}).
		wantFault(http.StatusUnprocessableEntity, "invalid", "body.address") // not confirmed yet
	h.call("POST", "/api/v1/auth/email-verification/confirm", "", fields{"token": h.code("ada@example.org")}).want(http.StatusNoContent)
	mail := h.channel(p, fields{"name": "mail", "type": "email", "address": "ADA@example.org", "quiet_hours": fields{"from": "22:00", "to": "07:30", "time_zone": "Europe/Berlin"}})
	if mail.Address == nil || *mail.Address != "ada@example.org" || mail.URL != nil || *mail.QuietHours != (quietHours{"22:00", "07:30", "Europe/Berlin"}) {
		t.Errorf("got %+v", mail)
	}
	var changed channelAnswer
	h.call("PATCH", "/api/v1/channels/"+mail.ID, p.access, fields{"min_severity": "critical", "enabled": false}).want(http.StatusOK).into(&changed)
	if changed.Name != "mail" || changed.MinSeverity != notify.Critical || changed.Enabled || changed.QuietHours == nil {
		t.Errorf("after a change of two fields: got %+v", changed)
	}
	h.call("PATCH", "/api/v1/channels/"+mail.ID, p.access, fields{"quiet_hours": nil}).want(http.StatusOK).into(&changed)
	if changed.QuietHours != nil || changed.Enabled {
		t.Errorf("after null: got %+v", changed)
	}
	for range notify.MaxChannels - 1 {
		h.channel(p, fields{"name": "chat", "type": "url", "url": "ntfy://ntfy.sh/topic"})
	}
	h.call("POST", "/api/v1/channels", p.access, fields{"name": "more", "type": "email"}).wantProblem(http.StatusConflict, "too-many-channels")
	h.call("DELETE", "/api/v1/channels/"+mail.ID, p.access, nil).want(http.StatusNoContent)
	h.call("GET", "/api/v1/channels/"+mail.ID, p.access, nil).wantProblem(http.StatusNotFound, "not-found")
}

func TestChannels_TestTellsWhatCameOfItAndMayNotBeRepeatedAtOnce(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	c := h.channel(p, fields{"name": "inside", "type": "webhook", "url": "http://127.0.0.1:1/"})
	var got trial
	h.call("POST", "/api/v1/channels/"+c.ID+"/test", p.access, nil).want(http.StatusOK).into(&got)
	if got.Sent || !strings.Contains(got.Outcome, "--webhook-allow") {
		t.Errorf("got %+v, want that it was refused, and by what", got)
	}
	h.call("POST", "/api/v1/channels/"+c.ID+"/test", p.access, nil).wantProblem(http.StatusTooManyRequests, "too-many-requests")
}
