package broker

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// A byte written after message n was raised leaves only once n has its fate, and all bytes leave in the order they were written.
func TestGate_ReleasesInOrderAndNeverEarly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type stamp struct{ raised, number uint64 }
		var (
			g       gate
			raised  uint64
			fates   uint64
			number  uint64
			waiting []stamp // model: what was written and has not left
			got     []byte
		)
		check := func(b []byte) {
			got = append(got, b...)
			for len(got) >= 8 {
				n := binary.BigEndian.Uint64(got)
				got = got[8:]
				if len(waiting) == 0 || waiting[0].number != n {
					t.Fatalf("word %d left out of order, model %v", n, waiting)
				}
				if waiting[0].raised > fates {
					t.Fatalf("word %d left after %d fates, must wait for %d", n, fates, waiting[0].raised)
				}
				waiting = waiting[1:]
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"raise": func(t *rapid.T) { raised++; g.raise(forQoS2, uint16(raised)) },
			"vain":  func(t *rapid.T) { g.raise(forQoS1, 0); g.lower() },
			"write": func(t *rapid.T) {
				number++
				g.write(binary.BigEndian.AppendUint64(nil, number))
				waiting = append(waiting, stamp{raised, number})
			},
			"fate": func(t *rapid.T) {
				if fates < raised {
					fates++
				}
			},
			"id": func(t *rapid.T) {
				if fates < raised {
					if got, want := g.idOf(fates), uint16(fates+1); got != want {
						t.Fatalf("idOf(%d): got %d, want %d", fates, got, want)
					}
				}
			},
			"take": func(t *rapid.T) {
				check(g.take(nil, rapid.IntRange(0, 64).Draw(t, "limit"), fates))
			},
			"": func(t *rapid.T) {
				released := 0
				for _, w := range waiting {
					if w.raised > fates {
						break
					}
					released += 8
				}
				if have := g.ready(fates); have != released-len(got) && have+len(got) != released {
					t.Fatalf("ready: got %d (+%d taken), want %d", have, len(got), released)
				}
			},
		})
		fates = raised
		check(g.take(nil, 1<<30, fates))
		if len(waiting) != 0 {
			t.Fatalf("%d words never left", len(waiting))
		}
	})
}

func TestGate_FailureDropsWhatWaitsAndNothingElse(t *testing.T) {
	var g gate
	g.write([]byte("free "))
	g.raise(forQoS2, 0)
	g.write([]byte("stored "))
	g.raise(forQoS2, 9)
	g.write([]byte("lost "))
	g.raise(forQoS2, 0)
	g.write([]byte("lost too"))
	g.fail(1)
	g.write([]byte("bye"))
	if got, want := string(g.take(nil, 100, 1)), "free stored bye"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := g.idOf(1); got != 9 {
		t.Errorf("packet id of the lost message: got %d, want 9", got)
	}
}

func TestGate_KeepsLittleWhenEmpty(t *testing.T) {
	var g gate
	for range 1000 {
		g.raise(forQoS2, 0)
		g.write(bytes.Repeat([]byte("x"), 100))
	}
	g.take(nil, 1<<20, 1000)
	if cap(g.buf) > keepBytes || cap(g.open) > keepPromises {
		t.Errorf("empty gate keeps %d bytes and %d promises", cap(g.buf), cap(g.open))
	}
}
