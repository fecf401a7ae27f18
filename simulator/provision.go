package simulator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"sensorcast/telemetry"
)

// DefaultProvisionConcurrency is how many sensors are provisioned at a time.
const DefaultProvisionConcurrency = 8

// Provisioning says where and as whom to register sensors.
type Provisioning struct {
	BaseURL      string        // of the server, e.g. http://127.0.0.1:8080
	Token        string        // an access or API token that may write
	CAFile       string        // PEM authorities instead of the system's, for https
	SilenceAfter time.Duration // silence_after of new sensors, whole seconds; 0 = the server's default
	Concurrency  int           // default DefaultProvisionConcurrency
	// OnProgress is called after each sensor, never concurrently, and must return soon.
	OnProgress func(done, total int)
	// Client makes the requests. Default: one with a timeout of 30 s per request that trusts CAFile.
	Client *http.Client
}

// Provision makes sure that the server knows the sensors: it creates those that are missing, and gives those that exist a new secret,
// the old one ending at once, since a secret is shown only when it is made. It waits out 429 and 503 answers. It blocks until all are
// done, one failed, or ctx ends.
//
// The credentials come in the order of specs, without those that were not reached; they are returned with an error too, because
// their secrets exist nowhere else. A refusal of the server is a *ProblemError.
func Provision(ctx context.Context, p Provisioning, specs []Spec) ([]Credential, error) {
	registry, err := newRegistry(p)
	if err != nil {
		return nil, err
	}
	if p.Client == nil {
		defer registry.client.CloseIdleConnections()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var (
		work        = make(chan int)
		secrets     = make([]string, len(specs)) // each worker writes its own elements
		workers     sync.WaitGroup
		mu          sync.Mutex // guards done, and makes OnProgress calls one by one
		done        int
		concurrency = min(max(cmp.Or(p.Concurrency, DefaultProvisionConcurrency), 1), 64)
	)
	for range min(concurrency, len(specs)) {
		workers.Go(func() { // stops when work is closed
			for i := range work {
				secret, err := registry.ensure(ctx, &specs[i], p.SilenceAfter)
				if err != nil {
					cancel(fmt.Errorf("provision sensor %s: %w", specs[i].Serial, err))
					continue
				}
				secrets[i] = secret
				mu.Lock()
				done++
				if p.OnProgress != nil {
					p.OnProgress(done, len(specs))
				}
				mu.Unlock()
			}
		})
	}
feed:
	for i := range specs {
		select {
		case work <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	workers.Wait()

	credentials := make([]Credential, 0, len(specs))
	for i, secret := range secrets {
		if secret != "" {
			credentials = append(credentials, Credential{Serial: specs[i].Serial, Secret: secret})
		}
	}
	if len(credentials) < len(specs) {
		return credentials, context.Cause(ctx)
	}
	return credentials, nil
}

// ensure returns a valid secret of the sensor, creating it if need be.
func (r *registry) ensure(ctx context.Context, spec *Spec, silenceAfter time.Duration) (string, error) {
	sensor := map[string]any{
		"serial_no": spec.Serial, "name": spec.Name, "sensor_type": spec.Profile.SensorType,
		"tags": []string{"simulated"}, "manufacturer": Manufacturer,
	}
	if silenceAfter > 0 {
		sensor["silence_after"] = int64(silenceAfter.Round(time.Second).Seconds())
	}
	secret, err := r.post(ctx, "sensors", sensor)
	if problem, ok := errors.AsType[*ProblemError](err); !ok || problem.Status != http.StatusConflict {
		return secret, err
	}
	secret, err = r.post(ctx, "sensors/"+url.PathEscape(spec.Serial)+"/secret", map[string]any{"grace_seconds": 0})
	if problem, ok := errors.AsType[*ProblemError](err); ok && problem.Status == http.StatusNotFound {
		return "", fmt.Errorf("the serial is taken by another account: %w", err) // someone else's sensor answers 404
	}
	return secret, err
}

func (p *Provisioning) base() (*url.URL, error) {
	u, err := url.Parse(p.BaseURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, telemetry.Invalid("base_url", "must be a URL such as http://127.0.0.1:8080")
	}
	return u.JoinPath("api", "v1"), nil
}
