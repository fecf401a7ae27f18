package alert

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestDeadlines_ComeInOrder(t *testing.T) {
	for range 200 {
		var d deadlines
		var want []tenths
		for range rand.IntN(50) { // as Load makes one
			at := tenths(rand.IntN(20))
			d, want = append(d, deadline{at, 1}), append(want, at)
		}
		d.order()
		for range rand.IntN(50) {
			at := tenths(rand.IntN(20))
			d.push(at, 1)
			want = append(want, at)
		}
		slices.Sort(want)
		for _, at := range want {
			if !d.due(at) || at > 0 && d.due(at-1) {
				t.Fatalf("due at %d: want the first of %v to be that", at, d)
			}
			if got := d.pop().at; got != at {
				t.Fatalf("got %d, want %d", got, at)
			}
		}
		if len(d) != 0 {
			t.Fatalf("got %v left, want nothing", d)
		}
	}
}
