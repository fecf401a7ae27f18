package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// passwordTimeout bounds the check of a person's password, its wait for a turn included. It blocks that client's goroutine only.
const passwordTimeout = 5 * time.Second

// passwords proves people; *auth.Service does.
type passwords interface {
	Password(ctx context.Context, login, password string, remote netip.Addr) (auth.Principal, error)
}

// identify proves the sensor or person behind a CONNECT. A user name that is a sensor's serial is that sensor's. A client certificate
// stands for its sensor's secret, and lets nobody else in.
func (b *Broker) identify(raw net.Conn, remote netip.Addr, h *hello) (auth.Principal, error) {
	name, secret := h.user, h.password
	if b.cfg.PeerSerial != nil {
		if serial, ok := b.cfg.PeerSerial(raw); ok {
			if name != "" && name != serial { // a certificate is for one sensor
				return auth.Principal{}, telemetry.ErrUnauthenticated
			}
			if secret == "" {
				return b.dir.Certified(serial)
			}
		}
	}
	if name == "" {
		return auth.Principal{}, telemetry.ErrUnauthenticated
	}
	if _, ok := b.dir.Lookup(name); ok {
		return b.dir.Authenticate(name, secret)
	}
	if secret == "" {
		return auth.Principal{}, telemetry.ErrUnauthenticated
	}
	ctx, cancel := context.WithTimeout(context.Background(), passwordTimeout)
	defer cancel()
	return b.service.Password(ctx, name, secret, remote)
}

func (b *Broker) refusalOf(err error, named bool) refusal {
	switch {
	case errors.Is(err, telemetry.ErrTooMany):
		b.counters.throttled.Add(1)
		return refusedTooMany
	case errors.Is(err, telemetry.ErrUnauthenticated) && !named:
		b.counters.loginFailures.Add(1)
		return refusedAnonymous
	case errors.Is(err, auth.ErrSecondFactor):
		b.log.Info("login refused", "reason", wantsToken) // only who knows the password hears of it
		b.counters.loginFailures.Add(1)
		return refusedFactor
	case errors.Is(err, telemetry.ErrUnauthenticated):
		b.counters.loginFailures.Add(1)
		return refusedLogin
	case errors.Is(err, telemetry.ErrForbidden):
		b.counters.loginFailures.Add(1)
		return refusedAnonymous
	}
	if !errors.Is(err, telemetry.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		b.log.Error("mqtt login could not be checked", "err", err)
	}
	b.counters.throttled.Add(1)
	return refusedUnavailable
}

// assignedClientID is an id for a client that brings none [MQTT-3.1.3-6].
func assignedClientID() string { return "auto-" + rand.Text() }
