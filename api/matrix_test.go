package api

import (
	"bytes"
	"context"
	"maps"
	"net/http"
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
// and with the owner's as the resource. A new operation fails the test until it stands here.
//
// The columns: the owner; another person; nobody; the sensor's own secret, a made-up token, a refresh token and a ticket as bearer; a viewer, a
// manager and who owned the sensor before.
const (
	owner = iota
	stranger
	nobody
	itself
	garbage
	refreshAsBearer
	ticketAsBearer
	viewing
	managing
	former
	identities
)

var identityNames = [identities]string{"owner", "stranger", "nobody", "the sensor itself", "garbage token", "refresh token", "ticket", "viewer", "manager", "former owner"}

// row is what an operation answers. A person whose column is left out fares as any other.
type row struct {
	body any // sent by everybody; nil: none
	want [identities]int
}

func (r row) wants(who int) int {
	if r.want[who] == 0 {
		who = stranger
	}
	return r.want[who]
}

// forOwner: theirs for the owner, forbidden to those who see the sensor, as if it did not exist for others, closed for whoever is no person.
func forOwner(status int, body any) row {
	return row{body, [identities]int{status, 404, 401, 401, 401, 401, 401, viewing: 403, managing: 403}}
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

// forPeople: each person acts on what is their own.
func forPeople(status int, body any) row {
	return row{body, [identities]int{status, status, 401, 401, 401, 401, 401}}
}

// forAdmin: the owner is one, since theirs is the first account.
func forAdmin(status int, body any) row {
	return row{body, [identities]int{status, 403, 401, 401, 401, 401, 401}}
}

// forAll: who is asking makes no difference.
func forAll(status int, body any) row {
	return row{body, [identities]int{status, status, status, status, status, status, status}}
}

const (
	matrixSerial = "MATRIX-1"
	matrixGuest  = "guest" // with whom it is shared, too
)

type fields = map[string]any

var matrixRule = fields{"name": "canary", "serial_no": matrixSerial, "metric": "t", "op": ">", "value": 1}

// matrix maps operation ids to rows. Bodies are harmless to the fixture where success would destroy it before the row is through.
func matrix() map[string]row {
	return map[string]row{
		"register":             forAll(422, fields{"username": "", "email": "", "password": ""}),
		"login":                forAll(401, fields{"login": "nobody", "password": "not the password"}),
		"refresh":              forAll(401, fields{"refresh_token": "rt_wrong"}),
		"logout":               {fields{}, [identities]int{204, 204, 401, 401, 401, 401, 401}},
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
		"create-rule":          forManagers(201, matrixRule),
		"preview-rule":         forManagers(200, matrixRule),
		"list-rules":           forPeople(200, nil),
		"get-rule":             forPeople(404, nil),
		"update-rule":          forPeople(404, fields{"enabled": false}),
		"delete-rule":          forPeople(404, nil),
		"send-telemetry":       {fields{"t": 1}, [identities]int{401, 401, 401, 202, 401, 401, 401}},
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
	people := map[int]personFixture{owner: h.person("ada")} // the first, and so admin
	for who, name := range map[int]string{stranger: "bob", viewing: "vic", managing: "mia", former: "fay"} {
		people[who] = h.person(name)
	}
	h.person(matrixGuest)
	operations(h.api, func(op *huma.Operation) {
		r, there := table[op.OperationID]
		if !there {
			t.Errorf("operation %s (%s %s) is not in the matrix", op.OperationID, op.Method, op.Path)
			return
		}
		delete(table, op.OperationID)
		t.Run(op.OperationID, func(t *testing.T) {
			h.t = t
			for who, p := range people {
				people[who] = h.loggedIn(p)
			}
			checkRow(t, h, people, op, r)
		})
		h.t = t
	})
	for id := range table {
		t.Errorf("the matrix has %s, the document has not", id)
	}
}

// checkRow asks as everybody, the owner last since that may end what was asked for.
func checkRow(t *testing.T, h *house, people map[int]personFixture, op *huma.Operation, r row) {
	mine, theirs := people[owner], people[stranger]
	secret := h.handed(people[former], mine)
	h.send(matrixSerial, secret, `{"canary":1}`)
	for name, access := range map[string]string{people[viewing].username: "viewer", people[managing].username: "manager", matrixGuest: "viewer"} {
		h.call("PUT", "/api/v1/sensors/"+matrixSerial+"/shares/"+name, mine.access, fields{"access": access}).want(http.StatusOK)
	}
	defer func() { h.call("DELETE", "/api/v1/sensors/"+matrixSerial, h.loggedIn(mine).access, nil) }()
	ticket := h.call("POST", "/api/v1/tickets", mine.access, fields{"all": true}).want(http.StatusCreated).fields()["ticket"].(string)

	alert := h.silence(matrixSerial)
	at := func(serial, alert string) string {
		return strings.NewReplacer("{serial_no}", serial, "{id}", alert, "{username}", matrixGuest).Replace(op.Path)
	}
	tokens := [identities]string{mine.access, theirs.access, "", secret, "garbage", mine.refresh, ticket,
		people[viewing].access, people[managing].access, people[former].access}
	path := at(matrixSerial, alert)
	for who := identities - 1; who >= owner; who-- {
		a := h.call(op.Method, path, tokens[who], r.body)
		if a.status != r.wants(who) {
			t.Errorf("%s: got %d %s, want %d", identityNames[who], a.status, a.body, r.wants(who))
		}
		sees := who == owner || who == itself || who == viewing || who == managing
		if !sees && bytes.Contains(a.body, []byte("canary")) {
			t.Errorf("%s: got what is the owner's: %s", identityNames[who], a.body)
		}
	}

	// What is someone else's and what is not there are told apart by nothing.
	if r.want[stranger] == http.StatusNotFound {
		token := h.loggedIn(theirs).access
		foreign := h.call(op.Method, path, token, r.body)
		body := r.body
		if f, ok := body.(fields); ok && f["serial_no"] != nil {
			f = maps.Clone(f)
			f["serial_no"] = "NOBODY"
			body = f
		}
		absent := h.call(op.Method, at("NOBODY", "nobody"), token, body)
		impossible := h.call(op.Method, at("%23+..%2F", "%23+..%2F"), token, body)
		if foreign.status != absent.status || !bytes.Equal(foreign.body, absent.body) || strings.Contains(op.Path, "{serial_no}") && impossible.status != absent.status {
			t.Errorf("foreign got %d %s, absent %d %s, impossible %d, want the same", foreign.status, foreign.body, absent.status, absent.body, impossible.status)
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
