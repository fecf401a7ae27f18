package api

import (
	"bytes"
	"context"
	"flag"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/telemetry"
)

// Who may what, for every operation of the document: reliability.md X1. Every identity comes with the serial of the owner's sensor,
// and with the owner's as the resource. A new operation fails the test until it stands here, and in docs/access.md.
//
// The columns: people, by what they are to the sensor; the owner's API tokens; sensors by their secrets; and what is no credential at all.
const (
	owner = iota
	managing
	viewing
	former // owner, before it was given to the present one
	stranger
	admins // who has no sensor

	tokenReads
	tokenWrites
	tokenOfIt    // writes, and is for this sensor
	tokenOfOther // writes, and is for another
	itself
	another
	nobody

	tokenExpired
	tokenRevoked
	garbage
	refreshAsBearer
	ticketAsBearer
	identities
)

var identityNames = [identities]string{
	"owner", "manager", "viewer", "former owner", "other person", "admin", "token, read", "token, write", "token for it", "token for another",
	"the sensor", "another sensor", "nobody", "expired token", "revoked token", "garbage token", "refresh token", "ticket",
}

// shownIdentities are columns of docs/access.md. The rest are as good as nobody, which the test holds them to.
const shownIdentities = nobody + 1

// row is what an operation answers.
type row struct {
	body any // sent by everybody; nil: none
	want [identities]int
}

// wants: a person whose column is left out fares as any other, a token as its scope says, everything else as nobody.
func (r row) wants(op *huma.Operation, who int) int {
	switch {
	case r.want[who] != 0:
		return r.want[who]
	case who <= admins:
		return r.want[stranger]
	case isToken(who) && allows(op.Security, schemeBearer) && !isPublic(op.Security):
		return r.opens(op, who)
	}
	return r.want[nobody]
}

func isToken(who int) bool { return who >= tokenReads && who <= tokenOfOther }

// forOwner: theirs for the owner, forbidden to those who see the sensor, as if it did not exist for others, closed for whoever is no person.
func forOwner(status int, body any) row {
	return row{body, [identities]int{owner: status, managing: 403, viewing: 403, stranger: 404, nobody: 401}}
}

// forManagers: for the owner and those who manage the sensor.
func forManagers(status int, body any) row {
	r := forOwner(status, body)
	r.want[managing] = status
	return r
}

// forViewers: for everybody who sees the sensor.
func forViewers(status int, body any) row {
	r := forManagers(status, body)
	r.want[viewing] = status
	return r
}

// forSelf: theirs alone, whatever sensors they share.
func forSelf(status int, body any) row {
	return row{body, [identities]int{owner: status, stranger: 404, nobody: 401}}
}

// forPeople: each person acts on what is their own.
func forPeople(status int, body any) row {
	return row{body, [identities]int{owner: status, stranger: status, nobody: 401}}
}

// forAdmin: sensors of one's own do not make one.
func forAdmin(status int, body any) row {
	return row{body, [identities]int{owner: 403, stranger: 403, admins: status, nobody: 401}}
}

// forAll: who is asking makes no difference.
func forAll(status int, body any) row {
	return row{body, [identities]int{owner: status, stranger: status, nobody: status}}
}

// What API tokens open, by their scope. Everything else is closed to them: whoever adds an operation decides here whether programs may use it.
var (
	forReading = []string{"list-sensors", "get-sensor", "get-connection", "list-readings", "list-commands", "create-ticket", "stream-events", "export-sensors", "list-alerts", "get-alert", "get-timeline"}
	forWriting = []string{"create-sensor", "update-sensor", "delete-sensor", "rotate-secret", "create-command", "import-sensors", "acknowledge-alert"}

	forRegistering = []string{"create-sensor", "import-sensors"} // of those, not for tokens that are for certain sensors
)

// opens is what the owner's token gets.
func (r row) opens(op *huma.Operation, who int) int {
	reads, writes := slices.Contains(forReading, op.OperationID), slices.Contains(forWriting, op.OperationID)
	named := strings.Contains(op.Path, "{serial_no}") || strings.Contains(op.Path, "/alerts/") || op.OperationID == "create-ticket"
	switch {
	case !reads && !writes, who == tokenReads && writes, who >= tokenOfIt && slices.Contains(forRegistering, op.OperationID):
		return http.StatusForbidden
	case who == tokenOfOther && named:
		return http.StatusNotFound
	}
	return r.want[owner]
}

