package api

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func (h *house) sheet(p personFixture, query, text string) answer {
	h.t.Helper()
	return h.call("POST", "/api/v1/sensors/import"+query, p.access, []byte(text), "Content-Type: text/csv")
}

func (h *house) count(p personFixture) int {
	h.t.Helper()
	var page struct{ Items []any }
	h.call("GET", "/api/v1/sensors?limit=500", p.access, nil).want(http.StatusOK).into(&page)
	return len(page.Items)
}

func TestImport_RegistersEveryRowAndOpensTheDoors(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	var got imported
	h.sheet(p, "", "\ufeffserial_no;name;tags;silence_after;secret_key\r\nSN1;Attic;roof north;60;\r\nSN2;;;;flashed-at-the-factory\r\n").
		want(http.StatusCreated).into(&got)
	if got.Created != 2 || len(got.Items) != 2 || got.Items[0].Row != 2 || got.Items[0].Status != "created" || got.Items[1].Secret != "" {
		t.Fatalf("got %+v", got)
	}
	h.send("SN1", got.Items[0].Secret, `{"t":1}`)
	h.send("SN2", "flashed-at-the-factory", `{"t":1}`)
	for _, serial := range []string{"SN1", "SN2"} {
		if n := h.changes.count(auth.SensorAdded, serial); n != 1 {
			t.Errorf("%s: got %d announcements, want 1", serial, n)
		}
	}
	s := h.call("GET", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusOK).fields()
	if s["name"] != "Attic" || fmt.Sprint(s["tags"]) != "[roof north]" || s["silence_after"] != 60.0 || s["owner"] != "ada" {
		t.Errorf("got %v", s)
	}
	if strings.Contains(h.logs.String(), got.Items[0].Secret) {
		t.Error("the log holds a secret")
	}
}

func TestImport_AnyBadRowStoresNothingAndEveryMistakeHasItsPlace(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(h.person("bob"), fields{"serial_no": "BOBS"})
	a := h.sheet(p, "", "serial_no,name,secret_key\nSN1,good,\nBOBS,,\nSN3,bell \a,\nSN1,twice,\nSN5,,short\nbob,,\nexport,,\n")
	for _, place := range []string{"row 3.serial_no", "row 4.name", "row 5.serial_no", "row 6.secret_key", "row 7.serial_no", "row 8.serial_no"} {
		a.wantFault(http.StatusUnprocessableEntity, "invalid", place)
	}
	if n := h.count(p); n != 0 {
		t.Errorf("got %d sensors, want none", n)
	}
	if n := h.changes.count(auth.SensorAdded, "SN1"); n != 0 {
		t.Error("a sensor was announced that is not stored")
	}
	many := h.sheet(p, "", "serial_no\n"+strings.Repeat("#\n", 300)).wantProblem(http.StatusUnprocessableEntity, "invalid")
	if last := many.Errors[len(many.Errors)-1]; len(many.Errors) != 101 || last.Location != "" || last.Message != "there are 200 more mistakes" {
		t.Errorf("got %d mistakes, the last %+v", len(many.Errors), last)
	}
	h.sheet(p, "", strings.Repeat("x", maxSheetBytes+1)).wantProblem(http.StatusRequestEntityTooLarge, "too-large")
	h.sheet(p, "?dry-run=true", "serial_no\nSN1\n").wantProblem(http.StatusUnprocessableEntity, "invalid") // a slip must not import
}

func TestImport_MayBeRunAgain(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	const text = "serial_no,name,tags\nSN1,one,a;b\nSN2,two,\n"
	h.sheet(p, "", text).want(http.StatusCreated)
	var got imported
	h.sheet(p, "", text+"SN3,three,\n").want(http.StatusCreated).into(&got)
	if got.Created != 1 || got.Unchanged != 2 || got.Items[0].Status != "unchanged" || got.Items[0].Secret != "" || got.Items[2].Status != "created" {
		t.Errorf("got %+v", got)
	}
	const other = "serial_no,name\nSN1,one\nSN2,other\n"
	h.sheet(p, "", other).wantFault(http.StatusUnprocessableEntity, "invalid", "row 3.name")
	h.sheet(p, "?update=true", other).want(http.StatusOK).into(&got)
	if got.Updated != 1 || got.Unchanged != 1 || got.Items[1].Status != "updated" {
		t.Errorf("got %+v", got)
	}
	if s := h.call("GET", "/api/v1/sensors/SN1", p.access, nil).fields(); fmt.Sprint(s["tags"]) != "[a b]" {
		t.Errorf("got tags %v: a field the sheet has not was changed", s["tags"])
	}
	if s := h.call("GET", "/api/v1/sensors/SN2", p.access, nil).fields(); s["name"] != "other" || h.changes.count(auth.SensorChanged, "SN2") != 1 {
		t.Errorf("got name %v, %d announcements", s["name"], h.changes.count(auth.SensorChanged, "SN2"))
	}
	h.sheet(p, "?update=true", "serial_no,secret_key\nSN1,another-secret-altogether\n").wantFault(http.StatusUnprocessableEntity, "invalid", "row 2.secret_key")
}

func TestImport_DryRunOnlySays(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(h.person("bob"), fields{"serial_no": "BOBS"})
	var got imported
	h.sheet(p, "?dry_run=true", "serial_no\nSN1\n").want(http.StatusOK).into(&got)
	if !got.DryRun || got.Created != 1 || got.Items[0].Secret != "" || h.count(p) != 0 {
		t.Errorf("got %+v and %d sensors", got, h.count(p))
	}
	h.sheet(p, "?dry_run=true", "serial_no\nBOBS\n").wantFault(http.StatusUnprocessableEntity, "invalid", "row 2.serial_no")
}

