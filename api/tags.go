package api

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/telemetry"
)

func (a *API) tagRoutes() {
	handle(a, huma.Operation{
		OperationID: "list-tags", Method: http.MethodGet, Path: base + "/tags", Tags: []string{tagSensors},
		Summary:  "List the tags of one's sensors",
		Security: person(),
	}, a.listTags)
}

type tagsInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next_cursor of the page before"`
}

type tagCount struct {
	Tag     string `json:"tag"`
	Sensors int    `json:"sensors" doc:"How many have it"`
}

type tagPage struct {
	Items []tagCount `json:"items" nullable:"false"`
	Next  *string    `json:"next_cursor" doc:"null at the end"`
}

type tagsOutput struct{ Body tagPage }

func (a *API) listTags(ctx context.Context, in *tagsInput) (*tagsOutput, error) {
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		return nil, telemetry.Invalid("cursor", "is not a cursor of this list")
	}
	found, err := a.deps.Registry.Tags(ctx, principal(ctx).UserID, string(after), in.Limit+1) // the one too many says that there is a next page
	if err != nil {
		return nil, err
	}
	page := tagPage{Items: []tagCount{}}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		page.Next = nullable(base64.RawURLEncoding.EncodeToString([]byte(found[in.Limit-1].Tag)))
	}
	for _, c := range found {
		page.Items = append(page.Items, tagCount(c))
	}
	return &tagsOutput{Body: page}, nil
}