// closed is the type of the problem that tells a token so.
func closed(op *huma.Operation, who int) string {
	switch {
	case !slices.Contains(forWriting, op.OperationID):
		return "token-not-allowed"
	case who == tokenReads:
		return "token-scope"
	}
	return "token-confined"
}

const (
	matrixSerial = "MATRIX-1"
	matrixGuest  = "guest" // with whom it is shared, too
)

type fields = map[string]any

// matrixRule is about the sensor.
var matrixRule = fields{"name": "canary", "serial_no": matrixSerial, "metric": "t", "op": ">", "value": 1}

// matrix maps operation ids to rows. Bodies are harmless to the fixture where success would destroy it before the row is through.
func matrix() map[string]row {
	return map[string]row{
		"register":             forAll(422, fields{"username": "", "email": "", "password": ""}),
		"login":                forAll(401, fields{"login": "nobody", "password": "not the password"}),
		"refresh":              forAll(401, fields{"refresh_token": "rt_wrong"}),
		"logout":               {fields{}, [identities]int{owner: 204, stranger: 204, nobody: 401}},
		"logout-all":           forPeople(204, nil),
		"verify":               forAll(200, fields{"token": "garbage"}),
		"get-me":               forPeople(200, nil),
		"update-me":            forPeople(200, fields{"first_name": "x"}),
		"delete-me":            forPeople(422, fields{"password": "not the password"}),
		"change-password":      forPeople(422, fields{"current_password": "not the password", "new_password": "another good one"}),
		"create-token":         forPeople(422, fields{"name": "", "scopes": []string{"read"}}),
		"list-tokens":          forPeople(200, nil),
		"delete-token":         forPeople(404, nil),
		"create-sensor":        forPeople(201, fields{}),
		"list-sensors":         forPeople(200, nil),
		"import-sensors":       forPeople(200, []byte("serial_no\n")),
		"export-sensors":       forPeople(200, nil),
		"list-tags":            forPeople(200, nil),
		"list-inbox":           forAdmin(200, nil),
		"adopt-stranger":       forAdmin(404, fields{}),
		"dismiss-stranger":     forAdmin(404, nil),
		"get-sensor":           forViewers(200, nil),
		"update-sensor":        forManagers(200, fields{"name": "x"}),
		"delete-sensor":        forOwner(204, nil),
		"rotate-secret":        forManagers(200, fields{}),
		"share-sensor":         forOwner(200, fields{"access": "manager"}),
		"list-shares":          forOwner(200, nil),
		"unshare-sensor":       forOwner(204, nil),
		"offer-sensor":         forOwner(201, fields{"username": matrixGuest}),
		"get-transfer":         forOwner(200, nil),
		"withdraw-transfer":    forOwner(204, nil),
		"claim-sensor":         forPeople(404, fields{"claim_code": "K7QP-4M2D-9XWA"}),
		"list-readings":        forViewers(200, nil),
		"create-command":       forManagers(202, fields{"name": "canary"}),
		"list-commands":        forViewers(200, nil),
		"get-connection":       forManagers(200, nil),
		"list-alerts":          forPeople(200, nil),
		"get-alert":            forViewers(200, nil),
		"acknowledge-alert":    forManagers(200, nil),
		"get-timeline":         forViewers(200, nil),
		"create-channel":       forPeople(201, fields{"name": "x", "type": "webhook", "url": "https://example.com/hook"}),
		"list-channels":        forPeople(200, nil),
		"get-channel":          forSelf(200, nil),
		"update-channel":       forSelf(200, fields{"name": "x"}),
		"delete-channel":       forSelf(204, nil),
		"test-channel":         forSelf(200, nil),
		"list-deliveries":      forSelf(200, nil),
		"send-telemetry":       {fields{"t": 1}, [identities]int{owner: 401, stranger: 401, itself: 202, nobody: 401}},
		"create-rule":          forManagers(201, matrixRule),
		"preview-rule":         forManagers(200, matrixRule),
		"list-rules":           forPeople(200, nil),
		"get-rule":             forSelf(200, nil),
		"update-rule":          forSelf(200, fields{"enabled": false}),
		"delete-rule":          forSelf(204, nil),
		"create-ticket":        forViewers(201, fields{"serial_no": matrixSerial}),
		"create-device-ticket": forAll(401, fields{"serial_no": matrixSerial, "secret_key": "not the secret"}),
		"stream-events":        forPeople(200, nil),
		"list-audit":           forPeople(200, nil),
		"create-user":          forAll(403, fields{"username": "eve", "email": "eve@example.org", "password": goodPassword}),
		"set-password":         forAll(403, fields{"new_password": goodPassword}),
		"delete-user":          forAll(403, nil),
		"get-server":           forAll(200, nil),
		"health":               forAll(200, nil),
		"readiness":            forAll(200, nil),

		"list-sessions":         forPeople(200, nil),
		"end-session":           forPeople(404, nil),
		"end-other-sessions":    forPeople(204, nil),
		"get-second-factor":     forPeople(200, nil),
		"enrol-second-factor":   forPeople(422, fields{"password": "not the password"}),
		"confirm-second-factor": forPeople(404, fields{"code": "123456"}),
		"delete-second-factor":  forPeople(422, fields{"password": "not the password", "code": "123456"}),

		"send-verification":      forPeople(202, nil),
		"confirm-email":          forAll(422, fields{"token": "garbage"}),
		"request-password-reset": forAll(422, fields{"email": "nobody"}),
		"reset-password":         forAll(422, fields{"token": "garbage", "new_password": "another good one"}),
		"list-users":             forAdmin(200, nil),
		"update-user":            forAdmin(200, fields{}),
		"remove-second-factor":   forAdmin(204, nil),
		"create-invitation":      forAdmin(201, fields{}),
		"list-invitations":       forAdmin(200, nil),
		"delete-invitation":      forAdmin(404, nil),
	}
}

