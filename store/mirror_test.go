package store

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sensorcast/ingest"
	"sensorcast/session"
	"sensorcast/telemetry"
)

// mirror is what changes mean, in memory: what the tables must agree with.
type mirror struct {
	users, sensors map[int64]bool // those there are
	sessions       map[string]*session.Stored
	retained       map[string]session.Retained
}

func newMirror() *mirror {
	return &mirror{map[int64]bool{}, map[int64]bool{}, map[string]*session.Stored{}, map[string]session.Retained{}}
}

func (m *mirror) apply(c session.Change) {
	switch c := c.(type) {
	case session.Keep:
		s := c.Session
		if s.UserID == 0 && s.SensorID == 0 || s.UserID != 0 && !m.users[s.UserID] || s.SensorID != 0 && !m.sensors[s.SensorID] {
			return
		}
		if m.sessions[s.ID] == nil {
			m.sessions[s.ID] = &session.Stored{}
		}
		m.sessions[s.ID].Session = s
	case session.Drop:
		delete(m.sessions, c.ID)
	case session.Retain:
		switch {
		case !m.sensors[c.Retained.SensorID]:
		case len(c.Retained.Message.Payload) == 0:
			delete(m.retained, c.Retained.Message.Topic)
		default:
			m.retained[c.Retained.Message.Topic] = c.Retained
		}
	default:
		m.applyTo(c)
	}
}

func (m *mirror) applyTo(c session.Change) {
	of := func(id string) *session.Stored {
		if s := m.sessions[id]; s != nil {
			return s
		}
		return &session.Stored{} // nobody's
	}
	switch c := c.(type) {
	case session.Subscribe:
		s := of(c.ID)
		s.Subscriptions = append(without(s.Subscriptions, func(x session.Subscription) bool { return x.Filter == c.Subscription.Filter }), c.Subscription)
	case session.Unsubscribe:
		s := of(c.ID)
		s.Subscriptions = without(s.Subscriptions, func(x session.Subscription) bool { return x.Filter == c.Filter })
	case session.Queue:
		s := of(c.ID)
		s.Deliveries = append(without(s.Deliveries, func(x session.Delivery) bool { return x.PacketID == c.Delivery.PacketID }), c.Delivery)
	case session.Release:
		for i, d := range of(c.ID).Deliveries {
			if d.PacketID == c.PacketID && d.Message.QoS == 2 {
				d.Released, d.Message = true, session.Message{QoS: 2}
				of(c.ID).Deliveries[i] = d
			}
		}
	case session.Settle:
		s := of(c.ID)
		s.Deliveries = without(s.Deliveries, func(x session.Delivery) bool { return x.PacketID == c.PacketID })
	case session.Receive:
		s := of(c.ID)
		s.Received = append(without(s.Received, func(x uint16) bool { return x == c.PacketID }), c.PacketID)
	case session.Complete:
		s := of(c.ID)
		s.Received = without(s.Received, func(x uint16) bool { return x == c.PacketID })
	case session.Leave:
		of(c.ID).Will = &c.Will
	case session.Withdraw:
		of(c.ID).Will = nil
	default:
		panic(fmt.Sprintf("the mirror does not know %T", c))
	}
}

func without[T any](all []T, gone func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(all), gone)
}

func (m *mirror) deleteSensor(id int64) {
	delete(m.sensors, id)
	m.forget(func(s session.Session) bool { return s.SensorID == id })
	for topic, r := range m.retained {
		if r.SensorID == id {
			delete(m.retained, topic)
		}
	}
}

func (m *mirror) deleteUser(id int64) {
	delete(m.users, id)
	m.forget(func(s session.Session) bool { return s.UserID == id })
}

func (m *mirror) forget(which func(session.Session) bool) {
	for id, s := range m.sessions {
		if which(s.Session) {
			delete(m.sessions, id)
		}
	}
}

// start is what a server that starts at now finds. Like Sessions it forgets what ended.
func (m *mirror) start(now telemetry.Millis) (snap session.Snapshot) {
	for id, s := range m.sessions {
		if e := s.Session.EndsAt; e != 0 && e <= now {
			if s.Will == nil {
				delete(m.sessions, id)
				continue
			}
			m.sessions[id] = &session.Stored{Session: s.Session, Will: s.Will}
		}
	}
	for _, s := range m.sessions {
		out := *s
		out.Deliveries = slices.Clone(out.Deliveries)
		slices.SortStableFunc(out.Deliveries, func(a, b session.Delivery) int { return cmp.Compare(a.Order, b.Order) })
		snap.Sessions = append(snap.Sessions, out)
	}
	for _, r := range m.retained {
		snap.Retained = append(snap.Retained, r)
	}
	return snap
}

func (m *mirror) clone() *mirror {
	c := newMirror()
	c.users, c.sensors = m.users, m.sensors
	for id, s := range m.sessions {
		s := *s
		s.Deliveries = slices.Clone(s.Deliveries)
		c.sessions[id] = &s
	}
	for topic, r := range m.retained {
		c.retained[topic] = r
	}
	return c
}

