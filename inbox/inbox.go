// Package inbox remembers the sensors that tried to log in over MQTT and that nobody knows, until an admin adopts or dismisses them. A device
// that was set up with a serial and a secret of its own so needs no more than one click, and none gets in without it.
//
//	broker ──Knocked──► Inbox (memory) ──Run, in batches──► Keeper
//	                      ▲  │
//	   Changes: SensorAdded  └──► api: List, Find, Dismiss
//
// Invariants:
//   - What is remembered is bounded, in all and for each address, and the newest wins: a stranger who invents serials pushes out their own.
//   - A knock touches memory only. It costs the same whoever knocks, and the one who knocks learns nothing from it.
//   - Of the secret a stranger shows only the HMAC is kept, as of a sensor's. Of several shown under one serial none becomes the sensor's
//     unless somebody asks for it. A secret that comes as a name is no stranger: it would be shown and kept as it is.
//   - Names of people are no strangers: a person who mistypes a password is never listed. The Keeper tells them apart, so nothing is listed
//     before it has been kept once.
//
// Locks: Inbox.mu guards all of it, and under it only the Directory's is taken.
package inbox

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Bounds that are not for the operator to turn.
const (
	MaxStrangers  = 1000                // remembered at once, the dismissed ones included
	MaxPerAddress = 100                 // of one address (IPv6: /64)
	KeepFor       = 30 * 24 * time.Hour // after the last knock
	MuteFor       = 30 * 24 * time.Hour // how long a dismissed one is not listed again

	maxClientIDRunes = 256
)

// Stranger is who knocked under one serial.
type Stranger struct {
	Serial     string
	FirstSeen  telemetry.Millis
	LastSeen   telemetry.Millis
	Attempts   int64
	Address    string // of the last attempt, as what follows
	ClientID   string
	Protocol   string
	Secret     auth.Secret // of the last secret shown that a sensor may have; zero: none was
	Secrets    int         // how many different ones were shown one after the other
	MutedUntil telemetry.Millis
}

// Proved reports whether the stranger has shown one secret and never another: then it is the device's own as far as anybody can know.
func (s Stranger) Proved() bool { return s.Secrets == 1 }

// Keeper makes strangers durable; package store implements it.
type Keeper interface {
	// Strangers returns all that are kept, those seen longest ago first.
	Strangers(ctx context.Context) ([]Stranger, error)
	// KeepStrangers deletes those of the serials in gone and then writes kept, in one transaction. Of those whose serial is a person's user
	// name nothing is kept, and their serials are returned.
	KeepStrangers(ctx context.Context, kept []Stranger, gone []string) (people []string, err error)
}

// Inbox is the memory of strangers. All methods are safe for concurrent use.
type Inbox struct {
	keeper   Keeper
	dir      *auth.Directory
	log      *slog.Logger
	counters counters

	mu      sync.Mutex
	entries map[string]*list.Element // guarded by mu; by serial
	order   *list.List               // guarded by mu; of *entry, seen longest ago first
	crowd   map[string]int           // guarded by mu; how many of each address
	gone    map[string]struct{}      // guarded by mu; serials the Keeper may have and must not keep
}

type entry struct {
	Stranger
	address string // what crowd counts by
	kept    bool   // the Keeper has had it: it is no person's name
	dirty   bool   // the Keeper does not have it as it is
}

var _ auth.Watcher = (*Inbox)(nil)

// New returns an empty Inbox. Call Load before anything else, and Run.
func New(keeper Keeper, dir *auth.Directory, log *slog.Logger) *Inbox {
	return &Inbox{
		keeper:  keeper,
		dir:     dir,
		log:     log.With("component", "inbox"),
		entries: map[string]*list.Element{},
		order:   list.New(),
		crowd:   map[string]int{},
		gone:    map[string]struct{}{},
	}
}

