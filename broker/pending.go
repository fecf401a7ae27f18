package broker

import (
	"net/netip"
	"sync"
)

// pending bounds the connections that have not logged in: each costs memory and a goroutine before anybody has proven anything. One
// address may not take all the places. Loopback may: what comes from there is a local program or a proxy that speaks for many.
type pending struct {
	max, perAddress int

	mu   sync.Mutex
	all  int                // guarded by mu
	from map[netip.Addr]int // guarded by mu; IPv6 by /64, which is what one subscriber gets
}

func newPending(max, perAddress int) *pending {
	return &pending{max: max, perAddress: perAddress, from: map[netip.Addr]int{}}
}

func network(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// enter takes a place, if there is one.
func (p *pending) enter(a netip.Addr) bool {
	n := network(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= p.max || p.from[n] >= p.perAddress && !a.Unmap().IsLoopback() {
		return false
	}
	p.all++
	p.from[n]++
	return true
}

// leave gives the place back.
func (p *pending) leave(a netip.Addr) {
	n := network(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.from[n]--; p.from[n] == 0 {
		delete(p.from, n)
	}
}

func (p *pending) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}
