package ingest

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestFIFO_IsAListTakenFromItsFront(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f fifo[*int]
		var model []*int
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(0, 20).Draw(t, "n") {
					v := new(int)
					f.push(v)
					model = append(model, v)
				}
			},
			"drop": func(t *rapid.T) {
				n := rapid.IntRange(0, len(model)).Draw(t, "n")
				f.drop(n)
				model = model[n:]
			},
			"": func(t *rapid.T) {
				if !slices.Equal(f.all(), model) || f.len() != len(model) {
					t.Fatalf("got %d elements, want %d", f.len(), len(model))
				}
				whole := f.items[:cap(f.items)]
				for i, v := range whole {
					if (i < f.head || i >= len(f.items)) && v != nil {
						t.Fatalf("place %d of %d keeps what has left", i, len(whole))
					}
				}
			},
		})
	})
}

func TestFIFO_KeepsLittleOfABurst(t *testing.T) {
	var f fifo[int]
	f.push(make([]int, 10*keepFIFO)...)
	f.drop(f.len())
	if got := cap(f.items); got > keepFIFO {
		t.Errorf("got %d places kept, want at most %d", got, keepFIFO)
	}
}
