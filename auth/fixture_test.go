package auth_test

import (
	"net/netip"
	"sync"
	"testing"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
)

const password = "violet-otter-banana-42"

var (
	here   = netip.MustParseAddr("127.0.0.1")
	afar   = netip.MustParseAddr("203.0.113.7")
	noAddr netip.Addr
)

func registration(name string) auth.Registration {
	return auth.Registration{Username: name, Email: name + "@example.org", Password: password, Remote: here}
}

// logsIn are the credentials of somebody who logs in from an address.
func logsIn(login, password string, remote netip.Addr) auth.Credentials {
	return auth.Credentials{Login: login, Password: password, From: auth.Origin{Remote: remote, Client: "test"}}
}

func mustRegister(t testing.TB, f *authtest.Fixture, name string) auth.Grant {
	t.Helper()
	grant, err := f.Service.Register(t.Context(), registration(name))
	if err != nil {
		t.Fatalf("register %s: %v", name, err)
	}
	return grant
}

func mustPrincipal(t testing.TB, f *authtest.Fixture, g auth.Grant) auth.Principal {
	t.Helper()
	p, err := f.Service.Authenticate(g.AccessToken)
	if err != nil {
		t.Fatalf("authenticate: %v", err)
	}
	return p
}

func mustMintAll(t testing.TB, f *authtest.Fixture, p auth.Principal) auth.Ticket {
	t.Helper()
	ticket, err := f.Service.MintTicket(p, nil, true)
	if err != nil {
		t.Fatalf("mint: %v", err)
	}
	return ticket
}

// journal is a Watcher that remembers.
type journal struct {
	mu   sync.Mutex
	seen []auth.Change
}

func (j *journal) AuthorityChanged(c auth.Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seen = append(j.seen, c)
}

// take returns what came since the last take.
func (j *journal) take() []auth.Change {
	j.mu.Lock()
	defer j.mu.Unlock()
	seen := j.seen
	j.seen = nil
	return seen
}

func watch(f *authtest.Fixture) *journal {
	j := new(journal)
	f.Changes.Watch(j)
	return j
}

// errorOf drops the account that an operation on one returns.
func errorOf(_ auth.User, err error) error { return err }
