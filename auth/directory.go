package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"sensorcast/telemetry"
)

// Directory holds every sensor's Device in memory, so that a storm of reconnecting sensors, and the question asked for every delivered
// message, never touch the store. Safe for concurrent use; it does no I/O. A million sensors take some 200 MB.
type Directory struct {
	pepper     []byte
	creation   []byte
	generation atomic.Uint64 // how often what is known has changed, and a start of 1; moved under mu

	mu      sync.RWMutex
	devices map[string]*entry  // guarded by mu, by serial
	owners  map[int64][]*entry // guarded by mu; the order within an owner means nothing
	shared  sharedWith         // guarded by mu
	gone    map[int64]struct{} // guarded by mu; people whose account was deleted
}

// entry is replaced, never changed, but for place.
type entry struct {
	Device
	place int // index within owners[OwnerID], so that removal costs the same whatever the owner has
}

// sharedWith has the sensors, by serial, that are shared with a person.
type sharedWith map[int64]map[string]struct{}

func (w sharedWith) add(dev Device) {
	for _, s := range dev.Shares {
		if w[s.UserID] == nil {
			w[s.UserID] = make(map[string]struct{})
		}
		w[s.UserID][dev.Serial] = struct{}{}
	}
}

func (w sharedWith) remove(dev Device) {
	for _, s := range dev.Shares {
		if delete(w[s.UserID], dev.Serial); len(w[s.UserID]) == 0 {
			delete(w, s.UserID)
		}
	}
}

// NewDirectory returns an empty Directory that judges secrets by the keys' pepper.
func NewDirectory(keys *Keys) *Directory {
	d := &Directory{pepper: keys.pepper, creation: keys.creation}
	d.Load(nil)
	return d
}

// Load replaces all that is known. It keeps the Secrets slices.
func (d *Directory) Load(all []Device) {
	devices := make(map[string]*entry, len(all))
	owners := make(map[int64][]*entry)
	shared := make(sharedWith)
	for _, dev := range all {
		if _, twice := devices[dev.Serial]; twice {
			continue // serials are unique in the store
		}
		e := &entry{Device: dev, place: len(owners[dev.OwnerID])}
		devices[dev.Serial] = e
		owners[dev.OwnerID] = append(owners[dev.OwnerID], e)
		shared.add(dev)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.devices, d.owners, d.shared, d.gone = devices, owners, shared, make(map[int64]struct{})
	d.generation.Add(1)
}

// Put adds a sensor or replaces the one of that serial. One whose owner was deleted is not taken: its registration lost a race.
func (d *Directory) Put(dev Device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.generation.Add(1)
	d.removeLocked(dev.Serial)
	if _, gone := d.gone[dev.OwnerID]; gone {
		return
	}
	if len(d.gone) > 0 {
		dev.Shares = slices.DeleteFunc(slices.Clone(dev.Shares), func(s Share) bool { _, gone := d.gone[s.UserID]; return gone })
	}
	e := &entry{Device: dev, place: len(d.owners[dev.OwnerID])}
	d.devices[dev.Serial] = e
	d.owners[dev.OwnerID] = append(d.owners[dev.OwnerID], e)
	d.shared.add(dev)
}

// Remove forgets a sensor; an unknown serial is no error.
func (d *Directory) Remove(serial string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.generation.Add(1)
	d.removeLocked(serial)
}

func (d *Directory) removeLocked(serial string) {
	e, ok := d.devices[serial]
	if !ok {
		return
	}
	delete(d.devices, serial)
	d.shared.remove(e.Device)
	mine := d.owners[e.OwnerID]
	last := mine[len(mine)-1]
	mine[e.place], last.place = last, e.place
	mine[len(mine)-1] = nil
	if mine = mine[:len(mine)-1]; len(mine) == 0 {
		delete(d.owners, e.OwnerID)
		return
	}
	d.owners[e.OwnerID] = mine
}

// removePerson forgets every sensor of a deleted account and every share with it, and returns both as they were.
func (d *Directory) removePerson(userID int64) (owned, shared []Device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.generation.Add(1)
	d.gone[userID] = struct{}{}
	owned = make([]Device, 0, len(d.owners[userID]))
	for _, e := range d.owners[userID] {
		owned = append(owned, e.Device)
		delete(d.devices, e.Serial)
		d.shared.remove(e.Device)
	}
	delete(d.owners, userID)
	for serial := range d.shared[userID] {
		e := d.devices[serial]
		shared = append(shared, e.Device)
		without := &entry{Device: e.Device, place: e.place}
		without.Shares = e.SharedWith(userID, NoAccess)
		d.devices[serial], d.owners[e.OwnerID][e.place] = without, without
	}
	delete(d.shared, userID)
	return owned, shared
}

// Generation changes with every change of what is known, before it can be seen: an answer of the policy that was asked for under one
// holds for as long as that is the one. It is never zero and takes no lock.
func (d *Directory) Generation() uint64 { return d.generation.Load() }

// Len counts the sensors.
func (d *Directory) Len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.devices)
}

