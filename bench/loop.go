package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// errClosed says that a server ended a connection that the row still needs.
var errClosed = errors.New("the server closed a connection")

// loop drives many sockets from one thread through epoll. With a goroutine each, the runtime's wake-ups would be most of what is
// measured, and they would weigh more the faster a server is. All servers are driven by this same code.
type loop struct {
	ctx      context.Context
	patience time.Duration // without progress, after which what is missing counts as lost
	poll     int
	sockets  []*socket // by descriptor
	events   []unix.EpollEvent
	buf      []byte
}

func newLoop(ctx context.Context) (*loop, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &loop{ctx: ctx, patience: patience, poll: poll, events: make([]unix.EpollEvent, 512), buf: make([]byte, 256<<10)}, err
}

// close closes the sockets too.
func (l *loop) close() {
	for _, s := range l.sockets {
		if s != nil {
			_ = s.close()
		}
	}
	_ = unix.Close(l.poll)
}

// add takes a socket out of the runtime's own poller and into the loop. It belongs to the loop even where that fails.
func (l *loop) add(s *socket, take taker) error {
	if err := s.conn.SetDeadline(time.Time{}); err != nil {
		return errors.Join(err, s.conn.Close())
	}
	file, err := s.conn.File()
	if err := errors.Join(err, s.conn.Close()); err != nil {
		return err
	}
	s.file, s.fd, s.loop, s.take, s.early = file, int(file.Fd()), l, take, nil
	for len(l.sockets) <= s.fd {
		l.sockets = append(l.sockets, nil)
	}
	l.sockets[s.fd] = s
	if err := unix.SetNonblock(s.fd, true); err != nil {
		return err
	}
	return l.watch(s, unix.EPOLL_CTL_ADD, unix.EPOLLIN)
}

func (l *loop) watch(s *socket, op int, events uint32) error {
	return unix.EpollCtl(l.poll, op, s.fd, &unix.EpollEvent{Events: events, Fd: int32(s.fd)})
}

// turn reads what has come, hands it to the sockets' takers and writes what they put into out, in one write each.
//
// With wait 0 it never sleeps. Rows with viewers and rows with a fixed rate poll like that: a generator that sleeps is woken for every
// few frames by an interrupt to an idle processor, which the server's write(2) pays for and no viewer on another machine would cost.
// Rows that push as much as a server takes wait: there a generator that spins would take the second processor away from the servers
// that have threads for it, and so favour one that has not.
func (l *loop) turn(wait time.Duration) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	n, err := unix.EpollWait(l.poll, l.events, int(wait/time.Millisecond))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	for _, e := range l.events[:max(n, 0)] {
		s := l.sockets[e.Fd]
		if e.Events&^unix.EPOLLOUT != 0 {
			if err := l.read(s); err != nil {
				return err
			}
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) read(s *socket) error {
	n, err := unix.Read(s.fd, l.buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", errClosed, err)
	case n == 0:
		return errClosed
	}
	return s.in.feed(l.buf[:n], s.take)
}

// until turns until done says so, or gives up with the error of stalled when progress has not changed for as long as its patience.
func (l *loop) until(wait time.Duration, done func() bool, progress func() int64, stalled func() error) error {
	seen, moved := progress(), now()
	for !done() {
		if err := l.turn(wait); err != nil {
			return err
		}
		if p := progress(); p != seen {
			seen, moved = p, now()
		} else if now()-moved > int64(l.patience) {
			return stalled()
		}
	}
	return nil
}
