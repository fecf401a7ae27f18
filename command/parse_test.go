package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"sensorcast/telemetry"
)

// FuzzReply: what is taken for a reply has an id and an ok by exactly these names and is kept as valid, bounded JSON that reads the same.
func FuzzReply(f *testing.F) {
	for _, s := range []string{`{"id":"a","ok":true}`, `{"id":"a","ok":false,"x":[1e400]}`, `{"ok":true,"id":"\ud800"}`, `{"id":"a","id":"b","ok":true}`, `[]`, `null`, `"`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := parseReply(payload)
		if err != nil {
			if !errors.Is(err, telemetry.ErrInvalid) {
				t.Errorf("%q: got %v, want a mistake of the input", payload, err)
			}
			return
		}
		if r.id == "" || len(r.id) > maxIDBytes || !json.Valid(r.raw) || !utf8.Valid(r.raw) || len(r.raw) > MaxReplyBytes {
			t.Errorf("%q: got %+v", payload, r)
		}
		again, err := parseReply(r.raw)
		if err != nil || again.id != r.id || again.ok != r.ok || !bytes.Equal(again.raw, r.raw) {
			t.Errorf("%q: read again got %+v, %v, want %+v", payload, again, err, r)
		}
		var fields map[string]any
		if json.Unmarshal(payload, &fields) != nil && !bytes.Contains(payload, []byte("e")) { // 1e400 is JSON and no float64
			t.Errorf("%q: taken, and no object", payload)
		}
	})
}

func TestState_FollowsOnlyForward(t *testing.T) {
	all := []State{"", Queued, Delivered, Answered, Failed, Expired, "other"}
	allowed := map[[2]State]bool{
		{Queued, Delivered}: true, {Queued, Answered}: true, {Queued, Failed}: true, {Queued, Expired}: true,
		{Delivered, Answered}: true, {Delivered, Failed}: true,
		{Expired, Delivered}: true, {Expired, Answered}: true, {Expired, Failed}: true,
	}
	for _, was := range all {
		for _, s := range all {
			if got, want := s.Follows(was), allowed[[2]State{was, s}]; got != want {
				t.Errorf("from %q to %q: got %v, want %v", was, s, got, want)
			}
		}
	}
}
