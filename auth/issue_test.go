package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

func TestDeleteToken_IsOverBeforeWatchersHear(t *testing.T) {
	f, ada, bob := withSensors(t, auth.Config{})
	p, token := mustBear(t, f, ada, auth.TokenDraft{Scopes: read})
	other, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: read})
	heard := 0
	f.Changes.Watch(watcher(func(c auth.Change) {
		heard++
		if c.Kind != auth.TokenEnded || c.UserID != ada.UserID || c.TokenID != p.TokenID || f.Service.Live(p) {
			t.Errorf("got %+v with the token live %v, want the end of %s", c, f.Service.Live(p), p.TokenID)
		}
	}))
	for who, id := range map[auth.Principal]string{bob: p.TokenID, ada: "absent"} {
		if err := f.Service.DeleteToken(t.Context(), who, id); !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("%s of %v: got %v, want ErrNotFound", id, who.Username, err)
		}
	}
	if err := f.Service.DeleteToken(t.Context(), ada, p.TokenID); err != nil || heard != 1 {
		t.Errorf("got %v, %d changes told, want nil, 1", err, heard)
	}
	wantRefused(t, f, "revoked", token)
	if !f.Service.Live(other) || len(f.Service.Tokens(ada)) != 1 {
		t.Errorf("another token ended too")
	}
	after := authtest.Restart(t, auth.Config{}, f.Keys, f.Store)
	wantRefused(t, after, "after a restart", token)
}

type watcher func(auth.Change)

func (w watcher) AuthorityChanged(c auth.Change) { w(c) }

// The token of a lost laptop must end also while the disk is full.
func TestDeleteToken_EndsItAlsoWhenTheStoreFails(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	p, token := mustBear(t, f, ada, auth.TokenDraft{Scopes: read})
	f.Store.Fail(errors.New("disk full"))
	if err := f.Service.DeleteToken(t.Context(), ada, p.TokenID); err == nil {
		t.Errorf("got nil, want the store's error")
	}
	wantRefused(t, f, "after a failed deletion", token)
	f.Store.Fail(nil)
	if len(f.Service.Tokens(ada)) != 1 {
		t.Errorf("it is not listed any more, so nobody can delete it")
	}
	if err := f.Service.DeleteToken(t.Context(), ada, p.TokenID); err != nil || len(f.Service.Tokens(ada)) != 0 {
		t.Errorf("the second time: got %v, want nil and none left", err)
	}
}

func TestAPIToken_EndsAtItsTimeAndIsToldWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, ada, _ := withSensors(t, auth.Config{})
		j := watch(f)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go f.Service.TendTokens(ctx) // ends with the test
		later, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: read, ExpiresAt: telemetry.Now().Add(2 * time.Hour)})
		soon, token := mustBear(t, f, ada, auth.TokenDraft{Scopes: read, ExpiresAt: telemetry.Now().Add(time.Hour)})
		mustBear(t, f, ada, auth.TokenDraft{Scopes: read})
		time.Sleep(time.Hour - time.Millisecond)
		if !f.Service.Live(soon) {
			t.Errorf("a millisecond before its time: it is over")
		}
		time.Sleep(time.Millisecond)
		if f.Service.Live(soon) {
			t.Errorf("at its time: it is live")
		}
		wantRefused(t, f, "at its time", token)
		time.Sleep(time.Second)
		want := auth.Change{Kind: auth.TokenEnded, UserID: ada.UserID, TokenID: soon.TokenID}
		if got := j.take(); !slices.Equal(got, []auth.Change{want}) {
			t.Errorf("a second later: got %+v told, want %+v once", got, want)
		}
		time.Sleep(time.Hour)
		if got := j.take(); len(got) != 1 || got[0].TokenID != later.TokenID {
			t.Errorf("an hour later: got %+v told, want the end of the second", got)
		}
		if got := len(f.Service.Tokens(ada)); got != 3 {
			t.Errorf("listed: got %d, want all three", got)
		}
		after := authtest.Restart(t, auth.Config{}, f.Keys, f.Store)
		again := watch(after)
		go after.Service.TendTokens(ctx) // ends with the test
		time.Sleep(time.Second)
		wantRefused(t, after, "expired, after a restart", token)
		if got := again.take(); len(got) != 0 {
			t.Errorf("after a restart: got %+v told again", got)
		}
	})
}

