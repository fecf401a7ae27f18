package broker

import (
	"context"
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/command"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

// Commands is where what people ask of their sensors waits; *command.Outbox is one.
type Commands interface {
	Waiting(sensorID int64) bool
	Next(ctx context.Context, sensorID, after int64, limit int) ([]command.Command, error)
	Delivered(ctx context.Context, sensorID int64, id string) error
	Answered(ctx context.Context, sensorID int64, payload []byte) error
}

const (
	commandsAtOnce  = 16               // read from the outbox at a time
	commandsTimeout = 10 * time.Second // for the outbox to read or write
	commandsRetry   = time.Second      // after it could not
)

// errands is the delivery of commands on one connection of a sensor. They are sent one after another, each when the one before was
// acknowledged, and none is kept with the session: what was not acknowledged when the connection ends is still in the outbox, and
// comes again, in order, on the next.
type errands struct {
	running bool  // guarded by conn.mu: a goroutine is at it
	again   bool  // guarded by conn.mu: there may be more than it knows
	after   int64 // command.Order of the last one sent; that goroutine's
}

// CommandQueued implements command.Watcher. It never blocks.
func (b *Broker) CommandQueued(sensorID int64, _ string) {
	scope := auth.Principal{Kind: auth.Sensor, SensorID: sensorID}.Scope()
	for _, id := range b.sessions.of(scope) {
		if s := b.sessions.find(id); s != nil {
			if c := s.connection(); c != nil {
				c.runErrands()
			}
		}
	}
}

func (s *session) connection() *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// runErrands has the sensor's waiting commands delivered, if there are any, from a goroutine of their own.
func (c *conn) runErrands() {
	if c.principal.Kind != auth.Sensor || !c.broker.commands.Waiting(c.principal.SensorID) || !c.established.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.errands.running || c.closing.Load() {
		c.errands.again = true
		return
	}
	c.errands.running = true
	c.replays.Go(func() { // ends when nothing waits any more, or with the connection
		for c.deliverCommands() {
			c.mu.Lock()
			c.errands.running, c.errands.again = c.errands.again, false
			more := c.errands.running
			c.mu.Unlock()
			if !more {
				return
			}
		}
	})
}

// deliverCommands delivers what waits and reports whether the connection still lives.
func (c *conn) deliverCommands() bool {
	for !c.closing.Load() {
		if _, ok := c.session.granted(commandsTopic(c.principal.Serial)); !ok {
			return true // it will subscribe
		}
		ctx, cancel := context.WithTimeout(context.Background(), commandsTimeout)
		batch, err := c.broker.commands.Next(ctx, c.principal.SensorID, c.errands.after, commandsAtOnce)
		cancel()
		if err != nil {
			c.broker.log.Warn("commands not read", "sensor", c.principal.Serial, "err", err)
			c.await(commandsRetry, func() bool { return c.closing.Load() })
			continue
		}
		if len(batch) == 0 {
			return true
		}
		for i := range batch {
			if !c.deliverCommand(&batch[i]) {
				break
			}
		}
	}
	return false
}

func commandsTopic(serial string) string { return "sensors/" + serial + "/commands" }

// deliverCommand sends one command and waits for its acknowledgement. To a subscription of QoS 0 there is none: only the reply will
// tell. It reports whether the next one may follow.
func (c *conn) deliverCommand(cmd *command.Command) bool {
	qos, ok := c.session.granted(commandsTopic(cmd.Serial))
	if !ok {
		return false
	}
	if cmd.StateAt(telemetry.Now()) == command.Expired {
		c.errands.after = cmd.Order
		return true
	}
	m := &state.Message{Topic: commandsTopic(cmd.Serial), SensorID: cmd.SensorID, Payload: cmd.Message(), QoS: min(qos, 1), ExpiresAt: cmd.ExpiresAt}
	if !c.await(0, func() bool { return c.closing.Load() || len(c.out.buf) < replayBytes }) || c.closing.Load() {
		return false
	}
	c.errands.after = cmd.Order
	c.broker.echo(m, c.session.scope)
	if m.QoS == 0 {
		return c.send(m, 0, false, maxOutbound)
	}
	d := c.session.command(c.broker, m)
	c.await(0, func() bool { return c.closing.Load() || d.over.Load() })
	if !d.acked.Load() {
		return !c.closing.Load()
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandsTimeout)
	defer cancel()
	if err := c.broker.commands.Delivered(ctx, cmd.SensorID, cmd.ID); err != nil && !errors.Is(err, telemetry.ErrNotFound) {
		c.broker.log.Warn("delivery of a command not noted", "sensor", cmd.Serial, "err", err) // it comes again
	}
	return true
}

// echo shows people who subscribe to a sensor's commands what it is sent.
func (b *Broker) echo(m *state.Message, sensor string) {
	out := *m
	out.QoS = 0
	b.fanOut(&out, func(s *session, _ packets.Subscription) bool { return s.scope == sensor }) // QoS 0 is not queued
}

// command is deliver for a message that is kept elsewhere. It is sent whatever the queue holds, since there is but one at a time.
func (s *session) command(b *Broker, m *state.Message) *delivery {
	s.mu.Lock()
	d := s.pushLocked(m)
	d.ready, d.errand = true, true
	s.pumpLocked(b)
	s.mu.Unlock()
	s.settleJournal(b)
	return d
}

// granted returns the highest QoS at which the session subscribes to a topic.
func (s *session) granted(topic string) (qos byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for filter, sub := range s.subs {
		if _, filter, _ := telemetry.SplitShare(filter); matches(filter, topic) {
			qos, ok = max(qos, sub.Qos), true
		}
	}
	return qos, ok
}

// reply takes a sensor's answer to a command. It blocks until the outbox has committed it.
func (c *conn) reply(m *inboundPublish) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandsTimeout)
	defer cancel()
	m.retain = false // it is about one command, at one time
	return c.answer(m, c.broker.commands.Answered(ctx, c.principal.SensorID, c.own(m)))
}
