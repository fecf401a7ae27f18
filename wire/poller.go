package wire

import "errors"

// ErrNothing is what reading a watched socket comes to when there is nothing to read now.
var ErrNothing = errors.New("nothing to read now")

// Readable is told by a Poller that its socket has something to read, was closed by its peer, or failed. It is called from the poller's one
// goroutine and must not block.
type Readable interface{ Readable() }
