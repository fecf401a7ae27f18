package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

func (a *API) healthRoutes() {
	handle(a, huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/healthz", Tags: []string{tagServer},
		Summary:  "Whether the process lives",
		Security: public(),
	}, a.healthy)
	handle(a, huma.Operation{
		OperationID: "readiness", Method: http.MethodGet, Path: "/readyz", Tags: []string{tagServer},
		Summary:  "Whether requests should be sent here",
		Security: public(), Responses: map[string]*huma.Response{"503": {Description: "Not now; the body says why as the good answer does"}},
	}, a.ready)
}

type health struct {
	Status string `json:"status" enum:"ok,ready,draining,unavailable"`
}

type healthOutput struct {
	Status int
	Body   health
}

func (a *API) healthy(context.Context, *struct{}) (*healthOutput, error) {
	return &healthOutput{Status: http.StatusOK, Body: health{"ok"}}, nil
}

func (a *API) ready(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	if a.isDraining.Load() {
		return &healthOutput{Status: http.StatusServiceUnavailable, Body: health{"draining"}}, nil
	}
	if a.deps.Ready != nil {
		if err := a.readiness.ask(ctx, a.deps.Ready); err != nil {
			return &healthOutput{Status: http.StatusServiceUnavailable, Body: health{"unavailable"}}, nil
		}
	}
	return &healthOutput{Status: http.StatusOK, Body: health{"ready"}}, nil
}

const (
	readyTimeout = 2 * time.Second // a probe wants an answer, and "too slow" is one
	readyEvery   = time.Second
)

// readiness remembers the last answer for a moment: the path is open to everybody and the question takes a turn of the store's writer.
type readiness struct {
	every time.Duration
	turn  chan struct{} // holds one token: whoever has it may ask, and touch what follows
	asked time.Time
	err   error
}

func newReadiness(every time.Duration) readiness {
	r := readiness{every: every, turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

// ask returns what question answered last, asking anew when that is longer ago than r.every.
func (r *readiness) ask(ctx context.Context, question func(context.Context) error) error {
	select {
	case <-r.turn:
		defer func() { r.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.asked.IsZero() || time.Since(r.asked) >= r.every {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout) // the answer is for others, too
		defer cancel()
		r.err = question(ctx)
		r.asked = time.Now()
	}
	return r.err
}
