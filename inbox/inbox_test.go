package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// shelf is a Keeper in memory.
type shelf struct {
	people []string

	mu    sync.Mutex
	fails bool
	kept  map[string]Stranger
	turns int // transactions
}

func (s *shelf) fail(fails bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = fails
}

func (s *shelf) figures() (kept, turns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept), s.turns
}

func (s *shelf) Strangers(context.Context) ([]Stranger, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Stranger
	for _, k := range s.kept {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Stranger) int { return int(a.LastSeen - b.LastSeen) })
	return all, nil
}

func (s *shelf) KeepStrangers(_ context.Context, kept []Stranger, gone []string) (people []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		return nil, errors.New("disk full")
	}
	s.turns++
	for _, serial := range gone {
		delete(s.kept, serial)
	}
	for _, k := range kept {
		if slices.Contains(s.people, k.Serial) {
			people = append(people, k.Serial)
		} else {
			s.kept[k.Serial] = k
		}
	}
	return people, nil
}

func newInbox(t testing.TB, s *shelf) (*Inbox, *auth.Directory) {
	t.Helper()
	keys, err := auth.LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if s.kept == nil {
		s.kept = map[string]Stranger{}
	}
	dir := auth.NewDirectory(keys)
	b := New(s, dir, slog.New(slog.DiscardHandler))
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, dir
}

// run runs b until the test, in a bubble, ends.
func run(t *testing.T, b *Inbox) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	return func() { cancel(); <-done }
}

func knock(b *Inbox, serial, address string) {
	b.Knocked(telemetry.Knock{At: telemetry.Now(), Serial: serial, Address: netip.MustParseAddr(address)}, "the-own-secret-of-"+serial)
}

func serials(b *Inbox) (all []string) {
	for _, s := range b.List() {
		all = append(all, s.Serial)
	}
	return all
}

func TestInbox_ListsStrangersSoonAndPeopleNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{people: []string{"ann"}}
		b, _ := newInbox(t, s)
		stop := run(t, b)
		knock(b, "SN1", "192.0.2.1")
		knock(b, "ann", "192.0.2.1")
		if got := serials(b); got != nil {
			t.Errorf("before it is known who they are: got %v, want nobody", got)
		}
		time.Sleep(keepNewEvery + time.Millisecond)
		stop()
		if got := serials(b); !slices.Equal(got, []string{"SN1"}) || b.Stats().Strangers != 1 || len(b.crowd) != 1 {
			t.Errorf("got %v, %d remembered; want SN1 alone", got, b.Stats().Strangers)
		}
	})
}

// People put a secret where the name belongs, or for client id. It would stand in the list and the database as it is.
func TestInbox_KeepsNoSecretThatCameAsAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		b, _ := newInbox(t, s)
		stop := run(t, b)
		secret := auth.NewDeviceSecret()
		knock(b, secret, "192.0.2.1")
		for serial, clientID := range map[string]string{"SN1": secret, "SN2": "pubsub-" + secret, "SN3": "sdk_or_none"} {
			b.Knocked(telemetry.Knock{At: telemetry.Now(), Serial: serial, Address: netip.MustParseAddr("192.0.2.1"), ClientID: clientID}, secret)
		}
		knock(b, "sdk_or_none", "192.0.2.1")
		time.Sleep(keepNewEvery + time.Millisecond)
		stop()
		got := serials(b)
		slices.Sort(got)
		if !slices.Equal(got, []string{"SN1", "SN2", "SN3", "sdk_or_none"}) {
			t.Errorf("got %q, want those with names", got)
		}
		for serial, k := range s.kept {
			if strings.Contains(serial+k.ClientID, secret) {
				t.Errorf("%.3s is kept with a secret as its client id", serial)
			}
		}
		if got := s.kept["SN3"].ClientID; got != "sdk_or_none" {
			t.Errorf("got client id %q, want the one that came", got)
		}
	})
}

func TestInbox_SurvivesARestartAndWritesSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		b, _ := newInbox(t, s)
		stop := run(t, b)
		knock(b, "SN1", "192.0.2.1")
		time.Sleep(keepNewEvery + time.Millisecond)
		_, turns := s.figures()
		for range 50 {
			knock(b, "SN1", "192.0.2.1")
			time.Sleep(time.Second)
		}
		if _, now := s.figures(); now != turns {
			t.Errorf("a stranger that tries again was written %d times in 50 s", now-turns)
		}
		stop() // with what was not written yet
		again, _ := newInbox(t, s)
		got, there := again.Find("SN1")
		if !there || got.Attempts != 51 || !got.Proved() || got.LastSeen <= got.FirstSeen {
			t.Errorf("after a restart: got %+v, %v", got, there)
		}
	})
}