func TestMatrix_NobodyReachesWhatIsNotTheirs(t *testing.T) {
	h := newHouse(t)
	table := matrix()
	m := &matrixHouse{house: h, people: map[int]personFixture{admins: h.person("ada")}} // the first, and so admin
	for who, name := range map[int]string{owner: "olga", stranger: "bob", viewing: "vic", managing: "mia", former: "fay"} {
		m.people[who] = h.person(name)
	}
	h.person(matrixGuest)
	m.prepare()
	shown := []string{}
	operations(h.api, func(op *huma.Operation) {
		r, there := table[op.OperationID]
		if !there {
			t.Errorf("operation %s (%s %s) is not in the matrix", op.OperationID, op.Method, op.Path)
			return
		}
		delete(table, op.OperationID)
		t.Run(op.OperationID, func(t *testing.T) {
			h.t = t
			m.checkRow(op, r)
		})
		h.t = t
		shown = append(shown, r.shown(op))
	})
	for id := range table {
		t.Errorf("the matrix has %s, the document has not", id)
	}
	slices.SortFunc(shown, func(a, b string) int { return strings.Compare(pathOf(a), pathOf(b)) })
	head := "| operation | " + strings.Join(identityNames[:shownIdentities], " | ") + " |\n" + strings.Repeat("|---", 1+shownIdentities) + "|\n"
	onPage(t, "operations", head+strings.Join(shown, ""))
}

