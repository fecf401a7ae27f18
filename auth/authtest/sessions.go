package authtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Refresh tokens are named by words here; the store only sees hashes.
func hashOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// mustOpen opens a session whose id and first refresh token are called name.
func mustOpen(t *testing.T, s Store, userID int64, name string) auth.Session {
	t.Helper()
	session := auth.Session{ID: name, UserID: userID, CreatedAt: start, ExpiresAt: expiry, LastUse: auth.Use{At: start, Address: "203.0.113.7", Client: name}}
	if err := s.CreateSession(t.Context(), session, hashOf(name)); err != nil {
		t.Fatalf("CreateSession(%s): got %v, want nil", name, err)
	}
	return session
}

func rotate(t *testing.T, s Store, old, next string, after telemetry.Millis) (auth.Session, error) {
	t.Helper()
	return s.RotateRefresh(t.Context(), hashOf(old), hashOf(next), useAfter(after), start+after+grace)
}

// useAfter is the use that a rotation after so long notes.
func useAfter(after telemetry.Millis) auth.Use {
	return auth.Use{At: start + after, Address: "2001:db8::1", Client: "refresher"}
}

func mustRotate(t *testing.T, s Store, old, next string, after telemetry.Millis) auth.Session {
	t.Helper()
	session, err := rotate(t, s, old, next, after)
	if err != nil {
		t.Fatalf("RotateRefresh(%s → %s) at +%d ms: got %v, want nil", old, next, after, err)
	}
	return session
}

// wantRefused expects the token to be unknown or over, which is not reuse.
func wantRefused(t *testing.T, s Store, old string, after telemetry.Millis) {
	t.Helper()
	if _, err := rotate(t, s, old, old+"-never", after); !errors.Is(err, telemetry.ErrUnauthenticated) || errors.Is(err, auth.ErrReused) {
		t.Errorf("RotateRefresh(%s) at +%d ms: got %v, want ErrUnauthenticated but not ErrReused", old, after, err)
	}
}

// wantReused expects the token to end its session, with every token of it, at that instant.
func wantReused(t *testing.T, s Store, old string, after telemetry.Millis, session auth.Session, family ...string) {
	t.Helper()
	got, err := rotate(t, s, old, old+"-never", after)
	if got.LastUse = session.LastUse; !errors.Is(err, auth.ErrReused) || got != session {
		t.Errorf("RotateRefresh(%s) at +%d ms: got %+v, %v, want %+v, ErrReused", old, after, got, err, session)
	}
	for _, name := range append(family, old, old+"-never") {
		wantRefused(t, s, name, after)
	}
	if ended, err := s.EndedSince(t.Context(), start); err != nil || ended[session.ID] != start+after {
		t.Errorf("EndedSince after reuse: got %v, %v, want %s at %d", ended, err, session.ID, start+after)
	}
}

func openOne(t *testing.T, s Store) auth.Session {
	t.Helper()
	return mustOpen(t, s, mustCreate(t, s, "ada").ID, "a")
}

func refreshRotates(t *testing.T, s Store) {
	session := openOne(t, s)
	old := "a"
	for i := range 5 {
		next := fmt.Sprintf("a%d", i)
		after := telemetry.Millis(i+1) * 60 * second
		session.LastUse = useAfter(after)
		if got := mustRotate(t, s, old, next, after); got != session {
			t.Errorf("RotateRefresh: got %+v, want %+v", got, session)
		}
		old = next
	}
}

func refreshOfUnknownOrOver(t *testing.T, s Store) {
	openOne(t, s)
	wantRefused(t, s, "unknown", second)
	wantRefused(t, s, "a", expiry-start)
	mustRotate(t, s, "a", "b", expiry-start-1)
}

func lostReplyMayBeRepeated(t *testing.T, s Store) {
	session := openOne(t, s)
	mustRotate(t, s, "a", "b", 0) // b never arrives
	mustRotate(t, s, "a", "b2", grace-1)
	mustRotate(t, s, "b2", "c", 60*second)
	wantReused(t, s, "a", 61*second, session, "b", "b2", "c")
}

func graceIsNotProlonged(t *testing.T, s Store) {
	session := openOne(t, s)
	mustRotate(t, s, "a", "b", 0)
	mustRotate(t, s, "a", "b2", 9*second)
	wantReused(t, s, "a", grace, session, "b", "b2")
}

func siblingsBothGoOn(t *testing.T, s Store) {
	session := openOne(t, s)
	mustRotate(t, s, "a", "left", 0)
	mustRotate(t, s, "a", "right", second)
	mustRotate(t, s, "left", "left2", 60*second)
	mustRotate(t, s, "right", "right2", 61*second)
	mustRotate(t, s, "right", "right3", 62*second)
	mustRotate(t, s, "left2", "left3", 120*second)
	wantReused(t, s, "right", 121*second, session, "left3", "right2", "right3")
}

func reuseAfterGrace(t *testing.T, s Store) {
	session := openOne(t, s)
	mustRotate(t, s, "a", "b", 0)
	wantReused(t, s, "a", grace, session, "b")
}

func reuseOfGrandparent(t *testing.T, s Store) {
	session := openOne(t, s)
	mustRotate(t, s, "a", "b", 0)
	mustRotate(t, s, "b", "c", second)
	wantReused(t, s, "a", 2*second, session, "b", "c")
}

