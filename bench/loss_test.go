package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// forgetful is a broker that acknowledges all publishes but one, and that one never or twice.
type forgetful struct {
	server
	addr string
}

func (f forgetful) publisher(i int) (*publisher, error) {
	return dialMQTT(f.addr, serial(i), "", "", topicOf(i))
}

// startForgetful answers the publish with the given identifier so many times.
func startForgetful(t *testing.T, id byte, times int) forgetful {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() { // ends when the listener and the one connection are closed
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in, buf := stream{cut: cutPackets}, make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			_ = in.feed(buf[:n], func(kind byte, body []byte) {
				answer, n := []byte{connack, 2, 0, 0}, 1
				if isPublish(kind, nil) {
					at := 2 + len(topicOf(0))
					answer = []byte{puback, 2, body[at], body[at+1]}
					if body[at+1] == id {
						n = times
					}
				}
				for range n {
					_, _ = conn.Write(answer)
				}
			})
		}
	}()
	return forgetful{addr: l.Addr().String()}
}

func TestCrew_MissingAndRepeatedAcknowledgementsFailTheRun(t *testing.T) {
	for times, want := range map[int]string{0: "lost: 1 of 8 acknowledgements", 1: "", 2: "acknowledges nothing that is under way"} {
		c, err := newCrew(context.Background(), startForgetful(t, 3, times), 1, 8)
		if err != nil {
			t.Fatal(err)
		}
		c.loop.patience = 100 * time.Millisecond
		for id := 1; id <= 8; id++ {
			c.publish(c.members[0], id, now())
		}
		if err := c.flush(); err != nil {
			t.Fatal(err)
		}
		err = c.settle(idleWait)
		if err == nil && times > 1 { // the second answer may come when the run has all it waits for
			err = c.until(idleWait, func() bool { return false })
		}
		if got := said(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("acknowledged %d times: got error %q, want %q", times, got, want)
		}
		c.loop.close()
	}
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAudience_MissingAndRepeatedDeliveriesFailTheRun(t *testing.T) {
	l, err := newLoop(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.patience = 50 * time.Millisecond
	// Two sensors of which the first sent twice, two viewers each.
	a := &audience{loop: l, senders: make([]*publisher, 2), viewers: []*viewer{{got: 2}, {got: 1}, {got: 2}, {got: 1}}, sent: 3, delivered: 6}
	if err := a.settle(); err != nil {
		t.Errorf("everything delivered: got %v", err)
	}
	if err := a.check(); err != nil {
		t.Errorf("everything delivered once: got %v", err)
	}
	a.viewers[2].got, a.viewers[1].got = 1, 2
	if err := a.check(); err == nil || !strings.Contains(err.Error(), "lost or doubled") {
		t.Errorf("one reading at the wrong viewer: got %v", err)
	}
	a.delivered = 5
	if err := a.settle(); err == nil || !strings.Contains(err.Error(), "lost: 1 of 6 deliveries") {
		t.Errorf("one delivery missing: got %v", err)
	}
}
