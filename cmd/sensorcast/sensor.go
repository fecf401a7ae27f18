package main

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"time"
)

// sensorCommand is `sensorcast sensor`: the registry.
type sensorCommand struct {
	Create       sensorCreate   `cmd:"" help:"Register a sensor and print its secret."`
	List         sensorList     `cmd:"" help:"List sensors." example:"sensorcast sensor list --as ann --state silent --sort=-last_seen_at"`
	Show         sensorShow     `cmd:"" help:"Show a sensor." example:"sensorcast sensor show DESK-1 --as ann"`
	Update       sensorUpdate   `cmd:"" help:"Change a sensor's description." example:"sensorcast sensor update DESK-1 --name Desk --tag office --as ann"`
	Delete       sensorDelete   `cmd:"" help:"Delete a sensor and its history." example:"sensorcast sensor delete DESK-1 --as ann"`
	RotateSecret sensorRotate   `cmd:"" name:"rotate-secret" help:"Give a sensor a new secret and print it." example:"sensorcast sensor rotate-secret DESK-1 --grace 24h --as ann"`
	Share        sensorShare    `cmd:"" help:"Let somebody see a sensor, or manage it." example:"sensorcast sensor share DESK-1 bob --access manager --as ann"`
	Unshare      sensorUnshare  `cmd:"" help:"Take that back." example:"sensorcast sensor unshare DESK-1 bob --as ann"`
	Shares       sensorShares   `cmd:"" help:"List whom a sensor is shared with." example:"sensorcast sensor shares DESK-1 --as ann"`
	Transfer     sensorTransfer `cmd:"" help:"Give a sensor away: print the code to claim it with." example:"sensorcast sensor transfer DESK-1 --to bob --as ann; sensorcast sensor transfer DESK-1 --withdraw --as ann"`
	Claim        sensorClaim    `cmd:"" help:"Take over a sensor with its claim code." example:"sensorcast sensor claim K7QP-4M2D-9XWA --as bob"`
	Inbox        sensorInbox    `cmd:"" help:"List unknown sensors that tried to connect; for admins." example:"sensorcast sensor inbox --as ann"`
	Adopt        sensorAdopt    `cmd:"" help:"Register one of them; for admins." example:"sensorcast sensor adopt TASMOTA-4F21 --owner bob --name Boiler --as ann"`
	Dismiss      sensorDismiss  `cmd:"" help:"List one of them no longer; for admins." example:"sensorcast sensor dismiss TASMOTA-4F21 --as ann"`
	Import       sensorImport   `cmd:"" help:"Register the sensors of a CSV file, all or none."`
	Export       sensorExport   `cmd:"" help:"Print sensors as CSV, ready to be imported." example:"sensorcast sensor export --as ann > fleet.csv"`
}

// Help is printed below the usage.
func (sensorCommand) Help() string {
	return `Sensors are somebody's: with --url those of who signs in, on the server's own machine those of --as.

  sensorcast sensor create DESK-1 --name Desk --as ann
  sensorcast sensor list --as ann --state silent
  SENSORCAST_TOKEN=… sensorcast sensor rotate-secret DESK-1 --grace 24h --url https://sensors.example.com`
}

var sensorColumns = []column{
	{"SERIAL NO", "serial_no"}, {"NAME", "name"}, {"STATE", "state"}, {"LAST SEEN", "last_seen_at"}, {"CONNECTED", "connected"},
	{"ACCESS", "access"}, {"OWNER", "owner"}, {"TAGS", "tags"},
}

// sensorCard is what one sensor alone has room for.
var sensorCard = append(sensorColumns[:len(sensorColumns):len(sensorColumns)], []column{
	{"TYPE", "sensor_type"}, {"MANUFACTURER", "manufacturer"}, {"MAC ADDRESS", "mac_address"}, {"DESCRIPTION", "description"},
	{"SILENCE AFTER S", "silence_after"}, {"LATEST", "latest.data"}, {"LATEST AT", "latest.time"}, {"MALFORMED", "problems.malformed"},
	{"REFUSED", "problems.refused"}, {"LAST PROBLEM", "problems.last_reason"}, {"CREATED", "created_at"}, {"UPDATED", "updated_at"},
}...)

// newSensorColumns are what is printed of a sensor with its secret.
var newSensorColumns = []column{
	{"SERIAL NO", "sensor.serial_no"}, {"NAME", "sensor.name"}, {"OWNER", "sensor.owner"}, {"SECRET KEY", "secret_key"},
}

// oneSensor names one.
type oneSensor struct {
	person `embed:""`
	Serial string `arg:"" name:"serial" help:"Serial number."`
}

func (s *oneSensor) path(more ...string) string {
	return at(append([]string{"sensors", s.Serial}, more...)...)
}

