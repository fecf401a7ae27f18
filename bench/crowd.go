package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// crowd is many viewers read by one thread through epoll: with a goroutine each, waking them would be most of what is measured.
type crowd struct {
	poll      int
	members   map[int32]*member
	events    []unix.EpollEvent
	buf       []byte
	delivered int64
	onSample  func(payload []byte) // called with each message of the sampled viewers; nil: not
}

// member is a viewer whose socket the crowd has taken over.
type member struct {
	file    *os.File
	count   func([]byte) int
	sampled bool
	rest    []byte // of a frame that has not fully come
}

func newCrowd() (*crowd, error) {
	poll, err := unix.EpollCreate1(0)
	return &crowd{poll: poll, members: map[int32]*member{}, events: make([]unix.EpollEvent, 512), buf: make([]byte, 256<<10)}, err
}

func (c *crowd) close() {
	for _, m := range c.members {
		m.file.Close()
	}
	unix.Close(c.poll)
}

// add takes the socket out of the runtime's own poller and into the crowd's.
func (c *crowd) add(v *viewer, sampled bool) error {
	file, err := v.file()
	if err != nil {
		return err
	}
	fd := int(file.Fd())
	m := &member{file: file, count: v.count, sampled: sampled}
	if n := v.r.Buffered(); n > 0 {
		early, _ := v.r.Peek(n)
		m.rest = append(m.rest, early...)
	}
	c.members[int32(fd)] = m
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	return unix.EpollCtl(c.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// read takes in what has come and returns at once when that is nothing. It never sleeps: a generator that does is woken for every few
// frames by an interrupt to an idle processor, which the server's write(2) pays for. No viewer on another machine would cost that.
func (c *crowd) read() error {
	n, err := unix.EpollWait(c.poll, c.events, 0)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	for _, e := range c.events[:max(n, 0)] {
		m := c.members[e.Fd]
		kept := copy(c.buf, m.rest)
		n, err := unix.Read(int(e.Fd), c.buf[kept:])
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return errors.New("a viewer was closed by the server")
		}
		left, err := c.frames(m, c.buf[:kept+n])
		if err != nil {
			return err
		}
		m.rest = append(m.rest[:0], left...)
	}
	return nil
}

// frames counts the whole WebSocket frames in b and returns the rest.
func (c *crowd) frames(m *member, b []byte) ([]byte, error) {
	for len(b) >= 2 {
		size, head := int(b[1]), 2
		switch {
		case size > 127:
			return nil, fmt.Errorf("masked frame % x from a server", b[:2])
		case size == 126 && len(b) >= 4:
			size, head = int(binary.BigEndian.Uint16(b[2:])), 4
		case size == 127 && len(b) >= 10:
			size, head = int(binary.BigEndian.Uint64(b[2:])), 10
		case size >= 126:
			return b, nil
		}
		if len(b) < head+size {
			return b, nil
		}
		if op := b[0] & 0x0f; op == 1 || op == 2 {
			payload := b[head : head+size]
			if n := m.count(payload); n > 0 {
				c.delivered += int64(n)
				if m.sampled && c.onSample != nil {
					c.onSample(payload)
				}
			}
		}
		b = b[head+size:]
	}
	return b, nil
}
