package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sensorcast/telemetry"
)

// history returns a house with one sensor and n readings a minute apart, oldest first, and the path of its readings.
func history(t *testing.T, n int) (h *house, p personFixture, path string) {
	h = newHouse(t)
	p = h.person("ada")
	serial, secret := h.sensor(p, map[string]any{"serial_no": "SN1"})
	for i := range n {
		h.send(serial, secret, fmt.Sprintf(`{"time":"2026-01-01T00:%02d:00Z","data":{"n":%d}}`, i, i))
	}
	return h, p, "/api/v1/sensors/SN1/readings"
}

// numbers are the n of each item.
func (p pageAnswer) numbers() (out []int) {
	for _, r := range p.Items {
		out = append(out, int(r["data"].(map[string]any)["n"].(float64)))
	}
	return out
}

func TestReadings_OrderRangeAndLimit(t *testing.T) {
	h, p, path := history(t, 6)
	var first pageAnswer
	h.call("GET", path+"?order=asc&limit=1", p.access, nil).want(http.StatusOK).into(&first)
	if r := first.Items[0]; len(r) != 4 || r["time"] != "2026-01-01T00:00:00.000Z" || !isTimestamp(r["received_at"]) {
		t.Errorf("got %v, want seq, time, received_at and data", r)
	}
	seq := int64(first.Items[0]["seq"].(float64))
	for query, want := range map[string][]int{
		"":                           {5, 4, 3, 2, 1, 0},
		"?order=desc":                {5, 4, 3, 2, 1, 0},
		"?order=asc":                 {0, 1, 2, 3, 4, 5},
		"?limit=2":                   {5, 4},
		"?from=2026-01-01T00:04:00Z": {5, 4},
		"?to=2026-01-01T00:02:00Z":   {1, 0},
		"?from=2026-01-01T02:01:00%2B02:00&to=2026-01-01T00:03:00.000Z": {2, 1},
		fmt.Sprintf("?after_seq=%d", seq):                               {1, 2, 3, 4, 5},
		fmt.Sprintf("?after_seq=%d&order=desc", seq):                    {5, 4, 3, 2, 1},
		"?after_seq=0":      {0, 1, 2, 3, 4, 5},
		"?after_seq=999999": nil,
	} {
		var page pageAnswer
		a := h.call("GET", path+query, p.access, nil).want(http.StatusOK)
		a.into(&page)
		if got := page.numbers(); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", query, got, want)
		}
		if !strings.Contains(string(a.body), `"items":[`) {
			t.Errorf("%q: got %s, want items as an array", query, a.body)
		}
	}
}

func TestReadings_CursorContinuesInEveryOrder(t *testing.T) {
	h, p, path := history(t, 11)
	for _, query := range []string{"?limit=3", "?limit=3&order=asc", "?limit=3&after_seq=0", "?limit=3&after_seq=0&order=desc"} {
		var got []int
		cursor := ""
		for pages := 1; ; pages++ {
			var page pageAnswer
			h.call("GET", path+query+"&cursor="+url.QueryEscape(cursor), p.access, nil).want(http.StatusOK).into(&page)
			got = append(got, page.numbers()...)
			if page.Next == nil {
				if pages != 4 {
					t.Errorf("%s: got %d pages, want 4", query, pages)
				}
				break
			}
			cursor = *page.Next
		}
		want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
		if strings.Contains(query, "desc") || query == "?limit=3" {
			slices.Reverse(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
}

func TestReadings_FullLastPageHasNoNext(t *testing.T) {
	h, p, path := history(t, 4)
	var page pageAnswer
	h.call("GET", path+"?limit=4", p.access, nil).want(http.StatusOK).into(&page)
	if len(page.Items) != 4 || page.Next != nil {
		t.Errorf("got %d items and next %v, want 4 and null", len(page.Items), page.Next)
	}
}

func TestReadings_RefusesBadParametersByName(t *testing.T) {
	h, p, path := history(t, 0)
	for query, field := range map[string]string{
		"?limit=0": "query.limit", "?limit=501": "query.limit", "?from=yesterday": "query.from", "?to=2026-13-01T00:00:00Z": "query.to",
		"?after_seq=-1": "query.after_seq", "?after_seq=x": "query.after_seq", "?order=up": "query.order", "?cursor=zzz": "query.cursor",
		"?cursor=" + strings.Repeat("A", 65): "query.cursor", "?form=2026-01-01T00:00:00Z": "query.form",
	} {
		h.call("GET", path+query, p.access, nil).wantFault(http.StatusUnprocessableEntity, "invalid", field)
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add(position{time: 1, seq: 1}.cursor())
	f.Add(position{time: -1 << 63, seq: 1<<63 - 1}.cursor())
	f.Add("AQICAA")
	f.Add("AYAA")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseCursor(s)
		switch {
		case err != nil:
			if p != (position{}) {
				t.Errorf("%q: got position %+v beside the error", s, p)
			}
		case s == "":
		case p.seq <= 0:
			t.Errorf("%q: got seq %d, which means from the start", s, p.seq)
		case p.cursor() != s:
			t.Errorf("%q: its position is written %q; one position must have one spelling", s, p.cursor())
		}
	})
}

func TestCursor_RoundTrips(t *testing.T) {
	for _, want := range []position{{time: telemetry.Now(), seq: 1}, {time: -5, seq: 1 << 62}, {time: 0, seq: 7}} {
		got, err := parseCursor(want.cursor())
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}
