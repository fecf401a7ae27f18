package main

import "context"

// auditCommand is `sensorcast audit`: who did what.
type auditCommand struct {
	person `embed:""`
	Actor  string `name:"actor" placeholder:"USERNAME" help:"Who did it."`
	Serial string `name:"serial-no" help:"To which sensor."`
	Action string `name:"action" help:"Such as rotate-secret."`
	From   string `name:"from" placeholder:"TIME" help:"Not before, as 2026-01-31T08:15:00Z."`
	To     string `name:"to" placeholder:"TIME" help:"Before."`
	Limit  int    `name:"limit" default:"100" help:"At most so many, newest first; 0: all."`
}

// Help is printed below the usage.
func (auditCommand) Help() string {
	return `On the server's own machine everything, or with --as what that person sees; elsewhere what you may see.

  sensorcast audit --serial-no DESK-1
  sensorcast audit --actor ann --from 2026-01-31T00:00:00Z --limit 0 --json`
}

// Run lists the entries.
func (c *auditCommand) Run(ctx context.Context) error {
	query := asked("actor", c.Actor, "serial_no", c.Serial, "action", c.Action, "from", c.From, "to", c.To)
	return c.list(ctx, "audit", query, c.Limit, []column{
		{"TIME", "at"}, {"WHO", "actor"}, {"VIA", "via"}, {"ADDRESS", "address"}, {"ACTION", "action"}, {"OUTCOME", "outcome"}, {"TIMES", "count"},
		{"SENSOR", "serial_no"}, {"ACCOUNT", "username"}, {"DETAIL", "detail"},
	})
}
