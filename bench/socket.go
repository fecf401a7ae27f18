package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a server may take for one step of a handshake.
const patience = 10 * time.Second

// message is kept beyond its taker.
type message struct {
	kind byte
	body []byte
}

// socket is one connection of the generator. While it is set up it is spoken to in turns; then a loop takes it over.
type socket struct {
	conn *net.TCPConn // until a loop has it
	file *os.File     // from then on, with the next two
	fd   int
	loop *loop

	in      stream
	early   []message // came during set-up and were not waited for yet
	take    taker
	out     []byte // what the server has not taken yet
	blocked bool   // the loop waits for room to write the rest of out
}

func dial(addr string, c cut) (*socket, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	// Megabytes in the generator's own send buffers would only put off the moment at which a server's pace is felt.
	if err := tcp.SetWriteBuffer(64 << 10); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &socket{conn: tcp, in: stream{cut: c}, take: func(byte, []byte) {}}, tcp.SetDeadline(time.Now().Add(patience))
}

func (s *socket) close() error {
	if s.file != nil {
		return s.file.Close()
	}
	return s.conn.Close()
}

// ask sends p during set-up and waits for the first message of a kind.
func (s *socket) ask(p []byte, kind byte) (answer []byte, err error) {
	if _, err := s.conn.Write(p); err != nil {
		return nil, err
	}
	return s.await(kind)
}

// await drops messages of other kinds: nothing that counts is under way yet.
func (s *socket) await(kind byte) (answer []byte, err error) {
	var buf [4 << 10]byte
	for {
		for i, m := range s.early {
			if m.kind == kind {
				s.early = s.early[i+1:]
				return m.body, nil
			}
		}
		s.early = s.early[:0]
		n, err := s.conn.Read(buf[:])
		if err != nil {
			return nil, fmt.Errorf("wait for message %#x: %w", kind, err)
		}
		err = s.in.feed(buf[:n], func(k byte, body []byte) { s.early = append(s.early, message{k, bytes.Clone(body)}) })
		if err != nil {
			return nil, err
		}
	}
}

// flush writes what it can of out without waiting; the loop writes the rest.
func (s *socket) flush() error {
	for len(s.out) > 0 {
		n, err := unix.Write(s.fd, s.out)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			if s.blocked {
				return nil
			}
			s.blocked = true
			return s.loop.watch(s, unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLOUT)
		case err != nil:
			return fmt.Errorf("write: %w", err)
		}
		s.out = append(s.out[:0], s.out[n:]...)
	}
	if s.blocked {
		s.blocked = false
		return s.loop.watch(s, unix.EPOLL_CTL_MOD, unix.EPOLLIN)
	}
	return nil
}
