package broker

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// patientFor is how long a connection that has not logged in keeps its place against newcomers. A client that means it has said CONNECT
// by then.
const patientFor = time.Second

// pending bounds the connections that have not logged in: each costs memory and a goroutine before anybody has proven anything. One
// address may not take all the places. Loopback may: what comes from there is a local program or a proxy that speaks for many. When all
// places are taken the one that has been silent for longest gives way, so that sockets which say nothing keep nobody out.
type pending struct {
	max, perAddress int

	mu     sync.Mutex
	all    int                // guarded by mu
	silent list.List          // guarded by mu: *place of those that have said nothing, oldest first
	from   map[netip.Addr]int // guarded by mu; IPv6 by /64, which is what one subscriber gets
}

// place is one connection's among those that have not logged in.
type place struct {
	network netip.Addr
	since   time.Time
	giveWay func()        // closes the connection
	element *list.Element // of silent; nil once it has spoken
	gone    bool
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

// enter takes a place, if there is one or one is made; giveWay may be called, at most once, until leave.
func (p *pending) enter(a netip.Addr, giveWay func()) (pl *place, ok bool) {
	n, now := network(a), time.Now()
	p.mu.Lock()
	if p.from[n] >= p.perAddress && !a.Unmap().IsLoopback() {
		p.mu.Unlock()
		return nil, false
	}
	var oldest *place
	if p.all >= p.max {
		if oldest = p.oldestLocked(now); oldest == nil {
			p.mu.Unlock()
			return nil, false
		}
		p.removeLocked(oldest)
	}
	pl = &place{network: n, since: now, giveWay: giveWay}
	pl.element = p.silent.PushBack(pl)
	p.all++
	p.from[n]++
	p.mu.Unlock()
	if oldest != nil {
		oldest.giveWay()
	}
	return pl, true
}

// oldestLocked is the one that has been silent for longest, if that is long enough.
func (p *pending) oldestLocked(now time.Time) *place {
	front := p.silent.Front()
	if front == nil || now.Sub(front.Value.(*place).since) < patientFor {
		return nil
	}
	return front.Value.(*place)
}

// spoke notes that the connection has said CONNECT: what it waits for now is ours to give, and it keeps its place.
func (p *pending) spoke(pl *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pl.element != nil {
		p.silent.Remove(pl.element)
		pl.element = nil
	}
}

// leave gives the place back, if it was not taken away before.
func (p *pending) leave(pl *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !pl.gone {
		p.removeLocked(pl)
	}
}

func (p *pending) removeLocked(pl *place) {
	if pl.element != nil {
		p.silent.Remove(pl.element)
		pl.element = nil
	}
	pl.gone = true
	p.all--
	if p.from[pl.network]--; p.from[pl.network] == 0 {
		delete(p.from, pl.network)
	}
}

func (p *pending) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}
