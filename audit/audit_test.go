package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// shelf is a Keeper in memory.
type shelf struct {
	kept    []Entry
	buckets []string
	err     error
}

func (s *shelf) AppendEntry(ctx context.Context, e Entry, bucket string) error {
	s.kept, s.buckets = append(s.kept, e), append(s.buckets, bucket)
	return cmp.Or(s.err, ctx.Err())
}

func (s *shelf) Entries(context.Context, Query) ([]Entry, error) { return s.kept, s.err }

func TestParties_AreEachNamedOnce(t *testing.T) {
	for _, tc := range []struct {
		actor, account, owner int64
		want                  []int64
	}{
		{0, 0, 0, nil},
		{7, 0, 0, []int64{7}},
		{7, 7, 7, []int64{7}},
		{7, 8, 7, []int64{7, 8}},
		{7, 8, 8, []int64{7, 8}},
		{7, 7, 8, []int64{7, 8}},
		{7, 8, 9, []int64{7, 8, 9}},
		{0, 8, 9, []int64{8, 9}},
	} {
		e := Entry{Actor: Account{ID: tc.actor}, Account: Account{ID: tc.account}, Sensor: Sensor{OwnerID: tc.owner}}
		if got := e.Parties(); !slices.Equal(got, tc.want) {
			t.Errorf("of %+v: got %v, want %v", tc, got, tc.want)
		}
	}
}

func TestBy_SaysWhatThePrincipalProved(t *testing.T) {
	for _, tc := range []struct {
		p      auth.Principal
		via    Via
		viaID  string
		person int64
	}{
		{auth.Principal{}, Nothing, "", 0},
		{auth.Principal{Kind: auth.Operator}, Nothing, "", 0}, // the door knows
		{auth.Principal{Kind: auth.Person, UserID: 7, SessionID: "s"}, Session, "s", 7},
		{auth.Principal{Kind: auth.Person, UserID: 7, TokenID: "t"}, Token, "t", 7},
	} {
		if e := By(tc.p, "x"); e.Via != tc.via || e.ViaID != tc.viaID || e.Actor.ID != tc.person || e.Count != 1 || e.At == 0 {
			t.Errorf("%+v: got %+v", tc.p, e)
		}
	}
}

func TestJudge_TellsRefusalsAndFaultsFromMistakes(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("doing something: %w", err) }
	for _, tc := range []struct {
		err  error
		want Outcome // empty: no entry
	}{
		{nil, Done},
		{wrap(telemetry.ErrForbidden), Refused},
		{wrap(telemetry.ErrUnauthenticated), Refused},
		{fmt.Errorf("%w: %w", auth.ErrWrongPassword, telemetry.Invalid("password", "is wrong")), Refused},
		{wrap(telemetry.Invalid("name", "is long")), ""},
		{wrap(telemetry.ErrNotFound), ""},
		{wrap(telemetry.Conflict("serial_no", "is taken")), ""},
		{wrap(&auth.RateError{RetryAfter: 1}), ""},
		{wrap(telemetry.ErrUnavailable), ""},
		{wrap(context.Canceled), ""},
		{wrap(context.DeadlineExceeded), ""},
		{errors.New("no one expects this"), Failed},
	} {
		if got, worth := Judge(tc.err); got != tc.want || worth != (tc.want != "") {
			t.Errorf("%v: got %q, %v, want %q", tc.err, got, worth, tc.want)
		}
	}
}

// What strangers are refused makes a bounded number of entries a minute, whoever they are; what was done is never shared.
func TestTrail_CrowdOfStrangersSharesAnEntry(t *testing.T) {
	s := new(shelf)
	trail := New(s, slog.New(slog.DiscardHandler))
	at := telemetry.Millis(1_800_000_000_000)
	refuse := func(at telemetry.Millis, address string) {
		trail.Record(t.Context(), Entry{At: at, Action: "login", Outcome: Refused, Count: 1, Address: address, Account: Account{ID: 7, Name: "ann"}})
	}
	for i := range maxBuckets + 50 {
		refuse(at, fmt.Sprintf("192.0.2.%d", i))
	}
	refuse(at, "192.0.2.3") // has one already
	distinct := map[string]int{}
	for _, bucket := range s.buckets {
		distinct[bucket]++
	}
	if len(distinct) != maxBuckets+1 {
		t.Errorf("got %d entries, want %d and one that is shared", len(distinct), maxBuckets)
	}
	if last := s.kept[maxBuckets+49]; last.Address != "" || last.Account != (Account{}) || last.Action != "login" {
		t.Errorf("the shared entry is of %+v, want of nobody", last)
	}
	if got := s.kept[len(s.kept)-1]; got.Address != "192.0.2.3" {
		t.Errorf("who has an entry was put to the others: %+v", got)
	}
	refuse(at+telemetry.Millis(minute), "192.0.2.200")
	if got := s.kept[len(s.kept)-1]; got.Address != "192.0.2.200" {
		t.Errorf("the next minute begins with %+v, want room for all", got)
	}
	trail.Record(t.Context(), Entry{At: at, Action: "login", Outcome: Done})
	if got := s.buckets[len(s.buckets)-1]; got != "" {
		t.Errorf("what was done shares the entry %q, want one of its own", got)
	}
}

func TestTrail_LossIsLoggedAndCounted(t *testing.T) {
	var said strings.Builder
	trail := New(&shelf{err: telemetry.ErrUnavailable}, slog.New(slog.NewTextHandler(&said, nil)))
	trail.Record(t.Context(), Entry{Action: "delete-sensor", Outcome: Done, Sensor: Sensor{Serial: "SN1"}})
	if got := trail.Stats(); got != (Stats{Lost: 1}) {
		t.Errorf("got %+v, want one lost", got)
	}
	for _, want := range []string{"level=ERROR", "delete-sensor", "SN1"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the log lacks %q: %s", want, &said)
		}
	}
}

func TestTrail_ClientThatLeavesTakesNoEntryWithIt(t *testing.T) {
	trail := New(new(shelf), slog.New(slog.DiscardHandler))
	left, leave := context.WithCancel(t.Context())
	leave()
	trail.Record(left, Entry{Action: "delete-sensor", Outcome: Done})
	if got := trail.Stats(); got != (Stats{Written: 1}) {
		t.Errorf("got %+v, want one written", got)
	}
}
