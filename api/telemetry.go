package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

func (a *API) telemetryRoutes() {
	handle(a, huma.Operation{
		OperationID: "send-telemetry", Method: http.MethodPost, Path: telemetryPath, Tags: []string{tagReadings},
		Summary: "Send readings by HTTP",
		Description: "The same payloads as over MQTT: an object of metrics, a scalar, envelopes with time and id, SenML. " +
			"The answer comes when the readings are stored durably. Readings with an id or a time may be sent again: they are stored once.",
		Security: itsSensor(), DefaultStatus: http.StatusAccepted,
		Errors:   []int{http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable},
		Metadata: map[string]any{maxPayloadKey: a.cfg.MaxPayload, unauditedKey: "what a sensor sends is in its history"},
	}, a.sendTelemetry)
	// Described afterwards: huma reads and parses the body of whatever has a description when it is registered.
	anyJSON := &huma.MediaType{Schema: &huma.Schema{}}
	a.huma.OpenAPI().Paths[telemetryPath].Post.RequestBody = &huma.RequestBody{
		Required: true,
		Content:  map[string]*huma.MediaType{"application/json": anyJSON, "application/senml+json": anyJSON},
	}
}

const telemetryPath = sensorPath + "/telemetry"

const maxPayloadKey = "max_payload"

const (
	// commitTimeout is how long a sender waits for its readings to be durable before it is told to try again.
	commitTimeout = 15 * time.Second

	// maxSenders bounds the requests, with their payloads, that wait while the store is slow. Those beyond are told to come again.
	maxSenders = 1024
)

// telemetryInput takes the body as it comes, whatever its media type. What is in it, or not, is for package telemetry/format to judge.
type telemetryInput struct {
	Serial  string `path:"serial_no"`
	payload []byte
	err     error
}

// Resolve reads the body, at most MaxPayload bytes of it. huma calls it after the guard let the sensor in.
func (in *telemetryInput) Resolve(ctx huma.Context) []error {
	r, w := humago.Unwrap(ctx)
	limit, _ := ctx.Operation().Metadata[maxPayloadKey].(int)
	in.payload, in.err = readPayload(w, r, int64(limit), bodyReadTimeout)
	return nil
}

func readPayload(w http.ResponseWriter, r *http.Request, limit int64, timeout time.Duration) ([]byte, error) {
	// Without a deadline a client that drips bytes would hold a goroutine and its buffer for ever. Cleared afterwards: it would
	// otherwise end the wait for the commit. A writer that has no deadlines (a test's) is served without.
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(timeout))
	defer func() { _ = deadline.SetReadDeadline(time.Time{}) }()

	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		return b, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, errTooLarge
	}
	if slow, ok := errors.AsType[net.Error](err); ok && slow.Timeout() {
		return nil, errSlowBody
	}
	return nil, errBrokenBody
}

func (a *API) sendTelemetry(ctx context.Context, in *telemetryInput) (*struct{}, error) {
	if in.err != nil {
		return nil, in.err
	}
	select {
	case a.senders <- struct{}{}:
		defer func() { <-a.senders }()
	default:
		return nil, fmt.Errorf("too many senders wait: %w", telemetry.ErrUnavailable)
	}
	p := principal(ctx)
	committed := make(receipt, 1)
	err := a.deps.Intake.Accept(ingest.Message{
		SensorID: p.SensorID,
		Serial:   p.Serial,
		Payload:  in.payload,
		Via:      telemetry.ViaHTTP,
	}, committed)
	if mistake, ok := errors.AsType[*telemetry.FieldError](err); ok && mistake.Field == "payload" {
		return nil, telemetry.Invalid("", "%s", mistake.Reason) // here the payload is the body itself
	}
	if err != nil {
		return nil, err
	}
	if err := committed.wait(ctx); err != nil {
		a.log.Debug("readings not committed", "sensor", p.Serial, "err", err)
		return nil, fmt.Errorf("commit readings: %w", telemetry.ErrUnavailable) // whatever failed, nothing was promised: send it again
	}
	return nil, nil
}

// receipt hears once whether the readings are durable. It has room for that, so telling it never blocks, waiter or not.
type receipt chan error

// Committed passes the fate on.
func (r receipt) Committed(err error) { r <- err }

// wait returns nil when the readings are durable.
func (r receipt) wait(ctx context.Context) error {
	timeout := time.NewTimer(commitTimeout)
	defer timeout.Stop()
	select {
	case err := <-r:
		return err
	case <-timeout.C:
		return errNoCommit
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errNoCommit = errors.New("no commit in time")
