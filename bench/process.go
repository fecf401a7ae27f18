package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a server in a process of its own, with a folder of its own.
type process struct {
	cmd  *exec.Cmd
	dir  string // removed at the end; empty: none
	tail *tail
	done chan struct{} // closed when it has ended
}

// launch starts cmd. Its end does not depend on ours being orderly, and an interrupt from the terminal reaches us alone, so that a
// server ends after the sockets that measure it.
func launch(cmd *exec.Cmd, dir string) (process, error) {
	p := process{cmd: cmd, dir: dir, tail: new(tail), done: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if cmd.Stderr == nil {
		cmd.Stderr = p.tail
	}
	if err := cmd.Start(); err != nil {
		return p, errors.Join(err, p.clean())
	}
	go func() { _ = cmd.Wait(); close(p.done) }() // ends with the process, which stop sees to
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) stop() {
	p.end()
	_ = p.clean()
}

// end leaves the folder.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *process) clean() error {
	if p.dir == "" {
		return nil
	}
	return os.RemoveAll(p.dir)
}

// ready waits until try succeeds. Where it does not, the error has the last words of the process.
func (p *process) ready(ctx context.Context, try func() error) error {
	for deadline := time.Now().Add(patience); ; {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended at once: %s", p.tail)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not answer: %w; %s", err, p.tail)
		}
	}
}

// freeAddresses are loopback addresses that nobody listened at a moment ago.
func freeAddresses(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// raiseFileLimit lets this process and the servers it starts open as many sockets as the system allows.
func raiseFileLimit() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // guards text
	text []byte
}

const tailBytes = 1 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = append(t.text[:0], t.text[max(0, len(t.text)-tailBytes):]...)
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
