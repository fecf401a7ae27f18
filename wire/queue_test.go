package wire

import (
	"testing"
	"time"
)

// byHand is a pool whose flusher the test is.
func byHand(t *testing.T, senders int) (*Pool, []*Sender) {
	p := NewPool(1, time.Minute)
	p.Close()
	all := make([]*Sender, senders)
	for i := range all {
		server, _ := pair(t, 0)
		all[i] = p.Attach(server, newSpool(server))
	}
	return p, all
}

func (p *Pool) next() *Sender {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nextLocked()
}

func TestPool_SendersWithMoreToWriteGoFirst(t *testing.T) {
	p, s := byHand(t, 4)
	p.WakeAll(s[:2])
	s[2].Wake()
	s[3].Wake()
	p.WakeAll(s[3:])
	s[1].Wake()
	s[1].Wake()
	for i, want := range []*Sender{s[3], s[1], s[0], s[2], nil} {
		if got := p.next(); got != want {
			t.Errorf("turn %d: got %p, want %p of %p", i, got, want, s)
		}
	}
}

func TestPool_NobodyIsPassedOverForEver(t *testing.T) {
	p, s := byHand(t, 2)
	patient, busy := s[0], s[1]
	patient.Wake()
	for turn := range patience + 2 {
		busy.Wake()
		busy.Wake()
		next := p.next()
		next.state.Store(idle)
		if next == patient {
			if turn < patience {
				t.Errorf("had its turn after %d others, want %d", turn, patience)
			}
			return
		}
	}
	t.Errorf("was passed over more than %d times", patience)
}

// Whoever is woken between being queued and the queue's lock is in the right queue in the end, and in one only.
func TestPool_RipeOnTheWayIntoTheQueue(t *testing.T) {
	p, s := byHand(t, 2)
	s[1].Wake()
	if got := s[0].mark(); got != join {
		t.Fatalf("first mark = %d, want join", got)
	}
	s[0].Wake()
	p.push(s[0])
	s[0].Wake()
	for i, want := range []*Sender{s[0], s[1], nil} {
		if got := p.next(); got != want {
			t.Errorf("turn %d: got %p, want %p of %p", i, got, want, s)
		}
	}
}
