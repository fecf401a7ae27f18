package notify

import "time"

// Bounds on what is under way at once.
const (
	maxSending = 32 // attempts in all
	hostPlaces = 2  // attempts on one host: one that hangs holds no more

	circuitAfter = 5                // failures of a host in a row that open its circuit
	circuitFor   = time.Minute      // how long; then one attempt decides
	forgetLane   = 10 * time.Minute // of a host nobody sends to
)

// lane is what is known of a host.
type lane struct {
	under    int       // attempts under way
	failures int       // in a row, that were the host's own
	openTill time.Time // no attempt before
	used     time.Time
}

// lanes has one for each host, by Channel.Host.
type lanes map[string]*lane

// enter takes a place on a host, unless it has none.
func (l lanes) enter(host string, now time.Time) bool {
	at := l[host]
	if at == nil {
		at = &lane{}
		l[host] = at
	}
	if !at.hasPlace(now) {
		return false
	}
	at.under++
	at.used = now
	return true
}

func (l *lane) hasPlace(now time.Time) bool {
	places := hostPlaces
	if l.failures >= circuitAfter {
		places = 1 // whether it works again one attempt finds out
	}
	return l.under < places && !now.Before(l.openTill)
}

// closed are the hosts that have no place.
func (l lanes) closed(now time.Time) (hosts []string) {
	for host, at := range l {
		if !at.hasPlace(now) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// leave gives the place back, and reports whether the host's circuit opened.
func (l lanes) leave(host string, b blame, now time.Time) (opened bool) {
	at := l[host]
	at.under--
	at.used = now
	switch b {
	case noBlame:
		return false
	case worked:
		at.failures = 0
		return false
	}
	if at.failures++; at.failures >= circuitAfter {
		at.openTill = now.Add(circuitFor)
		return at.failures == circuitAfter
	}
	return false
}

// open counts the hosts that are left alone now.
func (l lanes) open(now time.Time) (n int) {
	for _, at := range l {
		if now.Before(at.openTill) {
			n++
		}
	}
	return n
}

// forget drops what is known of hosts nobody has sent to for a while.
func (l lanes) forget(now time.Time) {
	for host, at := range l {
		if at.under == 0 && now.Sub(at.used) > forgetLane {
			delete(l, host)
		}
	}
}
