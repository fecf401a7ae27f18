package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// newLogger writes to standard error: coloured lines for a person, JSON for everything else. The level can be changed while running.
func newLogger(level *slog.LevelVar) *slog.Logger {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return slog.New(tint.NewTextHandler(os.Stderr, &tint.Options{Level: level, TimeFormat: time.TimeOnly}))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// warnings is the level of commands whose output is something else.
func warnings() *slog.LevelVar {
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	return level
}

// parseLevel maps the flag's words, which the parser has checked.
func parseLevel(word string) slog.Level {
	var l slog.Level
	_ = l.UnmarshalText([]byte(word))
	return l
}
