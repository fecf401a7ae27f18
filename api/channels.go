package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/notify"
	"sensorcast/telemetry"
)

// Channels keeps the ways people are told of alerts, and tries them; *notify.Desk does. Whatever is not the principal's own is
// telemetry.ErrNotFound.
type Channels interface {
	Create(ctx context.Context, p auth.Principal, d notify.Draft) (c notify.Channel, secret string, err error)
	List(ctx context.Context, p auth.Principal) ([]notify.Channel, error)
	Channel(ctx context.Context, p auth.Principal, uid string) (notify.Channel, error)
	Change(ctx context.Context, p auth.Principal, uid string, edit func(*notify.Draft)) (notify.Channel, error)
	Delete(ctx context.Context, p auth.Principal, uid string) error
	// Test sends a message now and tells what came of it.
	Test(ctx context.Context, p auth.Principal, uid string) (notify.Trial, error)
	// Deliveries returns what went to a channel, newest first, with ids below before; zero: all.
	Deliveries(ctx context.Context, p auth.Principal, uid string, before int64, limit int) ([]notify.Delivery, error)
}

const channelPath = base + "/channels/{channel_id}"

func (a *API) channelRoutes() {
	handle(a, huma.Operation{
		OperationID: "create-channel", Method: http.MethodPost, Path: base + "/channels", Tags: []string{tagChannels},
		Summary: "Add a way to be told of alerts",
		Description: "Every alert of one's sensors that is grave enough goes to each enabled channel. A webhook is signed by the Standard " +
			"Webhooks scheme; the answer holds its secret, which is shown this once, as is the url.",
		Security: person(), DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
	}, a.createChannel)
	handle(a, huma.Operation{
		OperationID: "list-channels", Method: http.MethodGet, Path: base + "/channels", Tags: []string{tagChannels},
		Summary:     "List one's own channels",
		Description: "All of them, at most 20, oldest first.",
		Security:    person(),
	}, a.listChannels)
	handle(a, huma.Operation{
		OperationID: "get-channel", Method: http.MethodGet, Path: channelPath, Tags: []string{tagChannels},
		Summary:  "Show a channel",
		Security: person(), Errors: []int{http.StatusNotFound},
	}, a.showChannel)
	handle(a, huma.Operation{
		OperationID: "update-channel", Method: http.MethodPatch, Path: channelPath, Tags: []string{tagChannels},
		Summary: "Change a channel",
		Description: "Absent fields stay as they are, null resets a field. A url replaces the one before, the type and a webhook's secret never " +
			"change. What failed is tried again at once; switched off, what waits is given up.",
		Security: person(), Errors: []int{http.StatusNotFound},
	}, a.updateChannel)
	handle(a, huma.Operation{
		OperationID: "delete-channel", Method: http.MethodDelete, Path: channelPath, Tags: []string{tagChannels},
		Summary:     "Delete a channel and its log",
		Description: "What waits in it is not sent.",
		Security:    person(), Errors: []int{http.StatusNotFound},
	}, a.deleteChannel)
	handle(a, huma.Operation{
		OperationID: "test-channel", Method: http.MethodPost, Path: channelPath + "/test", Tags: []string{tagChannels},
		Summary:     "Send a test message to a channel",
		Description: "Now, also when it is switched off or its hours are quiet. The answer says in words what came of it.",
		Security:    person(), Errors: []int{http.StatusNotFound, http.StatusTooManyRequests}, DefaultStatus: http.StatusOK,
	}, a.testChannel)
	handle(a, huma.Operation{
		OperationID: "list-deliveries", Method: http.MethodGet, Path: channelPath + "/deliveries", Tags: []string{tagChannels},
		Summary:     "List what went to a channel, or did not",
		Description: "Newest first. What waits no longer is kept for 30 days.",
		Security:    person(), Errors: []int{http.StatusNotFound},
	}, a.listDeliveries)
}

// quietHours are when a channel is left alone.
type quietHours struct {
	From     string `json:"from" maxLength:"5" doc:"Time of day, such as 22:00"`
	To       string `json:"to" maxLength:"5" doc:"Time of day; at or before from: on the next day"`
	TimeZone string `json:"time_zone,omitempty" maxLength:"64" doc:"IANA name, such as Europe/Berlin; absent: UTC"`
}

func (q *quietHours) parse() (notify.Quiet, error) {
	if q == nil {
		return notify.Quiet{}, nil
	}
	return notify.ParseQuiet(q.From, q.To, q.TimeZone)
}

// channel is a channel as its owner sees it.
type channel struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Type        notify.Kind     `json:"type" enum:"webhook,email,url"`
	URL         *string         `json:"url" doc:"Where it leads, without what must stay secret; null for e-mail"`
	Address     *string         `json:"address" doc:"The account's confirmed e-mail address; null for other types, and while it is not confirmed"`
	MinSeverity notify.Severity `json:"min_severity" enum:"info,warning,critical"`
	Enabled     bool            `json:"enabled"`
	QuietHours  *quietHours     `json:"quiet_hours" doc:"Only what is critical gets through; the rest comes in one message after. null: none"`
	Failures    int             `json:"failures" doc:"Attempts in a row that failed; 0: it works, as far as is known"`
	RetryAt     Timestamp       `json:"retry_at" nullable:"true" doc:"When it is tried again after a failure"`
	CreatedAt   Timestamp       `json:"created_at"`
	UpdatedAt   Timestamp       `json:"updated_at"`
}

// TransformSchema says that quiet_hours may be null, which huma cannot say of an object.
func (channel) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	s.Properties["quiet_hours"] = &huma.Schema{
		Description: s.Properties["quiet_hours"].Description,
		OneOf:       []*huma.Schema{r.Schema(reflect.TypeFor[quietHours](), true, ""), {Type: "null"}},
	}
	return s
}

