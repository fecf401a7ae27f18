package notify

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Trial is what came of a test.
type Trial struct {
	Sent    bool
	Outcome string // in words
}

// Test sends a test message to a channel of p's now, enabled or not, and tells what came of it. One is made at a time of each person, and
// one every testEvery: telemetry.ErrTooMany.
func (d *Desk) Test(ctx context.Context, p auth.Principal, uid string) (Trial, error) {
	c, err := d.Keeper.Channel(ctx, p.UserID, uid)
	if err != nil {
		return Trial{}, err
	}
	if !d.testing.enter(p.UserID, time.Now()) {
		return Trial{}, fmt.Errorf("a test every %s: %w", testEvery, telemetry.ErrTooMany)
	}
	now := telemetry.Now()
	o := d.send(ctx, c, []Notice{{
		UID: strings.ToLower(rand.Text()), What: "test", OwnerID: p.UserID, Severity: Info, CreatedAt: now,
		Title: "Test of " + c.Name, Body: "This channel works: alerts will arrive here.",
	}})
	d.counters.count(o, true)
	if o.ok() {
		return Trial{true, "sent"}, nil
	}
	return Trial{false, o.words}, nil
}

const (
	testEvery = 5 * time.Second
	maxPolite = 10_000 // people remembered; beyond it everybody is let in once
)

// courtesy lets each person in once in testEvery: a test makes the server connect to where a person says.
type courtesy struct {
	mu   sync.Mutex
	last map[int64]time.Time // guarded by mu
}

func (c *courtesy) enter(userID int64, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || len(c.last) >= maxPolite {
		c.last = map[int64]time.Time{}
	}
	if at, ok := c.last[userID]; ok && now.Sub(at) < testEvery {
		return false
	}
	c.last[userID] = now
	return true
}
