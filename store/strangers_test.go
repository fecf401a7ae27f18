package store

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sensorcast/auth"
	"sensorcast/inbox"
)

func TestStrangers_AreReadBackAndPeopleAreNotKept(t *testing.T) {
	d := openNew(t)
	newUser(t, d, "Ada")
	kept := []inbox.Stranger{
		{Serial: "SN1", FirstSeen: 1, LastSeen: 5, Attempts: 3, Address: "192.0.2.1", ClientID: "c", Protocol: "MQTT 5", Secret: auth.Secret{Hash: [32]byte{7}}, Secrets: 2, MutedUntil: 9},
		{Serial: "SN2", FirstSeen: 2, LastSeen: 4, Attempts: 1},
		{Serial: "aDA", FirstSeen: 2, LastSeen: 4, Attempts: 1},
		{Serial: "SN3"},
	}
	people, err := d.KeepStrangers(t.Context(), kept, nil)
	if err != nil || !slices.Equal(people, []string{"aDA"}) {
		t.Errorf("got people %v, %v; want aDA", people, err)
	}
	kept[1].Attempts = 2
	if _, err := d.KeepStrangers(t.Context(), kept[1:2], []string{"SN3", "SN2"}); err != nil {
		t.Fatal(err)
	}
	newUser(t, d, "sn2x")
	got, err := d.Strangers(t.Context())
	if diff := cmp.Diff([]inbox.Stranger{kept[1], kept[0]}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	newUser(t, d, "sn2") // who comes later is no stranger either
	if people, err := d.KeepStrangers(t.Context(), kept[1:2], nil); err != nil || len(people) != 1 {
		t.Errorf("got %v, %v", people, err)
	}
	if got, err = d.Strangers(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("got %d, %v; want 1", len(got), err)
	}
}