// shown is the row of docs/access.md.
func (r row) shown(op *huma.Operation) string {
	cells := []string{"`" + op.Method + " " + strings.TrimPrefix(op.Path, base) + "`"}
	for who := range shownIdentities {
		cells = append(cells, strconv.Itoa(r.wants(op, who)))
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// pathOf is what rows are sorted by: the path, then the method.
func pathOf(row string) string {
	method, path, _ := strings.Cut(strings.Trim(row, "| `"), " ")
	path, _, _ = strings.Cut(path, "`")
	return path + " " + method
}

var update = flag.Bool("update", false, "write the tables of docs/access.md anew")

// onPage compares a table with the one in docs/access.md that stands behind a comment of that name.
func onPage(t *testing.T, name, table string) {
	t.Helper()
	const path = "../docs/access.md"
	page, err := os.ReadFile(path)
	must(t, err)
	before, rest, found := strings.Cut(string(page), "<!-- "+name+" -->\n\n")
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
	must(t, os.WriteFile(path, []byte(before+"<!-- "+name+" -->\n\n"+table+"\n"+after), 0o644))
}

// matrixHouse is a house with everybody in it.
type matrixHouse struct {
	*house
	people map[int]personFixture
	tokens [identities]string // what each comes with
	alert  string             // about the sensor
	hook   string             // the owner's channel
	rule   string             // and rule
	made   string             // id of the token for it; empty: none yet
}

// prepare makes what outlasts the sensor.
func (h *matrixHouse) prepare() {
	mine := h.people[owner]
	_, h.tokens[another] = h.sensor(mine, fields{"serial_no": "OTHER"})
	h.tokens[garbage] = "garbage"
	h.tokens[tokenReads], _ = h.token(mine, fields{"scopes": []string{"read"}})
	h.tokens[tokenWrites], _ = h.token(mine, fields{"scopes": []string{"write"}})
	h.tokens[tokenOfOther], _ = h.token(mine, fields{"scopes": []string{"write"}, "serial_nos": []string{"OTHER"}})
	h.tokens[tokenExpired], _ = h.token(mine, fields{"scopes": []string{"write"}, "expires_at": Timestamp(telemetry.Now() + 50)})
	var id string
	h.tokens[tokenRevoked], id = h.token(mine, fields{"scopes": []string{"write"}})
	h.call("GET", "/api/v1/sensors", h.tokens[tokenRevoked], nil).want(http.StatusOK)
	h.call("DELETE", "/api/v1/users/me/tokens/"+id, mine.access, nil).want(http.StatusNoContent)
	for h.call("GET", "/api/v1/sensors", h.tokens[tokenExpired], nil).status == http.StatusOK {
		time.Sleep(5 * time.Millisecond)
	}
}

// arrange makes the sensor anew, with all that somebody could want of it.
func (h *matrixHouse) arrange() {
	h.t.Helper()
	for who, p := range h.people {
		h.people[who] = h.loggedIn(p)
		h.tokens[who] = h.people[who].access
	}
	mine := h.people[owner]
	if h.made != "" {
		h.call("DELETE", "/api/v1/users/me/tokens/"+h.made, mine.access, nil).want(http.StatusNoContent)
		h.call("DELETE", "/api/v1/sensors/"+matrixSerial, mine.access, nil) // it may be gone
	}
	h.tokens[itself] = h.handed(h.people[former], mine)
	h.send(matrixSerial, h.tokens[itself], `{"canary":1}`)
	for name, access := range map[string]string{h.people[viewing].username: "viewer", h.people[managing].username: "manager", matrixGuest: "viewer"} {
		h.call("PUT", "/api/v1/sensors/"+matrixSerial+"/shares/"+name, mine.access, fields{"access": access}).want(http.StatusOK)
	}
	h.tokens[tokenOfIt], h.made = h.token(mine, fields{"scopes": []string{"read", "write"}, "serial_nos": []string{matrixSerial}})
	h.tokens[refreshAsBearer] = mine.refresh
	h.tokens[ticketAsBearer] = h.call("POST", "/api/v1/tickets", mine.access, fields{"all": true}).want(http.StatusCreated).fields()["ticket"].(string)
	h.alert = h.silence(matrixSerial)
	if h.hook != "" {
		h.call("DELETE", "/api/v1/channels/"+h.hook, mine.access, nil) // it may be gone
	}
	h.rule = h.call("POST", "/api/v1/rules", mine.access, matrixRule).want(http.StatusCreated).fields()["id"].(string)
	h.hook = h.channel(mine, fields{"name": "canary name", "type": "webhook", "url": "https://127.0.0.1/canary"}).ID
}

// checkRow asks as everybody, the owner last.
func (h *matrixHouse) checkRow(op *huma.Operation, r row) {
	at := func(serial, alert, channel, rule string) string {
		return strings.NewReplacer("{serial_no}", serial, "{id}", alert, "{channel_id}", channel, "{rule_id}", rule, "{username}", matrixGuest).Replace(op.Path)
	}
	h.arrange()
	for who := identities - 1; who >= owner; who-- {
		a := h.call(op.Method, at(matrixSerial, h.alert, h.hook, h.rule), h.tokens[who], r.body)
		want := r.wants(op, who)
		if a.status != want {
			h.t.Errorf("%s: got %d %s, want %d", identityNames[who], a.status, a.body, want)
		} else if want == http.StatusForbidden && isToken(who) && allows(op.Security, schemeBearer) {
			a.wantProblem(want, closed(op, who))
		}
		if !slices.Contains([]int{owner, managing, viewing, tokenReads, tokenWrites, tokenOfIt, itself}, who) && bytes.Contains(a.body, []byte("canary")) {
			h.t.Errorf("%s: got what is the owner's: %s", identityNames[who], a.body)
		}
		if a.status < 300 && op.Method != http.MethodGet { // which may have been the end of it
			h.arrange()
		}
	}

	// What is someone else's and what is not there are told apart by nothing.
	if r.want[stranger] == http.StatusNotFound {
		token := h.tokens[stranger]
		foreign := h.call(op.Method, at(matrixSerial, h.alert, h.hook, h.rule), token, r.body)
		body := r.body
		if f, ok := body.(fields); ok && f["serial_no"] != nil {
			f = maps.Clone(f)
			f["serial_no"] = "NOBODY"
			body = f
		}
		absent := h.call(op.Method, at("NOBODY", "nobody", "nobody", "nobody"), token, body)
		impossible := h.call(op.Method, at("%23+..%2F", "%23+..%2F", "%23+..%2F", "%23+..%2F"), token, body)
		if foreign.status != absent.status || !bytes.Equal(foreign.body, absent.body) || strings.Contains(op.Path, "{serial_no}") && impossible.status != absent.status {
			h.t.Errorf("foreign got %d %s, absent %d %s, impossible %d, want the same", foreign.status, foreign.body, absent.status, absent.body, impossible.status)
		}
	}
}

// handed makes the sensor, measures with it and gives it to its present owner. It returns the secret it has then.
func (h *house) handed(from, to personFixture) (secret string) {
	h.t.Helper()
	_, before := h.sensor(from, fields{"serial_no": matrixSerial, "name": "canary name"})
	h.send(matrixSerial, before, `{"before":1}`)
	dev, _ := h.dir.Lookup(matrixSerial)
	user, err := h.db.UserByLogin(h.t.Context(), to.username)
	must(h.t, err)
	must(h.t, h.db.OfferSensor(h.t.Context(), dev.SensorID, auth.Transfer{ExpiresAt: telemetry.Now().Add(time.Hour)}))
	secret = auth.NewDeviceSecret()
	hash := h.dir.HashSecret(secret)
	s, secrets, err := h.db.ClaimSensor(h.t.Context(), [32]byte{}, user.ID, &hash)
	must(h.t, err)
	h.api.handOver(s, secrets)
	return secret
}

// loggedIn returns p with tokens that work, for a row may have ended the session.
func (h *house) loggedIn(p personFixture) personFixture {
	h.t.Helper()
	if _, err := h.auth.Authenticate(p.access); err == nil {
		return p
	}
	f := h.call("POST", "/api/v1/auth/login", "", fields{"login": p.username, "password": p.password}).want(http.StatusOK).fields()
	p.access, p.refresh = f["access_token"].(string), f["refresh_token"].(string)
	return p
}

// T9: what is foreign and what is absent must take the same time, so the store, which is slow and would tell, is not asked for either.
func TestMatrix_StoreIsNotAskedForWhatIsNotTheirs(t *testing.T) {
	asked := &askedStore{}
	h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) {
		asked.Registry, asked.History, asked.Sharing, asked.Transfers = deps.Registry, deps.History, deps.Sharing, deps.Transfers
		deps.Registry, deps.History, deps.Sharing, deps.Transfers = asked, asked, asked, asked
	}, func(_ *Config, _ *auth.Config, deps *Deps) {
		box := command.New(askedKeeper{times: &asked.times}, deps.Directory, nil, deps.Log)
		ctx, stop := context.WithCancel(context.Background())
		stopped := make(chan struct{})
		go func() { // ends with the test
			defer close(stopped)
			_ = box.Run(ctx)
		}()
		t.Cleanup(func() { stop(); <-stopped })
		deps.Commands = box
	})
	mine, theirs := h.person("ada"), h.person("bob")
	h.sensor(mine, fields{"serial_no": matrixSerial})
	asked.times.Store(0)
	table := matrix()
	operations(h.api, func(op *huma.Operation) {
		r := table[op.OperationID]
		if r.want[stranger] != http.StatusNotFound {
			return
		}
		for _, serial := range []string{matrixSerial, "NOBODY"} {
			h.call(op.Method, strings.NewReplacer("{serial_no}", serial, "{username}", matrixGuest).Replace(op.Path), theirs.access, r.body).want(http.StatusNotFound)
		}
	})
	if n := asked.times.Load(); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
	h.call("GET", "/api/v1/sensors/"+matrixSerial, mine.access, nil).want(http.StatusOK)
	if asked.times.Load() == 0 {
		t.Errorf("nothing was counted for the owner either: the test sees nothing")
	}
}

