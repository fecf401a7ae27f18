package authtest

import (
	"errors"
	"reflect"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// newToken is a token that says all there is to say, called name.
func newToken(userID int64, name string) auth.APIToken {
	return auth.APIToken{
		ID: name, UserID: userID, Name: "Token " + name, Hash: [32]byte(hashOf(name)), Write: true, Serials: []string{"SN1", "SN2"},
		CreatedAt: start, ExpiresAt: expiry, LastUsedAt: start + second,
	}
}

func mustKeep(t *testing.T, s Store, tokens ...auth.APIToken) {
	t.Helper()
	for _, token := range tokens {
		if err := s.CreateAPIToken(t.Context(), token); err != nil {
			t.Fatalf("CreateAPIToken(%s): got %v, want nil", token.ID, err)
		}
	}
}

func wantTokens(t *testing.T, s Store, want ...auth.APIToken) {
	t.Helper()
	got, err := s.EveryAPIToken(t.Context())
	if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("EveryAPIToken: got %+v, %v, want %+v, nil", got, err, want)
	}
}

func apiTokensAreKeptAsTheyAre(t *testing.T, s Store) {
	wantTokens(t, s)
	ada, bob := mustCreate(t, s, "ada"), mustCreate(t, s, "bob")
	full, his := newToken(ada.ID, "z-first"), newToken(bob.ID, "his")
	bare := auth.APIToken{ID: "a-second", UserID: ada.ID, Name: "Bare", Hash: [32]byte(hashOf("bare")), CreatedAt: start}
	mustKeep(t, s, full, his, bare)
	wantTokens(t, s, full, bare, his)
	if err := s.CreateAPIToken(t.Context(), newToken(bob.ID+1000, "nobody's")); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("CreateAPIToken of an unknown account: got %v, want ErrNotFound", err)
	}
}

func usesOfAPITokensAreNoted(t *testing.T, s Store) {
	ada := mustCreate(t, s, "ada")
	used, idle := newToken(ada.ID, "used"), newToken(ada.ID, "idle")
	mustKeep(t, s, used, idle)
	used.LastUsedAt = start + 60*second
	if err := s.UseAPITokens(t.Context(), map[string]telemetry.Millis{used.ID: used.LastUsedAt, "gone": start}); err != nil {
		t.Errorf("UseAPITokens: got %v, want nil", err)
	}
	wantTokens(t, s, used, idle)
}

func deletedAPITokenIsGone(t *testing.T, s Store) {
	ada, bob := mustCreate(t, s, "ada"), mustCreate(t, s, "bob")
	first, second, his := newToken(ada.ID, "first"), newToken(ada.ID, "second"), newToken(bob.ID, "his")
	mustKeep(t, s, first, second, his)
	if err := s.DeleteAPIToken(t.Context(), first.ID); err != nil {
		t.Errorf("DeleteAPIToken: got %v, want nil", err)
	}
	if err := s.DeleteAPIToken(t.Context(), first.ID); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("DeleteAPIToken again: got %v, want ErrNotFound", err)
	}
	wantTokens(t, s, second, his)
	if err := s.DeleteUser(t.Context(), ada.ID); err != nil {
		t.Fatalf("DeleteUser: got %v, want nil", err)
	}
	wantTokens(t, s, his)
}
