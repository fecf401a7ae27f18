package auth

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// KeyFile is the name of the file of keys in the data directory.
const KeyFile = "keys.json"

const (
	minKeyBytes   = 32
	maxKeyFile    = 64 << 10
	labelAccess   = "sensorcast access token v1"
	labelTicket   = "sensorcast ticket v1"
	labelResume   = "sensorcast resume v1"
	labelPepper   = "sensorcast device pepper v1"
	labelRecovery = "sensorcast recovery code v1"
	labelDebtor   = "sensorcast debtor v1"
	labelCreation = "sensorcast sensor creation v1"
	labelSeal     = "sensorcast seal v1"
	looseModeMask = 0o077
)

// Keys are what tokens are signed and device secrets are hashed with. They live outside the database, so that neither a stolen
// backup nor a read of the database yields a usable credential. Immutable, safe for concurrent use.
type Keys struct {
	access keyring
	ticket keyring
	resume keyring
	pepper []byte

	recovery []byte // recovery codes are hashed with it
	debtor   []byte // so are the names and addresses that throttles keep
	creation []byte // secrets of sensors are made with it that a client may ask for again (Once)
	seal     []byte // the keys of sealers come from it
}

// keyring signs with the active key and verifies with any, chosen by its id and never by trial.
type keyring struct {
	active string
	byID   map[string][]byte
}

// String hides everything.
func (k *Keys) String() string { return "[keys]" }

// GoString is String.
func (k *Keys) GoString() string { return k.String() }

// LogValue is String.
func (k *Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }

// keyDocument is keys.json. The first signing key is the active one; the others only verify, so a key is rotated by putting a new one
// in front and dropping the old one after the longest token life. The pepper cannot be rotated: every device secret and second factor hangs on it,
// and what is sealed.
type keyDocument struct {
	Signing []masterKey `json:"signing"`
	Pepper  []byte      `json:"pepper"`
}

type masterKey struct {
	ID     string `json:"kid"`
	Secret []byte `json:"secret"` // base64; one key per purpose is derived from it
}

// LoadKeys reads keys.json in dir, making dir and the file (mode 0600) at first start. A file that others may read, a key that is short or
// constant, and anything not understood are refused with an error that says what to do.
func LoadKeys(dir string) (*Keys, error) {
	path := filepath.Join(dir, KeyFile)
	doc, err := readKeys(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKeys(dir, path); err != nil {
			return nil, fmt.Errorf("make %s: %w", path, err)
		}
		doc, err = readKeys(path)
	}
	if err != nil {
		return nil, err
	}
	keys, err := doc.derive()
	if err != nil {
		return nil, fmt.Errorf("%s: %w; restore it from a backup", path, err)
	}
	return keys, nil
}

func readKeys(path string) (keyDocument, error) {
	var doc keyDocument
	info, err := os.Stat(path)
	if err != nil {
		return doc, fmt.Errorf("read keys: %w", err)
	}
	// Windows has no such bits; its files are private to the profile by inheritance.
	if loose := info.Mode().Perm() & looseModeMask; loose != 0 && runtime.GOOS != "windows" {
		return doc, fmt.Errorf("%s has mode %04o, so other users of this machine can read the keys: run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	if info.Size() > maxKeyFile {
		return doc, fmt.Errorf("%s is %d bytes long, which no key file is", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return doc, fmt.Errorf("read keys: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		// The decoder's words may quote what it read.
		return doc, fmt.Errorf("%s is not a key file: restore it from a backup", path)
	}
	return doc, nil
}

// makeKeys writes new keys so that a crash leaves either no file or a whole one.
func makeKeys(dir, path string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	text, err := json.MarshalIndent(keyDocument{
		Signing: []masterKey{{ID: strings.ToLower(rand.Text()[:8]), Secret: randomBytes(minKeyBytes)}},
		Pepper:  randomBytes(minKeyBytes),
	}, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".keys-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, werr := f.Write(append(text, '\n'))
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the rename itself durable: without the keys every credential in the database is void.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil // the file is written; some systems do not open directories
	}
	if err := d.Sync(); err != nil && runtime.GOOS != "windows" {
		return errors.Join(err, d.Close())
	}
	return d.Close()
}

// derive checks the masters and makes one key per purpose of each.
func (doc keyDocument) derive() (*Keys, error) {
	if len(doc.Signing) == 0 {
		return nil, errors.New("it has no signing key")
	}
	k := &Keys{access: newKeyring(doc.Signing), ticket: newKeyring(doc.Signing), resume: newKeyring(doc.Signing)}
	for _, m := range doc.Signing {
		if m.ID == "" || k.access.byID[m.ID] != nil {
			return nil, errors.New("every signing key needs a kid of its own")
		}
		if err := checkKey(m.Secret); err != nil {
			return nil, fmt.Errorf("signing key %q %w", m.ID, err)
		}
		for label, ring := range map[string]keyring{labelAccess: k.access, labelTicket: k.ticket, labelResume: k.resume} {
			key, err := hkdf.Key(sha256.New, m.Secret, nil, label, minKeyBytes)
			if err != nil {
				return nil, err
			}
			ring.byID[m.ID] = key
		}
	}
	if err := checkKey(doc.Pepper); err != nil {
		return nil, fmt.Errorf("the pepper %w", err)
	}
	for label, key := range map[string]*[]byte{labelPepper: &k.pepper, labelRecovery: &k.recovery, labelDebtor: &k.debtor, labelCreation: &k.creation, labelSeal: &k.seal} {
		var err error
		if *key, err = hkdf.Key(sha256.New, doc.Pepper, nil, label, minKeyBytes); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func newKeyring(masters []masterKey) keyring {
	return keyring{active: masters[0].ID, byID: make(map[string][]byte, len(masters))}
}

func checkKey(key []byte) error {
	if len(key) < minKeyBytes {
		return fmt.Errorf("is %d bytes long and must be at least %d", len(key), minKeyBytes)
	}
	if bytes.Count(key, key[:1]) == len(key) {
		return errors.New("is one byte repeated, not a random key")
	}
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}