// description is what a person says of a sensor; nil: nothing.
type description struct {
	Name         *string        `name:"name" placeholder:"TEXT" help:"What people call it."`
	Description  *string        `name:"description" placeholder:"TEXT" help:"More about it."`
	MACAddress   *string        `name:"mac-address" placeholder:"MAC" help:"Such as 84:fc:e6:12:34:56."`
	SensorType   *string        `name:"type" placeholder:"WORD" help:"wall_mount, outdoor, ceiling_mount, or a word of one's own."`
	Manufacturer *string        `name:"manufacturer" placeholder:"TEXT" help:"Who made it."`
	Tags         []string       `name:"tag" placeholder:"TAG" help:"May be repeated; an empty one takes all away."`
	SilenceAfter *time.Duration `name:"silence-after" placeholder:"DURATION" help:"Without a reading for so long it counts as silent; 0s: the server's default."`
}

// fields are those that were given.
func (d *description) fields() fields {
	body := fields{}
	for name, value := range map[string]*string{
		"name": d.Name, "description": d.Description, "mac_address": d.MACAddress, "sensor_type": d.SensorType, "manufacturer": d.Manufacturer,
	} {
		if value != nil {
			body[name] = *value
		}
	}
	if d.Tags != nil {
		body["tags"] = d.Tags
	}
	if d.SilenceAfter != nil {
		body["silence_after"] = nil
		body.seconds("silence_after", *d.SilenceAfter)
	}
	return body
}

type sensorCreate struct {
	person      `embed:""`
	description `embed:""`
	Serial      string `arg:"" optional:"" name:"serial" help:"Serial number; made up when absent."`
	SecretStdin bool   `name:"secret-stdin" help:"Read its secret from the first line of standard input; made up otherwise, which is better."`
}

// Help is printed below the usage.
func (sensorCreate) Help() string {
	return `The secret is shown this once.

  sensorcast sensor create DESK-1 --name Desk --tag office --tag floor-2 --as ann`
}

// Run registers the sensor.
func (c *sensorCreate) Run(ctx context.Context) error {
	body := c.fields()
	body.maybe("serial_no", c.Serial)
	if c.SecretStdin {
		secret, err := firstLine(os.Stdin)
		if err != nil {
			return err
		}
		body["secret_key"] = secret
	}
	return c.show(ctx, http.MethodPost, "sensors", body, newSensorColumns)
}

// selection is which sensors a list is of.
type selection struct {
	Text   string   `name:"q" placeholder:"TEXT" help:"Part of serial, name, description, type, manufacturer or a tag."`
	Tags   []string `name:"tag" placeholder:"TAG" help:"Exactly this tag; may be repeated."`
	State  string   `name:"state" help:"online, silent or never_seen."`
	Access string   `name:"access" help:"owner, manager or viewer."`
	Sort   string   `name:"sort" help:"serial_no, name, last_seen_at or created_at, with - in front to reverse, as --sort=-name."`
}

func (s *selection) query() url.Values {
	query := asked("q", s.Text, "state", s.State, "access", s.Access, "sort", s.Sort)
	for _, tag := range s.Tags {
		query.Add("tag", tag)
	}
	return query
}

type sensorList struct {
	person    `embed:""`
	selection `embed:""`
}

// Run lists the sensors.
func (c *sensorList) Run(ctx context.Context) error {
	return c.list(ctx, "sensors", c.query(), 0, sensorColumns)
}

type sensorShow struct {
	oneSensor `embed:""`
}

// Run shows the sensor.
func (c *sensorShow) Run(ctx context.Context) error {
	return c.show(ctx, http.MethodGet, c.path(), nil, sensorCard)
}

type sensorUpdate struct {
	oneSensor   `embed:""`
	description `embed:""`
}

// Run changes what was given.
func (c *sensorUpdate) Run(ctx context.Context) error {
	return c.show(ctx, http.MethodPatch, c.path(), c.fields(), sensorCard)
}

type sensorDelete struct {
	oneSensor `embed:""`
	consent   `embed:""`
}

// Run deletes the sensor.
func (c *sensorDelete) Run(ctx context.Context) error {
	if err := c.ask("the sensor "+c.Serial+" and its history", c.Serial); err != nil {
		return err
	}
	return c.do(ctx, http.MethodDelete, c.path(), nil, "deleted %s", c.Serial)
}

type sensorRotate struct {
	oneSensor `embed:""`
	Grace     time.Duration `name:"grace" help:"How long the old secret still works; without it the sensor is disconnected at once."`
}

// Run gives the sensor its new secret.
func (c *sensorRotate) Run(ctx context.Context) error {
	return c.show(ctx, http.MethodPost, c.path("secret"), fields{"grace_seconds": int64(c.Grace.Seconds())}, []column{
		{"SECRET KEY", "secret_key"}, {"OLD VALID UNTIL", "old_valid_until"},
	})
}
