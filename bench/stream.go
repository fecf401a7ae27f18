package main

// taker is given one message: its kind (the first byte of an MQTT packet, the opcode of a WebSocket frame) and what follows the length.
// The body lies in a buffer that is used again as soon as the taker returns.
type taker func(kind byte, body []byte)

// cut hands the whole messages at the front of b to each and returns how many bytes they took.
type cut func(b []byte, each taker) (used int, err error)

// stream makes messages of the bytes of one socket, however they were cut up on the way.
type stream struct {
	cut  cut
	rest []byte // of a message that has not fully come
}

func (s *stream) feed(b []byte, each taker) error {
	if len(s.rest) > 0 {
		s.rest = append(s.rest, b...)
		b = s.rest
	}
	used, err := s.cut(b, each)
	s.rest = append(s.rest[:0], b[used:]...)
	return err
}
