package bridge

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// token returns the next resume token of a viewer.
func (w *world) token(c *Client) string {
	w.t.Helper()
	for {
		if f := w.any(c); f.Type == "resume" {
			return f.Token
		}
	}
}

func (w *world) resuming(token string, query string) string {
	return "ws" + strings.TrimPrefix(w.http.URL, "http") + "/ws?resume=" + url.QueryEscape(token) + query
}

func refusedWith(t testing.TB, err error, status int) {
	t.Helper()
	var refused *Refused
	if !errors.As(err, &refused) || refused.Status != status || refused.Detail == "" {
		t.Errorf("got %v, want a refusal with %d and a reason", err, status)
	}
}

func TestResume_TokenBringsBackWhereTheViewerLeftOff(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev, other := w.sensor(ann, 1), w.sensor(ann, 2)
	c, hello := w.dial(ann, dev.Serial)
	token := w.token(c)
	first := w.reading(dev, 1)
	w.expect(c, "state")
	w.expect(c, "reading")
	c.ws.Close()
	for i := range 3 {
		w.reading(dev, 10+i)
		w.reading(other, 0)
	}
	address := w.resuming(token, fmt.Sprintf("&epoch=%s&since=%d", hello.Epoch, first.Seq))
	again := w.open(address)
	if f := w.expect(again, "hello"); !f.Resumed || f.Seq != first.Seq || len(f.Sensors) != 1 || f.Sensors[0].State != telemetry.StateOnline {
		t.Fatalf("hello: got %+v, want it resumed at %d with the one sensor's state", f, first.Seq)
	}
	for i := range 3 {
		if f := w.expect(again, "reading"); value(t, f.Data) != 10+i || f.SerialNo != dev.Serial {
			t.Errorf("missed reading %d: got %s of %s", i, f.Data, f.SerialNo)
		}
	}
	w.reading(dev, 20)
	if f := w.expect(again, "reading"); value(t, f.Data) != 20 {
		t.Errorf("live: got %s, want 20", f.Data)
	}
	_, err := Dial(t.Context(), address, nil)
	refusedWith(t, err, http.StatusUnauthorized)
}

func TestResume_WithoutSinceIsAFreshHello(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	w.reading(dev, 1)
	c, _ := w.dial(ann)
	again := w.open(w.resuming(w.token(c), ""))
	if f := w.expect(again, "hello"); f.Resumed || len(f.Sensors) != 1 || f.Sensors[0].Reading == nil {
		t.Errorf("hello: got %+v, want a fresh one with the reading", f)
	}
	added := w.sensor(ann, 2) // the ticket was for all
	w.auth.Changes.Notify(auth.Change{Kind: auth.SensorAdded, Serial: added.Serial, SensorID: added.SensorID, UserID: ann.UserID})
	if f := w.expect(again, "state"); f.SerialNo != added.Serial {
		t.Errorf("sensor added later: got %+v", f)
	}
}

func TestResume_WhatCannotBeReplayedIsSaid(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	w.hub.memory.limit = 2
	for i := range 6 {
		w.shelf.store(w.reading(dev, i))
	}
	w.shelf.pruned = 2
	for query, reason := range map[string]string{
		"&epoch=epoch-0&since=3": "epoch",
		"&epoch=epoch-1&since=7": "epoch", // of a future that was not
		"&epoch=epoch-1&since=1": "pruned",
		"&epoch=epoch-1&since=2": "",
		"&epoch=epoch-1&since=6": "",
		"&since=5":               "",
	} {
		c := w.open(w.address(ann, dev.Serial) + query)
		f := w.next(c)
		if reason != "" {
			if f.Type != "gap" || f.Reason != reason || f.SerialNo != "" || f.BeforeSeq != 7 {
				t.Errorf("%s: got %+v, want a gap with reason %s up to 7", query, f, reason)
			}
			f = w.next(c)
		}
		if f.Type != "hello" || f.Resumed != (reason == "") {
			t.Errorf("%s: got %+v, want a hello, resumed: %v", query, f, reason == "")
		}
	}
	for _, since := range []string{"x", "-1", "1.5", "99999999999999999999"} {
		_, err := Dial(t.Context(), w.address(ann, dev.Serial)+"&since="+since, nil)
		refusedWith(t, err, http.StatusBadRequest)
	}
}

func TestResume_MoreThanABoundIsAHello(t *testing.T) {
	w := newWorld(t, Config{LastSeq: func() int64 { return maxSearch + 1 }}, nil)
	dev := w.sensor(ann, 1)
	c := w.open(w.address(ann, dev.Serial) + "&since=0")
	if f := w.expect(c, "gap"); f.Reason != "too_many" || f.BeforeSeq != maxSearch+2 {
		t.Errorf("a log grown by more than %d: got %+v, want too_many", maxSearch, f)
	}
	w.expect(c, "hello")
}

func TestResume_NobodyComesBackWhoseAuthorityEnded(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	c, _ := w.dial(ann, dev.Serial)
	gone := w.token(c)
	c, _ = w.dial(ann, dev.Serial)
	loggedOut := w.token(c)
	w.auth.Directory.Remove(dev.Serial)
	_, err := Dial(t.Context(), w.resuming(gone, ""), nil)
	refusedWith(t, err, http.StatusForbidden)
	w.register(dev)
	if err := w.auth.Service.EndSession(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
	_, err = Dial(t.Context(), w.resuming(loggedOut, ""), nil)
	refusedWith(t, err, http.StatusUnauthorized)
	_, err = Dial(t.Context(), w.resuming("x.y.z", ""), nil)
	refusedWith(t, err, http.StatusUnauthorized)
}

// A login is asked for again in the end: coming back does not move the end of a session's life.
func TestResume_DoesNotProlongASessionsLife(t *testing.T) {
	w := newWorld(t, Config{Lifetime: 600 * time.Millisecond, PingEvery: 100 * time.Millisecond}, nil)
	dev := w.sensor(ann, 1)
	began := time.Now()
	c, _ := w.dial(ann, dev.Serial)
	token := w.token(c)
	for {
		again, err := Dial(t.Context(), w.resuming(token, ""), nil)
		if err != nil {
			refusedWith(t, err, http.StatusUnauthorized)
			break
		}
		if time.Since(began) > testTimeout {
			t.Fatal("still coming back")
		}
		w.expect(again, "hello")
		f, err := again.Next(t.Context())
		if err != nil {
			break // closed between hello and token: the end has come
		}
		token = f.Token
		again.ws.Close()
	}
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("came back for %v, want about 600 ms", took)
	}
}

// A new token comes with every beat, so that there is a good one whenever the connection breaks.
func TestResume_TokensAreRenewed(t *testing.T) {
	w := newWorld(t, Config{PingEvery: 50 * time.Millisecond}, nil)
	dev := w.sensor(ann, 1)
	c, _ := w.dial(ann, dev.Serial)
	first, second := w.token(c), w.token(c)
	if first == second {
		t.Errorf("second token: got the first again")
	}
	for _, token := range []string{second, first} {
		again := w.open(w.resuming(token, ""))
		w.expect(again, "hello")
	}
}
