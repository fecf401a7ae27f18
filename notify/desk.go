package notify

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// ErrChannels says that the person has MaxChannels already.
var ErrChannels = fmt.Errorf("%d channels are there already: %w", MaxChannels, telemetry.ErrConflict)

// Letter is an e-mail.
type Letter struct{ To, Subject, Text string }

// Postman sends e-mail. Its errors are of kind telemetry.ErrInvalid when trying again would not help, telemetry.ErrNotFound when this server
// sends no mail.
type Postman interface {
	Send(ctx context.Context, l Letter) error
}

// Addresses knows where people's mail goes.
type Addresses interface {
	// MailAddress returns the account's e-mail address; telemetry.ErrForbidden as long as its owner has not confirmed it.
	MailAddress(ctx context.Context, userID int64) (string, error)
}

// Config is what the operator decides. Zero fields take the defaults.
type Config struct {
	Allow    []netip.Prefix // networks that are not public and may be reached all the same
	Resolver *net.Resolver  // default: the system's
}

// Deps are the parts a Desk stands on. Postman may be nil: then no mail is sent.
type Deps struct {
	Keeper    Keeper
	Addresses Addresses
	Directory *auth.Directory
	Seal      *auth.Sealer
	Postman   Postman
}

// Desk keeps people's channels and sends what is to be sent. All methods are safe for concurrent use. Those that take a principal know the
// account only: whoever may use a channel of theirs at all may change it.
type Desk struct {
	Deps
	client   *http.Client
	log      *slog.Logger
	wake     chan struct{} // tells Run that there may be something to send
	counters counters
	testing  courtesy

	mu    sync.Mutex
	lanes lanes          // guarded by mu
	busy  map[int64]bool // guarded by mu; channels that are being sent to
}

// New returns a Desk. It sends while Run runs.
func New(cfg Config, deps Deps, log *slog.Logger) *Desk {
	return &Desk{
		Deps:   deps,
		client: guard{allow: cfg.Allow, resolver: cfg.Resolver}.client(),
		log:    log.With("component", "notify"),
		wake:   make(chan struct{}, 1),
		lanes:  lanes{},
		busy:   map[int64]bool{},
	}
}

// Create adds a channel of p's. For a webhook it returns the secret that its messages are signed with, which is shown this once. Errors: a
// telemetry.FieldError that names the field; ErrChannels; telemetry.ErrUnavailable.
func (d *Desk) Create(ctx context.Context, p auth.Principal, draft Draft) (c Channel, secret string, err error) {
	if err := draft.check(); err != nil {
		return Channel{}, "", err
	}
	now := telemetry.Now()
	c = Channel{UID: strings.ToLower(rand.Text()), UserID: p.UserID, Kind: draft.Kind, CreatedAt: now}
	if draft.Kind == Webhook {
		secret = newWebhookSecret()
		c.Secret = d.Seal.Seal(c.UID, []byte(secret))
	}
	if err := d.describe(ctx, &c, draft, true); err != nil {
		return Channel{}, "", err
	}
	if err := d.Keeper.CreateChannel(ctx, &c); err != nil {
		return Channel{}, "", fmt.Errorf("create channel: %w", err)
	}
	d.show(ctx, &c)
	return c, secret, nil
}

// describe puts the draft into c; readdress says that its address is new.
func (d *Desk) describe(ctx context.Context, c *Channel, draft Draft, readdress bool) error {
	c.Name, c.MinSeverity, c.Enabled, c.Quiet, c.UpdatedAt = draft.Name, draft.MinSeverity, draft.Enabled, draft.Quiet, telemetry.Now()
	if !readdress {
		return nil
	}
	t, err := parseTarget(draft.Kind, draft.URL)
	if err != nil {
		return err
	}
	if draft.Kind == Email && draft.Address != "" {
		// An address of somebody else's would make the server write to strangers.
		own, err := d.Addresses.MailAddress(ctx, c.UserID)
		if err != nil || !sameAddress(own, draft.Address) {
			return telemetry.Invalid("address", "must be the confirmed e-mail address of your account; leave it out to use that")
		}
	}
	c.Shown, c.Host, c.Target = t.shown, t.host, d.Seal.Seal(c.UID, []byte(draft.URL))
	return nil
}

// List returns p's channels, oldest first.
func (d *Desk) List(ctx context.Context, p auth.Principal) ([]Channel, error) {
	own, err := d.Keeper.Channels(ctx, p.UserID)
	for i := range own {
		d.show(ctx, &own[i])
	}
	return own, err
}

// show says of e-mail where it goes now. Until its address is confirmed it goes nowhere.
func (d *Desk) show(ctx context.Context, c *Channel) {
	if c.Kind != Email {
		return
	}
	if to, err := d.Addresses.MailAddress(ctx, c.UserID); err == nil {
		c.Shown = to
	}
}

// Channel returns one of p's. telemetry.ErrNotFound for one that is unknown or somebody else's, here and below.
func (d *Desk) Channel(ctx context.Context, p auth.Principal, uid string) (Channel, error) {
	c, err := d.Keeper.Channel(ctx, p.UserID, uid)
	d.show(ctx, &c)
	return c, err
}

// Change lets edit change a channel of p's: it is given a Draft of what is there, with no URL, and what it leaves is stored. A URL replaces
// the address; the kind never changes. What failed before is tried again at once.
func (d *Desk) Change(ctx context.Context, p auth.Principal, uid string, edit func(*Draft)) (Channel, error) {
	c, err := d.Keeper.Channel(ctx, p.UserID, uid)
	if err != nil {
		return Channel{}, err
	}
	draft := Draft{Name: c.Name, Kind: c.Kind, MinSeverity: c.MinSeverity, Enabled: c.Enabled, Quiet: c.Quiet}
	edit(&draft)
	if err := draft.check(); err != nil {
		return Channel{}, err
	}
	if err := d.describe(ctx, &c, draft, draft.URL != "" || draft.Address != ""); err != nil {
		return Channel{}, err
	}
	if err := d.Keeper.UpdateChannel(ctx, c); err != nil {
		return Channel{}, fmt.Errorf("change channel: %w", err)
	}
	d.Wake()
	d.show(ctx, &c)
	return c, nil
}

// Delete removes a channel of p's with its log. What waits in it is not sent.
func (d *Desk) Delete(ctx context.Context, p auth.Principal, uid string) error {
	c, err := d.Keeper.Channel(ctx, p.UserID, uid)
	if err != nil {
		return err
	}
	return d.Keeper.DeleteChannel(ctx, c.ID)
}

// Deliveries returns what went to a channel of p's, newest first, with ids below before (zero: all).
func (d *Desk) Deliveries(ctx context.Context, p auth.Principal, uid string, before int64, limit int) ([]Delivery, error) {
	c, err := d.Keeper.Channel(ctx, p.UserID, uid)
	if err != nil {
		return nil, err
	}
	return d.Keeper.Deliveries(ctx, c.ID, before, limit)
}

// Wake has Run look at once whether there is something to send. It never blocks; who has written notices calls it after the commit.
func (d *Desk) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}
