package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"sensorcast/telemetry"
)

// readTimeout bounds how long one read may hold its snapshot of the database.
const readTimeout = 5 * time.Second

// reading bounds ctx for one read.
func reading(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, readTimeout)
}

// conditions are terms of a WHERE clause with their arguments.
type conditions struct {
	terms []string
	args  []any
}

func (c *conditions) add(term string, args ...any) {
	c.terms = append(c.terms, term)
	c.args = append(c.args, args...)
}

func (c *conditions) String() string { return strings.Join(c.terms, " AND ") }

// exists reports whether the query has a row.
func exists(tx *sql.Tx, query string, args ...any) (bool, error) {
	var one int
	err := tx.QueryRow(query, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// require returns telemetry.ErrNotFound, naming what is missing, unless the query has a row.
func require(tx *sql.Tx, what, query string, args ...any) error {
	found, err := exists(tx, query, args...)
	if err == nil && !found {
		return notFound(what)
	}
	return err
}

// forbid returns conflict if the query has a row. Checking first, in the one writing transaction there is, races with nobody and
// tells which field clashed.
func forbid(tx *sql.Tx, conflict error, query string, args ...any) error {
	found, err := exists(tx, query, args...)
	if found {
		return conflict
	}
	return err
}

// absent turns "no row" into telemetry.ErrNotFound.
func absent(err error, what string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return notFound(what)
	}
	return err
}

func notFound(what string) error { return fmt.Errorf("%s: %w", what, telemetry.ErrNotFound) }

// newUID returns 26 lower-case letters and digits: 128 random bits.
func newUID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// now is the wall clock, as rows are stamped with it.
func now() telemetry.Millis { return telemetry.Now() }
