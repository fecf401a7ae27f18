package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
)

// These are the commands by which many sensors come in, or one that knocked.

type sensorInbox struct {
	person `embed:""`
}

// Run lists who knocked.
func (c *sensorInbox) Run(ctx context.Context) error {
	return c.list(ctx, "inbox", asked(), 0, []column{
		{"SERIAL NO", "serial_no"}, {"FIRST SEEN", "first_seen_at"}, {"LAST SEEN", "last_seen_at"}, {"ATTEMPTS", "attempts"},
		{"ADDRESS", "address"}, {"CLIENT ID", "client_id"}, {"PROTOCOL", "protocol"}, {"SECRET", "secret"},
	})
}

type sensorAdopt struct {
	oneSensor   `embed:""`
	description `embed:""`
	Owner       string `name:"owner" placeholder:"USERNAME" help:"Whose it will be; yours otherwise."`
	KeepSecret  *bool  `name:"keep-secret" negatable:"" help:"Whether the secret it showed becomes its secret; if it showed one and never another otherwise."`
}

// Run adopts the sensor.
func (c *sensorAdopt) Run(ctx context.Context) error {
	body := c.fields()
	body.maybe("owner", c.Owner)
	if c.KeepSecret != nil {
		body["keep_secret"] = *c.KeepSecret
	}
	return c.show(ctx, http.MethodPost, at("inbox", c.Serial, "adopt"), body, newSensorColumns)
}

type sensorDismiss struct {
	oneSensor `embed:""`
}

// Run dismisses the sensor.
func (c *sensorDismiss) Run(ctx context.Context) error {
	return c.do(ctx, http.MethodDelete, at("inbox", c.Serial), nil, "dismissed %s", c.Serial)
}

type sensorImport struct {
	person `embed:""`
	File   *os.File `arg:"" name:"file" help:"CSV with a header of field names; - is standard input."`
	DryRun bool     `name:"dry-run" help:"Only say what would come of it."`
	Update bool     `name:"update" help:"Change sensors that are there already and differ."`
}

// Help is printed below the usage.
func (sensorImport) Help() string {
	return `The secrets that are made are printed this once. A mistake in any row leaves everything as it was.

  sensorcast sensor import fleet.csv --as ann --dry-run
  sensorcast sensor import fleet.csv --as ann --json > secrets.json`
}

// Run imports the file.
func (c *sensorImport) Run(ctx context.Context) error {
	text, err := io.ReadAll(c.File)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.File.Name(), err)
	}
	query := asked()
	for name, given := range map[string]bool{"dry_run": c.DryRun, "update": c.Update} {
		if given {
			query.Set(name, "true")
		}
	}
	return c.rows(ctx, http.MethodPost, asking("sensors/import", query), csv(text), []column{
		{"ROW", "row"}, {"SERIAL NO", "serial_no"}, {"STATUS", "status"}, {"SECRET KEY", "secret_key"},
	})
}

type sensorExport struct {
	person    `embed:""`
	selection `embed:""`
}

// Run prints the sensors.
func (c *sensorExport) Run(ctx context.Context) error {
	return c.with(ctx, func(api *client) error {
		resp, err := api.send(ctx, http.MethodGet, asking("sensors/export", c.query()), nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(os.Stdout, resp.Body)
		return err
	})
}
