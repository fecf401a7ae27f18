// Package api is the REST front door: accounts, the sensor registry and the inbox before it, commands, alerts and the channels people are told of
// them by, history, tickets and HTTP ingest under /api/v1, described by an OpenAPI 3.1 document that is generated from the very Go types the
// handlers take and return.
//
// Its place in the flow: browsers and scripts come in here, package auth says who they are and what they may, the store answers
// through the small interfaces declared below, and readings sent by HTTP leave through Intake exactly as those sent by MQTT do.
//
// Invariants:
//   - Every operation states its security (see security.go); the guard reads it from the operation, so no route can be forgotten.
//   - The Directory is asked before the store. What is unknown and what is someone else's end in the same 404 before any I/O.
//   - No answer and no log line holds a password, token, ticket, secret or payload; an error never repeats the rejected value.
//   - Every operation that changes something leaves an entry in the audit trail before it is answered, or says why not (see deed.go).
//   - The registry changes one at a time (turn), so that store and Directory agree on the order. Memory follows the store on
//     creation and rotation and leads it on deletion: after a crash in between, the boot refills memory from the store.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/audit"
	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// Registry is what the API needs of the store to keep sensors. Methods that take a serial or id do not check the owner: the API asks
// the Directory first. An error of those that change something means that nothing was changed.
type Registry interface {
	// CreateSensor stores s with the hash of its secret and fills ID, UID and times; telemetry.ErrConflict when the serial is taken.
	CreateSensor(ctx context.Context, s *telemetry.Sensor, secret [32]byte) error
	// CreateSensorOnce is CreateSensor, and remembers the creation for a day.
	CreateSensorOnce(ctx context.Context, s *telemetry.Sensor, secret [32]byte, o auth.Once) error
	// Creation returns the creation of that key, and its sensor's serial; telemetry.ErrNotFound.
	Creation(ctx context.Context, key [32]byte) (o auth.Once, serial string, err error)
	// SensorBySerial returns a sensor with its Status; telemetry.ErrNotFound.
	SensorBySerial(ctx context.Context, serial string) (telemetry.Sensor, error)
	// ListSensors returns a page of the sensors one person owns or is shared with, and the cursor of the next page, empty at the end.
	ListSensors(ctx context.Context, q telemetry.SensorQuery) (items []telemetry.Sensor, next string, err error)
	// UpdateSensor stores the descriptive fields.
	UpdateSensor(ctx context.Context, s telemetry.Sensor) error
	// DeleteSensor removes the sensor at once; its history goes in the background.
	DeleteSensor(ctx context.Context, id int64) error
	// ImportSensors adds sensors as CreateSensor does and changes others as UpdateSensor does: all of them or none.
	ImportSensors(ctx context.Context, added []auth.Arrival, changed []telemetry.Sensor) error
	// SensorsBySerial returns those of the sensors that are there, in no order, without their Status.
	SensorsBySerial(ctx context.Context, serials []string) ([]telemetry.Sensor, error)
	// TakenSerials returns those of the serials that no new sensor can have.
	TakenSerials(ctx context.Context, serials []string) ([]string, error)
	// Tags returns the tags of a person's sensors after that one, in order, at most limit.
	Tags(ctx context.Context, ownerID int64, after string, limit int) ([]telemetry.TagCount, error)
	// SetSecrets replaces the sensor's secrets.
	SetSecrets(ctx context.Context, id int64, secrets []auth.Secret) error
}

// History is what the API needs of the store to show what was measured.
type History interface {
	Readings(ctx context.Context, q telemetry.ReadingQuery) ([]telemetry.Reading, error)
}

// Intake takes readings in. ingest.Pipe implements it.
type Intake interface {
	Accept(m ingest.Message, r ingest.Receipt) error
}

// Presence knows which sensors hold an MQTT connection. Connected is called per listed sensor and must not block.
type Presence interface {
	Connected(serial string) bool
	Connection(serial string) telemetry.Connection
}

// Cadences knows the rhythms of sensors. Cadence is called per listed sensor and must not block.
type Cadences interface {
	Cadence(sensorID int64) (c telemetry.Cadence, known bool)
}

// Events answers r with a stream of live readings and returns when it is over; bridge.Events does. An error means that nothing was
// written: telemetry.ErrUnauthenticated, telemetry.ErrForbidden, telemetry.ErrInvalid, telemetry.ErrUnavailable. The mistakes in it name
// their whole place, such as "query.ticket".
type Events func(w http.ResponseWriter, r *http.Request, q EventRequest) error

// Config is what the operator decides.
type Config struct {
	Version        string        // of the program, shown by GET /server and in the OpenAPI document
	SilenceAfter   time.Duration // for sensors without their own; zero: 10 min
	Registration   string        // open, invite or closed, as shown to clients; package auth enforces it
	Mail           bool          // the server sends letters, as shown to clients
	MaxPayload     int           // bytes of one telemetry body; zero: 65,536
	MQTTPort       func() int    // the plain MQTT port clients may use; nil or 0: none
	MQTTSPort      func() int    // the same over TLS
	HTTPSPort      func() int
	Certificates   func() []Certificate // those of the TLS listeners, in force now; nil: there are none
	TrustedProxies []netip.Prefix       // peers whose X-Forwarded-For and X-Forwarded-Proto are believed; empty: nobody's
}

