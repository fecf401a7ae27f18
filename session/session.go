// Package session is the vocabulary of what outlives an MQTT connection: sessions and their subscriptions, messages queued for clients
// that are away, half-done QoS 2 exchanges, wills and retained messages. Package broker lives by it and tells of every change; package
// ingest commits the changes beside the readings, in order; package store keeps them and gives them back after a restart.
//
// A value of this package is shared between them and never written to once it was handed over.
package session

import (
	"time"

	"sensorcast/telemetry"
)

// Message is an application message on its way to a subscriber.
type Message struct {
	Topic      string
	SensorID   int64 // the sensor it is about: once the topic is another's, it is nobody's any more; zero: none, or whose the topic is
	Payload    []byte
	QoS        byte             // 0 to 2
	Retain     bool             // the flag it is delivered with
	Properties []byte           // MQTT 5.0 properties that go with it, encoded as on the wire without their length; empty for none
	ExpiresAt  telemetry.Millis // not delivered afterwards; zero: never
}

// Session is what is known of a client that may come back.
type Session struct {
	ID       string // the principal's scope, "/", the client id; unique
	UserID   int64  // of a person, else 0
	SensorID int64  // of a sensor, else 0
	Version  byte   // MQTT protocol version: 3, 4 or 5
	Expiry   time.Duration
	EndsAt   telemetry.Millis // forgotten then; zero while its client is connected
}

// Subscription is one of a session's.
type Subscription struct {
	Filter     string // as subscribed, with its $share prefix
	Options    byte   // as on the wire (MQTT 5.0 §3.8.3.1): QoS, No Local, Retain As Published, Retain Handling
	Identifier uint32 // MQTT 5.0 subscription identifier; zero: none
}

// Delivery is a message of QoS 1 or 2 that a session's client has not acknowledged yet.
type Delivery struct {
	Order    int64  // its place in the session's queue, rising
	PacketID uint16 // unique among the session's deliveries
	Released bool   // QoS 2: PUBREC came, only PUBREL is left to send; the message is not needed any more
	Message  Message
}

// Will is what a client leaves behind in case it vanishes.
type Will struct {
	Message Message
	Delay   time.Duration    // from the end of the connection
	DueAt   telemetry.Millis // zero while the connection lasts
}

// Retained is the message kept on a topic.
type Retained struct {
	SensorID int64 // whose topic it is
	Message  Message
}

// Stored is all that is kept of one session.
type Stored struct {
	Session       Session
	Subscriptions []Subscription
	Deliveries    []Delivery // in rising Order
	Received      []uint16   // packet ids of QoS 2 messages taken from the client and not yet released by it
	Will          *Will
}

// Snapshot is everything kept, as a restarted server finds it.
type Snapshot struct {
	Sessions []Stored
	Retained []Retained
}

// Change is one step in the life of what is kept: one of the types below, as a value. Changes are applied in the order they were handed
// over. One that concerns a session that is not kept does nothing; nor does one that names a sensor or person who is gone.
type Change interface{ change() }

// The changes.
type (
	// Keep adds the session or replaces what is known of it, all but what hangs on it. A session of nobody is not kept.
	Keep struct{ Session Session }
	// Drop forgets the session and all that hangs on it, its will included.
	Drop struct{ ID string }
	// Subscribe adds a subscription or replaces the one of the same filter.
	Subscribe struct {
		ID           string
		Subscription Subscription
	}
	// Unsubscribe removes a subscription.
	Unsubscribe struct{ ID, Filter string }
	// Queue adds a delivery to the session's queue, at its Order. One that has its packet id already gives way.
	Queue struct {
		ID       string
		Delivery Delivery
	}
	// Release notes PUBREC for a delivery of QoS 2 and lets go of its message, of which the QoS alone stays.
	Release struct {
		ID       string
		PacketID uint16
	}
	// Settle removes a delivery: acknowledged, expired, or not allowed any more.
	Settle struct {
		ID       string
		PacketID uint16
	}
	// Receive notes that a QoS 2 message was taken from the client.
	Receive struct {
		ID       string
		PacketID uint16
	}
	// Complete forgets a Receive: PUBREL came.
	Complete struct {
		ID       string
		PacketID uint16
	}
	// Leave sets or replaces the session's will. The session must be kept.
	Leave struct {
		ID   string
		Will Will
	}
	// Withdraw removes the session's will: it was published, or the client took its leave.
	Withdraw struct{ ID string }
	// Retain keeps the message on its topic in place of the one before; an empty payload removes it.
	Retain struct{ Retained Retained }
)

func (Keep) change()        {}
func (Drop) change()        {}
func (Subscribe) change()   {}
func (Unsubscribe) change() {}
func (Queue) change()       {}
func (Release) change()     {}
func (Settle) change()      {}
func (Receive) change()     {}
func (Complete) change()    {}
func (Leave) change()       {}
func (Withdraw) change()    {}
func (Retain) change()      {}