func concurrentRefreshes(t *testing.T, s Store) {
	session := openOne(t, s)
	session.LastUse = useAfter(second)
	const tabs = 16
	var wg sync.WaitGroup
	for i := range tabs {
		wg.Go(func() {
			if got, err := rotate(t, s, "a", fmt.Sprint("tab", i), second); err != nil || got != session {
				t.Errorf("RotateRefresh in tab %d: got %+v, %v, want %+v", i, got, err, session)
			}
		})
	}
	wg.Wait()
	for i := range tabs {
		mustRotate(t, s, fmt.Sprint("tab", i), fmt.Sprint("next", i), 60*second)
	}
}

func endedSessionStaysEnded(t *testing.T, s Store) {
	session := openOne(t, s)
	for _, at := range []telemetry.Millis{start + second, start + 2*second} {
		if err := s.EndSession(t.Context(), session.ID, at); err != nil {
			t.Errorf("EndSession: got %v, want nil", err)
		}
	}
	if err := s.EndSession(t.Context(), "unknown", start); err != nil {
		t.Errorf("EndSession of an unknown session: got %v, want nil", err)
	}
	wantRefused(t, s, "a", 3*second)
	for since, want := range map[telemetry.Millis]int{start: 1, start + second: 1, start + second + 1: 0} {
		ended, err := s.EndedSince(t.Context(), since)
		if err != nil || len(ended) != want || want == 1 && ended[session.ID] != start+second {
			t.Errorf("EndedSince(%d): got %v, %v, want %d, ended at %d", since, ended, err, want, start+second)
		}
	}
}

func endSessionsSpares(t *testing.T, s Store) {
	ada, bob := mustCreate(t, s, "ada"), mustCreate(t, s, "bob")
	for _, name := range []string{"a1", "a2", "a3", "over"} {
		mustOpen(t, s, ada.ID, name)
	}
	mustOpen(t, s, bob.ID, "b1")
	if err := s.EndSession(t.Context(), "over", start); err != nil {
		t.Fatalf("EndSession: got %v, want nil", err)
	}
	for _, step := range []struct {
		except string
		want   []string
	}{{"a2", []string{"a1", "a3"}}, {"", []string{"a2"}}, {"", nil}} {
		got, err := s.EndSessions(t.Context(), ada.ID, step.except, start+second)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, step.want) {
			t.Errorf("EndSessions(except %q): got %v, %v, want %v", step.except, got, err, step.want)
		}
		if step.except != "" {
			mustRotate(t, s, "a2", "a2b", second)
		}
	}
	for _, name := range []string{"a1", "a2b", "a3", "over"} {
		wantRefused(t, s, name, 2*second)
	}
	mustRotate(t, s, "b1", "b2", 2*second)
}

func liveSessionsAreListed(t *testing.T, s Store) {
	ada, bob := mustCreate(t, s, "ada"), mustCreate(t, s, "bob")
	var want []auth.Session // newest first, those of one instant by id
	for i := range 6 {
		session := auth.Session{
			ID: fmt.Sprint("a", i), UserID: ada.ID, CreatedAt: start + telemetry.Millis(i/2), ExpiresAt: expiry + telemetry.Millis(i),
			LastUse: auth.Use{At: start, Address: "203.0.113.7", Client: fmt.Sprint("client ", i)},
		}
		if err := s.CreateSession(t.Context(), session, hashOf(session.ID)); err != nil {
			t.Fatalf("CreateSession: got %v, want nil", err)
		}
		want = append([]auth.Session{session}, want...)
	}
	mustOpen(t, s, bob.ID, "b")
	if err := s.EndSession(t.Context(), "a5", start+second); err != nil {
		t.Fatalf("EndSession: got %v, want nil", err)
	}
	want = want[1:5] // a5 has ended, a0 expires at expiry
	want[2].LastUse = mustRotate(t, s, "a2", "next", second).LastUse
	var got []auth.Session
	for after := (auth.Session{}); len(got) < 10; after = got[len(got)-1] {
		page, err := s.LiveSessions(t.Context(), ada.ID, expiry, after, 3)
		if err != nil || len(page) > 3 {
			t.Fatalf("LiveSessions: got %+v, %v, want at most 3, nil", page, err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages: got %+v, want %+v", got, want)
	}
	if one, err := s.LiveSession(t.Context(), ada.ID, expiry, "a2"); err != nil || one != want[2] {
		t.Errorf("LiveSession: got %+v, %v, want %+v", one, err, want[2])
	}
	for what, id := range map[string]string{"an expired": "a0", "an ended": "a5", "somebody else's": "b", "an unknown": "x"} {
		if one, err := s.LiveSession(t.Context(), ada.ID, expiry, id); !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("LiveSession of %s: got %+v, %v, want ErrNotFound", what, one, err)
		}
	}
}

func tokenIsSpentOnce(t *testing.T, s Store) {
	var first atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			ok, err := s.SpendToken(t.Context(), fmt.Sprint("token", i%4), start+second)
			if err != nil {
				t.Errorf("SpendToken: got %v, want nil", err)
			}
			if ok {
				first.Add(1)
			}
		})
	}
	wg.Wait()
	if first.Load() != 4 {
		t.Errorf("64 uses of four tokens at once: got %d told first, want 4", first.Load())
	}
	if ok, err := s.SpendToken(t.Context(), "token0", start+second); ok || err != nil {
		t.Errorf("once more: got %v, %v, want false, nil", ok, err)
	}
}
