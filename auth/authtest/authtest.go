// Package authtest helps to test what leans on package auth: a store in memory, a service around it, and the contract that every store
// has to pass. Only tests import it.
package authtest

import (
	"log/slog"
	"testing"

	"sensorcast/auth"
)

// Fixture is a service with everything it leans on.
type Fixture struct {
	Service   *auth.Service
	Directory *auth.Directory
	Changes   *auth.Changes
	Keys      *auth.Keys
	Store     *Memory
}

// New returns a Fixture with new keys and an empty Memory. The zero Config has no limits.
func New(t testing.TB, cfg auth.Config) *Fixture {
	t.Helper()
	keys, err := auth.LoadKeys(t.TempDir())
	if err != nil {
		t.Fatalf("load keys: %v", err)
	}
	return Restart(t, cfg, keys, NewMemory())
}

// Restart returns a Fixture on keys and a store that were used before, as the next process would have it. Its Directory is empty.
func Restart(t testing.TB, cfg auth.Config, keys *auth.Keys, store *Memory) *Fixture {
	t.Helper()
	f := &Fixture{Directory: auth.NewDirectory(keys), Changes: new(auth.Changes), Keys: keys, Store: store}
	var err error
	f.Service, err = auth.NewService(cfg, keys, store, store, store, f.Directory, f.Changes, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("new service: %v", err)
	}
	return f
}