// askedKeeper counts what it is asked about commands, and has none.
type askedKeeper struct {
	command.Keeper
	times *atomic.Int64
}

func (k askedKeeper) CommitCommands(context.Context, []*command.Step) error {
	k.times.Add(1)
	return telemetry.ErrUnavailable
}

func (k askedKeeper) Commands(context.Context, command.Query) ([]command.Command, error) {
	k.times.Add(1)
	return nil, telemetry.ErrUnavailable
}

func (k askedKeeper) ExpireCommands(context.Context, telemetry.Millis, int) (map[int64]int, telemetry.Millis, error) {
	return nil, 0, nil
}

// askedStore counts what it is asked about single sensors.
type askedStore struct {
	Registry
	History
	Sharing
	Transfers // but for ClaimSensor, where the code decides
	times     atomic.Int64
}

func (s *askedStore) SensorBySerial(ctx context.Context, serial string) (telemetry.Sensor, error) {
	s.times.Add(1)
	return s.Registry.SensorBySerial(ctx, serial)
}

func (s *askedStore) UpdateSensor(ctx context.Context, sensor telemetry.Sensor) error {
	s.times.Add(1)
	return s.Registry.UpdateSensor(ctx, sensor)
}

func (s *askedStore) DeleteSensor(ctx context.Context, id int64) error {
	s.times.Add(1)
	return s.Registry.DeleteSensor(ctx, id)
}

