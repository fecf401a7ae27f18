package api

import (
	"context"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

type connection struct {
	Connected   bool     `json:"connected"`
	Clients     []client `json:"clients" nullable:"false" doc:"Its MQTT connections now"`
	LastRefusal *refused `json:"last_refusal" doc:"Newest since the server started"`
}

type client struct {
	ID       string    `json:"client_id"`
	Remote   string    `json:"remote" doc:"Address"`
	Protocol string    `json:"protocol" enum:"MQTT 3.1,MQTT 3.1.1,MQTT 5"`
	Since    Timestamp `json:"since"`
}

type refused struct {
	At     Timestamp `json:"at"`
	Remote string    `json:"remote" doc:"Address"`
	Reason string    `json:"reason" doc:"In words"`
}

// TransformSchema says that last_refusal may be null, which huma cannot say of an object.
func (connection) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	s.Properties["last_refusal"] = &huma.Schema{
		Description: s.Properties["last_refusal"].Description,
		OneOf:       []*huma.Schema{r.Schema(reflect.TypeFor[refused](), true, ""), {Type: "null"}},
	}
	return s
}

type connectionOutput struct{ Body connection }

func (a *API) showConnection(ctx context.Context, in *serialInput) (*connectionOutput, error) {
	dev, err := a.sensorFor(principal(ctx), auth.Inspect, in.Serial)
	if err != nil {
		return nil, err
	}
	var c telemetry.Connection
	if a.deps.Presence != nil {
		c = a.deps.Presence.Connection(dev.Serial)
	}
	shown := connection{Connected: len(c.Clients) > 0, Clients: make([]client, len(c.Clients))}
	for i, cl := range c.Clients {
		shown.Clients[i] = client{ID: cl.ID, Remote: cl.Remote, Protocol: cl.Protocol, Since: Timestamp(cl.Since)}
	}
	if r := c.LastRefusal; r != nil {
		shown.LastRefusal = &refused{At: Timestamp(r.At), Remote: r.Remote, Reason: r.Reason}
	}
	return &connectionOutput{Body: shown}, nil
}
