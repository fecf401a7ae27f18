package main

import (
	"context"

	"sensorcast/audit"
	"sensorcast/auth"
	"sensorcast/command"
)

// witnessed is the outbox as viewers' sockets reach it: what goes in is told to the audit trail, as the REST interface does of its own.
type witnessed struct {
	commands  *command.Outbox
	trail     *audit.Trail
	directory *auth.Directory
}

// Create queues the command, with an entry that is durable when it returns.
func (w witnessed) Create(ctx context.Context, p auth.Principal, d command.Draft) (command.Command, error) {
	e := audit.By(p, "create-command")
	if dev, known := w.directory.Lookup(d.Serial); known {
		e.Sensor = audit.Of(dev)
	}
	c, err := w.commands.Create(ctx, p, d)
	if err == nil {
		e.Detail = map[string]any{"name": c.Name}
	}
	if outcome, worth := audit.Judge(err); worth {
		e.Outcome = outcome
		w.trail.Record(ctx, e)
	}
	return c, err
}
