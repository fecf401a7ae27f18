package notify

import (
	"context"

	"sensorcast/telemetry"
)

// Keeper makes channels and deliveries durable; package store implements it. Its errors are of kind telemetry.ErrUnavailable when trying
// again may help. Methods that take an id do not ask whose it is.
type Keeper interface {
	// CreateChannel stores c and fills ID; a person who has MaxChannels already is ErrChannels.
	CreateChannel(ctx context.Context, c *Channel) error
	// Channels returns a person's channels, oldest first.
	Channels(ctx context.Context, userID int64) ([]Channel, error)
	// Channel returns one of a person's. telemetry.ErrNotFound.
	Channel(ctx context.Context, userID int64, uid string) (Channel, error)
	// UpdateChannel stores what an owner may change, forgets Failures and RetryAt, and gives up what waits when c is not Enabled.
	// telemetry.ErrNotFound.
	UpdateChannel(ctx context.Context, c Channel) error
	// DeleteChannel removes one with its deliveries. telemetry.ErrNotFound.
	DeleteChannel(ctx context.Context, id int64) error
	// Deliveries returns those of a channel with ids below before (zero: all), newest first.
	Deliveries(ctx context.Context, channelID, before int64, limit int) ([]Delivery, error)

	Outbox
}

// Outbox is the part of a Keeper that sending needs.
type Outbox interface {
	// NewNotices returns notices that were not fanned out yet, oldest first, at most limit.
	NewNotices(ctx context.Context, limit int) ([]Notice, error)
	// FanOut makes the deliveries of notices that were not fanned out yet, in one transaction, leaving out channels that are gone.
	FanOut(ctx context.Context, at telemetry.Millis, fans []Fan) error
	// ReadyChannels returns the enabled channels whose RetryAt has come and that have something due at now, those that wait longest first,
	// but none that leads to one of the hosts.
	ReadyChannels(ctx context.Context, now telemetry.Millis, but []string, limit int) ([]Channel, error)
	// Due returns what waits in a channel and is due at now, oldest first.
	Due(ctx context.Context, channelID int64, now telemetry.Millis, limit int) ([]Delivery, error)
	// Settle writes down, in one transaction, what came of an attempt. It does nothing where the channel is gone.
	Settle(ctx context.Context, s Settlement) error
	// Backlog counts what waits.
	Backlog(ctx context.Context) (int64, error)
}

// Fan is one notice and the channels it goes to; none: nobody is told.
type Fan struct {
	NoticeID int64
	To       []Posting
}

// Posting is a delivery to be.
type Posting struct {
	ChannelID int64
	DueAt     telemetry.Millis
}

// Settlement is what came of an attempt on a channel: its deliveries' new states, and when the channel is tried again.
type Settlement struct {
	ChannelID  int64
	At         telemetry.Millis
	Deliveries []Delivery // with State, Attempts and Error as they are now
	Failures   int
	RetryAt    telemetry.Millis
	GiveUp     telemetry.Millis // what waits and was due before is given up too; zero: nothing
	Why        string           // the reason of that
	SwitchOff  bool             // the receiver wants no more
}
