package simulator

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func specOf(t testing.TB, profile, serial string) Spec {
	t.Helper()
	p, ok := profileNamed(profile)
	if !ok {
		t.Fatalf("no profile %q", profile)
	}
	return Spec{Serial: serial, Profile: p, Seed: seedOf(1, serial)}
}

func TestPayload_EveryProfileInEveryDialectIsJSON(t *testing.T) {
	for _, name := range profileNames() {
		spec := specOf(t, name, "SIM-0001")
		for _, d := range dialects {
			payload := d.appendReading(nil, &spec, afternoon, "r-1")
			if !json.Valid(payload) {
				t.Errorf("%s as %s is not JSON: %s", name, d, payload)
			}
			if spoiled := spoil(payload); json.Valid(spoiled) {
				t.Errorf("%s as %s, spoiled, is still JSON: %s", name, d, spoiled)
			}
		}
	}
}

func TestPayload_EnvelopeCarriesTimeIDAndRoundedData(t *testing.T) {
	spec := specOf(t, "people", "SIM-0004")
	at := time.Date(2026, 6, 15, 9, 30, 0, 5_000_000, time.FixedZone("", 7200))
	got := string(Envelope.appendReading(nil, &spec, at, "r-1"))
	if want := `{"time":"2026-06-15T07:30:00.005Z","id":"r-1","data":{"numberOfPerson":`; !strings.HasPrefix(got, want) {
		t.Errorf("got %s want prefix %s", got, want)
	}
	var reading struct {
		Data map[string]any
	}
	if err := json.Unmarshal([]byte(got), &reading); err != nil {
		t.Fatal(err)
	}
	if s := reading.Data["status"]; s != "vacant" && s != "occupied" {
		t.Errorf("status got %v want vacant or occupied", s)
	}

	room := specOf(t, "room", "SIM-0001")
	for i := range 500 {
		var data map[string]json.Number
		payload := Plain.appendReading(nil, &Spec{Profile: Profile{Metrics: room.Profile.Metrics[:2]}, Seed: room.Seed}, at.Add(time.Duration(i)*time.Minute), "")
		if err := json.Unmarshal(payload, &data); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		if _, decimals, _ := strings.Cut(string(data["temperature"]), "."); len(decimals) > 2 {
			t.Fatalf("temperature has %d decimals: %s", len(decimals), payload)
		}
	}
}

func TestPayload_BatchHoldsEachTime(t *testing.T) {
	spec := specOf(t, "meter", "SIM-0003")
	times := []time.Time{afternoon, afternoon.Add(time.Second)}
	ids := []string{"r-1", "r-2"}
	next := func() string { id := ids[0]; ids = ids[1:]; return id }
	var batch []struct {
		Time time.Time
		ID   string
		Data map[string]float64
	}
	if err := json.Unmarshal(Envelope.appendBatch(nil, &spec, times, next), &batch); err != nil {
		t.Fatal(err)
	}
	for i, r := range batch {
		if !r.Time.Equal(times[i]) || r.ID == "" || len(r.Data) != 4 {
			t.Errorf("reading %d got %+v", i, r)
		}
	}
	var pack []map[string]any
	if err := json.Unmarshal(SenML.appendBatch(nil, &spec, times, nil), &pack); err != nil {
		t.Fatal(err)
	}
	if len(pack) != 8 || pack[0]["bt"] == nil || pack[1]["bt"] != nil || pack[4]["bt"] == nil {
		t.Errorf("pack got %v want 8 records, a base time on the first and the fifth", pack)
	}
}

func TestRound_HasNoNegativeZero(t *testing.T) {
	m := Metric{Decimals: 1, Signal: func(uint64, time.Time) float64 { return -0.01 }}
	if got := string(m.appendValue(nil, 0, afternoon)); got != "0" {
		t.Errorf("got %s want 0", got)
	}
}

func BenchmarkPayload(b *testing.B) {
	for _, name := range profileNames() {
		b.Run(name, func(b *testing.B) {
			spec := specOf(b, name, "SIM-0001")
			buffer := make([]byte, 0, 512)
			at := afternoon
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(time.Second)
				buffer = Envelope.appendReading(buffer[:0], &spec, at, "lx2k9q3c-123456")
			}
		})
	}
}
