package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sensorcast/auth"
)

// base is the path all versioned operations live under.
const base = "/api/v1"

// adoptHuma sets what huma keeps in package variables, once for all APIs of the process: our problem details in place of its own,
// which repeat the rejected value, and field names compared as JSON compares them. Without strict casing a body could carry
// "password" for the validator and "PASSWORD" for the decoder.
var adoptHuma = sync.OnceFunc(func() {
	huma.NewError = problemFromHuma
	huma.ValidateStrictCasing = true
})

// describe makes the huma API with an empty document. CreateHooks stay nil: they would put a $schema property into every body.
// OpenAPIPath stays empty because huma builds the document inside the first request, unsynchronised.
func (a *API) describe() {
	adoptHuma()
	format := huma.Format{Marshal: writeJSON, Unmarshal: readJSON}
	a.huma = humago.New(a.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Sensorcast",
				Version:     a.cfg.Version,
				Description: "MQTT in, authorised live readings out. Times are RFC 3339 in UTC with milliseconds. Errors are problem details (RFC 9457).",
			},
			Servers: []*huma.Server{{URL: "/"}},
			Tags: []*huma.Tag{
				{Name: tagAccounts, Description: "Logging in and out, and one's own account"},
				{Name: tagTokens, Description: "Keys to one's own account for programs"},
				{Name: tagAdmin, Description: "Other people's accounts and the audit trail, for admins and the operator"},
				{Name: tagSensors, Description: "The registry of sensors"},
				{Name: tagInbox, Description: "Sensors that tried to connect and that nobody knows, for admins"},
				{Name: tagSharing, Description: "Letting others see or manage one's sensors, and giving sensors away"},
				{Name: tagCommands, Description: "What sensors are asked to do"},
				{Name: tagAlerts, Description: "What was wrong with sensors, and what happened to them"},
				{Name: tagChannels, Description: "How people are told of alerts"},
				{Name: tagReadings, Description: "What sensors measured"},
				{Name: tagTickets, Description: "Live readings: single-use tickets that open a WebSocket, and event streams"},
				{Name: tagAudit, Description: "Who did what"},
				{Name: tagServer, Description: "The server itself"},
			},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: securitySchemes(),
			},
		},
		Formats:       map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat: "application/json",
	})
	a.huma.UseMiddleware(a.guard)
}

const (
	tagAccounts = "accounts"
	tagTokens   = "tokens"
	tagAdmin    = "administration"
	tagSensors  = "sensors"
	tagInbox    = "inbox"
	tagSharing  = "sharing"
	tagCommands = "commands"
	tagAlerts   = "alerts"
	tagChannels = "channels"
	tagReadings = "readings"
	tagTickets  = "tickets"
	tagServer   = "server"
	tagAudit    = "audit"
)

// handle registers one operation. It panics when the operation does not state its security, or why it is not audited, adds the errors that follow from it, and
// turns what h returns into a problem by the one table in errors.go.
func handle[I, O any](a *API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	if op.Security == nil {
		panic("api: operation " + op.OperationID + " does not state its security")
	}
	isAudited(&op)
	op.MaxBodyBytes = maxBodyBytes + 1 // huma refuses the body that reaches the limit, we the one that passes it
	op.BodyReadTimeout = bodyReadTimeout
	op.RejectUnknownQueryParameters = strings.HasPrefix(op.Path, base) // a misspelt filter must not answer with everything
	if len(op.Security) > 0 {
		op.Errors = append(op.Errors, http.StatusUnauthorized)
	}
	if allows(op.Security, schemeBearer) && scopeOf(op.Security) != auth.ScopeRead {
		op.Errors = append(op.Errors, http.StatusForbidden) // to API tokens that are not enough
	}
	if strings.Contains(op.Path, "{") && !allows(op.Security, schemeSensor) {
		op.Errors = append(op.Errors, http.StatusNotFound)
	}
	op.Errors = append(op.Errors, http.StatusUnprocessableEntity)
	place := "body."
	if op.Method == http.MethodGet {
		place = "query."
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		tell := a.witness(ctx, &op, in)
		out, err := h(ctx, in)
		tell(err)
		if err != nil {
			p := a.problem(ctx, place, err)
			for i := range p.Errors {
				if name := strings.TrimPrefix(p.Errors[i].Location, place); strings.Contains(op.Path, "{"+name+"}") {
					p.Errors[i].Location = "path." + name
				}
			}
			return nil, p
		}
		return out, nil
	})
}

// publish freezes the document and serves it.
func (a *API) publish() {
	var err error
	if a.jsonDoc, err = json.Marshal(a.huma.OpenAPI()); err != nil {
		panic(fmt.Sprintf("api: openapi document: %v", err))
	}
	if a.yamlDoc, err = a.huma.OpenAPI().YAML(); err != nil {
		panic(fmt.Sprintf("api: openapi document: %v", err))
	}
	a.mux.HandleFunc("GET /openapi.json", serveDocument("application/json", a.jsonDoc))
	a.mux.HandleFunc("GET /openapi.yaml", serveDocument("application/yaml", a.yamlDoc))
}

func serveDocument(contentType string, doc []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(doc) // a client that left needs no document
	}
}

// OpenAPI returns the OpenAPI 3.1 document as JSON. The caller may keep and change the copy.
func (a *API) OpenAPI() ([]byte, error) { return append([]byte(nil), a.jsonDoc...), nil }

// writeJSON leaves <, > and & alone, so that readings come out as the sensor sent them.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
