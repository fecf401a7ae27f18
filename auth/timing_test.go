package auth_test

import (
	"slices"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
)

// TestLogin_TakesAsLongForUnknownWrongAndDisabled compares the middle of many attempts, made in turns so that whatever else the machine does
// meets all alike. Without a hash to compare nobody's password with, unknown and disabled accounts answer a hundred times as fast.
func TestLogin_TakesAsLongForUnknownWrongAndDisabled(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	admin := mustPrincipal(t, f, mustRegister(t, f, "admin"))
	mustRegister(t, f, "bob")
	mustRegister(t, f, "eve")
	if _, err := f.Service.Administer(t.Context(), admin, "eve", auth.AccountChange{Disabled: new(true)}); err != nil {
		t.Fatal(err)
	}
	taken := registration("bob")
	wantAlike(t, map[string]func() error{
		"an unknown login":             func() error { return second(f.Service.Login(t.Context(), logsIn("nobody", password, afar))) },
		"a wrong password":             func() error { return second(f.Service.Login(t.Context(), logsIn("bob", "wrong-password", afar))) },
		"a disabled account":           func() error { return second(f.Service.Login(t.Context(), logsIn("eve", password, afar))) },
		"an unknown one over MQTT":     func() error { return second(f.Service.Password(t.Context(), "nobody", password, afar)) },
		"a wrong password over MQTT":   func() error { return second(f.Service.Password(t.Context(), "bob", "wrong-password", afar)) },
		"a registration that is taken": func() error { return second(f.Service.Register(t.Context(), taken)) },
	})
}

// wantAlike has every attempt fail many times, and none take more than double the time of another.
func wantAlike(t *testing.T, attempts map[string]func() error) {
	t.Helper()
	const rounds = 15
	took := map[string][]time.Duration{}
	for range rounds {
		for what, attempt := range attempts { // in an order that is another each round
			start := time.Now()
			if attempt() == nil {
				t.Fatalf("%s: got in", what)
			}
			took[what] = append(took[what], time.Since(start))
		}
	}
	middle := map[string]time.Duration{}
	for what, all := range took {
		slices.Sort(all)
		middle[what] = all[rounds/2]
	}
	for what, a := range middle {
		for other, b := range middle {
			if a > 2*b {
				t.Errorf("%s takes %v, %s %v: want no telling them apart", what, a, other, b)
			}
		}
	}
}
