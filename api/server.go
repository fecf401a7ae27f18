package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func (a *API) serverRoutes() {
	handle(a, huma.Operation{
		OperationID: "get-server", Method: http.MethodGet, Path: base + "/server", Tags: []string{tagServer},
		Summary:     "What a client needs to know before logging in",
		Description: "Certificates only to who is signed in: what a device is given to trust this server by.",
		Security:    anybody(),
	}, a.showServer)
}

type server struct {
	Version      string `json:"version"`
	MQTTPort     *int   `json:"mqtt_port" doc:"null: no plain MQTT"`
	MQTTSPort    *int   `json:"mqtts_port" doc:"null: no MQTT over TLS"`
	HTTPSPort    *int   `json:"https_port" doc:"null: none of the server's own; there may be a proxy's"`
	SilenceAfter int64  `json:"silence_after" doc:"Seconds; for sensors without their own"`
	Registration string `json:"registration" doc:"open, invite or closed"`
	Mail         bool   `json:"mail" doc:"Whether the server sends letters: to confirm addresses and replace forgotten passwords"`
	MaxPayload   int    `json:"max_payload" doc:"Bytes of one telemetry payload"`

	Certificates []certificate `json:"certificates" nullable:"true" doc:"Of MQTT and HTTP over TLS; null to who is not signed in"`
}

// Certificate is one of the server's own. Its fields are those of edge.Certificate.
type Certificate struct {
	Names                 []string
	SHA256, SHA1, Tasmota []byte
	SelfSigned            bool
	NotAfter              time.Time
}

type certificate struct {
	Names      []string  `json:"names" nullable:"false" doc:"Host names and addresses it is for: what devices can connect to"`
	SHA256     string    `json:"sha256" doc:"Fingerprint of the certificate, AA:BB:…"`
	SHA1       string    `json:"sha1" doc:"The same for firmware that knows no better, such as an ESP8266's"`
	Tasmota    *string   `json:"tasmota" doc:"What Tasmota's MqttFingerprint takes, AA BB …; null: it takes none of such a key"`
	SelfSigned bool      `json:"self_signed"`
	NotAfter   Timestamp `json:"not_after"`
}

func certificateOf(c Certificate) certificate {
	return certificate{
		Names:      append([]string{}, c.Names...),
		SHA256:     octets(c.SHA256, ":"),
		SHA1:       octets(c.SHA1, ":"),
		Tasmota:    nullable(octets(c.Tasmota, " ")),
		SelfSigned: c.SelfSigned,
		NotAfter:   Timestamp(telemetry.MillisOf(c.NotAfter)),
	}
}

// octets are pairs of hexadecimal digits with something in between.
func octets(b []byte, between string) string {
	pairs := make([]string, len(b))
	for i, octet := range b {
		pairs[i] = fmt.Sprintf("%02X", octet)
	}
	return strings.Join(pairs, between)
}

type serverOutput struct{ Body server }

func (a *API) showServer(ctx context.Context, _ *struct{}) (*serverOutput, error) {
	shown := server{
		Version:      a.cfg.Version,
		MQTTPort:     port(a.cfg.MQTTPort),
		MQTTSPort:    port(a.cfg.MQTTSPort),
		HTTPSPort:    port(a.cfg.HTTPSPort),
		SilenceAfter: int64(a.cfg.SilenceAfter.Seconds()),
		Registration: a.cfg.Registration,
		Mail:         a.cfg.Mail,
		MaxPayload:   a.cfg.MaxPayload,
	}
	if principal(ctx).Kind == auth.Person {
		shown.Certificates = []certificate{}
		if a.cfg.Certificates != nil {
			for _, c := range a.cfg.Certificates() {
				shown.Certificates = append(shown.Certificates, certificateOf(c))
			}
		}
	}
	return &serverOutput{Body: shown}, nil
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
