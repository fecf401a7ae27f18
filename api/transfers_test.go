package api

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sensorcast/auth"
)

// offer returns a claim code for the sensor.
func (h *house) offer(owner personFixture, serial string, order any) string {
	h.t.Helper()
	return h.call("POST", "/api/v1/sensors/"+serial+"/transfer", owner.access, order).want(http.StatusCreated).fields()["claim_code"].(string)
}

func TestTransfer_HandsOverTheSensorWithoutItsPast(t *testing.T) {
	h := newHouse(t)
	ann, ben, cid := h.person("ann"), h.person("ben"), h.person("cid")
	_, old := h.sensor(ann, fields{"serial_no": "SN1", "name": "Boiler", "tags": []string{"heat"}})
	h.send("SN1", old, `{"past":1}`)
	const path = "/api/v1/sensors/SN1"
	h.call("PUT", path+"/shares/cid", ann.access, nil).want(http.StatusOK)
	h.call("POST", path+"/commands", ann.access, fields{"name": "past"}).want(http.StatusAccepted)
	uid := h.call("GET", path, ann.access, nil).want(http.StatusOK).fields()["id"]

	code := h.offer(ann, "SN1", nil)
	if !regexp.MustCompile(`^[2-9A-HJKMNP-Z]{4}-[2-9A-HJKMNP-Z]{4}-[2-9A-HJKMNP-Z]{4}$`).MatchString(code) {
		t.Errorf("claim code: got %q", code)
	}
	claimed := h.call("POST", "/api/v1/sensors/claim", ben.access, fields{"claim_code": strings.ToLower(code)}).want(http.StatusOK)
	var got sensorAnswer
	claimed.into(&got)
	if s := got.Sensor; s["owner"] != "ben" || s["access"] != "owner" || s["name"] != "Boiler" || s["latest"] != nil || s["state"] != "never_seen" || s["id"] == uid {
		t.Errorf("claimed: got %v, want ben's Boiler, never seen", s)
	}
	if got.Secret == "" || got.Secret == old {
		t.Errorf("secret: got %q, want a new one", got.Secret)
	}
	for _, p := range []personFixture{ann, cid} {
		h.call("GET", path, p.access, nil).wantProblem(http.StatusNotFound, "not-found")
		h.call("GET", path+"/readings", p.access, nil).wantProblem(http.StatusNotFound, "not-found")
	}
	for _, list := range []string{"/readings", "/commands", "/shares"} {
		var page pageAnswer
		if h.call("GET", path+list, ben.access, nil).want(http.StatusOK).into(&page); len(page.Items) != 0 {
			t.Errorf("%s: got %v, want nothing of before", list, page.Items)
		}
	}
	h.call("POST", path+"/telemetry", old, []byte(`{"x":1}`)).wantProblem(http.StatusUnauthorized, "unauthenticated")
	h.send("SN1", got.Secret, `{"now":1}`)
	var page pageAnswer
	if h.call("GET", path+"/readings", ben.access, nil).want(http.StatusOK).into(&page); len(page.Items) != 1 {
		t.Errorf("readings: got %v, want the one since", page.Items)
	}
	for kind, want := range map[auth.ChangeKind]int{auth.SensorRemoved: 1, auth.ShareRemoved: 1, auth.SensorAdded: 2} {
		if n := h.changes.count(kind, "SN1"); n != want {
			t.Errorf("announcements of kind %d: got %d, want %d", kind, n, want)
		}
	}
	devices, err := h.db.Devices(t.Context())
	must(t, err)
	if dev, _ := h.dir.Lookup("SN1"); len(devices) != 1 || devices[0].SensorID != dev.SensorID || devices[0].OwnerID != dev.OwnerID {
		t.Errorf("store and memory disagree: %+v, %+v", devices, dev)
	}
	h.call("POST", "/api/v1/sensors/claim", cid.access, fields{"claim_code": code}).wantProblem(http.StatusNotFound, "not-found")
	if strings.Contains(h.logs.String(), code) || strings.Contains(h.logs.String(), got.Secret) {
		t.Error("the log holds the code or the secret")
	}
}

