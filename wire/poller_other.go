//go:build !linux

package wire

import (
	"errors"
	"syscall"
)

// Poller does not exist on this system: NewPoller says so, and every socket is read by a goroutine of its own.
type Poller struct{}

// Watch is never made here.
type Watch struct{}

// NewPoller returns an error.
func NewPoller() (*Poller, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (p *Poller) Close() {}

// Add returns an error.
func (p *Poller) Add(syscall.RawConn, Readable) (*Watch, error) { return nil, errors.ErrUnsupported }

// Await returns an error.
func (w *Watch) Await() error { return errors.ErrUnsupported }

// Read returns an error.
func (w *Watch) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Forget does nothing.
func (w *Watch) Forget() {}
