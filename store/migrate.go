package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// migrations holds the schema's history: numbered, only ever added to, each applied in a transaction of its own, so that a process
// killed in between leaves the step before.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date. A schema newer than this binary knows is refused: it may keep data in ways an old binary
// would not see and might damage.
func migrate(db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, dir, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	ctx := context.Background()
	current, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if current > known {
		return fmt.Errorf("its schema has version %d, this sensorcast knows up to %d: start the newer sensorcast, or restore a backup made before the upgrade",
			current, known)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate schema from version %d to %d: %w", current, known, err)
	}
	return nil
}
