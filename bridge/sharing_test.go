package bridge

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sensorcast/auth"
)

// share lets bob see a sensor of ann's; NoAccess takes it away.
func (w *world) share(dev auth.Device, access auth.Access) {
	dev, _ = w.auth.Directory.Lookup(dev.Serial)
	dev.Shares = dev.SharedWith(bob.UserID, access)
	w.auth.Directory.Put(dev)
	kind := auth.ShareAdded
	if access == auth.NoAccess {
		kind = auth.ShareRemoved
	}
	w.auth.Changes.Notify(auth.Change{Kind: kind, Serial: dev.Serial, SensorID: dev.SensorID, UserID: bob.UserID})
}

func TestShare_EndedClosesOrTellsItsViewers(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev, other := w.sensor(ann, 1), w.sensor(ann, 2)
	w.share(dev, auth.ManagerAccess)
	w.share(other, auth.ViewerAccess)
	only, _ := w.dial(bob, dev.Serial)
	both, _ := w.dial(bob, dev.Serial, other.Serial)
	all, _ := w.dial(bob)
	owners, _ := w.dial(ann, dev.Serial)
	w.share(dev, auth.NoAccess)
	w.expectClosed(only, CloseAccessLost)
	for _, c := range []*Client{both, all} {
		if f := w.expect(c, "error"); f.Code != "access_lost" || f.SerialNo != dev.Serial {
			t.Errorf("viewer of more: got %+v, want access_lost of %s", f, dev.Serial)
		}
	}
	w.reading(dev, 1)
	w.reading(other, 2)
	for _, c := range []*Client{both, all} {
		w.expect(c, "state")
		if f := w.expect(c, "reading"); f.SerialNo != other.Serial {
			t.Errorf("after the end: got a reading of %s", f.SerialNo)
		}
	}
	w.expect(owners, "state")
	w.expect(owners, "reading")
	w.share(dev, auth.NoAccess) // a second time it does nothing
	w.share(other, auth.NoAccess)
	w.expectClosed(both, CloseAccessLost)
	w.expect(all, "error") // and waits for what may come
	w.share(dev, auth.ViewerAccess)
	if f := w.expect(all, "state"); f.SerialNo != dev.Serial {
		t.Errorf("shared again: got %+v, want the state of %s", f, dev.Serial)
	}
}

func TestShare_ComesToAllSessionsAtOnce(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev, his := w.sensor(ann, 1), w.sensor(bob, 1)
	all, _ := w.dial(bob)
	one, _ := w.dial(bob, his.Serial)
	owners, _ := w.dial(ann)
	w.share(dev, auth.ViewerAccess)
	w.share(dev, auth.ManagerAccess) // is no second coming
	w.expect(all, "state")
	w.reading(dev, 1)
	w.expect(all, "state")
	if f := w.expect(all, "reading"); f.SerialNo != dev.Serial {
		t.Errorf("got %+v, want the shared sensor's", f)
	}
	w.reading(his, 2)
	w.expect(one, "state")
	w.expect(one, "reading")
	w.expect(owners, "state") // of the first reading
	w.expect(owners, "reading")
}

