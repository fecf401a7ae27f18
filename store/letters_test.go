package store

import (
	"testing"
	"time"

	"sensorcast/auth"
)

func TestForgetLetters_KeepsWhatMayStillBeUsedOrListed(t *testing.T) {
	d := openNew(t)
	u := newUser(t, d, "ada")
	for name, age := range map[string]time.Duration{"live": -time.Hour, "expired": time.Hour, "old": 31 * 24 * time.Hour} {
		expires := now().Add(-age)
		token := auth.LetterToken{Hash: []byte(name), Purpose: auth.ResetPassword, UserID: u.ID, Email: u.Email, ExpiresAt: expires}
		if err := d.KeepLetterToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if err := d.CreateInvitation(t.Context(), auth.Invitation{ID: name, Hash: []byte(name), Role: auth.RoleUser, InviterID: u.ID, ExpiresAt: expires}); err != nil {
			t.Fatal(err)
		}
	}
	for done := 1; done > 0; {
		var err error
		if done, err = d.forgetLetters(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int64{
		"SELECT count(*) FROM letter_tokens":                                   1,
		"SELECT count(*) FROM letter_tokens WHERE hash = CAST('live' AS BLOB)": 1,
		"SELECT count(*) FROM invitations":                                     2,
		"SELECT count(*) FROM invitations WHERE id IN ('live', 'expired')":     2,
	} {
		if got := count(t, d, query); int64(got) != want {
			t.Errorf("%s: got %d, want %d", query, got, want)
		}
	}
}
