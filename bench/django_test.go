package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

func TestDjango_PublicationIsAnEnvelopeWithATimeToFind(t *testing.T) {
	b := djangoPublication().at(1234567890, 0)
	if size := int(b[2])<<8 | int(b[3]); b[0] != 0x80|text || b[1] != 0x80|126 || size != len(b)-8 {
		t.Fatalf("got a head of % x before %d bytes, want a masked text frame of that length", b[:8], len(b)-8)
	}
	var envelope struct{ Data json.RawMessage }
	if err := json.Unmarshal(b[8:], &envelope); err != nil {
		t.Fatalf("%s: %v", b[8:], err)
	}
	if got := len(envelope.Data); got != payloadBytes {
		t.Errorf("got a reading of %d bytes, want %d", got, payloadBytes)
	}
	// Python's json writes a blank after each colon and comma.
	answer := strings.NewReplacer(":", ": ", ",", ", ").Replace(string(b[8:]))
	for _, message := range []string{string(b[8:]), answer} {
		if at, ok := stamped([]byte(message)); !ok || at != 1234567890 {
			t.Errorf("%s: got time %d, %t; want 1234567890", message, at, ok)
		}
	}
	for _, cut := range []string{answer[:20], `{"data": {"sent": `, `{"data": {"sent":`} {
		if at, ok := stamped([]byte(cut)); ok {
			t.Errorf("%s: got time %d, want none", cut, at)
		}
	}
}

func TestDjango_HasNoPartInRowsWithoutViewersAndIsAskedForLess(t *testing.T) {
	peer, letters, eased := djangoContender(), "", ""
	for _, r := range rows(10) {
		if peer.partOf(r) {
			letters += r.letter + " "
			if r.easedFor(peer).name != r.name {
				eased += r.letter + " "
			}
			if got := r.easedFor(mochiContender("mochi", overWebSocket)).name; got != r.name {
				t.Errorf("a peer that keeps up: got row %q, want %q", got, r.name)
			}
		}
	}
	if want := "E F G H I J K-viewer "; letters != want {
		t.Errorf("got rows %s, want %s", letters, want)
	}
	if want := "H J "; eased != want {
		t.Errorf("got rows %s at a lower rate, want %s", eased, want)
	}
}

func TestDjango_QuickRunMeasuresAndLeavesNothingBehind(t *testing.T) {
	if _, err := findDjango(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	letters, lines := "E,F,J", 5
	if testing.Short() {
		letters, lines = "E", 2
	}
	var table, log strings.Builder
	args := []string{"-quick", "-rows", letters, "-peers", replaced, "-sensorcast", build(t), "-dir", dir}
	if err := run(context.Background(), args, &table, &log); err != nil {
		t.Fatalf("%v\n%s%s", err, &log, &table)
	}
	if got := strings.Count(table.String(), " "+replaced+" "); got != lines {
		t.Errorf("got %d lines, want %d:\n%s", got, lines, &table)
	}
	nothingLeft(t, dir)
}
