package authtest

import (
	"slices"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func debtsAreKept(t *testing.T, s Store) {
	owes := func(kind, debtor string, until telemetry.Millis) auth.Debt {
		return auth.Debt{Kind: kind, Debtor: debtor, PaidAt: start + until}
	}
	save := func(now telemetry.Millis, debts ...auth.Debt) {
		t.Helper()
		if err := s.SaveDebts(t.Context(), debts, start+now); err != nil {
			t.Fatalf("SaveDebts: got %v, want nil", err)
		}
	}
	want := func(now telemetry.Millis, limit int, want ...auth.Debt) {
		t.Helper()
		if got, err := s.Debts(t.Context(), start+now, limit); err != nil || !slices.Equal(got, want) {
			t.Errorf("Debts at +%d ms, at most %d: got %v, %v, want %v", now, limit, got, err, want)
		}
	}
	want(0, 9)
	save(0, owes("login", "\x00\xff", 3*second), owes("address", "\x00\xff", 2*second), owes("login", "b", second))
	want(0, 9, owes("login", "b", second), owes("address", "\x00\xff", 2*second), owes("login", "\x00\xff", 3*second))
	want(0, 2, owes("address", "\x00\xff", 2*second), owes("login", "\x00\xff", 3*second))
	want(second, 9, owes("address", "\x00\xff", 2*second), owes("login", "\x00\xff", 3*second))
	save(0, owes("login", "b", 5*second), owes("login", "\x00\xff", -start)) // one more failure, and one that was forgiven
	want(0, 9, owes("address", "\x00\xff", 2*second), owes("login", "b", 5*second))
	save(4*second, owes("login", "c", 6*second))
	want(0, 9, owes("login", "b", 5*second), owes("login", "c", 6*second))
}