func channelOf(c notify.Channel) channel {
	shown := channel{
		ID:          c.UID,
		Name:        c.Name,
		Type:        c.Kind,
		MinSeverity: c.MinSeverity,
		Enabled:     c.Enabled,
		Failures:    c.Failures,
		RetryAt:     Timestamp(c.RetryAt),
		CreatedAt:   Timestamp(c.CreatedAt),
		UpdatedAt:   Timestamp(c.UpdatedAt),
	}
	if c.Kind == notify.Email {
		shown.Address = nullable(c.Shown)
	} else {
		shown.URL = nullable(c.Shown)
	}
	if q := c.Quiet; q.Zone != "" {
		shown.QuietHours = &quietHours{From: notify.Clock(q.From), To: notify.Clock(q.To), TimeZone: q.Zone}
	}
	return shown
}

type channelDraft struct {
	Name        string          `json:"name" doc:"1 to 100 characters"`
	Type        notify.Kind     `json:"type" enum:"webhook,email,url" doc:"url: a chat or push service by its shoutrrr address: ntfy, Telegram, Slack, Discord, Gotify, Pushover, Mattermost, Google Chat"`
	URL         string          `json:"url,omitempty" doc:"Of a webhook or service"`
	Address     string          `json:"address,omitempty" doc:"For e-mail: that of the account, which it is when absent"`
	MinSeverity notify.Severity `json:"min_severity,omitempty" enum:"info,warning,critical" doc:"info when absent"`
	Enabled     *bool           `json:"enabled,omitempty" doc:"true when absent"`
	QuietHours  *quietHours     `json:"quiet_hours,omitempty"`
}

type createChannelInput struct{ Body channelDraft }

type channelCreated struct {
	Channel channel `json:"channel"`
	Secret  *string `json:"secret" doc:"What a webhook's messages are signed with (whsec_…), shown this once; null for other types"`
}

type createChannelOutput struct{ Body channelCreated }

func (a *API) createChannel(ctx context.Context, in *createChannelInput) (*createChannelOutput, error) {
	b := in.Body
	quiet, err := b.QuietHours.parse()
	if err != nil {
		return nil, err
	}
	c, secret, err := a.deps.Channels.Create(ctx, principal(ctx), notify.Draft{
		Name: b.Name, Kind: b.Type, URL: b.URL, Address: b.Address, MinSeverity: b.MinSeverity, Enabled: b.Enabled == nil || *b.Enabled, Quiet: quiet,
	})
	if err != nil {
		return nil, err
	}
	return &createChannelOutput{Body: channelCreated{channelOf(c), nullable(secret)}}, nil
}

type channelPage struct {
	Items []channel `json:"items" nullable:"false"`
	Next  *string   `json:"next_cursor" doc:"Always null"`
}

type channelsOutput struct{ Body channelPage }

func (a *API) listChannels(ctx context.Context, _ *struct{}) (*channelsOutput, error) {
	found, err := a.deps.Channels.List(ctx, principal(ctx))
	if err != nil {
		return nil, err
	}
	page := channelPage{Items: make([]channel, len(found))}
	for i, c := range found {
		page.Items[i] = channelOf(c)
	}
	return &channelsOutput{Body: page}, nil
}

type channelInput struct {
	ID string `path:"channel_id"`
}

type channelOutput struct{ Body channel }

func (a *API) showChannel(ctx context.Context, in *channelInput) (*channelOutput, error) {
	c, err := a.deps.Channels.Channel(ctx, principal(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &channelOutput{Body: channelOf(c)}, nil
}

type channelChange struct {
	Name        change[string]          `json:"name,omitzero"`
	URL         change[string]          `json:"url,omitzero" doc:"Replaces the address"`
	MinSeverity change[notify.Severity] `json:"min_severity,omitzero" doc:"info, warning or critical; null: info"`
	Enabled     change[*bool]           `json:"enabled,omitzero" doc:"null: true"`
	QuietHours  change[*quietHours]     `json:"quiet_hours,omitzero"`
}

type updateChannelInput struct {
	ID   string `path:"channel_id"`
	Body channelChange
}

func (a *API) updateChannel(ctx context.Context, in *updateChannelInput) (*channelOutput, error) {
	b := in.Body
	if b.URL.given && b.URL.value == "" {
		return nil, telemetry.Invalid("url", "must not be empty; delete the channel instead")
	}
	quiet, err := b.QuietHours.value.parse()
	if err != nil {
		return nil, err
	}
	c, err := a.deps.Channels.Change(ctx, principal(ctx), in.ID, func(d *notify.Draft) {
		b.Name.apply(&d.Name)
		b.URL.apply(&d.URL)
		b.MinSeverity.apply(&d.MinSeverity)
		if b.Enabled.given {
			d.Enabled = b.Enabled.value == nil || *b.Enabled.value
		}
		if b.QuietHours.given {
			d.Quiet = quiet
		}
	})
	if err != nil {
		return nil, err
	}
	return &channelOutput{Body: channelOf(c)}, nil
}

func (a *API) deleteChannel(ctx context.Context, in *channelInput) (*struct{}, error) {
	return nil, a.deps.Channels.Delete(ctx, principal(ctx), in.ID)
}

type trial struct {
	Sent    bool   `json:"sent"`
	Outcome string `json:"outcome" doc:"In words"`
}

type trialOutput struct{ Body trial }

func (a *API) testChannel(ctx context.Context, in *channelInput) (*trialOutput, error) {
	t, err := a.deps.Channels.Test(ctx, principal(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &trialOutput{Body: trial{t.Sent, t.Outcome}}, nil
}
