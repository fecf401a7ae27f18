package mail

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sender is a Sender that answers as the test has it, and remembers.
type sender struct {
	answer func(l Letter, attempt int) error

	mu    sync.Mutex
	tries map[string]int
	sent  []string
}

func (s *sender) Send(ctx context.Context, l Letter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tries == nil {
		s.tries = map[string]int{}
	}
	s.tries[l.To]++
	if s.answer != nil {
		if err := s.answer(l, s.tries[l.To]); err != nil {
			return err
		}
	}
	s.sent = append(s.sent, l.To)
	return nil
}

// seen returns the addresses that were sent to, and how often each was tried.
func (s *sender) seen() (sent []string, tries map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent), maps.Clone(s.tries)
}

var quiet = slog.New(slog.DiscardHandler)

func to(address string) Errand {
	return func(context.Context) (Letter, error) { return Letter{To: address, Subject: "s", Text: "t"}, nil }
}

func TestQueue_TriesAgainWhatFailedForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{answer: func(l Letter, attempt int) error {
			switch {
			case l.To == "greylisted" && attempt < 3, l.To == "hopeless":
				return &SendError{Temporary: true, Reason: "later"}
			case l.To == "refused":
				return &SendError{Reason: "never"}
			}
			return nil
		}}
		q := NewQueue(s, quiet)
		defer q.Close(t.Context())
		for _, address := range []string{"greylisted", "hopeless", "refused", "good"} {
			q.Post(to(address))
		}
		q.Post(func(context.Context) (Letter, error) { return Letter{}, nil })
		q.Post(func(context.Context) (Letter, error) { return Letter{}, errors.New("no store") })
		synctest.Wait()
		if sent, _ := s.seen(); !slices.Equal(sent, []string{"good"}) {
			t.Errorf("at once: got %v sent, want the good one: nobody waits behind who fails", sent)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, tries := s.seen(); tries["greylisted"] != 3 || tries["hopeless"] != maxAttempts || tries["refused"] != 1 {
			t.Errorf("attempts: got %v, want 3, %d and 1", tries, maxAttempts)
		}
		if got, want := q.Stats(), (Stats{Sent: 2, Retried: 2 + maxAttempts - 1, Failed: 3}); got != want {
			t.Errorf("stats: got %+v, want %+v", got, want)
		}
	})
}

func TestQueue_IsBoundedAndDropsWhatIsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{answer: func(Letter, int) error { return &SendError{Temporary: true, Reason: "later"} }}
		q := NewQueue(s, quiet)
		for range maxErrands + 50 {
			q.Post(to("somebody"))
		}
		if got := q.Stats(); got.Dropped < 49 || got.Waiting > maxErrands {
			t.Errorf("got %+v, want at most %d waiting and the rest dropped", got, maxErrands)
		}
		if err := q.Close(t.Context()); err != nil {
			t.Errorf("Close: got %v", err)
		}
	})
}

func TestQueue_CloseSendsWhatWaitsAndEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{answer: func(l Letter, attempt int) error {
			if l.To == "greylisted" && attempt == 1 {
				return &SendError{Temporary: true, Reason: "later"}
			}
			return nil
		}}
		q := NewQueue(s, quiet)
		q.Post(to("greylisted"))
		synctest.Wait()
		q.Post(to("good"))
		err := q.Close(t.Context())
		if sent, _ := s.seen(); err != nil || len(sent) != 2 {
			t.Errorf("Close: got %v, sent %v, want both", err, sent)
		}
		q.Post(to("late"))
		if got := q.Stats(); got.Dropped != 1 {
			t.Errorf("after Close: got %+v, want the late one dropped", got)
		}
		if err := q.Close(t.Context()); err != nil {
			t.Errorf("Close again: got %v", err)
		}

		hanging := NewQueue(senderFunc(func(ctx context.Context, _ Letter) error { <-ctx.Done(); return ctx.Err() }), quiet)
		hanging.Post(to("a"))
		hanging.Post(to("b"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := hanging.Close(ctx); err != nil || time.Since(start) != time.Second {
			t.Errorf("Close with a hanging server: got %v after %v, want nil after 1 s", err, time.Since(start))
		}
		if got := hanging.Stats(); got.Dropped != 2 {
			t.Errorf("got %+v, want both dropped", got)
		}
	})
}

type senderFunc func(context.Context, Letter) error

func (f senderFunc) Send(ctx context.Context, l Letter) error { return f(ctx, l) }

func TestQueue_LogsNeitherLettersNorAddresses(t *testing.T) {
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	q := NewQueue(&sender{answer: func(Letter, int) error { return &SendError{Reason: "never"} }}, log)
	q.Post(func(context.Context) (Letter, error) { return letter(), nil })
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "letter not sent") || strings.Contains(text, token) || strings.Contains(text, "ada@") {
		t.Errorf("log: got %s", text)
	}
}

func TestLog_ShowsTheLetter(t *testing.T) {
	var out strings.Builder
	if err := NewLog(slog.New(slog.NewTextHandler(&out, nil))).Send(t.Context(), letter()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), token) {
		t.Errorf("got %s, want the letter", out.String())
	}
}
