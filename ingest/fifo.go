package ingest

// fifo is a first-in, first-out list whose waiting elements lie side by side. Taking from its front costs in proportion to what is taken,
// not to what is left: under overload that is tens of thousands of readings, moved under the pipe's lock.
type fifo[T any] struct {
	items []T
	head  int // items before it are gone, and zero
}

// keepFIFO is how many places an emptied list keeps: a quiet server must not hold the memory of its last burst.
const keepFIFO = 1 << 13

// all is what waits, in order. It is valid until the next push or drop.
func (f *fifo[T]) all() []T { return f.items[f.head:] }

func (f *fifo[T]) len() int { return len(f.items) - f.head }

func (f *fifo[T]) push(v ...T) { f.items = append(f.items, v...) }

// drop removes the first n.
func (f *fifo[T]) drop(n int) {
	clear(f.items[f.head : f.head+n])
	f.head += n
	switch {
	case f.len() == 0:
		f.items, f.head = f.items[:0], 0
		if cap(f.items) > keepFIFO {
			f.items = nil
		}
	case f.head > len(f.items)/2: // each element is moved once at most for each that has left before it
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
}
