package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// ErrFull says that MaxWaiting commands wait for the sensor already.
var ErrFull = fmt.Errorf("%d commands wait for this sensor already: %w", MaxWaiting, telemetry.ErrTooMany)

// Watcher learns that there is something to deliver.
type Watcher interface {
	// CommandQueued is called once for each command, after its commit, from the goroutine that created it. It never blocks.
	CommandQueued(sensorID int64, serial string)
}

// Complaints tells owners what their sensors get wrong; *ingest.Pipe does.
type Complaints interface {
	// Malformed counts a message that could not be understood, with the reason in words. It never blocks.
	Malformed(sensorID int64, reason string)
}

// Outbox keeps commands until their sensors have them. All methods are safe for concurrent use; those that take a context do I/O and wait
// for it, and but for reading they wait for Run, which writes.
type Outbox struct {
	keeper     Keeper
	dir        *auth.Directory
	complaints Complaints
	log        *slog.Logger
	jobs       chan *job     // hands steps over to Run; unbuffered, so what waits is bounded by who waits
	stopped    chan struct{} // closed when Run has returned
	counters   counters

	mu       sync.Mutex
	waiting  map[int64]int // guarded by mu; commands that wait, by sensor; absent: none
	total    int           // guarded by mu; their sum
	watchers []Watcher     // guarded by mu; only ever appended to, so a copied header may be read without it
}

var _ auth.Watcher = (*Outbox)(nil)

// New returns an empty Outbox. It works once Load has been called and while Run runs.
func New(keeper Keeper, dir *auth.Directory, complaints Complaints, log *slog.Logger) *Outbox {
	return &Outbox{
		keeper:     keeper,
		dir:        dir,
		complaints: complaints,
		log:        log.With("component", "command"),
		jobs:       make(chan *job),
		stopped:    make(chan struct{}),
		waiting:    map[int64]int{},
	}
}

