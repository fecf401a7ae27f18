package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"sensorcast/mail"
	"sensorcast/notify"
	"sensorcast/telemetry"
)

// telling are the settings of how people are told, and whoever watches over the server itself.
type telling struct {
	WebhookAllow []string `name:"webhook-allow" placeholder:"CIDR" help:"Private networks that notifications may reach all the same, without TLS too."`

	HeartbeatURL   string        `name:"heartbeat-url" placeholder:"URL" help:"Asked (GET) as long as the server hears its own MQTT test message: a dead-man's switch to be told when it does not; empty: none."`
	HeartbeatEvery time.Duration `name:"heartbeat-every" default:"1m" help:"How often the server tests itself, and asks --heartbeat-url."`
}

const minHeartbeatEvery = time.Second

func (t *telling) check() error {
	if u, err := url.Parse(t.HeartbeatURL); t.HeartbeatURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return errors.New("--heartbeat-url is not an http or https address") // it is not repeated: it is as good as a password
	}
	if t.HeartbeatEvery < minHeartbeatEvery {
		return errors.New("--heartbeat-every must be at least 1s")
	}
	_, err := t.webhookAllow()
	return err
}

func (t *telling) webhookAllow() ([]netip.Prefix, error) {
	return prefixes("--webhook-allow", t.WebhookAllow)
}

// sealChannels is the purpose of the key that channels' addresses are sealed with.
const sealChannels = "channels"

// startDesk opens the desk that tells people of their alerts, at once. It stops, having finished what it is sending, before the store does.
func (s *server) startDesk() error {
	allow, err := s.settings.webhookAllow()
	if err != nil {
		return err
	}
	deps := notify.Deps{Keeper: s.store, Addresses: s.store, Directory: s.directory, Seal: s.keys.Sealer(sealChannels)}
	if s.sender != nil {
		deps.Postman = postman{s.sender}
	}
	s.desk = notify.New(notify.Config{Allow: allow}, deps, s.log)
	s.background("notices", s.desk.Run)
	s.watch.Incidents().Tell(waker{s.desk})
	return nil
}

// postman brings what package notify writes to package mail; neither knows the other.
type postman struct{ sender mail.Sender }

// Send implements notify.Postman.
func (p postman) Send(ctx context.Context, l notify.Letter) error {
	err := p.sender.Send(ctx, mail.Letter{To: l.To, Subject: l.Subject, Text: l.Text})
	if refused, ok := errors.AsType[*mail.SendError](err); ok && !refused.Temporary {
		return fmt.Errorf("%w: %w", err, telemetry.ErrInvalid)
	}
	return err
}

// waker has the desk look for notices when an incident has taken a step: they were written with it.
type waker struct{ desk *notify.Desk }

// AlertChanged implements alert.Audience.
func (w waker) AlertChanged(telemetry.Alert) { w.desk.Wake() }
