package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockName is the file in the data directory whose lock says that a process works on it. It stays behind: removing it would let two
// processes hold locks on two files of the same name.
const lockName = "sensorcast.lock"

// ErrInUse says that another process works on the data directory.
var ErrInUse = errors.New("is in use by another sensorcast")

// dirLock is the exclusive use of a data directory. The kernel ends it with the process, however that ends.
type dirLock struct{ file *os.File }

// lockDir makes the directory if need be and takes its lock, or says who has it.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unusable(dir, err)
	}
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable(dir, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %q %w%s", dir, ErrInUse, holder(file))
		}
		return nil, unusable(dir, err)
	}
	if err := writePID(file); err != nil {
		return nil, errors.Join(unusable(dir, err), file.Close())
	}
	return &dirLock{file}, nil
}

func (l *dirLock) release() error { return l.file.Close() }

func unusable(dir string, err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		err = path.Err // the path is in the message already
	}
	return fmt.Errorf("data directory %q cannot be used: %w", dir, err)
}

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder is " (process 123)", or nothing when the lock's owner has not written it yet.
func holder(file *os.File) string {
	b := make([]byte, 20)
	n, _ := file.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}
