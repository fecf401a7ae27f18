package store

import (
	"database/sql"
	"fmt"
	"slices"
)

// rowsAtOnce are the sizes in which multi-row statements exist; the small ones serve what is left over. A larger one saves little and
// keeps the goroutine in C for so long that the scheduler gives its place away, to be waited for again: measured, 100 rows are slower.
var rowsAtOnce = [...]int{25, 5, 1}

// multi is a statement for several rows, in each size.
type multi [len(rowsAtOnce)]string

func newMulti(build func(rows int) string) (m multi) {
	for i, rows := range rowsAtOnce {
		m[i] = build(rows)
	}
	return m
}

// fit returns the statement for as many of n rows as possible.
func (m *multi) fit(n int) (rows int, query string) {
	for i, rows := range rowsAtOnce {
		if rows <= n {
			return rows, m[i]
		}
	}
	panic("store: no rows")
}

// hot are the statements that run with every batch, by their text. They are prepared once, on the writer's connection: preparing a
// many-row INSERT takes longer than running it.
type hot map[string]*sql.Stmt

func prepareHot(db *sql.DB) (hot, error) {
	h := hot{}
	queries := slices.Clone(changeStatements)
	for _, m := range []multi{insertReadings, updateStatuses, insertIndex} {
		queries = append(queries, m[:]...)
	}
	for _, q := range queries {
		stmt, err := db.Prepare(q)
		if err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
		h[q] = stmt
	}
	return h, nil
}

// in returns a statement for use within tx.
func (h hot) in(tx *sql.Tx, query string) *sql.Stmt { return tx.Stmt(h[query]) }
