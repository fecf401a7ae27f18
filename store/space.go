package store

import (
	"fmt"
	"path/filepath"
	"syscall"

	"sensorcast/telemetry"
)

// lowSpace is how much free space counts as too little to promise anything: 256 MB, or 5 % of a smaller disk. Load balancers and
// operators learn of it by Ready before a write fails.
const lowSpace = 256 << 20

// checkSpace returns telemetry.ErrUnavailable while the file system of path is nearly full.
func checkSpace(path string) error {
	var fs syscall.Statfs_t
	dir := filepath.Dir(path)
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("measure free space of %q: %w", dir, err)
	}
	block := uint64(fs.Bsize)
	free, total := uint64(fs.Bavail)*block, uint64(fs.Blocks)*block
	if free < min(lowSpace, total/20) {
		return fmt.Errorf("%w: only %d MB free in %q", telemetry.ErrUnavailable, free>>20, dir)
	}
	return nil
}