func TestInbox_IsBoundedAndAFloodPushesOutItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		b, _ := newInbox(t, s)
		stop := run(t, b)
		knock(b, "mine", "192.0.2.1")
		time.Sleep(keepNewEvery + time.Millisecond)
		for i := range 10_000 {
			knock(b, fmt.Sprintf("flood-%d", i), fmt.Sprintf("2001:db8::%x", i%1000)) // one subscriber
		}
		time.Sleep(keepNewEvery)
		if got := b.List(); len(got) != 1+MaxPerAddress || got[len(got)-1].Serial != "mine" || got[0].Serial != "flood-9900" {
			t.Errorf("got %d strangers, want the first and the newest %d of the flood", len(got), MaxPerAddress)
		}
		for i := range 2 * MaxStrangers {
			knock(b, fmt.Sprintf("fleet-%d", i), fmt.Sprintf("10.0.%d.%d", i/250, i%250))
		}
		time.Sleep(2*keepNewEvery + time.Millisecond)
		stop()
		if got := b.List(); len(got) != MaxStrangers || len(s.kept) != MaxStrangers || len(b.crowd) != MaxStrangers {
			t.Errorf("got %d listed, %d kept, %d addresses; want %d of each", len(got), len(s.kept), len(b.crowd), MaxStrangers)
		}
	})
}

func TestInbox_RegisteredIsNoStrangerWhoeverIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		b, dir := newInbox(t, s)
		stop := run(t, b)
		knock(b, "SN1", "192.0.2.1")
		time.Sleep(keepNewEvery + time.Millisecond)
		dir.Put(auth.Device{SensorID: 1, Serial: "SN1", OwnerID: 1})
		b.AuthorityChanged(auth.Change{Kind: auth.SensorAdded, Serial: "SN1", SensorID: 1})
		knock(b, "SN1", "192.0.2.1") // was refused before
		time.Sleep(keepNewEvery + time.Millisecond)
		if kept, _ := s.figures(); serials(b) != nil || kept != 0 {
			t.Errorf("got %v listed and %d kept, want none", serials(b), kept)
		}
		stop()
	})
}

func TestInbox_DismissedStaysAwayForAMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		b, _ := newInbox(t, s)
		stop := run(t, b)
		knock(b, "SN1", "192.0.2.1")
		if err := b.Dismiss(t.Context(), "SN1"); !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("before it was listed: got %v, want %v", err, telemetry.ErrNotFound)
		}
		time.Sleep(keepNewEvery + time.Millisecond)
		s.fail(true)
		if err := b.Dismiss(t.Context(), "SN1"); err == nil || len(serials(b)) != 1 {
			t.Errorf("a failing store: got %v and %v, want an error and nothing changed", err, serials(b))
		}
		s.fail(false)
		if err := b.Dismiss(t.Context(), "SN1"); err != nil {
			t.Fatal(err)
		}
		again, _ := newInbox(t, s)
		if serials(b) != nil || serials(again) != nil {
			t.Errorf("got %v, after a restart %v; want none", serials(b), serials(again))
		}
		time.Sleep(MuteFor - time.Hour)
		knock(b, "SN1", "192.0.2.1")
		time.Sleep(time.Minute)
		if got := serials(b); got != nil {
			t.Errorf("muted: got %v", got)
		}
		time.Sleep(time.Hour)
		if got := serials(b); len(got) != 1 {
			t.Errorf("after a month: got %v, want it again", got)
		}
		time.Sleep(KeepFor)
		if kept, _ := s.figures(); kept != 0 || b.Stats().Strangers != 0 {
			t.Errorf("unseen for a month: got %d kept, want it forgotten", kept)
		}
		stop()
	})
}

func TestInbox_FailingStoreLosesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{fails: true}
		b, _ := newInbox(t, s)
		stop := run(t, b)
		knock(b, "SN1", "192.0.2.1")
		time.Sleep(10 * keepNewEvery)
		s.fail(false)
		time.Sleep(keepNewEvery + time.Millisecond)
		if got := serials(b); !slices.Equal(got, []string{"SN1"}) {
			t.Errorf("got %v, want SN1", got)
		}
		stop()
	})
}

// BenchmarkInbox_Storm is one knock: of somebody who tries again, of ever new names from one address, and from ever new addresses.
func BenchmarkInbox_Storm(b *testing.B) {
	for what, of := range map[string]func(i int) (string, netip.Addr){
		"again":       func(i int) (string, netip.Addr) { return fmt.Sprint("SN", i%100), netip.AddrFrom4([4]byte{10}) },
		"one-address": func(i int) (string, netip.Addr) { return fmt.Sprint("SN", i), netip.AddrFrom4([4]byte{10}) },
		"any-addresses": func(i int) (string, netip.Addr) {
			return fmt.Sprint("SN", i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		},
	} {
		b.Run(what, func(b *testing.B) {
			in, _ := newInbox(b, &shelf{})
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				serial, address := of(i)
				in.Knocked(telemetry.Knock{At: telemetry.Millis(i), Serial: serial, Address: address, ClientID: "client", Protocol: "MQTT 3.1.1"}, "a-secret-of-its-own")
				i++
			}
		})
	}
}
