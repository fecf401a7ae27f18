package notify

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sensorcast/telemetry"
)

// Errors that must not carry what they are about.
var (
	errAddress = errors.New("the channel's address is unusable")
	errSecret  = errors.New("the channel's secret is unusable")
)

// service is a chat or push service as a shoutrrr address names it (shoutrrr.nickfedor.com). The addresses are that project's; the requests
// are ours, because its services make connections of their own, past any guard.
type service struct {
	shown    string // what the owner sees of the address: no token
	endpoint string // where requests go; may hold tokens
	header   http.Header
	payload  func(Message) ([]byte, error)
	accepted func(answer []byte) bool // for services that say 200 and mean no; nil: the status tells
}

// request makes the one that carries m.
func (s *service) request(ctx context.Context, m Message) (*http.Request, error) {
	body, err := s.payload(m)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, errAddress // the error repeats the URL
	}
	r.Header = s.header.Clone()
	return r, nil
}

// parsers knows the services by the scheme of their addresses. Options it does not name are refused: an option that does nothing would lie.
var parsers = map[string]struct {
	form    string // as documentation shows it
	options []string
	parse   func(u *url.URL, q url.Values) (*service, error)
}{
	"ntfy":       {"ntfy://[user:password@]host/topic", []string{"scheme", "disabletls", "priority", "tags"}, parseNtfy},
	"telegram":   {"telegram://token@telegram?chats=CHAT", []string{"chats", "channels", "preview", "notification"}, parseTelegram},
	"slack":      {"slack://hook:A-B-C@webhook or slack://xoxb:TOKEN@CHANNEL", nil, parseSlack},
	"discord":    {"discord://token@webhookid", []string{"username", "thread_id"}, parseDiscord},
	"gotify":     {"gotify://host[/path]/token", []string{"disabletls", "priority"}, parseGotify},
	"pushover":   {"pushover://shoutrrr:token@user", []string{"devices", "priority"}, parsePushover},
	"mattermost": {"mattermost://[name@]host/token[/channel]", []string{"disabletls"}, parseMattermost},
	"googlechat": {"googlechat://chat.googleapis.com/v1/spaces/…/messages?key=…&token=…", []string{"key", "token"}, parseGoogleChat},
}

// parseService reads an address. Errors are of the field url and never repeat it.
func parseService(address string) (*service, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, telemetry.Invalid("url", "is not an address")
	}
	known, ok := parsers[u.Scheme]
	if !ok {
		return nil, telemetry.Invalid("url", "must begin with discord, googlechat, gotify, mattermost, ntfy, pushover, slack or telegram and ://; any other receiver is a webhook")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, telemetry.Invalid("url", "has options that cannot be read")
	}
	for option := range q {
		if !slices.Contains(known.options, option) {
			return nil, telemetry.Invalid("url", "has an option that is not supported here; supported are: %s", strings.Join(append(known.options, "none other"), ", "))
		}
	}
	s, err := known.parse(u, q)
	if err != nil {
		return nil, telemetry.Invalid("url", "must have the form %s", known.form)
	}
	if s.shown == "" {
		s.shown = u.Scheme + "://…"
	}
	if r, err := s.request(context.Background(), Message{}); err != nil || r.URL.Hostname() == "" { // "ntfy://:/topic" has a Host
		return nil, telemetry.Invalid("url", "must have the form %s", known.form)
	}
	return s, nil
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }

// yes reads an option that is on unless it says otherwise, or off; shoutrrr takes both spellings.
func yes(q url.Values, option string) bool {
	switch strings.ToLower(q.Get(option)) {
	case "yes", "true", "1":
		return true
	}
	return false
}

func webScheme(q url.Values) string {
	if yes(q, "disabletls") || q.Get("scheme") == "http" {
		return "http"
	}
	return "https"
}

// token matches what may stand in the path of a request as it is.
var token = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,200}$`)

// optionalInt reads a whole number within bounds; nil when the option is absent.
func optionalInt(q url.Values, option string, low, high int) (*int, error) {
	if !q.Has(option) {
		return nil, nil
	}
	n, err := strconv.Atoi(q.Get(option))
	if err != nil || n < low || n > high {
		return nil, errAddress
	}
	return &n, nil
}