// differ says how two snapshots differ, in no particular order of sessions, subscriptions and the like; "" when they do not.
func differ(got, want session.Snapshot) string {
	return gocmp.Diff(want, got, cmpopts.EquateEmpty(), gocmp.Comparer(sameMessage),
		cmpopts.SortSlices(func(a, b session.Stored) bool { return a.Session.ID < b.Session.ID }),
		cmpopts.SortSlices(func(a, b session.Retained) bool { return a.Message.Topic < b.Message.Topic }),
		cmpopts.SortSlices(func(a, b session.Subscription) bool { return a.Filter < b.Filter }),
		cmpopts.SortSlices(func(a, b uint16) bool { return a < b }))
}

// sameMessage spares the comparison from looking at each byte by reflection.
func sameMessage(a, b session.Message) bool {
	return a.Topic == b.Topic && a.SensorID == b.SensorID && bytes.Equal(a.Payload, b.Payload) && a.QoS == b.QoS && a.Retain == b.Retain &&
		bytes.Equal(a.Properties, b.Properties) && a.ExpiresAt == b.ExpiresAt
}

// Few names, so that changes meet; among them what a client can call itself to hurt somebody.
var (
	someIDs     = []string{"s1/a", "u2/" + strings.Repeat("x", 300), "", "s1/\xff\x00'%;--"}
	someTopics  = []string{"sensors/SN0/telemetry", "sensors/SN0/status", "sensors/SN1/telemetry", "", "\x00\xff", strings.Repeat("a/", 5000)}
	somePayload = [][]byte{nil, {}, []byte("21.5"), {0, 0xff}, []byte(strings.Repeat("p", 20_000))}
	someTimes   = []telemetry.Millis{0, 0, 1, -1, day - 365*24*3600_000, telemetry.MillisOf(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)), 1<<63 - 1}
	someSpans   = []time.Duration{0, time.Second, 1, 1<<63 - 1, -5}
	someOwners  = []int64{1, 1, 1, 2, 3, 0, 4, 1<<63 - 1}
)

// anyChange makes a change out of choices: n returns a number below its argument.
func anyChange(n func(int) int) session.Change {
	id, packet := pick(n, someIDs), uint16(n(4)*21_845) // up to 65,535
	switch n(16) {
	case 0, 1, 2:
		s := session.Session{ID: id, Version: byte(3 + n(3)), Expiry: pick(n, someSpans), EndsAt: pick(n, someTimes)}
		switch n(8) {
		case 0: // nobody's
		case 1:
			s.UserID, s.SensorID = pick(n, someOwners), pick(n, someOwners)
		case 2, 3:
			s.UserID = pick(n, someOwners)
		default:
			s.SensorID = pick(n, someOwners)
		}
		return session.Keep{Session: s}
	case 3:
		return session.Drop{ID: id}
	case 4:
		return session.Subscribe{ID: id, Subscription: session.Subscription{Filter: pick(n, someTopics), Options: byte(n(256)), Identifier: uint32(n(1 << 28))}}
	case 5:
		return session.Unsubscribe{ID: id, Filter: pick(n, someTopics)}
	case 6, 7, 8:
		return session.Queue{ID: id, Delivery: session.Delivery{Order: int64(n(6)), PacketID: packet, Released: n(4) == 0, Message: about(int64(n(3)), anyMessage(n))}}
	case 9:
		return session.Release{ID: id, PacketID: packet}
	case 10:
		return session.Settle{ID: id, PacketID: packet}
	case 11:
		return session.Receive{ID: id, PacketID: packet}
	case 12:
		return session.Complete{ID: id, PacketID: packet}
	case 13:
		return session.Leave{ID: id, Will: session.Will{Message: anyMessage(n), Delay: pick(n, someSpans), DueAt: pick(n, someTimes)}}
	case 14:
		return session.Withdraw{ID: id}
	}
	return session.Retain{Retained: session.Retained{SensorID: pick(n, someOwners), Message: anyMessage(n)}}
}

func anyMessage(n func(int) int) session.Message {
	return session.Message{
		Topic: pick(n, someTopics), Payload: pick(n, somePayload), QoS: byte(n(3)), Retain: n(2) == 1,
		Properties: pick(n, somePayload), ExpiresAt: pick(n, someTimes),
	}
}

func pick[T any](n func(int) int, from []T) T { return from[n(len(from))] }

func change(t testing.TB, d *DB, changes ...session.Change) {
	t.Helper()
	if err := d.Record(ingest.Batch{Changes: changes}); err != nil {
		t.Fatalf("Record: %v", err)
	}
}

func sessions(t testing.TB, d *DB) session.Snapshot {
	t.Helper()
	snap, err := d.Sessions(t.Context())
	if err != nil {
		t.Fatalf("Sessions: %v", err)
	}
	return snap
}
