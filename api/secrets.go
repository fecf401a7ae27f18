package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func (a *API) secretRoutes() {
	handle(a, huma.Operation{
		OperationID: "rotate-secret", Method: http.MethodPost, Path: sensorPath + "/secret", Tags: []string{tagSensors},
		Summary:     "Give a sensor a new secret",
		Description: "The old one goes on working for grace_seconds. Without grace the sensor is disconnected at once.",
		Security:    person(), Errors: []int{http.StatusForbidden},
	}, a.rotateSecret)
}

type rotation struct {
	GraceSeconds int64 `json:"grace_seconds,omitempty" minimum:"0" maximum:"604800" default:"0" doc:"How long the old secret still works"`
}

type rotateInput struct {
	Serial string    `path:"serial_no"`
	Body   *rotation `required:"false"`
}

type rotated struct {
	Secret        string    `json:"secret_key" doc:"Shown this once"`
	OldValidUntil Timestamp `json:"old_valid_until" nullable:"true" doc:"null: the old secret works no more"`
}

type rotateOutput struct{ Body rotated }

func (a *API) rotateSecret(ctx context.Context, in *rotateInput) (*rotateOutput, error) {
	secret := auth.NewDeviceSecret()
	hash := a.deps.Directory.HashSecret(secret)
	var until telemetry.Millis
	err := a.alone(ctx, func() error {
		dev, err := a.sensorFor(principal(ctx), auth.Manage, in.Serial)
		if err != nil {
			return err
		}
		now := telemetry.Now()
		if in.Body != nil && in.Body.GraceSeconds > 0 {
			until = now.Add(time.Duration(in.Body.GraceSeconds) * time.Second)
		}
		dev.Secrets = append([]auth.Secret{{Hash: hash}}, predecessors(dev.Secrets, now, until)...)
		if err := a.deps.Registry.SetSecrets(ctx, dev.SensorID, dev.Secrets); err != nil {
			return err
		}
		a.deps.Directory.Put(dev)
		a.announceRotation(dev, until.Sub(now))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &rotateOutput{Body: rotated{Secret: secret, OldValidUntil: Timestamp(until)}}, nil
}

// predecessors are the old secrets as they go on after a rotation: none outlives until, those already limited keep the nearer end, and
// of those still in their grace only the newest go on.
func predecessors(old []auth.Secret, now, until telemetry.Millis) []auth.Secret {
	var kept []auth.Secret
	for _, s := range old {
		if s.ValidUntil == 0 || s.ValidUntil > until {
			s.ValidUntil = until
		}
		if s.ValidUntil > now && len(kept) < auth.MaxDeviceSecrets-1 {
			kept = append(kept, s)
		}
	}
	return kept
}

// announceRotation tells open connections: at once, or when the grace has run out. Until then the old secret is good and so are the
// connections that proved it.
func (a *API) announceRotation(dev auth.Device, grace time.Duration) {
	change := auth.Change{Kind: auth.SecretRotated, Serial: dev.Serial, SensorID: dev.SensorID, UserID: dev.OwnerID}
	if grace <= 0 {
		a.graces.forget(dev.SensorID)
		a.deps.Changes.Notify(change)
		return
	}
	a.graces.after(dev.SensorID, grace, func() { a.deps.Changes.Notify(change) })
}

// graces are the rotations whose old secret still works, by sensor: one timer each, so there are never more than sensors. They need
// not survive a restart, which ends every connection anyway.
type graces struct {
	mu     sync.Mutex
	timers map[int64]*time.Timer // guarded by mu
	closed bool                  // guarded by mu
}

// after runs f when the grace has ended, unless the sensor is rotated again, deleted, or the API closed before. It comes a millisecond
// late rather than a fraction of one early, when the old secret would still be found good.
func (g *graces) after(sensorID int64, grace time.Duration, f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	if g.timers == nil {
		g.timers = map[int64]*time.Timer{}
	}
	if t := g.timers[sensorID]; t != nil {
		t.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(grace+time.Millisecond, func() {
		g.mu.Lock()
		current := g.timers[sensorID] == timer
		if current {
			delete(g.timers, sensorID)
		}
		g.mu.Unlock()
		if current {
			f()
		}
	})
	g.timers[sensorID] = timer
}

// forget drops the sensor's grace.
func (g *graces) forget(sensorID int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.timers[sensorID]; t != nil {
		t.Stop()
		delete(g.timers, sensorID)
	}
}

func (g *graces) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, t := range g.timers {
		t.Stop()
	}
	clear(g.timers)
}