func TestTransfer_KeepsTheSecretOfSensorsThatCarryTheirs(t *testing.T) {
	h := newHouse(t)
	ann, ben := h.person("ann"), h.person("ben")
	_, secret := h.sensor(ann, fields{"serial_no": "SN1"})
	answer := h.call("POST", "/api/v1/sensors/claim", ben.access, fields{"claim_code": h.offer(ann, "SN1", nil), "keep_secret": true}).want(http.StatusOK).fields()
	if got, there := answer["secret_key"]; got != nil || !there {
		t.Errorf("secret_key: got %v, want null", got)
	}
	h.send("SN1", secret, `{"v":1}`)
	h.call("GET", "/api/v1/sensors/SN1", ann.access, nil).wantProblem(http.StatusNotFound, "not-found")
}

// A rotation under way goes on: what connects with the old secret after the transfer ends with its grace.
func TestTransfer_KeepsTheGraceOfASecret(t *testing.T) {
	h := newHouse(t)
	ann, ben := h.person("ann"), h.person("ben")
	_, old := h.sensor(ann, fields{"serial_no": "SN1"})
	h.call("POST", "/api/v1/sensors/SN1/secret", ann.access, fields{"grace_seconds": 3600}).want(http.StatusOK)
	h.call("POST", "/api/v1/sensors/claim", ben.access, fields{"claim_code": h.offer(ann, "SN1", nil), "keep_secret": true}).want(http.StatusOK)
	h.send("SN1", old, `{"v":1}`)
	dev, _ := h.dir.Lookup("SN1")
	h.api.graces.mu.Lock()
	defer h.api.graces.mu.Unlock()
	if len(h.api.graces.timers) != 1 || h.api.graces.timers[dev.SensorID] == nil {
		t.Errorf("got graces of %d sensors, want that of the new one alone", len(h.api.graces.timers))
	}
}

