package auth

import (
	"sync"
	"time"
)

// ChangeKind says what happened to somebody's authority.
type ChangeKind uint8

// The kinds of change, with the fields that are set.
const (
	SensorAdded   ChangeKind = iota + 1 // Serial, SensorID, UserID (the owner), SilenceAfter, SilenceLearned
	SensorRemoved                       // Serial, SensorID, UserID; a ShareRemoved follows for everybody it was shared with
	SecretRotated                       // Serial, SensorID, UserID; connections that proved an old secret end
	SessionEnded                        // UserID, SessionID; what that session opened ends
	SensorChanged                       // Serial, SensorID, UserID, SilenceAfter, SilenceLearned; described anew, nobody's authority ends
	UserEnded                           // UserID: every socket and MQTT session of the account ends, but those of API tokens; with SessionID set: all but that session's too
	ShareAdded                          // Serial, SensorID, UserID (whom it was shared with); also when they may do more, or less, than before
	ShareRemoved                        // Serial, SensorID, UserID (who lost access)
	TokenEnded                          // UserID, TokenID; what was opened with that API token ends
)

// Change tells open connections that authority has changed. The change is already in force where Directory and Service look: who is
// asked after it decides by the new state, so a connection being opened at this moment is caught by Service.Live after it registered.
type Change struct {
	Kind      ChangeKind
	Serial    string
	SensorID  int64
	UserID    int64
	SessionID string
	TokenID   string

	SilenceAfter   time.Duration // how long the sensor may be silent; zero: the server's default
	SilenceLearned bool          // its own rhythm says that, once it is known
}

// Watcher learns of changes.
type Watcher interface {
	// AuthorityChanged is called once for each change, from the goroutine that made it. It returns fast; connections close within a second.
	AuthorityChanged(c Change)
}

// Changes hands every Change to every Watcher. The zero value is ready; it is safe for concurrent use.
type Changes struct {
	mu       sync.Mutex
	watchers []Watcher // guarded by mu; only ever appended to, so a copied header may be read without it
}

// Watch adds w for good. It is called while the program is wired up.
func (c *Changes) Watch(w Watcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = append(c.watchers, w)
}

// Gone announces that a sensor was deleted or given away: to its owner, then to everybody it was shared with. dev is what it was.
func (c *Changes) Gone(dev Device) {
	c.Notify(Change{Kind: SensorRemoved, Serial: dev.Serial, SensorID: dev.SensorID, UserID: dev.OwnerID})
	for _, s := range dev.Shares {
		c.Notify(Change{Kind: ShareRemoved, Serial: dev.Serial, SensorID: dev.SensorID, UserID: s.UserID})
	}
}

// Notify calls every watcher in the order they were added, holding no lock.
func (c *Changes) Notify(ch Change) {
	c.mu.Lock()
	watchers := c.watchers
	c.mu.Unlock()
	for _, w := range watchers {
		w.AuthorityChanged(ch)
	}
}
