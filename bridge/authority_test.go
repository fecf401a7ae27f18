package bridge

import (
	"context"
	"errors"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func TestAuthority_EndedSessionClosesItsSocketsOnly(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	elsewhere := ann
	elsewhere.SessionID = "another-session-of-ann"
	c, _ := w.dial(ann, dev.Serial)
	other, _ := w.dial(elsewhere, dev.Serial)
	if err := w.auth.Service.EndSession(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
	w.expectClosed(c, CloseAuthorityEnded)
	w.reading(dev, 1)
	w.expect(other, "state")
	w.expect(other, "reading")
}

func TestAuthority_EndedUserClosesAllButTheSpared(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev, his := w.sensor(ann, 1), w.sensor(bob, 1)
	spared := ann
	spared.SessionID = "the-one-that-changed-the-password"
	gone, _ := w.dial(ann, dev.Serial)
	kept, _ := w.dial(spared, dev.Serial)
	stranger, _ := w.dial(bob, his.Serial)
	w.auth.Changes.Notify(auth.Change{Kind: auth.UserEnded, UserID: ann.UserID, SessionID: spared.SessionID})
	w.expectClosed(gone, CloseAuthorityEnded)
	w.reading(dev, 1)
	w.expect(kept, "state")
	w.expect(kept, "reading")
	w.auth.Changes.Notify(auth.Change{Kind: auth.UserEnded, UserID: ann.UserID})
	w.expectClosed(kept, CloseAuthorityEnded)
	w.reading(his, 1)
	w.expect(stranger, "state")
}

// What waits for a session whose authority has ended is not sent any more.
func TestAuthority_NothingFollowsTheEnd(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	w.reading(dev, 1)
	out := &tape{}
	s := w.hub.newSession(out, auth.Claim{Principal: ann, Kind: "user"})
	if err := w.hub.admit(); err != nil || !w.hub.enter(s) {
		t.Fatal("not admitted")
	}
	defer w.hub.release()
	wire, _ := readingFrame(&telemetry.Reading{Serial: dev.Serial, Seq: 2, Data: []byte("{}")})
	s.box.pushHello(stateFrame(dev.Serial, telemetry.StateOnline, 1), false)
	s.box.push(&frame{room: w.hub.rooms[dev.SensorID], seq: 2, wire: wire})
	s.box.reply(ackFrame(nil))
	w.auth.Changes.Notify(auth.Change{Kind: auth.SessionEnded, UserID: ann.UserID, SessionID: ann.SessionID})
	s.box.awaitFlushed()
	if messages, control := out.frames(t); len(messages) != 0 || len(control) != 1 || control[0].op != opClose {
		t.Errorf("after authority ended: got messages %q and %d control frames, want a close frame alone", messages, len(control))
	}
}

func (w *world) remove(dev auth.Device) {
	w.shelf.mu.Lock()
	delete(w.shelf.sensors, dev.Serial)
	w.shelf.mu.Unlock()
	w.auth.Directory.Remove(dev.Serial)
	w.auth.Changes.Notify(auth.Change{Kind: auth.SensorRemoved, Serial: dev.Serial, SensorID: dev.SensorID, UserID: dev.OwnerID})
}

func TestAuthority_DeletedSensorEndsOrTellsItsViewers(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev, other := w.sensor(ann, 1), w.sensor(ann, 2)
	only, _ := w.dial(ann, dev.Serial)
	both, _ := w.dial(ann, dev.Serial, other.Serial)
	all, _ := w.dial(ann)
	own, _ := w.dial(sensorPrincipal(dev))
	w.remove(dev)
	w.expectClosed(only, CloseSensorDeleted)
	w.expectClosed(own, CloseSensorDeleted)
	for _, c := range []*Client{both, all} {
		if f := w.expect(c, "error"); f.Code != "sensor_deleted" || f.SerialNo != dev.Serial {
			t.Errorf("viewer of more: got %+v, want sensor_deleted of %s", f, dev.Serial)
		}
	}
	w.reading(dev, 1)
	w.reading(other, 2)
	for _, c := range []*Client{both, all} {
		w.expect(c, "state")
		if f := w.expect(c, "reading"); f.SerialNo != other.Serial {
			t.Errorf("after deletion: got a reading of %s", f.SerialNo)
		}
	}
	w.remove(other)
	w.expectClosed(both, CloseSensorDeleted)
	added := w.sensor(ann, 3) // an all-ticket waits for what comes
	w.auth.Changes.Notify(auth.Change{Kind: auth.SensorAdded, Serial: added.Serial, SensorID: added.SensorID, UserID: ann.UserID})
	w.expect(all, "error")
	if f := w.expect(all, "state"); f.SerialNo != added.Serial || f.State != telemetry.StateNeverSeen || f.LastSeenAt != 0 {
		t.Errorf("added sensor: got %+v, want it never seen", f)
	}
}

func TestAuthority_AddedSensorJoinsOwnersAllSessionsOnce(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	first := w.sensor(ann, 1)
	all, _ := w.dial(ann)
	one, _ := w.dial(ann, first.Serial)
	w.sensor(bob, 1)
	stranger, _ := w.dial(bob)
	added := w.sensor(ann, 2)
	for range 2 {
		w.auth.Changes.Notify(auth.Change{Kind: auth.SensorAdded, Serial: added.Serial, SensorID: added.SensorID, UserID: ann.UserID})
	}
	w.expect(all, "state")
	w.reading(added, 1)
	w.expect(all, "state") // back from never seen
	w.expect(all, "reading")
	w.reading(added, 2)
	if f := w.expect(all, "reading"); value(t, f.Data) != 2 {
		t.Errorf("second reading: got %s, want no reading twice", f.Data)
	}
	w.reading(first, 3)
	w.expect(one, "state")
	if f := w.expect(one, "reading"); f.SerialNo != first.Serial {
		t.Errorf("viewer of one: got %s", f.SerialNo)
	}
	go w.hub.Close(context.Background()) // the world waits for it
	w.expectClosedAtOnce(stranger, CloseRestart)
}

// expectClosedAtOnce is expectClosed where no frame may come before but a resume token.
func (w *world) expectClosedAtOnce(c *Client, code int) {
	w.t.Helper()
	f, err := c.Next(w.t.Context())
	for f.Type == "resume" && err == nil {
		f, err = c.Next(w.t.Context())
	}
	var closed *Closed
	if err == nil || !errors.As(err, &closed) || closed.Code != code {
		w.t.Errorf("got %+v, %v, want close %d", f, err, code)
	}
}

func TestAuthority_RotatedSecretClosesTheSensorsSocketsOnly(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	own, _ := w.dial(sensorPrincipal(dev))
	viewer, _ := w.dial(ann, dev.Serial)
	w.auth.Changes.Notify(auth.Change{Kind: auth.SecretRotated, Serial: dev.Serial, SensorID: dev.SensorID, UserID: ann.UserID})
	w.expectClosed(own, CloseAuthorityEnded)
	w.reading(dev, 1)
	w.expect(viewer, "state")
}

func sensorPrincipal(dev auth.Device) auth.Principal {
	return auth.Principal{Kind: auth.Sensor, SensorID: dev.SensorID, Serial: dev.Serial}
}
