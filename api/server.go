package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

func (a *API) serverRoutes() {
	handle(a, huma.Operation{
		OperationID: "get-server", Method: http.MethodGet, Path: base + "/server", Tags: []string{tagServer},
		Summary:  "What a client needs to know before logging in",
		Security: public(),
	}, a.showServer)
}

type server struct {
	Version      string `json:"version"`
	MQTTPort     *int   `json:"mqtt_port" doc:"null: no plain MQTT"`
	MQTTSPort    *int   `json:"mqtts_port" doc:"null: no MQTT over TLS"`
	SilenceAfter int64  `json:"silence_after" doc:"Seconds; for sensors without their own"`
	Registration string `json:"registration" doc:"open, invite or closed"`
	Mail         bool   `json:"mail" doc:"Whether the server sends letters: to confirm addresses and replace forgotten passwords"`
	MaxPayload   int    `json:"max_payload" doc:"Bytes of one telemetry payload"`
}

type serverOutput struct{ Body server }

func (a *API) showServer(context.Context, *struct{}) (*serverOutput, error) {
	return &serverOutput{Body: server{
		Version:      a.cfg.Version,
		MQTTPort:     port(a.cfg.MQTTPort),
		MQTTSPort:    port(a.cfg.MQTTSPort),
		SilenceAfter: int64(a.cfg.SilenceAfter.Seconds()),
		Registration: a.cfg.Registration,
		Mail:         a.cfg.Mail,
		MaxPayload:   a.cfg.MaxPayload,
	}}, nil
}

func port(of func() int) *int {
	if of == nil {
		return nil
	}
	n := of()
	if n == 0 {
		return nil
	}
	return &n
}
