package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"sensorcast/auth"
)

// Without a mail server a demo shows letters in its log, and only a demo: they hold tokens.
func TestMailing_WithoutServerLettersAreForADemosLogOnly(t *testing.T) {
	for _, demo := range []bool{false, true} {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		s := &server{lifecycle: lifecycle{log: log}, settings: &settings{lettersToLog: demo}, log: log}
		if err := s.openMail(); err != nil {
			t.Fatal(err)
		}
		var cfg auth.Config
		s.letters(&cfg)
		if (cfg.Courier != nil) != demo {
			t.Errorf("demo %v: got courier %v", demo, cfg.Courier)
		}
		if cfg.Courier != nil {
			cfg.Courier.Post(func(context.Context) (auth.Letter, error) {
				return auth.Letter{To: "ada@example.org", Subject: "s", Text: "pr_token"}, nil
			})
		}
		if err := s.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if got := strings.Contains(out.String(), "pr_token"); got != demo {
			t.Errorf("demo %v: the log holds the letter: %v", demo, got)
		}
	}
}
