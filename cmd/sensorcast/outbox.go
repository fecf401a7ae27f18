package main

import (
	"context"
	"fmt"

	"sensorcast/command"
)

// startOutbox opens the outbox of commands on the store. It stops after the doors that use it and before the pipe that it complains to.
func (s *server) startOutbox() error {
	s.commands = command.New(s.store, s.directory, s.pipe, s.log)
	if err := s.commands.Load(context.Background()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends when its step cancels it
		defer close(done)
		if err := s.commands.Run(ctx); err != nil {
			s.fail(fmt.Errorf("command outbox: %w", err))
		}
	}()
	s.onStop("command outbox", func(context.Context) error { cancel(); <-done; return nil })
	s.changes.Watch(s.commands)
	return nil
}
