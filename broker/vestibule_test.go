package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

func TestVestibule_LetsInAsManyAsThereArePlacesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vestibule{places: 2}
		var begun []string
		for i := range 5 {
			v.enter(func() { begun = append(begun, fmt.Sprint(i)) })
		}
		for _, want := range []int{2, 3, 4, 5, 5, 5} {
			if len(begun) != want || !slices.IsSorted(begun) {
				t.Fatalf("begun: got %v, want the first %d", begun, want)
			}
			if want < 5 || v.taken > 0 {
				v.leave()
				time.Sleep(2 * rest)
				synctest.Wait()
			}
		}
		if v.taken != 0 || v.waiting != nil {
			t.Errorf("in the end: %d places taken and %d wait, want none", v.taken, len(v.waiting))
		}
	})
}

// Without the rest a processor that always has one more login never looks at the sockets of those who are in.
func TestVestibule_RestsWhileOthersQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const work, logins = shift / 2, 20
		v := &vestibule{places: 1}
		begin := time.Now()
		for range logins {
			v.enter(func() {
				go func() {
					time.Sleep(work)
					v.leave()
				}()
			})
		}
		for busy := true; busy; {
			time.Sleep(work)
			v.mu.Lock()
			busy = v.taken > 0
			v.mu.Unlock()
		}
		worked, took := logins*work, time.Since(begin)
		if rested, want := took-worked, worked/shift*rest; rested < want*3/4 || rested > want*5/4 {
			t.Errorf("%d logins of %v: rested for %v, want about %v", logins, work, rested, want)
		}
		begin = time.Now()
		v.enter(func() {})
		v.leave()
		if took := time.Since(begin); took > 0 || v.taken > 0 {
			t.Errorf("alone: took %v and %d places are taken, want neither", took, v.taken)
		}
	})
}

// Whoever waits for its peer would keep everybody else out: thousands of silent sockets are an old trick.
func TestVestibule_SilentConnectionsKeepNobodyOut(t *testing.T) {
	h := start(t, autoIntake())
	for i := range 3 * h.entrance.places {
		silent := h.dial(t)
		if i%2 == 1 {
			silent.raw([]byte{packets.Connect << 4, 40, 0, 4, 'M'}) // half a CONNECT
		}
		piped := h.pipe(t) // a connection that cannot be asked whether there is something to read
		defer piped.c.Close()
	}
	for range 3 * h.entrance.places {
		p := h.login(t, "A")
		p.wantAlive()
		p.c.Close()
	}
	refused := h.dial(t)
	if ack := refused.connect("A", "wrong"); ack.ReasonCode == 0 {
		t.Fatal("a wrong password was let in")
	}
	eventually(t, "all places are free", func() bool {
		h.entrance.mu.Lock()
		defer h.entrance.mu.Unlock()
		return h.entrance.taken == 0
	})
}

// secured starts a listener for TLS connections and returns its address. signing is called while a handshake computes.
func secured(t *testing.T, h *house, signing func()) string {
	t.Helper()
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	defer web.Close()
	cfg := web.TLS.Clone()
	cfg.NextProtos = nil
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { signing(); return nil, nil }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go h.ServeTLS(l, cfg) // ends with the house
	return l.Addr().String()
}

func TestVestibule_HandshakesTakeTheirTurn(t *testing.T) {
	h := start(t, autoIntake())
	var now, most atomic.Int32
	addr := secured(t, h, func() {
		n := now.Add(1)
		for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
		}
		time.Sleep(5 * time.Millisecond) // what a signature takes
		now.Add(-1)
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	all.Wait()
	if got := most.Load(); int(got) > h.entrance.places {
		t.Errorf("%d handshakes computed at once, want %d", got, h.entrance.places)
	}
}

// A handshake that stops half way, before it or in it, keeps nobody out.
func TestVestibule_UnfinishedHandshakesKeepNobodyOut(t *testing.T) {
	h := start(t, autoIntake())
	addr := secured(t, h, func() {})
	for i := range 4 * h.entrance.places {
		raw, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if i%2 == 0 {
			continue
		}
		half := make(chan struct{})
		go tls.Client(&deaf{Conn: raw, asked: sync.OnceFunc(func() { close(half) })}, &tls.Config{InsecureSkipVerify: true}).Handshake() // ends with raw
		<-half
	}
	h.login(t, "A").wantAlive()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// deaf sends and never hears the answer.
type deaf struct {
	net.Conn
	asked func()
}

func (d *deaf) Read([]byte) (int, error) {
	d.asked()
	_, err := io.Copy(io.Discard, d.Conn)
	return 0, errors.Join(err, io.EOF)
}
