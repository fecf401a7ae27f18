package authtest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func wantFactor(t *testing.T, s Store, userID int64, want auth.SecondFactor) {
	t.Helper()
	got, err := s.SecondFactor(t.Context(), userID)
	order := func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(got.Recovery, order)
	slices.SortFunc(want.Recovery, order)
	if err != nil || !bytes.Equal(got.Sealed, want.Sealed) || got.On != want.On || got.LastStep != want.LastStep || !slices.Equal(got.Recovery, want.Recovery) {
		t.Errorf("SecondFactor: got on %v, step %d, %d codes, %v, want on %v, step %d, %d codes", got.On, got.LastStep, len(got.Recovery), err,
			want.On, want.LastStep, len(want.Recovery))
	}
}

func secondFactorIsReplaced(t *testing.T, s Store) {
	ada, bob := mustCreate(t, s, "ada"), mustCreate(t, s, "bob")
	begun := auth.SecondFactor{Sealed: []byte("sealed")}
	on := auth.SecondFactor{Sealed: []byte("other"), On: true, LastStep: 59_999_999, Recovery: [][32]byte{{1}, {2}, {3}}}
	less := on
	less.LastStep, less.Recovery = on.LastStep+1, [][32]byte{{3}, {1}}
	his := auth.SecondFactor{Sealed: []byte("his"), On: true, Recovery: [][32]byte{{1}}}
	for _, f := range []auth.SecondFactor{begun, on, less} {
		for id, f := range map[int64]auth.SecondFactor{ada.ID: f, bob.ID: his} {
			if err := s.PutSecondFactor(t.Context(), id, f); err != nil {
				t.Fatalf("PutSecondFactor: got %v, want nil", err)
			}
		}
		wantFactor(t, s, ada.ID, f)
	}
	for range 2 {
		if err := s.DeleteSecondFactor(t.Context(), ada.ID); err != nil {
			t.Errorf("DeleteSecondFactor: got %v, want nil", err)
		}
	}
	wantNoFactor(t, s, ada.ID)
	wantFactor(t, s, bob.ID, his)
	if err := s.DeleteUser(t.Context(), bob.ID); err != nil {
		t.Fatalf("DeleteUser: got %v, want nil", err)
	}
	wantNoFactor(t, s, bob.ID)
	if err := s.PutSecondFactor(t.Context(), bob.ID, his); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("PutSecondFactor without an account: got %v, want ErrNotFound", err)
	}
}

func wantNoFactor(t *testing.T, s Store, userID int64) {
	t.Helper()
	if _, err := s.SecondFactor(t.Context(), userID); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("SecondFactor of who has none: got %v, want ErrNotFound", err)
	}
}
