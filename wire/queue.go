package wire

// queue is senders in the order they came.
type queue struct{ head, tail *Sender }

func (q *queue) push(s *Sender) {
	s.in, s.prev = q, q.tail
	if q.tail == nil {
		q.head = s
	} else {
		q.tail.next = s
	}
	q.tail = s
}

// remove takes out s, which must be in q.
func (q *queue) remove(s *Sender) {
	if s.prev == nil {
		q.head = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		q.tail = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.in, s.prev, s.next = nil, nil, nil
}