// Load reads what the Keeper has.
func (b *Inbox) Load(ctx context.Context) error {
	all, err := b.keeper.Strangers(ctx)
	if err != nil {
		return fmt.Errorf("load inbox: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range all {
		address, _ := netip.ParseAddr(s.Address)
		b.enterLocked(&entry{Stranger: s, address: crowdKey(address), kept: true})
	}
	return nil
}

// Knocked remembers a login that was refused. secret is what came as the password. It touches memory only.
func (b *Inbox) Knocked(k telemetry.Knock, secret string) {
	b.counters.knocks.Add(1)
	if auth.HoldsSecret(k.Serial) {
		return
	}
	var shown auth.Secret
	if auth.CheckDeviceSecret(secret) == nil {
		shown.Hash = b.dir.HashSecret(secret)
	}
	if telemetry.CheckText("client_id", k.ClientID, maxClientIDRunes, false) != nil || auth.HoldsSecret(k.ClientID) {
		k.ClientID = "" // it would confuse who reads it, or tell them too much
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.dir.Lookup(k.Serial); known { // adopted while the password was checked
		return
	}
	e := b.meetLocked(k)
	e.LastSeen, e.Address, e.ClientID, e.Protocol = k.At, k.Address.String(), k.ClientID, k.Protocol
	e.Attempts++
	e.dirty = true
	if shown != (auth.Secret{}) && shown != e.Secret {
		e.Secret = shown
		e.Secrets++
	}
}

// meetLocked returns the entry of who knocks, as the one seen last.
func (b *Inbox) meetLocked(k telemetry.Knock) *entry {
	address := crowdKey(k.Address)
	if at, ok := b.entries[k.Serial]; ok {
		b.order.MoveToBack(at)
		e := at.Value.(*entry)
		b.crowdLocked(e.address, -1)
		e.address = address
		b.crowdLocked(address, 1)
		return e
	}
	e := &entry{Stranger: Stranger{Serial: k.Serial, FirstSeen: k.At}, address: address}
	b.enterLocked(e)
	return e
}

// enterLocked makes room and adds e.
func (b *Inbox) enterLocked(e *entry) {
	switch {
	case b.crowd[e.address] >= MaxPerAddress:
		b.evictLocked(func(other *entry) bool { return other.address == e.address })
	case len(b.entries) >= MaxStrangers:
		b.evictLocked(func(*entry) bool { return true })
	}
	b.entries[e.Serial] = b.order.PushBack(e)
	b.crowdLocked(e.address, 1)
	delete(b.gone, e.Serial)
}

// evictLocked forgets the one seen longest ago that matches. It looks at MaxStrangers at most.
func (b *Inbox) evictLocked(match func(*entry) bool) {
	for at := b.order.Front(); at != nil; at = at.Next() {
		if e := at.Value.(*entry); match(e) {
			b.counters.evicted.Add(1)
			b.forgetLocked(e.Serial)
			return
		}
	}
}

func (b *Inbox) forgetLocked(serial string) {
	at, ok := b.entries[serial]
	if !ok {
		return
	}
	e := b.order.Remove(at).(*entry)
	b.crowdLocked(e.address, -1)
	delete(b.entries, serial)
	if e.kept {
		b.gone[serial] = struct{}{}
	}
}

func (b *Inbox) crowdLocked(address string, by int) {
	if b.crowd[address] += by; b.crowd[address] == 0 {
		delete(b.crowd, address)
	}
}

// crowdKey is what addresses are counted by: IPv6 by /64, because that is what one subscriber gets.
func crowdKey(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if net, err := a.Prefix(64); err == nil {
			a = net.Addr()
		}
	}
	return a.String()
}

// AuthorityChanged implements auth.Watcher: who is registered is no stranger.
func (b *Inbox) AuthorityChanged(c auth.Change) {
	if c.Kind != auth.SensorAdded {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgetLocked(c.Serial)
}

// List returns the strangers that are not dismissed, those seen last first.
func (b *Inbox) List() []Stranger {
	now := telemetry.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Stranger
	for at := b.order.Back(); at != nil; at = at.Prev() {
		if e := at.Value.(*entry); e.kept && e.MutedUntil <= now {
			all = append(all, e.Stranger)
		}
	}
	slices.SortStableFunc(all, func(x, y Stranger) int { // clocks may be set, and a list that is read in parts has one order
		if x.LastSeen != y.LastSeen {
			return int(min(1, max(-1, y.LastSeen-x.LastSeen)))
		}
		return strings.Compare(x.Serial, y.Serial)
	})
	return all
}

// Find returns a stranger, dismissed or not.
func (b *Inbox) Find(serial string) (Stranger, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.entries[serial]
	if !ok || !at.Value.(*entry).kept {
		return Stranger{}, false
	}
	return at.Value.(*entry).Stranger, true
}

// Dismiss has a stranger not listed for MuteFor, however often it knocks. telemetry.ErrNotFound when it is not listed. With an error of the
// Keeper nothing was changed.
func (b *Inbox) Dismiss(ctx context.Context, serial string) error {
	now := telemetry.Now()
	s, ok := b.Find(serial)
	if !ok || s.MutedUntil > now {
		return fmt.Errorf("stranger: %w", telemetry.ErrNotFound)
	}
	s.MutedUntil = now.Add(MuteFor)
	if _, err := b.keeper.KeepStrangers(ctx, []Stranger{s}, nil); err != nil {
		return fmt.Errorf("dismiss stranger: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.entries[serial]
	if !ok { // pushed out or adopted meanwhile
		b.gone[serial] = struct{}{}
		return nil
	}
	e := at.Value.(*entry)
	e.MutedUntil = s.MutedUntil
	e.dirty = true // Run may have written it as it was before, just after
	return nil
}
