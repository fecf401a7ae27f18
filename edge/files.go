package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// keyPair is the server's certificate from two files.
type keyPair struct {
	certFile, keyFile string
	log               *slog.Logger
	pair              atomic.Pointer[tls.Certificate]
}

// load replaces the pair in force by what the files hold, if that is complete.
func (k *keyPair) load() error {
	cert, err := os.ReadFile(k.certFile)
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	key, err := os.ReadFile(k.keyFile)
	if err != nil {
		return fmt.Errorf("read private key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key) // refuses a key that is not the certificate's
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", k.certFile, k.keyFile, err)
	}
	k.pair.Store(&pair)
	switch now := time.Now(); {
	case now.After(pair.Leaf.NotAfter):
		k.log.Warn("certificate has expired", "file", k.certFile, "not_after", pair.Leaf.NotAfter)
	case now.Before(pair.Leaf.NotBefore):
		k.log.Warn("certificate is not valid yet", "file", k.certFile, "not_before", pair.Leaf.NotBefore)
	}
	return nil
}

func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.pair.Load(), nil }

func (k *keyPair) pairs() []*tls.Certificate {
	return []*tls.Certificate{k.pair.Load()} // NewTLS fails without a pair
}

func (k *keyPair) run(context.Context) {}

// readPool reads certificate authorities. A file without one is a mistake: it would refuse everybody.
func readPool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read client authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("client authorities %s: no certificate in PEM found", path)
	}
	return pool, nil
}

// watched are files that belong together and are read together. They are compared by what stat(2) says: renewal tools rename, link or
// rewrite, and each of these changes the inode, the time or the size. Notifications of the system would miss network file systems and the
// links of container secrets.
type watched struct {
	paths []string
	load  func() error

	mu     sync.Mutex
	seen   []os.FileInfo // guarded by mu: as they were before they were last read; nil for one that was not there
	lament string        // guarded by mu: the complaint made last; empty since the last success
}

// read reads the files whether they changed or not.
func (w *watched) read() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.readLocked(w.stat())
}

// readIfChanged reads the files if they are not what was read last.
func (w *watched) readIfChanged() (changed bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.stat()
	for i := range now {
		if !same(now[i], w.seen[i]) {
			return true, w.readLocked(now)
		}
	}
	return false, nil
}

// readLocked remembers how the files were before it reads them, so that what is written meanwhile counts as a change.
func (w *watched) readLocked(now []os.FileInfo) error {
	w.seen = now
	err := w.load()
	if err == nil {
		w.lament = ""
	}
	return err
}

// complain reports whether err is worth a line: the first of its kind since the files were last usable.
func (w *watched) complain(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lament == err.Error() {
		return false
	}
	w.lament = err.Error()
	return true
}

func (w *watched) stat() []os.FileInfo {
	infos := make([]os.FileInfo, len(w.paths))
	for i, path := range w.paths {
		if info, err := os.Stat(path); err == nil {
			infos[i] = info
		}
	}
	return infos
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
