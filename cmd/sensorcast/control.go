package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
)

// socketName is the file in the data directory by which the commands on the server's own machine reach it. Whoever may open it is the operator:
// it is made for the user the server runs as and nobody else, and they could open the database as well.
const socketName = "control.sock"

// maxSocketPath is what fits into the address of a Unix socket on every system; Linux takes four bytes more.
const maxSocketPath = 103

// throughSocket calls f with a path of dir's socket that fits into an address. A long one leads through the open directory, which Linux has a
// short name for.
func throughSocket(dir string, f func(path string) error) error {
	path := filepath.Join(dir, socketName)
	if len(path) <= maxSocketPath {
		return f(path)
	}
	open, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer open.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", open.Fd(), socketName))
}

// listenControl makes the socket, in the place of one that a killed server has left. The caller holds the directory's lock and removes the
// socket when done.
func listenControl(dir string) (l net.Listener, err error) {
	path := filepath.Join(dir, socketName)
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is in the way", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	defer syscall.Umask(syscall.Umask(0o177)) // there is no moment at which others could open it
	err = throughSocket(dir, func(path string) error {
		l, err = net.Listen("unix", path)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by a name that may be gone
	return l, nil
}

// dialControl reaches the server that works on dir.
func dialControl(ctx context.Context, dir string) (conn net.Conn, err error) {
	err = throughSocket(dir, func(path string) error {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}

// serveControl answers the operator. A directory that holds no sockets is no reason not to serve.
func (s *server) serveControl() {
	dir := s.settings.DataDir
	l, err := listenControl(dir)
	if err != nil {
		s.log.Warn("no control socket: the commands user, sensor and audit reach this server with --url only", "err", err)
		return
	}
	s.onStop("control socket", func(context.Context) error { return os.Remove(filepath.Join(dir, socketName)) })
	s.serveOn("control", l, s.api.Shell(), nil)
}

// openDirectory serves a data directory that no server works on to the operator alone, on its control socket.
func openDirectory(dir string) (_ *server, err error) {
	log := newLogger(warnings())
	s := &server{lifecycle: lifecycle{log: log}, settings: &settings{DataDir: dir, Registration: "closed"}, log: log, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if err := s.openStore(); err != nil {
		return nil, err
	}
	if err := s.openAuth(); err != nil {
		return nil, err
	}
	s.api = s.quietAPI()
	s.onStop("REST interface", func(context.Context) error { s.api.Close(); return nil })
	s.serveControl()
	return s, nil
}

// controlTransport carries requests to the server that works on dir.
func controlTransport(dir string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialControl(ctx, dir) }}
}