// Load learns from the store for which sensors commands wait. It is called once, before anything else.
func (o *Outbox) Load(ctx context.Context) error {
	waiting, err := o.keeper.WaitingCommands(ctx)
	if err != nil {
		return fmt.Errorf("load waiting commands: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting, o.total = waiting, 0
	for _, n := range waiting {
		o.total += n
	}
	return nil
}

// Watch adds w for good. It is called while the program is wired up.
func (o *Outbox) Watch(w Watcher) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watchers = append(o.watchers, w)
}

// Create queues a command for a sensor that p may manage, and returns it once it is durable. Errors: a telemetry.FieldError that names the
// field; telemetry.ErrNotFound for a sensor that is unknown or not p's to know of; telemetry.ErrForbidden where p may only watch;
// ErrFull; telemetry.ErrUnavailable.
func (o *Outbox) Create(ctx context.Context, p auth.Principal, d Draft) (Command, error) {
	dev, err := o.sensorFor(p, auth.Manage, d.Serial)
	if err != nil {
		return Command{}, err
	}
	if err := d.check(); err != nil {
		return Command{}, err
	}
	if !o.reserve(dev.SensorID) {
		return Command{}, ErrFull
	}
	now := telemetry.Now()
	step := &Step{At: now, Command: Command{
		ID:        strings.ToLower(rand.Text()),
		SensorID:  dev.SensorID,
		Serial:    dev.Serial,
		Name:      d.Name,
		Data:      d.Data,
		State:     Queued,
		CreatedAt: now,
		CreatedBy: p.Username,
		ExpiresAt: now.Add(d.ExpiresIn),
	}}
	err = o.commit(ctx, step)
	if err == nil && !step.Found {
		err = telemetry.ErrNotFound // deleted in between
	}
	if err != nil {
		o.release(dev.SensorID, 1)
		return Command{}, fmt.Errorf("queue command: %w", err)
	}
	o.mu.Lock()
	watchers := o.watchers
	o.mu.Unlock()
	for _, w := range watchers {
		w.CommandQueued(dev.SensorID, dev.Serial)
	}
	return step.Command, nil
}

// List returns commands of a sensor that p may view, newest first unless q says otherwise; SensorID and Now are filled in here.
// telemetry.ErrNotFound for a sensor that is unknown or not p's to know of.
func (o *Outbox) List(ctx context.Context, p auth.Principal, serial string, q Query) ([]Command, error) {
	dev, err := o.sensorFor(p, auth.View, serial)
	if err != nil {
		return nil, err
	}
	if q.State != "" && !q.State.Known() {
		return nil, telemetry.Invalid("state", "must be queued, delivered, answered, failed or expired")
	}
	q.SensorID, q.Now = dev.SensorID, telemetry.Now()
	return o.keeper.Commands(ctx, q)
}

// Next returns, for delivery, at most limit commands of the sensor that wait and come after the one of Order after, oldest first; after zero
// begins at the oldest. Who holds one until later asks StateAt before sending it. Without anything waiting it does no I/O.
func (o *Outbox) Next(ctx context.Context, sensorID, after int64, limit int) ([]Command, error) {
	if !o.Waiting(sensorID) {
		return nil, nil
	}
	return o.keeper.Commands(ctx, Query{
		SensorID: sensorID, State: Queued, Now: telemetry.Now(), OldestFirst: true, Beyond: after, Limit: limit,
	})
}

// Delivered notes that the sensor acknowledged the message with its command. It returns once that is durable; should the process end before,
// the command is offered again. telemetry.ErrNotFound when the sensor has no such command.
func (o *Outbox) Delivered(ctx context.Context, sensorID int64, id string) error {
	now := telemetry.Now()
	step := &Step{At: now, Command: Command{SensorID: sensorID, ID: id, State: Delivered, DeliveredAt: now}}
	if err := o.commit(ctx, step); err != nil {
		return fmt.Errorf("note delivery: %w", err)
	}
	if !step.Found {
		return fmt.Errorf("command: %w", telemetry.ErrNotFound)
	}
	return nil
}

// Answered takes a sensor's reply and returns nil once it is durable, also for a second reply to one command, which changes nothing. What
// cannot be read, and a reply to no command of this sensor, is counted, told to the owner and telemetry.ErrInvalid: sending it again
// would not help, so it is to be acknowledged. telemetry.ErrUnavailable means that it is not stored and not to be acknowledged.
func (o *Outbox) Answered(ctx context.Context, sensorID int64, payload []byte) error {
	err := o.answer(ctx, sensorID, payload)
	if errors.Is(err, telemetry.ErrInvalid) {
		o.counters.refused.Add(1)
		o.complaints.Malformed(sensorID, "reply to a command: "+err.Error())
	}
	return err
}

func (o *Outbox) answer(ctx context.Context, sensorID int64, payload []byte) error {
	r, err := parseReply(payload)
	if err != nil {
		return err
	}
	now := telemetry.Now()
	step := &Step{At: now, Command: Command{
		SensorID: sensorID, ID: r.id, State: r.state(), DeliveredAt: now, AnsweredAt: now, Reply: r.raw,
	}}
	if err := o.commit(ctx, step); err != nil {
		return fmt.Errorf("note reply: %w", err)
	}
	if !step.Found {
		return telemetry.Invalid("id", "is that of no command of this sensor")
	}
	return nil
}

// AuthorityChanged implements auth.Watcher: a deleted sensor's commands are gone.
func (o *Outbox) AuthorityChanged(c auth.Change) {
	if c.Kind == auth.SensorRemoved {
		o.forget(c.SensorID)
	}
}

// sensorFor finds the sensor when p may do action on it. Who may not even view it learns no more than that there is nothing.
func (o *Outbox) sensorFor(p auth.Principal, action auth.Action, serial string) (auth.Device, error) {
	dev, known := o.dir.Lookup(serial)
	switch {
	case known && auth.Allowed(p, action, dev):
		return dev, nil
	case known && auth.Allowed(p, auth.View, dev):
		return auth.Device{}, fmt.Errorf("the sensor may be watched, not commanded: %w", telemetry.ErrForbidden)
	}
	return auth.Device{}, fmt.Errorf("sensor: %w", telemetry.ErrNotFound)
}
