package main

import (
	"context"
	"net/http"
	"os"
	"time"
)

// These are the commands by which sensors come to other people: shares, and transfers for good.

type sensorShare struct {
	oneSensor `embed:""`
	With      string `arg:"" name:"username" help:"With whom."`
	Access    string `name:"access" default:"viewer" enum:"viewer,manager" help:"${enum}."`
}

// Run shares the sensor.
func (c *sensorShare) Run(ctx context.Context) error {
	return c.do(ctx, http.MethodPut, c.path("shares", c.With), fields{"access": c.Access}, "%s is %s of %s now", c.With, c.Access, c.Serial)
}

type sensorUnshare struct {
	oneSensor `embed:""`
	With      string `arg:"" name:"username" help:"With whom no longer."`
}

// Run ends the share.
func (c *sensorUnshare) Run(ctx context.Context) error {
	return c.do(ctx, http.MethodDelete, c.path("shares", c.With), nil, "%s is no longer shared with %s", c.Serial, c.With)
}

type sensorShares struct {
	oneSensor `embed:""`
}

// Run lists the shares.
func (c *sensorShares) Run(ctx context.Context) error {
	return c.list(ctx, c.path("shares"), nil, 0, []column{{"USERNAME", "username"}, {"ACCESS", "access"}, {"SINCE", "since"}})
}

type sensorTransfer struct {
	oneSensor `embed:""`
	To        string        `name:"to" placeholder:"USERNAME" help:"Only they may claim it; without it whoever has the code."`
	ExpiresIn time.Duration `name:"expires-in" help:"How long the code may be used."`
	Withdraw  bool          `name:"withdraw" help:"Make the code that is open void, in place of a new one."`
}

// Run makes the claim code, or takes it back.
func (c *sensorTransfer) Run(ctx context.Context) error {
	if c.Withdraw {
		return c.do(ctx, http.MethodDelete, c.path("transfer"), nil, "%s stays where it is", c.Serial)
	}
	body := fields{}
	body.maybe("username", c.To)
	body.seconds("expires_in", c.ExpiresIn)
	return c.show(ctx, http.MethodPost, c.path("transfer"), body, []column{{"CLAIM CODE", "claim_code"}, {"EXPIRES", "expires_at"}})
}

type sensorClaim struct {
	person     `embed:""`
	Code       string `arg:"" name:"code" help:"The claim code, good once; - reads it from standard input."`
	KeepSecret bool   `name:"keep-secret" help:"Leave the sensor its secret, for one that carries it for good."`
}

// Run takes the sensor over.
func (c *sensorClaim) Run(ctx context.Context) error {
	if c.Code == "-" {
		var err error
		if c.Code, err = firstLine(os.Stdin); err != nil {
			return err
		}
	}
	return c.show(ctx, http.MethodPost, at("sensors", "claim"), fields{"claim_code": c.Code, "keep_secret": c.KeepSecret}, newSensorColumns)
}
