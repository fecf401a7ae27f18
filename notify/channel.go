package notify

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Kind is what sort of receiver a channel has.
type Kind string

// The kinds of channel.
const (
	Webhook Kind = "webhook" // a program: signed JSON by the Standard Webhooks scheme
	Email   Kind = "email"   // the account's own, confirmed address
	URL     Kind = "url"     // a chat or push service, by a shoutrrr address
)

// Channel is one way to tell a person. It is a value; what it is sealed with stays in package notify.
type Channel struct {
	ID          int64
	UID         string // public: 26 lower-case letters and digits, random
	UserID      int64
	Name        string
	Kind        Kind
	Shown       string // what may be shown of the address
	Host        string // where connections go, host and port: what is bounded and judged together; "mail" for e-mail
	Target      []byte // the address, sealed
	Secret      []byte // what webhooks are signed with, sealed; nil: none
	MinSeverity Severity
	Enabled     bool
	Quiet       Quiet
	Failures    int              // attempts in a row that failed
	RetryAt     telemetry.Millis // not to be tried before
	CreatedAt   telemetry.Millis
	UpdatedAt   telemetry.Millis
}

// String names the channel and nothing of its address.
func (c Channel) String() string { return "channel " + c.UID }

// GoString is String.
func (c Channel) GoString() string { return c.String() }

// Draft is a channel as a person words it.
type Draft struct {
	Name        string
	Kind        Kind
	URL         string // of a webhook or service; never shown again
	Address     string // of e-mail; empty: the account's
	MinSeverity Severity
	Enabled     bool
	Quiet       Quiet
}

const (
	maxNameRunes    = 100
	maxAddressBytes = 2048
)

// check reports the first field that is out of bounds as a telemetry.FieldError and fills in what was left out.
func (d *Draft) check() error {
	if strings.TrimSpace(d.Name) == "" {
		return telemetry.Invalid("name", "must not be empty")
	}
	if err := telemetry.CheckText("name", d.Name, maxNameRunes, false); err != nil {
		return err
	}
	if d.MinSeverity == "" {
		d.MinSeverity = Info
	}
	if !d.MinSeverity.Known() {
		return telemetry.Invalid("min_severity", "must be info, warning or critical")
	}
	switch {
	case d.Kind == Email && d.URL != "":
		return telemetry.Invalid("url", "does not go with type email, which has an address")
	case d.Kind != Email && d.Address != "":
		return telemetry.Invalid("address", "goes with type email only")
	case len(d.URL) > maxAddressBytes:
		return telemetry.Invalid("url", "must be at most %d bytes", maxAddressBytes)
	}
	return nil
}

// target is where a channel leads, opened.
type target struct {
	shown   string
	host    string
	service *service // nil: not one
	webhook string   // empty: not one
	secret  string
}

// mailHost stands for the mail server in Channel.Host.
const mailHost = "mail"

// parseTarget reads the address of a channel of that kind. Errors are of the field url and never repeat it.
func parseTarget(kind Kind, address string) (target, error) {
	switch kind {
	case Webhook:
		u, err := url.Parse(address)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.Opaque != "" {
			return target{}, telemetry.Invalid("url", "must be an https address such as https://example.com/hook")
		}
		if _, err := http.NewRequest(http.MethodPost, address, http.NoBody); err != nil {
			return target{}, telemetry.Invalid("url", "must be an https address such as https://example.com/hook")
		}
		return target{shown: u.Scheme + "://" + u.Host + "/…", host: hostOf(u), webhook: address}, nil
	case URL:
		s, err := parseService(address)
		if err != nil {
			return target{}, err
		}
		u, err := url.Parse(s.endpoint)
		if err != nil {
			return target{}, telemetry.Invalid("url", "is not an address")
		}
		return target{shown: s.shown, host: hostOf(u), service: s}, nil
	case Email:
		return target{host: mailHost}, nil
	}
	return target{}, telemetry.Invalid("type", "must be webhook, email or url")
}

// hostOf names whom a connection goes to, so that all spellings of a host share its places.
func hostOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")) + ":" + port
}

// sameAddress reports whether two spellings are one mailbox, as the registry of accounts compares them.
func sameAddress(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

// open reads the sealed address and secret of a channel.
func open(seal *auth.Sealer, c Channel) (target, error) {
	address, err := seal.Open(c.UID, c.Target)
	if err != nil {
		return target{}, errAddress
	}
	t, err := parseTarget(c.Kind, string(address))
	if err != nil {
		return target{}, errAddress // this version may be stricter than the one that took it
	}
	if len(c.Secret) > 0 {
		secret, err := seal.Open(c.UID, c.Secret)
		if err != nil {
			return target{}, errSecret
		}
		t.secret = string(secret)
	}
	return t, nil
}

// inPlain returns ctx marked for the guard where the request is not encrypted.
func inPlain(ctx context.Context, address string) context.Context {
	if strings.HasPrefix(strings.ToLower(address), "http:") {
		return context.WithValue(ctx, inClear{}, true)
	}
	return ctx
}