func TestImport_TakesTenThousand(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	var text strings.Builder
	text.WriteString("serial_no,name,tags\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "FLEET-%d,Sensor %d,fleet;hall %d\n", i, i, i%20)
	}
	start := time.Now()
	var got imported
	h.sheet(p, "", text.String()).want(http.StatusCreated).into(&got)
	t.Logf("imported in %v", time.Since(start))
	if got.Created != 10_000 || h.dir.Len() != 10_000 {
		t.Errorf("got %d created, %d in the directory", got.Created, h.dir.Len())
	}
	start = time.Now()
	h.sheet(p, "", text.String()).want(http.StatusOK).into(&got)
	t.Logf("imported again in %v", time.Since(start))
	if got.Unchanged != 10_000 {
		t.Errorf("again: got %d unchanged, want all", got.Unchanged)
	}
	start = time.Now()
	sheet := h.call("GET", "/api/v1/sensors/export", p.access, nil).want(http.StatusOK)
	t.Logf("exported in %v", time.Since(start))
	if rows := strings.Count(string(sheet.body), "\n"); rows != 10_001 {
		t.Errorf("got %d rows exported, want 10001", rows)
	}
}

func TestExport_GoesBackInUnchangedAndShowsNoSecret(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, secret := h.sensor(p, fields{"serial_no": "SN1", "name": "=HYPERLINK(\"http://evil\")", "description": "@two\nlines", "tags": []string{"living room"}, "silence_after": 60})
	h.sensor(p, fields{"serial_no": "SN2", "name": "'t Hooft", "manufacturer": "-1", "tags": []string{"a;b", "c"}})
	h.sensor(h.person("bob"), fields{"serial_no": "BOBS"})
	a := h.call("GET", "/api/v1/sensors/export", p.access, nil).want(http.StatusOK)
	if got := a.header.Get("Content-Type"); !strings.HasPrefix(got, "text/csv") || !strings.Contains(a.header.Get("Content-Disposition"), "sensors.csv") {
		t.Errorf("got %s, %s", got, a.header.Get("Content-Disposition"))
	}
	if body := string(a.body); strings.Contains(body, secret) || strings.Contains(body, "secret_key") || strings.Contains(body, "BOBS") {
		t.Errorf("got what must not be in it: %s", body)
	}
	records, err := csv.NewReader(strings.NewReader(string(a.body))).ReadAll()
	must(t, err)
	if len(records) != 3 || records[1][1] != `'=HYPERLINK("http://evil")` || records[2][5] != "'-1" || records[2][1] != "'t Hooft" {
		t.Errorf("got %q", records)
	}
	var got imported
	h.sheet(p, "", string(a.body)).want(http.StatusOK).into(&got)
	if got.Unchanged != 2 {
		t.Errorf("got %+v, want both unchanged", got)
	}
	some := h.call("GET", "/api/v1/sensors/export?tag=c&tag=a%3Bb&state=never_seen", p.access, nil).want(http.StatusOK)
	if rows := strings.Split(string(some.body), "\n"); len(rows) != 3 || !strings.HasPrefix(rows[1], "SN2,") {
		t.Errorf("filtered: got %q", some.body)
	}
	h.call("GET", "/api/v1/sensors/export?state=x", p.access, nil).wantFault(http.StatusUnprocessableEntity, "invalid", "query.state")
}

// brokenList fails after the first page.
type brokenList struct {
	Registry
	pages int
}

func (b *brokenList) ListSensors(ctx context.Context, q telemetry.SensorQuery) ([]telemetry.Sensor, string, error) {
	if b.pages++; b.pages > 1 {
		return nil, "", telemetry.ErrUnavailable
	}
	found, _, err := b.Registry.ListSensors(ctx, q)
	return found, "there is more", err
}

func TestExport_HalfASheetDoesNotLookLikeAWholeOne(t *testing.T) {
	h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) { deps.Registry = &brokenList{Registry: deps.Registry} })
	p := h.person("ada")
	h.sensor(p, fields{"description": strings.Repeat("more than is buffered ", 90)})
	h.sensor(p, fields{"description": strings.Repeat("more than is buffered ", 90)})
	h.sensor(p, fields{"description": strings.Repeat("more than is buffered ", 90)})
	req, err := http.NewRequestWithContext(t.Context(), "GET", h.url+"/api/v1/sensors/export", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+p.access)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	if part, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(part) == 0 {
		t.Errorf("got %d bytes and %v, want some and %v", len(part), err, io.ErrUnexpectedEOF)
	}
}

func TestTags_ListsOnesOwnWithCounts(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sheet(p, "", "serial_no,tags\nSN1,a;b\nSN2,b;c\n").want(http.StatusCreated)
	h.sensor(h.person("bob"), fields{"tags": []string{"theirs"}})
	var page tagPage
	h.call("GET", "/api/v1/tags?limit=2", p.access, nil).want(http.StatusOK).into(&page)
	if fmt.Sprint(page.Items) != "[{a 1} {b 2}]" || page.Next == nil {
		t.Fatalf("got %+v", page)
	}
	h.call("GET", "/api/v1/tags?limit=2&cursor="+*page.Next, p.access, nil).want(http.StatusOK).into(&page)
	if fmt.Sprint(page.Items) != "[{c 1}]" || page.Next != nil {
		t.Errorf("got %+v", page)
	}
}
