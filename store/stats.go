package store

import (
	"os"
	"sync/atomic"
)

type counters struct {
	commits, failures, recorded, duplicates   atomic.Int64
	indexed, expired, purged, steps, stepTime atomic.Int64
	truncations, changes                      atomic.Int64
}

// Stats are counts since the start, except where they say "now".
type Stats struct {
	Commits    int64 // batches made durable
	Failures   int64 // batches that failed; nothing of them is stored
	Recorded   int64 // readings stored
	Duplicates int64 // readings skipped because they were stored already
	Changes    int64 // changes of MQTT sessions made durable

	Indexed     int64 // readings added to the history index
	Expired     int64 // readings deleted for their age
	Purged      int64 // readings deleted with their sensor
	Steps       int64 // turns background work took on the writer
	StepNanos   int64 // and the time they held it, in nanoseconds
	Truncations int64 // times an overgrown write-ahead log was emptied

	Unindexed int64 // readings in the log and not yet in the history index, now
	DiskBytes int64 // size of the database with its write-ahead log, now
	WALBytes  int64 // of that, the write-ahead log, now
}

// Stats returns the present figures. It looks at file sizes and waits for nothing else.
func (d *DB) Stats() Stats {
	c := &d.counters
	young, old := d.tail.sizes()
	wal := fileSize(d.path + "-wal")
	return Stats{
		Commits: c.commits.Load(), Failures: c.failures.Load(), Recorded: c.recorded.Load(), Duplicates: c.duplicates.Load(),
		Changes: c.changes.Load(),
		Indexed: c.indexed.Load(), Expired: c.expired.Load(), Purged: c.purged.Load(),
		Steps: c.steps.Load(), StepNanos: c.stepTime.Load(), Truncations: c.truncations.Load(),
		Unindexed: int64(young + old), DiskBytes: fileSize(d.path) + wal, WALBytes: wal,
	}
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