// Lookup finds a sensor by its serial, case-sensitively. It allocates nothing.
func (d *Directory) Lookup(serial string) (Device, bool) {
	d.mu.RLock()
	e, ok := d.devices[serial]
	d.mu.RUnlock()
	if !ok {
		return Device{}, false
	}
	return e.Device, true // only place ever changes within an entry
}

// Serials returns the serial of every sensor by its id, as of now.
func (d *Directory) Serials() map[int64]string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := make(map[int64]string, len(d.devices))
	for serial, e := range d.devices {
		all[e.SensorID] = serial
	}
	return all
}

// SerialsOf returns the serials the principal may view, in ascending order; for an admin, too, only their own and what is shared with them.
func (d *Directory) SerialsOf(p Principal) []string {
	switch p.Kind {
	case Person:
		serials := slices.DeleteFunc(d.serialsOfPerson(p.UserID), func(serial string) bool { return !p.Covers(serial) })
		slices.Sort(serials)
		return slices.Compact(serials) // a share with the owner adds nothing
	case Sensor:
		if d.Can(p, View, p.Serial) {
			return []string{p.Serial}
		}
	}
	return nil
}

// Owned counts the sensors of a person.
func (d *Directory) Owned(userID int64) int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.owners[userID])
}

func (d *Directory) serialsOfPerson(userID int64) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	mine := d.owners[userID]
	serials := make([]string, 0, len(mine)+len(d.shared[userID]))
	for _, e := range mine {
		serials = append(serials, e.Serial)
	}
	for serial := range d.shared[userID] {
		serials = append(serials, serial)
	}
	return serials
}

// HashSecret returns what is stored of a device secret.
func (d *Directory) HashSecret(secret string) [32]byte {
	mac := hmac.New(sha256.New, d.pepper)
	mac.Write([]byte(secret))
	var sum [32]byte
	mac.Sum(sum[:0])
	return sum
}

// Authenticate proves a sensor by its secret. Unknown serial and wrong secret are the same telemetry.ErrUnauthenticated and the same work.
func (d *Directory) Authenticate(serial, secret string) (Principal, error) {
	if len(secret) > maxDeviceSecret {
		secret = secret[:maxDeviceSecret+1] // longer than any secret: cannot match, and costs no more
	}
	sum := d.HashSecret(secret)
	dev, known := d.Lookup(serial)
	if !known {
		dev.Secrets = noSecrets
	}
	now, match := telemetry.Now(), 0
	for i := range dev.Secrets {
		s := &dev.Secrets[i]
		if same := subtle.ConstantTimeCompare(s.Hash[:], sum[:]); s.live(now) {
			match |= same
		}
	}
	if !known || match == 0 {
		return Principal{}, unauthenticated("wrong serial or secret")
	}
	return Principal{Kind: Sensor, SensorID: dev.SensorID, Serial: dev.Serial, mark: digest(sum)}, nil
}

// Certified is a sensor whose serial a certificate proved that was verified elsewhere. An unknown serial is telemetry.ErrUnauthenticated.
func (d *Directory) Certified(serial string) (Principal, error) {
	dev, known := d.Lookup(serial)
	if !known {
		return Principal{}, unauthenticated("the certificate's sensor is not registered")
	}
	return Principal{Kind: Sensor, SensorID: dev.SensorID, Serial: dev.Serial}, nil
}

// noSecrets is what an unknown serial is compared with.
var noSecrets = []Secret{{}}

// stillProven reports whether the sensor p exists and the secret p proved is still good.
func (d *Directory) stillProven(p Principal) bool {
	dev, ok := d.Lookup(p.Serial)
	if !ok || dev.SensorID != p.SensorID {
		return false
	}
	if p.mark == 0 {
		return true
	}
	now := telemetry.Now()
	return slices.ContainsFunc(dev.Secrets, func(s Secret) bool { return s.live(now) && digest(s.Hash) == p.mark })
}

// digest shortens a secret's hash to the mark of a principal. It need not be secret and is never zero.
func digest(hash [32]byte) uint64 { return binary.BigEndian.Uint64(hash[:8]) | 1 }