func TestTransfer_OneIsOpenAtATime(t *testing.T) {
	h := newHouse(t)
	ann, ben, cid := h.person("ann"), h.person("ben"), h.person("cid")
	h.sensor(ann, fields{"serial_no": "SN1"})
	const path = "/api/v1/sensors/SN1/transfer"
	tells := func(open bool, username any) {
		t.Helper()
		got := h.call("GET", path, ann.access, nil).want(http.StatusOK).fields()
		if got["open"] != open || got["username"] != username || isTimestamp(got["expires_at"]) != open || len(got) != 3 {
			t.Errorf("got %v, want open %v for %v", got, open, username)
		}
	}
	claim := func(p personFixture, code string, want int) {
		t.Helper()
		a := h.call("POST", "/api/v1/sensors/claim", p.access, fields{"claim_code": code})
		if a.want(want); want == http.StatusNotFound {
			a.wantProblem(want, "not-found")
		}
	}
	tells(false, nil)
	first := h.offer(ann, "SN1", nil)
	tells(true, nil)
	second := h.offer(ann, "SN1", fields{"username": "CID", "expires_in": 3600})
	tells(true, "cid")
	claim(ben, first, http.StatusNotFound)
	claim(ben, second, http.StatusNotFound) // not for ben
	claim(ben, "", http.StatusNotFound)
	h.call("POST", "/api/v1/sensors/claim", ann.access, fields{"claim_code": h.offer(ann, "SN1", nil)}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.claim_code")
	h.call("DELETE", path, ann.access, nil).want(http.StatusNoContent)
	h.call("DELETE", path, ann.access, nil).want(http.StatusNoContent)
	tells(false, nil)
	third := h.offer(ann, "SN1", fields{"username": "cid"})
	claim(cid, third, http.StatusOK)
	h.call("GET", path, ann.access, nil).wantProblem(http.StatusNotFound, "not-found")
	h.call("POST", path, cid.access, fields{"username": "nobody"}).wantFault(http.StatusNotFound, "not-found", "body.username")
	h.call("POST", path, cid.access, fields{"username": "cid"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.username")
	h.call("POST", path, cid.access, fields{"expires_in": 31 * 86400}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.expires_in")
}

func TestTransfer_CodesAreGoodForSevenDaysUnlessSaid(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	h.sensor(ann, fields{"serial_no": "SN1"})
	for seconds, want := range map[int]time.Duration{0: 7 * 24 * time.Hour, 60: time.Minute, 30 * 86400: 30 * 24 * time.Hour} {
		order := fields{}
		if seconds > 0 {
			order["expires_in"] = seconds
		}
		got := h.call("POST", "/api/v1/sensors/SN1/transfer", ann.access, order).want(http.StatusCreated).fields()
		ends, err := time.Parse(time.RFC3339, got["expires_at"].(string))
		must(t, err)
		if off := time.Until(ends) - want; off > 0 || off < -time.Minute {
			t.Errorf("expires_in %d: got %v, want %v from now", seconds, time.Until(ends), want)
		}
	}
}

func TestClaim_GuessesAreThrottled(t *testing.T) {
	h := newHouse(t)
	ben := h.person("ben")
	for range 20 {
		h.call("POST", "/api/v1/sensors/claim", ben.access, fields{"claim_code": auth.NewClaimCode()}).wantProblem(http.StatusNotFound, "not-found")
	}
	a := h.call("POST", "/api/v1/sensors/claim", ben.access, fields{"claim_code": auth.NewClaimCode()})
	if a.wantProblem(http.StatusTooManyRequests, "too-many-requests"); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// Three claim at once while the sensor publishes and is read: one becomes the owner, and no reading is ever seen by two owners.
func TestTransfer_WhileItPublishes(t *testing.T) {
	h := newHouse(t)
	people := []personFixture{h.person("ann"), h.person("ben"), h.person("cid"), h.person("dan")}
	_, secret := h.sensor(people[0], fields{"serial_no": "SN1"})
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				if a := h.call("POST", "/api/v1/sensors/SN1/telemetry", secret, fields{"n": n}); a.status != http.StatusAccepted {
					t.Errorf("got %d %s, want 202 all along: the secret stays", a.status, a.body)
				}
			}
		}
	})
	owned := map[float64]int{} // by reading: in which round it was first seen
	sees := func(p personFixture, round int) (count int) {
		var page struct {
			Items []struct{ Data map[string]float64 }
		}
		if a := h.call("GET", "/api/v1/sensors/SN1/readings?limit=500", p.access, nil); a.status == http.StatusOK {
			a.into(&page)
		}
		for _, r := range page.Items {
			if first, known := owned[r.Data["n"]]; known && first != round {
				t.Errorf("round %d: reading %v was an owner's of round %d", round, r.Data["n"], first)
			}
			owned[r.Data["n"]] = round
		}
		return len(page.Items)
	}
	owner := 0
	for round := range 8 {
		code, won := h.offer(people[owner], "SN1", nil), make(chan int, len(people))
		var claiming sync.WaitGroup
		for i, p := range people {
			if i == owner {
				continue
			}
			claiming.Go(func() {
				a := h.call("POST", "/api/v1/sensors/claim", p.access, fields{"claim_code": code, "keep_secret": true})
				if a.status == http.StatusOK {
					won <- i
				} else if a.status != http.StatusNotFound {
					t.Errorf("claim: got %d %s, want 200 or 404", a.status, a.body)
				}
			})
		}
		sees(people[owner], round)
		claiming.Wait()
		close(won)
		if len(won) != 1 {
			t.Fatalf("round %d: %d claims succeeded, want 1", round, len(won))
		}
		former := owner
		owner = <-won
		if n := sees(people[former], round); n > 0 {
			t.Errorf("round %d: the former owner sees %d readings", round, n)
		}
		for until := time.Now().Add(5 * time.Second); sees(people[owner], round+1) == 0; {
			if time.Now().After(until) {
				t.Fatalf("round %d: nothing more is taken", round)
			}
		}
	}
	close(stop)
	publishing.Wait()
}
