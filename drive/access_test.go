package drive

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Who may what with one sensor, at the doors that package api's matrix does not reach: MQTT, tickets, sockets and streams, on the real binary.
// docs/access.md shows the tables, and the tests hold them there.

// seen is the sensor that all are after, and other one of the same owner's.
const (
	seen  = "SN1"
	other = "SN2"
)

// party is who comes to a door, and with what.
type party struct {
	name   string
	login  role   // over MQTT
	bearer string // over HTTP
	own    string // of a sensor: its serial
	knows  bool   // can log in
}

// The parties, as in docs/access.md.
const (
	anOwner      = "owner"
	aManager     = "manager"
	aViewer      = "viewer"
	aFormer      = "former owner"
	aStranger    = "other person"
	anAdmin      = "admin"
	tokenReads   = "token, read"
	tokenWrites  = "token, write"
	tokenOfIt    = "token for it"
	tokenOfOther = "token for another"
	theSensor    = "the sensor"
	otherSensor  = "another sensor"
	aNobody      = "nobody"
	tokenExpired = "expired token"
	tokenRevoked = "revoked token"
)

// shownParties are columns of docs/access.md; the others are as good as nobody.
var shownParties = []string{
	anOwner, aManager, aViewer, aFormer, aStranger, anAdmin, tokenReads, tokenWrites, tokenOfIt, tokenOfOther, theSensor, otherSensor, aNobody,
}

// seers are those who see the sensor.
var seers = []string{anOwner, aManager, aViewer, tokenReads, tokenWrites, tokenOfIt}

// gathering is a server with all parties, and the sensor that one of them had before.
type gathering struct {
	*instance
	owner, former *person
	parties       []party
}

// gather makes everybody. before is called while the former owner has the sensor still.
func gather(t *testing.T, before func(s *instance, fay *person, secret string)) *gathering {
	t.Helper()
	s := serve(t, t.TempDir(), "--login-failures-per-minute", "0", "--ticket-ttl", "30s")
	root := s.register("root") // the first is admin
	g := &gathering{instance: s, owner: s.register("ann"), former: s.register("fay")}
	before(s, g.former, g.former.sensor(seen))
	var offer struct {
		Code string `json:"claim_code"`
	}
	g.former.call("POST", "/api/v1/sensors/"+seen+"/transfer", nil, 201, &offer)
	var claimed struct {
		Secret string `json:"secret_key"`
	}
	g.owner.call("POST", "/api/v1/sensors/claim", map[string]any{"claim_code": offer.Code}, 200, &claimed)
	otherSecret := g.owner.sensor(other)
	people := map[string]*person{anOwner: g.owner, aManager: s.register("mia"), aViewer: s.register("vic"), aFormer: g.former, aStranger: s.register("bob"), anAdmin: root}
	for name, access := range map[string]string{aManager: "manager", aViewer: "viewer"} {
		g.owner.call("PUT", "/api/v1/sensors/"+seen+"/shares/"+people[name].name, map[string]any{"access": access}, 200, nil)
	}
	ids := map[string]string{}
	for name, draft := range map[string]map[string]any{
		tokenReads:   {"scopes": []string{"read"}},
		tokenWrites:  {"scopes": []string{"write"}},
		tokenOfIt:    {"scopes": []string{"write"}, "serial_nos": []string{seen}},
		tokenOfOther: {"scopes": []string{"write"}, "serial_nos": []string{other}},
		tokenExpired: {"scopes": []string{"write"}, "expires_at": time.Now().Add(100 * time.Millisecond).UTC().Format(time.RFC3339Nano)},
		tokenRevoked: {"scopes": []string{"write"}},
	} {
		people[name], ids[name] = g.owner.script(draft)
	}
	people[tokenRevoked].call("GET", "/api/v1/sensors", nil, http.StatusOK, nil)
	g.owner.call("DELETE", "/api/v1/users/me/tokens/"+ids[tokenRevoked], nil, http.StatusNoContent, nil)
	eventually(t, "a token to expire", func() int {
		status, _ := s.ask(people[tokenExpired].token)
		return http.StatusUnauthorized - status
	})
	for _, name := range append(slices.Clone(shownParties), tokenExpired, tokenRevoked) {
		p := party{name: name, knows: name != tokenExpired && name != tokenRevoked}
		switch who := people[name]; {
		case who != nil:
			p.login, p.bearer = role{who.name, who.password}, who.token
		case name == theSensor:
			p.login, p.bearer, p.own = role{seen, claimed.Secret}, claimed.Secret, seen
		case name == otherSensor:
			p.login, p.bearer, p.own = role{other, otherSecret}, otherSecret, other
		default:
			p.knows = false
		}
		g.parties = append(g.parties, p)
	}
	return g
}

// ask lists sensors.
func (s *instance) ask(bearer string) (status int, reply []byte) {
	return (&person{s: s}).request("GET", "/api/v1/sensors", bearer, nil)
}

// named returns a party.
func (g *gathering) named(name string) party {
	return g.parties[slices.IndexFunc(g.parties, func(p party) bool { return p.name == name })]
}

// tableRow is a row of docs/access.md.
func tableRow(what string, who []string) string {
	cells := []string{what}
	for _, name := range shownParties {
		if slices.Contains(who, name) {
			cells = append(cells, "yes")
		} else {
			cells = append(cells, "–")
		}
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

var update = flag.Bool("update", false, "write the tables of docs/access.md anew")

// onPage compares a table with the one in docs/access.md that stands behind a comment of that name.
func onPage(t *testing.T, name, corner, rows string) {
	t.Helper()
	table := "| " + corner + " | " + strings.Join(shownParties, " | ") + " |\n" + strings.Repeat("|---", 1+len(shownParties)) + "|\n" + rows
	const path = "../docs/access.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mark := fmt.Sprintf("<!-- %s -->\n\n", name)
	before, rest, found := strings.Cut(string(page), mark)
	old, after, ends := strings.Cut(rest, "\n\n")
	if !found || !ends {
		t.Fatalf("%s has no table %s with more text after it", path, name)
	}
	if old+"\n" == table {
		return
	}
	if !*update {
		t.Errorf("the table %s of %s is another; look at it and run the test with -update if it is right. got:\n%s", name, path, table)
		return
	}
	if err := os.WriteFile(path, []byte(before+mark+table+"\n"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
