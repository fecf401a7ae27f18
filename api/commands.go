package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/command"
)

// Commands keeps what people ask of their sensors; *command.Outbox does. Both methods ask the policy themselves, before the store.
type Commands interface {
	// Create queues a command and returns once it is durable.
	Create(ctx context.Context, p auth.Principal, d command.Draft) (command.Command, error)
	// List returns commands of a sensor, newest first.
	List(ctx context.Context, p auth.Principal, serial string, q command.Query) ([]command.Command, error)
}

func (a *API) commandRoutes() {
	handle(a, huma.Operation{
		OperationID: "create-command", Method: http.MethodPost, Path: sensorPath + "/commands", Tags: []string{tagCommands},
		Summary: "Send a command to a sensor",
		Description: "It is kept until the sensor takes it or it expires: commands are delivered in order, at least once, " +
			"also to a sensor that was away for days.",
		Security: writer(), DefaultStatus: http.StatusAccepted,
		Errors: []int{http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, a.createCommand)
	handle(a, huma.Operation{
		OperationID: "list-commands", Method: http.MethodGet, Path: sensorPath + "/commands", Tags: []string{tagCommands},
		Summary:     "List a sensor's commands",
		Description: "Newest first. Those that wait no longer are kept for 30 days.",
		Security:    reader(),
	}, a.listCommands)
}

type commandDraft struct {
	Name      string  `json:"name" doc:"What to do; 1 to 100 characters"`
	Data      anyJSON `json:"data,omitempty" doc:"Any JSON of at most 16 KiB; null when absent"`
	ExpiresIn *int64  `json:"expires_in,omitempty" nullable:"true" minimum:"1" maximum:"2592000" doc:"Seconds the command may wait; null: seven days"`
}

// anyJSON is JSON of any shape, kept as it came: no number loses a digit.
type anyJSON json.RawMessage

// MarshalJSON returns the bytes; null when there are none.
func (v anyJSON) MarshalJSON() ([]byte, error) { return json.RawMessage(v).MarshalJSON() }

// UnmarshalJSON keeps a copy of the bytes.
func (v *anyJSON) UnmarshalJSON(b []byte) error { return (*json.RawMessage)(v).UnmarshalJSON(b) }

// Schema says that anything will do.
func (anyJSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

type createCommandInput struct {
	Serial string `path:"serial_no"`
	Body   commandDraft
}

type commandCreated struct {
	ID    string        `json:"id"`
	State command.State `json:"state" enum:"queued"`
}

type commandCreatedOutput struct{ Body commandCreated }

func (a *API) createCommand(ctx context.Context, in *createCommandInput) (*commandCreatedOutput, error) {
	d := command.Draft{Serial: in.Serial, Name: in.Body.Name, Data: json.RawMessage(in.Body.Data)}
	if in.Body.ExpiresIn != nil {
		d.ExpiresIn = time.Duration(*in.Body.ExpiresIn) * time.Second
	}
	c, err := a.deps.Commands.Create(ctx, principal(ctx), d)
	if err != nil {
		return nil, err
	}
	deedOf(ctx).Detail = map[string]any{"name": c.Name}
	return &commandCreatedOutput{Body: commandCreated{ID: c.ID, State: c.State}}, nil
}

// sensorCommand is a command as those who may view its sensor see it.
type sensorCommand struct {
	ID          string        `json:"id"`
	Name        string        `json:"name"`
	Data        anyJSON       `json:"data"`
	State       command.State `json:"state" enum:"queued,delivered,answered,failed,expired" doc:"delivered: acknowledged by the sensor; answered, failed: as its reply says"`
	CreatedAt   Timestamp     `json:"created_at"`
	CreatedBy   string        `json:"created_by" doc:"User name"`
	ExpiresAt   Timestamp     `json:"expires_at"`
	DeliveredAt Timestamp     `json:"delivered_at" nullable:"true"`
	AnsweredAt  Timestamp     `json:"answered_at" nullable:"true"`
	Reply       anyJSON       `json:"reply" doc:"What the sensor answered, an object with id and ok; null: nothing yet"`
}

func commandOf(c command.Command) sensorCommand {
	return sensorCommand{
		ID:          c.ID,
		Name:        c.Name,
		Data:        anyJSON(c.Data),
		State:       c.State,
		CreatedAt:   Timestamp(c.CreatedAt),
		CreatedBy:   c.CreatedBy,
		ExpiresAt:   Timestamp(c.ExpiresAt),
		DeliveredAt: Timestamp(c.DeliveredAt),
		AnsweredAt:  Timestamp(c.AnsweredAt),
		Reply:       anyJSON(c.Reply),
	}
}

type commandsInput struct {
	Serial string `path:"serial_no"`
	State  string `query:"state" enum:"queued,delivered,answered,failed,expired"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"next_cursor of the page before"`
}

type commandPage struct {
	Items []sensorCommand `json:"items" nullable:"false"`
	Next  *string         `json:"next_cursor" doc:"null at the end"`
}

type commandsOutput struct{ Body commandPage }

func (a *API) listCommands(ctx context.Context, in *commandsInput) (*commandsOutput, error) {
	at, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.deps.Commands.List(ctx, principal(ctx), in.Serial, command.Query{
		State:  command.State(in.State),
		Beyond: at.seq,
		Limit:  in.Limit + 1, // the one too many says that there is a next page
	})
	if err != nil {
		return nil, err
	}
	var page commandPage
	if len(found) > in.Limit {
		found = found[:in.Limit]
		page.Next = nullable(position{seq: found[in.Limit-1].Order}.cursor())
	}
	page.Items = make([]sensorCommand, len(found))
	for i, c := range found {
		page.Items[i] = commandOf(c)
	}
	return &commandsOutput{Body: page}, nil
}
