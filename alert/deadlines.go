package alert

// deadline is a sensor's place in the heap.
type deadline struct {
	at     tenths
	sensor int64
}

// deadlines is a binary min-heap.
type deadlines []deadline

// due reports whether the first deadline has come.
func (d deadlines) due(now tenths) bool { return len(d) > 0 && d[0].at <= now }

func (d *deadlines) push(at tenths, sensor int64) {
	h := append(*d, deadline{at, sensor})
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if h[parent].at <= h[i].at {
			break
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
	*d = h
}

// pop takes the first; there must be one.
func (d *deadlines) pop() deadline {
	h := *d
	first, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	h.sink(0)
	*d = h
	return first
}

// order makes a heap of what is in any order.
func (d deadlines) order() {
	for i := len(d)/2 - 1; i >= 0; i-- {
		d.sink(i)
	}
}

func (d deadlines) sink(i int) {
	for {
		least := 2*i + 1
		if least >= len(d) {
			return
		}
		if right := least + 1; right < len(d) && d[right].at < d[least].at {
			least = right
		}
		if d[i].at <= d[least].at {
			return
		}
		d[i], d[least] = d[least], d[i]
		i = least
	}
}