// Deps are the parts the API stands on. All are needed except Presence (nil: nobody is connected), Cadences (nil: none is known), Ready (nil:
// always ready) and Audit (nil: there is no trail).
type Deps struct {
	Auth      *auth.Service
	Directory *auth.Directory
	Changes   *auth.Changes
	Registry  Registry
	Sharing   Sharing
	Transfers Transfers
	History   History
	Intake    Intake
	Commands  Commands
	Inbox     Inbox
	Audit     *audit.Trail
	Channels  Channels
	Events    Events
	Presence  Presence
	Alerts    Alerts
	Rules     Rules
	Cadences  Cadences
	Ready     func(ctx context.Context) error // nil error: the parts behind the API can serve now
	Log       *slog.Logger
}

// Bounds that are not for the operator to turn.
const (
	maxBodyBytes      = 64 << 10         // of any JSON request; the largest honest one is a ticket for 100 sensors
	bodyReadTimeout   = 10 * time.Second // for the whole body: a client that drips bytes holds a goroutine no longer than this
	defaultMaxPayload = 64 << 10
	defaultSilence    = 10 * time.Minute
)

// API serves the REST interface. All methods are safe for concurrent use.
type API struct {
	cfg  Config
	deps Deps
	log  *slog.Logger

	mux        *http.ServeMux
	huma       huma.API
	origin     *http.CrossOriginProtection
	jsonDoc    []byte // the OpenAPI document, made once
	yamlDoc    []byte
	turn       chan struct{} // holds one token: whoever has it may change the registry
	senders    chan struct{} // holds one token for each HTTP sender that waits for its commit
	importers  chan struct{} // holds one token for each sheet that is being read or imported
	readiness  readiness
	graces     graces
	isDraining atomic.Bool
	counts     counts
}

// New builds the API. It panics when an operation is declared wrongly, which is a programmer's error that every test would show.
func New(cfg Config, deps Deps) *API {
	if cfg.MaxPayload <= 0 {
		cfg.MaxPayload = defaultMaxPayload
	}
	if cfg.SilenceAfter <= 0 {
		cfg.SilenceAfter = defaultSilence
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{
		cfg:       cfg,
		deps:      deps,
		log:       deps.Log.With("component", "api"),
		mux:       http.NewServeMux(),
		origin:    http.NewCrossOriginProtection(),
		turn:      make(chan struct{}, 1),
		senders:   make(chan struct{}, maxSenders),
		importers: make(chan struct{}, maxImporters),
		readiness: newReadiness(readyEvery),
	}
	a.turn <- struct{}{}
	a.describe()
	a.accountRoutes()
	a.letterRoutes()
	a.profileRoutes()
	a.tokenRoutes()
	a.sessionRoutes()
	a.factorRoutes()
	a.userRoutes()
	a.invitationRoutes()
	a.sensorRoutes()
	a.sheetRoutes()
	a.tagRoutes()
	a.inboxRoutes()
	a.secretRoutes()
	a.shareRoutes()
	a.transferRoutes()
	a.commandRoutes()
	a.alertRoutes()
	a.channelRoutes()
	a.ruleRoutes()
	a.readingRoutes()
	a.telemetryRoutes()
	a.ticketRoutes()
	a.eventRoutes()
	a.auditRoutes()
	a.operatorRoutes()
	a.serverRoutes()
	a.healthRoutes()
	a.publish()
	return a
}

// Drain makes /readyz answer 503 from now on, so that a load balancer looks elsewhere; everything else is still served.
func (a *API) Drain() { a.isDraining.Store(true) }

// Close forgets the rotations whose grace still runs. It does not wait for requests: that is the HTTP server's to do, before.
func (a *API) Close() { a.graces.close() }

// principal is who the guard found behind the request; Anonymous on a public route.
func principal(ctx context.Context) auth.Principal {
	p, _ := ctx.Value(principalKey{}).(auth.Principal)
	return p
}

type principalKey struct{}

// sensorFor finds the sensor behind a serial when p may do action on it. Otherwise it is telemetry.ErrNotFound, the same for what
// does not exist and what is not p's to see, decided in memory so that both take the same time; who may see it and no more is told so by
// telemetry.ErrForbidden.
func (a *API) sensorFor(p auth.Principal, action auth.Action, serial string) (auth.Device, error) {
	dev, known := a.deps.Directory.Lookup(serial)
	allowed, seen := auth.Allowed(p, action, dev), auth.Allowed(p, auth.View, dev)
	switch {
	case !known || !seen:
		return auth.Device{}, telemetry.ErrNotFound
	case !allowed:
		return auth.Device{}, fmt.Errorf("the sensor may be seen, not changed: %w", telemetry.ErrForbidden)
	}
	return dev, nil
}

// alone runs change while no other registry change runs. It waits no longer than ctx lives.
func (a *API) alone(ctx context.Context, change func() error) error {
	select {
	case <-a.turn:
		defer func() { a.turn <- struct{}{} }()
		return change()
	case <-ctx.Done():
		return ctx.Err()
	}
}
