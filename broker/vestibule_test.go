package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

func TestVestibule_LetsInAsManyAsThereArePlacesInOrder(t *testing.T) {
	v := &vestibule{places: 2}
	var begun []string
	for i := range 5 {
		v.enter(func() { begun = append(begun, fmt.Sprint(i)) })
	}
	for _, want := range []int{2, 3, 4, 5, 5, 5} {
		if len(begun) != want || !slices.IsSorted(begun) {
			t.Fatalf("begun: got %v, want the first %d", begun, want)
		}
		if want < 5 || v.taken > 0 {
			v.leave()
		}
	}
	if v.taken != 0 || v.waiting != nil {
		t.Errorf("in the end: %d places taken and %d wait, want none", v.taken, len(v.waiting))
	}
}

// Whoever waits for its peer would keep everybody else out: thousands of silent sockets are an old trick.
func TestVestibule_SilentConnectionsKeepNobodyOut(t *testing.T) {
	h := start(t, autoIntake())
	for i := range 3 * h.entrance.places {
		silent := h.dial(t)
		if i%2 == 1 {
			silent.raw([]byte{packets.Connect << 4, 40, 0, 4, 'M'}) // half a CONNECT
		}
		piped := h.pipe(t) // a connection that cannot be asked whether there is something to read
		defer piped.c.Close()
	}
	for range 3 * h.entrance.places {
		p := h.login(t, "A")
		p.wantAlive()
		p.c.Close()
	}
	refused := h.dial(t)
	if ack := refused.connect("A", "wrong"); ack.ReasonCode == 0 {
		t.Fatal("a wrong password was let in")
	}
	eventually(t, "all places are free", func() bool {
		h.entrance.mu.Lock()
		defer h.entrance.mu.Unlock()
		return h.entrance.taken == 0
	})
}
