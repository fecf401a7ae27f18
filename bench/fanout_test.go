package main

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// audienceOf connects one sensor to a server that does with each chunk it reads what handle says. What comes back counts as delivered.
func audienceOf(t *testing.T, handle func(conn net.Conn, chunk []byte)) *audience {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when the listener and the one connection are closed
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			handle(conn, buf[:n])
		}
	}()
	turn, err := newLoop(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { turn.close(); l.Close(); <-done })
	s, err := dial(l.Addr().String(), cutPackets)
	if err != nil {
		t.Fatal(err)
	}
	a := &audience{loop: turn, viewers: []*viewer{{}}, senders: []*publisher{{socket: s, qos0: newPublication(topicOf(0), 0)}}}
	if err := turn.add(s, func(byte, []byte) { a.delivered++ }); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestFanout_PushGoesOnUntilWhatIsUnderWayHasTurnedOver(t *testing.T) {
	const length = 50 * time.Millisecond
	slow := time.NewTicker(length / 4) // so that one length is too short
	defer slow.Stop()
	a := audienceOf(t, func(conn net.Conn, chunk []byte) {
		select {
		case <-slow.C:
		case <-t.Context().Done():
		}
		_, _ = conn.Write(chunk)
	})
	start := now()
	if err := (fanout{sensors: 1, viewers: 1, window: 4}).pushed(a, length); err != nil {
		t.Fatal(err)
	}
	if took := time.Duration(now() - start); a.delivered < 4*turnovers && took < longestPush*length || took < length {
		t.Errorf("got %d deliveries in %v, want %d or %v", a.delivered, took, 4*turnovers, longestPush*length)
	}
}

func TestFanout_PushToAServerThatDeliversNothingEnds(t *testing.T) {
	const length = 10 * time.Millisecond
	a := audienceOf(t, func(net.Conn, []byte) {})
	start := now()
	if err := (fanout{sensors: 1, viewers: 1, window: 4}).pushed(a, length); err != nil {
		t.Fatal(err)
	}
	if took := time.Duration(now() - start); took < longestPush*length || took > patience {
		t.Errorf("got an end after %v, want one soon after %v", took, longestPush*length)
	}
	a.loop.patience = length
	if err := a.settle(); err == nil || errors.Is(err, errClosed) {
		t.Errorf("got %v, want the four that were sent told as lost", err)
	}
}
