package ingest

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// answering is an Answerer that writes down what it hears.
type answering struct{ told }

func (a answering) note(what string) {
	a.to.mu.Lock()
	defer a.to.mu.Unlock()
	a.to.all = append(a.to.all, what)
}

func (a answering) Settled(error)    { a.note("settled " + a.name) }
func (a answering) Answer(here bool) { a.note(fmt.Sprintf("answer %s %t", a.name, here)) }

func TestAnswerer_AnswersOnceAllOfTheBatchIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := New(Config{}, &ledger{before: func(b Batch) error { g.wait(b); return nil }}, quiet)
		var heard notes
		mustAccept(t, p, message(1, `0`), anybody) // the batch that goes ahead alone
		synctest.Wait()
		const n = 2*maxAnswersHere + 2
		var want []string
		for i := range n {
			name := fmt.Sprint(i)
			mustAccept(t, p, message(1, name), answering{told{&heard, name}})
			want = append(want, "settled "+name)
		}
		mustAccept(t, p, message(1, `9`), heard.note("plain"))
		want = append(want, "plain")
		for i := range n {
			i = (i + maxAnswersHere) % n // first those that answer elsewhere, while the others do here
			want = append(want, fmt.Sprintf("answer %d %t", i, i < maxAnswersHere))
		}
		g.pass()
		g.pass()
		mustClose(t, p)
		if got := heard.list(); !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
	})
}