// Whoever holds a ticket or a token from before does not get back in with it.
func TestShare_EndedVoidsTicketsAndTokens(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev, other := w.sensor(ann, 1), w.sensor(ann, 2)
	w.share(dev, auth.ViewerAccess)
	w.share(other, auth.ViewerAccess)
	ticket, both := w.address(bob, dev.Serial), w.address(bob, dev.Serial, other.Serial)
	claim := auth.Claim{Principal: bob, Serials: []string{dev.Serial}, Until: time.Now().Add(time.Hour)}
	token, err := w.auth.Service.MintResume(claim, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w.share(dev, auth.NoAccess)
	for what, address := range map[string]string{"ticket": ticket, "token": "ws" + w.http.URL[len("http"):] + "/ws?resume=" + token} {
		if _, resp, err := websocket.DefaultDialer.DialContext(t.Context(), address, nil); err == nil || resp == nil || resp.StatusCode != 403 {
			t.Errorf("%s: got %v, %v, want 403", what, resp, err)
		}
	}
	c := w.open(both)
	if hello := w.expect(c, "hello"); !slices.Equal(serialsOf(hello.Sensors), []string{other.Serial}) {
		t.Errorf("hello: got %v, want %s alone", serialsOf(hello.Sensors), other.Serial)
	}
}

// A share that ends between the ticket and the registration costs the sessions that it concerns the sensor, and no more.
func TestJoin_ShareEndedMeanwhileTakesTheSensorOnly(t *testing.T) {
	for name, lose := range map[string]func(w *world, dev auth.Device){
		"and is told later": func(w *world, dev auth.Device) {
			dev.Shares = nil
			w.auth.Directory.Put(dev)
		},
		"and was told": func(w *world, dev auth.Device) { w.share(dev, auth.NoAccess) },
	} {
		for _, resumes := range []string{"", "&since=0"} {
			t.Run(name+resumes, func(t *testing.T) {
				w := newWorld(t, Config{}, nil)
				dev, other := w.sensor(ann, 1), w.sensor(ann, 2)
				w.share(dev, auth.ViewerAccess)
				w.share(other, auth.ViewerAccess)
				w.reading(dev, 1)
				var once sync.Once
				w.shelf.during = func() { once.Do(func() { lose(w, dev) }) }
				c := w.open(w.address(bob, dev.Serial, other.Serial) + resumes)
				hello := w.expect(c, "hello")
				if resumes == "" && !slices.Equal(serialsOf(hello.Sensors), []string{other.Serial}) {
					t.Errorf("hello: got %v, want %s alone", serialsOf(hello.Sensors), other.Serial)
				}
				if f := w.expect(c, "error"); f.Code != "access_lost" || f.SerialNo != dev.Serial {
					t.Errorf("after hello: got %+v, want access_lost of %s", f, dev.Serial)
				}
				w.share(dev, auth.NoAccess)
				w.reading(dev, 2)
				w.reading(other, 3)
				w.expect(c, "state")
				if f := w.expect(c, "reading"); f.SerialNo != other.Serial {
					t.Errorf("got a reading of %s, want %s", f.SerialNo, other.Serial)
				}
			})
		}
	}
}

// Of a sensor that comes and goes while a session for all joins, nothing stays.
func TestJoin_ShareGivenAndTakenMeanwhileLeavesNothing(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	his, dev := w.sensor(bob, 1), w.sensor(ann, 1)
	var once sync.Once
	w.shelf.during = func() {
		once.Do(func() {
			w.share(dev, auth.ViewerAccess)
			w.share(dev, auth.NoAccess)
		})
	}
	c, hello := w.dial(bob)
	if got := serialsOf(hello.Sensors); !slices.Equal(got, []string{his.Serial}) {
		t.Errorf("hello: got %v, want his own", got)
	}
	w.reading(dev, 1)
	w.reading(his, 2)
	if f := w.expect(c, "state"); f.SerialNo != his.Serial {
		t.Errorf("got the state of %s, want %s", f.SerialNo, his.Serial)
	}
	if f := w.expect(c, "reading"); f.SerialNo != his.Serial {
		t.Errorf("got a reading of %s, want %s", f.SerialNo, his.Serial)
	}
}

// Shares come and go while a viewer of two sensors and many others join and readings flow: nobody sees a reading that was sent while they had
// no access, and nobody is left in a room.
func TestShare_UnderFireNothingLeaks(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev, other := w.sensor(ann, 1), w.sensor(ann, 2)
	w.share(other, auth.ViewerAccess)
	for round := range 60 {
		w.share(dev, auth.ViewerAccess)
		address := []string{w.address(bob, dev.Serial, other.Serial), w.address(bob)}[round%2]
		if round%3 == 0 {
			address += "&since=0"
		}
		taken := make(chan struct{})
		go func() { // ends by itself
			defer close(taken)
			time.Sleep(time.Duration(round%7) * 100 * time.Microsecond)
			w.share(dev, auth.NoAccess)
		}()
		c := w.open(address)
		<-taken
		hidden, shown := w.reading(dev, 1).Seq, w.reading(other, 1).Seq
		for seen := false; !seen; {
			f := w.next(c)
			var told []int64
			if f.Type == "reading" {
				told = append(told, f.Seq)
			}
			for _, s := range f.Sensors {
				if s.Reading != nil {
					told = append(told, s.Reading.Seq)
				}
			}
			if slices.Contains(told, hidden) {
				t.Fatalf("round %d: got %+v, sent after access had ended", round, f)
			}
			seen = slices.Contains(told, shown)
		}
		c.ws.Close()
	}
	eventually(t, "everybody to leave", func() bool {
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		return len(w.hub.people) == 0
	})
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	for _, rm := range w.hub.rooms {
		if len(rm.members) > 0 {
			t.Errorf("%d sessions are left in the room of %s", len(rm.members), rm.serial)
		}
	}
}
