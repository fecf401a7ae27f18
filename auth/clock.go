package auth

import "time"

// clock tells the wall time as it was at start plus what has passed since, so a step of the system clock neither revives an expired
// token nor kills a fresh one. What is stored (sessions, accounts) carries the system's wall time instead.
type clock struct{ start time.Time }

func newClock() clock { return clock{start: time.Now()} }

func (c clock) now() time.Time { return c.start.Add(time.Since(c.start)) }
