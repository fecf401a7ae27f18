package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func (a *API) ticketRoutes() {
	handle(a, huma.Operation{
		OperationID: "create-ticket", Method: http.MethodPost, Path: base + "/tickets", Tags: []string{tagTickets},
		Summary:     "Get a ticket to watch sensors",
		Description: "Name them by exactly one of serial_no, serial_nos and all. The ticket opens one WebSocket or event stream, within seconds.",
		Security:    reader(), DefaultStatus: http.StatusCreated, Errors: []int{http.StatusNotFound, http.StatusTooManyRequests},
		Metadata: unaudited("to watch changes nothing"),
	}, a.createTicket)
	handle(a, huma.Operation{
		OperationID: "create-device-ticket", Method: http.MethodPost, Path: base + "/device/tickets", Tags: []string{tagTickets},
		Summary:  "Get a ticket for a sensor to send readings by WebSocket",
		Security: public(), DefaultStatus: http.StatusCreated, Errors: []int{http.StatusUnauthorized, http.StatusTooManyRequests},
		Metadata: unaudited("what a sensor sends is in its history"),
	}, a.createDeviceTicket)
}

type ticketOrder struct {
	Serial  string   `json:"serial_no,omitempty"`
	Serials []string `json:"serial_nos,omitempty" nullable:"false" minItems:"1" maxItems:"100"`
	All     bool     `json:"all,omitempty" doc:"All sensors one may see, also those added later"`
}

type ticket struct {
	Ticket    string    `json:"ticket" doc:"Single use"`
	ExpiresAt Timestamp `json:"expires_at"`
	URL       string    `json:"url" doc:"Path and query of the WebSocket, e.g. /ws?ticket=…"`
}

type ticketOutput struct{ Body ticket }

func (a *API) createTicket(ctx context.Context, in *struct{ Body ticketOrder }) (*ticketOutput, error) {
	order := in.Body
	ways := 0
	for _, named := range []bool{order.Serial != "", len(order.Serials) > 0, order.All} {
		if named {
			ways++
		}
	}
	if ways != 1 {
		return nil, telemetry.Invalid("serial_no", "give exactly one of serial_no, serial_nos and all")
	}
	if order.Serial != "" {
		order.Serials = []string{order.Serial}
	}
	return a.mint(principal(ctx), order.Serials, order.All)
}

type deviceCredentials struct {
	Serial string `json:"serial_no"`
	Secret string `json:"secret_key" writeOnly:"true"`
}

func (a *API) createDeviceTicket(_ context.Context, in *struct{ Body deviceCredentials }) (*ticketOutput, error) {
	p, err := a.deps.Directory.Authenticate(in.Body.Serial, in.Body.Secret)
	if err != nil {
		return nil, err
	}
	return a.mint(p, []string{p.Serial}, false)
}

func (a *API) mint(p auth.Principal, serials []string, all bool) (*ticketOutput, error) {
	t, err := a.deps.Auth.MintTicket(p, serials, all)
	if err != nil {
		return nil, err
	}
	return &ticketOutput{Body: ticket{
		Ticket:    t.Token,
		ExpiresAt: Timestamp(telemetry.MillisOf(t.ExpiresAt)),
		URL:       "/ws?ticket=" + t.Token, // a JWT needs no escaping (RFC 7519 §1: URL-safe parts)
	}}, nil
}