func (s *askedStore) SetSecrets(ctx context.Context, id int64, secrets []auth.Secret) error {
	s.times.Add(1)
	return s.Registry.SetSecrets(ctx, id, secrets)
}

func (s *askedStore) Readings(ctx context.Context, q telemetry.ReadingQuery) ([]telemetry.Reading, error) {
	s.times.Add(1)
	return s.History.Readings(ctx, q)
}

func (s *askedStore) Share(ctx context.Context, id int64, username string, access auth.Access) (auth.Shared, error) {
	s.times.Add(1)
	return s.Sharing.Share(ctx, id, username, access)
}

func (s *askedStore) Unshare(ctx context.Context, id int64, username string) (int64, error) {
	s.times.Add(1)
	return s.Sharing.Unshare(ctx, id, username)
}

func (s *askedStore) Shares(ctx context.Context, id int64) ([]auth.Shared, error) {
	s.times.Add(1)
	return s.Sharing.Shares(ctx, id)
}

func (s *askedStore) OfferSensor(ctx context.Context, id int64, t auth.Transfer) error {
	s.times.Add(1)
	return s.Transfers.OfferSensor(ctx, id, t)
}

func (s *askedStore) OpenTransfer(ctx context.Context, id int64) (auth.Transfer, error) {
	s.times.Add(1)
	return s.Transfers.OpenTransfer(ctx, id)
}

func (s *askedStore) WithdrawTransfer(ctx context.Context, id int64) error {
	s.times.Add(1)
	return s.Transfers.WithdrawTransfer(ctx, id)
}