func TestAPIToken_OutlivesSessionsAndPasswordsNotTheAccount(t *testing.T) {
	f, ada, bob := withSensors(t, auth.Config{})
	p, token := mustBear(t, f, bob, auth.TokenDraft{Scopes: write})
	ticket := mustMintAll(t, f, p)
	if err := f.Service.ChangePassword(t.Context(), bob, password, password+"-new"); err != nil {
		t.Fatal(err)
	}
	if err := f.Service.LogoutAll(t.Context(), bob.UserID); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Service.RedeemTicket(ticket.Token); err != nil || !f.Service.Live(p) {
		t.Errorf("after a changed password and a logout everywhere: got %v, live %v, want it to go on", err, f.Service.Live(p))
	}
	j := watch(f)
	ended := func() bool {
		return slices.Contains(j.take(), auth.Change{Kind: auth.TokenEnded, UserID: bob.UserID, TokenID: p.TokenID})
	}
	disable := func(yes bool) {
		t.Helper()
		if _, err := f.Service.Administer(t.Context(), ada, "bob", auth.AccountChange{Disabled: &yes}); err != nil {
			t.Fatal(err)
		}
	}
	disable(true)
	wantRefused(t, f, "disabled", token)
	if f.Service.Live(p) || !ended() {
		t.Errorf("disabled: it is live, or its end was not told")
	}
	wantRefused(t, authtest.Restart(t, auth.Config{}, f.Keys, f.Store), "disabled, after a restart", token)
	disable(false)
	if !f.Service.Live(p) || ended() {
		t.Errorf("enabled again: it is over")
	}
	grant, err := f.Service.Login(t.Context(), logsIn("bob", password+"-new", here))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Service.DeleteAccount(t.Context(), mustPrincipal(t, f, grant), password+"-new"); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, f, "deleted", token)
	if f.Service.Live(p) || !ended() || f.Service.Stats().APITokens != 0 {
		t.Errorf("deleted: it is live, or its end was not told, or it is held")
	}
	wantRefused(t, authtest.Restart(t, auth.Config{}, f.Keys, f.Store), "deleted, after a restart", token)
}

func TestAPIToken_LastUseIsNotedOnceAMinuteAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, ada, _ := withSensors(t, auth.Config{})
		made, token := mustToken(t, f, ada, auth.TokenDraft{Scopes: read, Serials: []string{"SN1"}, ExpiresAt: telemetry.Now().Add(time.Hour)})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go f.Service.TendTokens(ctx) // ends when stop is called
		use := func() telemetry.Millis {
			t.Helper()
			if _, err := f.Service.Authenticate(token); err != nil {
				t.Fatal(err)
			}
			return telemetry.Now()
		}
		stored := func(want telemetry.Millis) {
			t.Helper()
			synctest.Wait()
			all, err := f.Store.EveryAPIToken(t.Context())
			if err != nil || len(all) != 1 || all[0].LastUsedAt != want {
				t.Errorf("stored: got %+v, %v, want last used at %d", all, err, want)
			}
		}
		time.Sleep(10 * time.Second)
		first := use()
		if got := f.Service.Tokens(ada); got[0].LastUsedAt != first {
			t.Errorf("listed: got last used at %d, want %d", got[0].LastUsedAt, first)
		}
		time.Sleep(49 * time.Second)
		stored(0)
		time.Sleep(2 * time.Second)
		stored(first)
		f.Store.Fail(errors.New("disk full"))
		second := use()
		time.Sleep(time.Minute)
		f.Store.Fail(nil)
		stored(first)
		time.Sleep(time.Minute)
		stored(second)
		third := use()
		stop()
		stored(third)
		made.LastUsedAt = third
		after := authtest.Restart(t, auth.Config{}, f.Keys, f.Store)
		after.Directory.Put(auth.Device{SensorID: 11, Serial: "SN1", OwnerID: ada.UserID})
		after.Directory.Put(auth.Device{SensorID: 12, Serial: "SN2", OwnerID: ada.UserID})
		if got := after.Service.Tokens(ada); fmt.Sprint(got) != fmt.Sprint([]auth.APIToken{made}) || got[0].LastUsedAt != third {
			t.Errorf("after a restart: got %+v, want %+v", got, made)
		}
		p, err := after.Service.Authenticate(token)
		if got := after.Directory.SerialsOf(p); err != nil || !slices.Equal(got, made.Serials) || !p.ReadOnly() {
			t.Errorf("after a restart: got %v, sees %v, want the limits it had", err, got)
		}
	})
}
