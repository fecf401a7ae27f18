package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

// keeping has the fixture's debts kept until the returned function ends that.
func keeping(t *testing.T, f *authtest.Fixture) (stop func()) {
	t.Helper()
	if err := f.Service.RecallDebts(t.Context(), f.Store); err != nil {
		t.Fatalf("RecallDebts: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		f.Service.KeepDebts(ctx, f.Store)
	}()
	return func() { cancel(); <-done }
}

// fail has the login fail so many times, unless it is throttled before.
func fail(t *testing.T, f *authtest.Fixture, login string, times int) {
	t.Helper()
	for range times {
		if _, err := f.Service.Login(t.Context(), logsIn(login, "wrong-password", afar)); !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Fatalf("failure of %s: got %v, want ErrUnauthenticated", login, err)
		}
	}
}

func wantThrottled(t *testing.T, f *authtest.Fixture, login string, want bool) {
	t.Helper()
	if _, err := f.Service.Login(t.Context(), logsIn(login, password, here)); errors.Is(err, telemetry.ErrTooMany) != want {
		t.Errorf("login of %s: got %v, want throttled %v", login, err, want)
	}
}

// TestThrottles_OutliveTheProcess: crashed is what the next process finds after kill -9, two seconds after the last failure.
func TestThrottles_OutliveTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := auth.Config{LoginFailuresPerMinute: 4, RegistrationsPerHour: 2}
		f := authtest.New(t, cfg)
		stop := keeping(t, f)
		mustRegister(t, f, "ada")
		mustRegister(t, f, "bob")
		fail(t, f, "ada", 4)
		fail(t, f, "bob", 3)
		fail(t, f, "secret typed here by mistake", 1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		crashed := authtest.Restart(t, cfg, f.Keys, f.Store)
		defer keeping(t, crashed)()
		wantThrottled(t, crashed, "ada", true)
		wantThrottled(t, crashed, "bob", false) // which forgives him
		fail(t, crashed, "bob", 3)
		if _, err := crashed.Service.Register(t.Context(), registration("eve")); !errors.Is(err, telemetry.ErrTooMany) {
			t.Errorf("third registration from one address in an hour, over a restart: got %v, want ErrTooMany", err)
		}
		debts, err := f.Store.Debts(t.Context(), 0, 100)
		if err != nil || len(debts) != 5 { // three names, two addresses, of which one registered
			t.Errorf("debts: got %d, %v, want 5", len(debts), err)
		}
		if text := fmt.Sprintf("%q", debts); strings.Contains(text, "secret") || strings.Contains(text, "ada") || strings.Contains(text, "203.0.113") {
			t.Errorf("debts: got %s, want nobody's name or address", text)
		}
		stop()
		time.Sleep(15 * time.Second)
		wantThrottled(t, crashed, "ada", false)
	})
}

func TestThrottles_ForgivenessOutlivesTheProcessToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := auth.Config{LoginFailuresPerMinute: 2}
		f := authtest.New(t, cfg)
		mustRegister(t, f, "ada")
		stop := keeping(t, f)
		fail(t, f, "ada", 1)
		time.Sleep(3 * time.Second)
		wantThrottled(t, f, "ada", false)
		stop() // saves once more
		next := authtest.Restart(t, cfg, f.Keys, f.Store)
		defer keeping(t, next)()
		fail(t, next, "ada", 2)
	})
}

func TestThrottles_AreSavedOnceTheStoreCanAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := auth.Config{LoginFailuresPerMinute: 1}
		f := authtest.New(t, cfg)
		mustRegister(t, f, "ada")
		defer keeping(t, f)()
		fail(t, f, "ada", 1)
		f.Store.Fail(fmt.Errorf("disk: %w", telemetry.ErrUnavailable))
		time.Sleep(10 * time.Second)
		f.Store.Fail(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		next := authtest.Restart(t, cfg, f.Keys, f.Store)
		defer keeping(t, next)()
		wantThrottled(t, next, "ada", true)
	})
}

// TestThrottles_ClockSetBackLocksNobodyOut: what was saved lies a day ahead.
func TestThrottles_ClockSetBackLocksNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := auth.Config{LoginFailuresPerMinute: 1}
		f := authtest.New(t, cfg)
		mustRegister(t, f, "ada")
		stop := keeping(t, f)
		fail(t, f, "ada", 1)
		stop()
		debts, err := f.Store.Debts(t.Context(), 0, 100)
		if err != nil || len(debts) != 2 {
			t.Fatalf("debts: got %v, %v, want two", debts, err)
		}
		for i := range debts {
			debts[i].PaidAt = debts[i].PaidAt.Add(24 * time.Hour)
		}
		if err := f.Store.SaveDebts(t.Context(), debts, telemetry.Now()); err != nil {
			t.Fatal(err)
		}
		next := authtest.Restart(t, cfg, f.Keys, f.Store)
		defer keeping(t, next)()
		wantThrottled(t, next, "ada", true)
		time.Sleep(time.Minute)
		wantThrottled(t, next, "ada", false)
	})
}
