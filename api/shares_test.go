package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sensorcast/auth"
)

func (h *house) shares(owner personFixture, serial string) string {
	h.t.Helper()
	var page struct {
		Items []struct{ Username, Access, Since string }
		Next  *string `json:"next_cursor"`
	}
	h.call("GET", "/api/v1/sensors/"+serial+"/shares", owner.access, nil).want(http.StatusOK).into(&page)
	var all []string
	for _, s := range page.Items {
		if !isTimestamp(s.Since) || page.Next != nil {
			h.t.Errorf("shares: got %+v, want each with a time, and no next page", page)
		}
		all = append(all, s.Username+" "+s.Access)
	}
	return strings.Join(all, ", ")
}

func TestShare_GivesChangesAndTakes(t *testing.T) {
	h := newHouse(t)
	ann, ben := h.person("ann"), h.person("Ben")
	h.sensor(ann, fields{"serial_no": "SN1"})
	const path = "/api/v1/sensors/SN1"
	h.call("GET", path, ben.access, nil).wantProblem(http.StatusNotFound, "not-found")

	given := h.call("PUT", path+"/shares/ben", ann.access, nil).want(http.StatusOK).fields()
	if given["username"] != "Ben" || given["access"] != "viewer" || !isTimestamp(given["since"]) {
		t.Errorf("share: got %v, want Ben's, viewer", given)
	}
	if got := h.call("GET", path, ben.access, nil).want(http.StatusOK).fields(); got["access"] != "viewer" || got["problems"] != nil || got["owner"] != "ann" {
		t.Errorf("a viewer sees %v, want access viewer and no problems", got)
	}
	h.call("PATCH", path, ben.access, fields{"name": "mine"}).wantProblem(http.StatusForbidden, "forbidden")
	again := h.call("PUT", path+"/shares/ben", ann.access, fields{"access": "viewer"}).want(http.StatusOK).fields()
	if again["since"] != given["since"] || h.changes.count(auth.ShareAdded, "SN1") != 1 {
		t.Errorf("the same again: got since %v and %d announcements, want %v and one", again["since"], h.changes.count(auth.ShareAdded, "SN1"), given["since"])
	}
	h.call("PUT", path+"/shares/ben", ann.access, fields{"access": "manager"}).want(http.StatusOK)
	if got := h.call("PATCH", path, ben.access, fields{"name": "ours"}).want(http.StatusOK).fields(); got["access"] != "manager" || got["problems"] == nil {
		t.Errorf("a manager sees %v, want access manager and problems", got)
	}
	if got := h.call("GET", path, ann.access, nil).want(http.StatusOK).fields(); got["access"] != "owner" || got["name"] != "ours" {
		t.Errorf("the owner sees %v", got)
	}
	h.call("PUT", path+"/shares/ben", ann.access, fields{"access": "viewer"}).want(http.StatusOK)
	h.call("POST", path+"/commands", ben.access, fields{"name": "x"}).wantProblem(http.StatusForbidden, "forbidden")
	if got := h.shares(ann, "SN1"); got != "Ben viewer" {
		t.Errorf("shares: got %q, want Ben's", got)
	}

	h.call("DELETE", path+"/shares/BEN", ann.access, nil).want(http.StatusNoContent)
	h.call("GET", path, ben.access, nil).wantProblem(http.StatusNotFound, "not-found")
	h.call("DELETE", path+"/shares/BEN", ann.access, nil).wantProblem(http.StatusNotFound, "not-found")
	if got := h.changes.count(auth.ShareRemoved, "SN1"); got != 1 {
		t.Errorf("got %d announcements of the end, want 1", got)
	}
}

func TestShare_PeopleLeaveByThemselves(t *testing.T) {
	h := newHouse(t)
	ann, ben, cid := h.person("ann"), h.person("ben"), h.person("cid")
	h.sensor(ann, fields{"serial_no": "SN1"})
	const path = "/api/v1/sensors/SN1/shares/"
	for _, name := range []string{"ben", "cid"} {
		h.call("PUT", path+name, ann.access, fields{"access": "manager"}).want(http.StatusOK)
	}
	h.call("DELETE", path+"cid", ben.access, nil).wantProblem(http.StatusForbidden, "forbidden")
	h.call("DELETE", path+"ann", ann.access, nil).wantProblem(http.StatusNotFound, "not-found")
	h.call("DELETE", path+"Ben", ben.access, nil).want(http.StatusNoContent)
	h.call("DELETE", path+"ben", ben.access, nil).wantProblem(http.StatusNotFound, "not-found")
	if got := h.shares(ann, "SN1"); got != "cid manager" {
		t.Errorf("shares: got %q, want cid's", got)
	}
	h.call("GET", "/api/v1/sensors/SN1", cid.access, nil).want(http.StatusOK)
}

