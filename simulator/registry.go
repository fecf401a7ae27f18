package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sensorcast/telemetry"
)

const (
	requestTimeout = 30 * time.Second
	maxReplyBytes  = 1 << 20 // of a reply; a sensor with its secret is below 10 kB
	maxAttempts    = 8       // of one request that is told to come back later
	maxRetryAfter  = time.Minute
)

// ProblemError is a refusal of the server, from its application/problem+json (RFC 9457) or, failing that, its status line. It matches
// the telemetry error kind of its status.
type ProblemError struct {
	Status int
	Title  string
	Detail string
	Fields []string // "body.name: too long", one per wrong field
}

// Error is the detail, or what there is instead.
func (e *ProblemError) Error() string {
	text := e.Detail
	if text == "" {
		text = e.Title
	}
	if len(e.Fields) > 0 {
		text += " (" + strings.Join(e.Fields, "; ") + ")"
	}
	return fmt.Sprintf("server answered %d: %s", e.Status, oneLine(text))
}

// Unwrap returns the kind.
func (e *ProblemError) Unwrap() error {
	switch e.Status {
	case http.StatusUnauthorized:
		return telemetry.ErrUnauthenticated
	case http.StatusForbidden:
		return telemetry.ErrForbidden
	case http.StatusNotFound:
		return telemetry.ErrNotFound
	case http.StatusConflict:
		return telemetry.ErrConflict
	case http.StatusTooManyRequests:
		return telemetry.ErrTooMany
	case http.StatusServiceUnavailable:
		return telemetry.ErrUnavailable
	}
	if e.Status >= 400 && e.Status < 500 {
		return telemetry.ErrInvalid
	}
	return nil
}

// registry is the little of the REST interface that provisioning needs. It is safe for concurrent use.
type registry struct {
	client *http.Client
	base   *url.URL // …/api/v1
	token  string
}

func newRegistry(p Provisioning) (*registry, error) {
	base, err := p.base()
	if err != nil {
		return nil, err
	}
	client := p.Client
	if client == nil {
		config, err := tlsConfig(p.CAFile)
		if err != nil {
			return nil, err
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = config
		transport.MaxIdleConnsPerHost = DefaultProvisionConcurrency
		client = &http.Client{Timeout: requestTimeout, Transport: transport}
	}
	return &registry{client: client, base: base, token: p.Token}, nil
}

// post sends body and returns the secret_key of the reply, coming back as often as it is told to, up to maxAttempts times.
func (r *registry) post(ctx context.Context, path string, body any) (string, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return "", fmt.Errorf("encode request: %w", err)
	}
	for attempt := 1; ; attempt++ {
		secret, wait, err := r.try(ctx, path, text)
		busy := errors.Is(err, telemetry.ErrTooMany) || errors.Is(err, telemetry.ErrUnavailable)
		if !busy || attempt == maxAttempts {
			return secret, err
		}
		sleep(ctx, wait)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
}

// try makes one request; wait is when to come back if the server is busy.
func (r *registry) try(ctx context.Context, path string, body []byte) (secret string, wait time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return "", 0, err
	}
	request.Header.Set("Authorization", "Bearer "+r.token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, application/problem+json")
	response, err := r.client.Do(request)
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(response.Body, maxReplyBytes))
	if err != nil {
		return "", 0, fmt.Errorf("read reply: %w", err)
	}
	if response.StatusCode >= 300 {
		return "", retryAfter(response.Header.Get("Retry-After"), time.Now()), problemOf(response, reply)
	}
	var created struct {
		Secret string `json:"secret_key"`
	}
	if err := json.Unmarshal(reply, &created); err != nil {
		return "", 0, fmt.Errorf("decode reply: %w", err)
	}
	if created.Secret == "" {
		return "", 0, errors.New("the reply holds no secret_key")
	}
	return created.Secret, 0, nil
}

func problemOf(response *http.Response, reply []byte) *ProblemError {
	var body struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Errors []struct {
			Location string `json:"location"`
			Message  string `json:"message"`
		} `json:"errors"`
	}
	p := &ProblemError{Status: response.StatusCode, Title: http.StatusText(response.StatusCode)}
	if json.Unmarshal(reply, &body) != nil { // not ours, a proxy's page perhaps: the status has to do
		return p
	}
	if body.Title != "" {
		p.Title = body.Title
	}
	p.Detail = body.Detail
	for _, e := range body.Errors {
		p.Fields = append(p.Fields, e.Location+": "+e.Message)
	}
	return p
}

// retryAfter reads the header in both its forms (RFC 9110 §10.2.3); without a usable one it is a second, and never more than a minute.
func retryAfter(header string, now time.Time) time.Duration {
	wait := time.Second
	if seconds, err := strconv.Atoi(header); err == nil && seconds >= 0 {
		wait = time.Duration(min(seconds, int(maxRetryAfter.Seconds()))) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = max(at.Sub(now), 0)
	}
	return min(wait, maxRetryAfter)
}
