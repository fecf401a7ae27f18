package store

import (
	"context"
	"fmt"
	"time"
)

// truncateEvery keeps a reader that does not finish from holding up the writer again and again: each try waits for it up to busyMillis.
const truncateEvery = 5 * time.Second

// truncate empties a write-ahead log that has grown beyond walTarget. The committing connection empties it every walPages, but not
// past what a reader still looks at; with readers that overlap without end it would grow without end. This waits for those there
// are, and new ones begin behind it.
func (d *DB) truncate(ctx context.Context, _ int) (done int, err error) {
	if fileSize(d.path+"-wal") <= walTarget || time.Now().Before(d.truncateNext) {
		return 0, nil
	}
	d.truncateNext = time.Now().Add(truncateEvery)
	var busy, frames, copied int
	err = d.write.exclusive(ctx, func() error {
		return d.write.db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &copied)
	})
	if err != nil {
		return 0, fmt.Errorf("truncate write-ahead log: %w", err)
	}
	if busy == 0 {
		d.counters.truncations.Add(1)
	}
	return 0, nil
}