func TestShare_NamesTheMistake(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	h.person("ben")
	h.sensor(ann, fields{"serial_no": "SN1"})
	const path = "/api/v1/sensors/SN1/shares/"
	h.call("PUT", path+"nobody", ann.access, nil).wantFault(http.StatusNotFound, "not-found", "path.username")
	h.call("PUT", path+"ben@example.org", ann.access, nil).wantFault(http.StatusNotFound, "not-found", "path.username") // tells no address's name
	h.call("PUT", path+"ANN", ann.access, nil).wantFault(http.StatusUnprocessableEntity, "invalid", "path.username")
	h.call("PUT", path+"ben", ann.access, fields{"access": "owner"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.access")
}

func TestListSensors_HoldsWhatIsSharedToo(t *testing.T) {
	h := newHouse(t)
	ann, ben := h.person("ann"), h.person("ben")
	h.sensor(ben, fields{"serial_no": "B1"})
	for serial, access := range map[string]string{"A1": "viewer", "C1": "manager", "D1": ""} {
		h.sensor(ann, fields{"serial_no": serial})
		if access != "" {
			h.call("PUT", "/api/v1/sensors/"+serial+"/shares/ben", ann.access, fields{"access": access}).want(http.StatusOK)
		}
	}
	for query, want := range map[string]string{
		"": "A1 viewer, B1 owner, C1 manager", "?sort=-serial_no": "C1 manager, B1 owner, A1 viewer",
		"?access=owner": "B1 owner", "?access=viewer": "A1 viewer", "?access=manager": "C1 manager",
	} {
		var page pageAnswer
		h.call("GET", "/api/v1/sensors"+query, ben.access, nil).want(http.StatusOK).into(&page)
		var got []string
		for _, s := range page.Items {
			got = append(got, s["serial_no"].(string)+" "+s["access"].(string))
			if (s["problems"] == nil) != (s["access"] == "viewer") {
				t.Errorf("%s: problems %v for access %v", s["serial_no"], s["problems"], s["access"])
			}
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	h.call("GET", "/api/v1/sensors?access=admin", ben.access, nil).wantFault(http.StatusUnprocessableEntity, "invalid", "query.access")
}

// After a restart the doors know what the store knows.
func TestShare_OutlivesTheProcess(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	h.person("ben")
	h.sensor(ann, fields{"serial_no": "SN1"})
	h.call("PUT", "/api/v1/sensors/SN1/shares/ben", ann.access, fields{"access": "manager"}).want(http.StatusOK)
	before, _ := h.dir.Lookup("SN1")
	devices, err := h.db.Devices(t.Context())
	must(t, err)
	if len(devices) != 1 || !slices.Equal(devices[0].Shares, before.Shares) || len(before.Shares) != 1 {
		t.Errorf("got %+v, want shares %v", devices, before.Shares)
	}
}

// A deleted sensor, and a deleted account, let everybody know who had it.
func TestShare_EndsWithSensorAndAccount(t *testing.T) {
	h := newHouse(t)
	ann, ben := h.person("ann"), h.person("ben")
	h.sensor(ann, fields{"serial_no": "SN1"})
	h.sensor(ann, fields{"serial_no": "SN2"})
	for _, serial := range []string{"SN1", "SN2"} {
		h.call("PUT", "/api/v1/sensors/"+serial+"/shares/ben", ann.access, nil).want(http.StatusOK)
	}
	h.call("DELETE", "/api/v1/sensors/SN1", ann.access, nil).want(http.StatusNoContent)
	if got := h.changes.count(auth.ShareRemoved, "SN1"); got != 1 {
		t.Errorf("sensor deleted: got %d announcements, want 1", got)
	}
	h.call("DELETE", "/api/v1/users/me", ben.access, fields{"password": goodPassword}).want(http.StatusNoContent)
	if got := h.changes.count(auth.ShareRemoved, "SN2"); got != 1 {
		t.Errorf("account deleted: got %d announcements, want 1", got)
	}
	if got := h.shares(ann, "SN2"); got != "" {
		t.Errorf("shares: got %q, want none", got)
	}
}
