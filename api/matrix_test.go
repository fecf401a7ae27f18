package api

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/telemetry"
)

// Who may what, for every operation of the document: reliability.md X1. Every identity comes with the serial of the owner's sensor,
// and with the owner's as the resource. A new operation fails the test until it stands here.
//
// The columns: the owner; another person; nobody; the sensor's own secret, a made-up token, a refresh token and a ticket as bearer.
const (
	owner = iota
	stranger
	nobody
	itself
	garbage
	refreshAsBearer
	ticketAsBearer
	identities
)

var identityNames = [identities]string{"owner", "stranger", "nobody", "the sensor itself", "garbage token", "refresh token", "ticket"}

// row is what an operation answers; the three columns fill the seven.
type row struct {
	body any // sent by everybody; nil: none
	want [identities]int
}

// forOwner: theirs for the owner, as if it did not exist for others, closed for whoever is no person.
func forOwner(status int, body any) row {
	return row{body, [identities]int{status, 404, 401, 401, 401, 401, 401}}
}

// forPeople: each person acts on what is their own.
func forPeople(status int, body any) row {
	return row{body, [identities]int{status, status, 401, 401, 401, 401, 401}}
}

// forAll: who is asking makes no difference.
func forAll(status int, body any) row {
	return row{body, [identities]int{status, status, status, status, status, status, status}}
}

const matrixSerial = "MATRIX-1"

type fields = map[string]any

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
		"create-sensor":        forPeople(201, fields{}),
		"list-sensors":         forPeople(200, nil),
		"get-sensor":           forOwner(200, nil),
		"update-sensor":        forOwner(200, fields{"name": "x"}),
		"delete-sensor":        forOwner(204, nil),
		"rotate-secret":        forOwner(200, fields{}),
		"list-readings":        forOwner(200, nil),
		"create-command":       forOwner(202, fields{"name": "canary"}),
		"list-commands":        forOwner(200, nil),
		"get-connection":       forOwner(200, nil),
		"create-channel":       forPeople(201, fields{"name": "x", "type": "webhook", "url": "https://example.com/hook"}),
		"list-channels":        forPeople(200, nil),
		"get-channel":          forOwner(200, nil),
		"update-channel":       forOwner(200, fields{"name": "x"}),
		"delete-channel":       forOwner(204, nil),
		"test-channel":         forOwner(200, nil),
		"list-deliveries":      forOwner(200, nil),
		"send-telemetry":       {fields{"t": 1}, [identities]int{401, 401, 401, 202, 401, 401, 401}},
		"create-ticket":        forOwner(201, fields{"serial_no": matrixSerial}),
		"create-device-ticket": forAll(401, fields{"serial_no": matrixSerial, "secret_key": "not the secret"}),
		"stream-events":        forPeople(200, nil),
		"get-server":           forAll(200, nil),
		"health":               forAll(200, nil),
		"readiness":            forAll(200, nil),
	}
}

func TestMatrix_NobodyReachesWhatIsNotTheirs(t *testing.T) {
	h := newHouse(t)
	table := matrix()
	mine, theirs := h.person("ada"), h.person("bob")
	operations(h.api, func(op *huma.Operation) {
		r, there := table[op.OperationID]
		if !there {
			t.Errorf("operation %s (%s %s) is not in the matrix", op.OperationID, op.Method, op.Path)
			return
		}
		delete(table, op.OperationID)
		t.Run(op.OperationID, func(t *testing.T) {
			h.t = t
			mine, theirs = h.loggedIn(mine), h.loggedIn(theirs)
			checkRow(t, h, mine, theirs, op, r)
		})
		h.t = t
	})
	for id := range table {
		t.Errorf("the matrix has %s, the document has not", id)
	}
}

// checkRow asks as everybody, the owner last since that may end what was asked for.
func checkRow(t *testing.T, h *house, mine, theirs personFixture, op *huma.Operation, r row) {
	_, secret := h.sensor(mine, fields{"serial_no": matrixSerial, "name": "canary name"})
	h.send(matrixSerial, secret, `{"canary":1}`)
	defer func() { h.call("DELETE", "/api/v1/sensors/"+matrixSerial, h.loggedIn(mine).access, nil) }()
	ticket := h.call("POST", "/api/v1/tickets", mine.access, fields{"all": true}).want(http.StatusCreated).fields()["ticket"].(string)

	tokens := [identities]string{mine.access, theirs.access, "", secret, "garbage", mine.refresh, ticket}
	channel := h.channel(mine, fields{"name": "canary name", "type": "webhook", "url": "https://127.0.0.1/canary"}).ID
	defer func() { h.call("DELETE", "/api/v1/channels/"+channel, h.loggedIn(mine).access, nil) }()
	path := strings.NewReplacer("{serial_no}", matrixSerial, "{channel_id}", channel).Replace(op.Path)
	for who := identities - 1; who >= owner; who-- {
		a := h.call(op.Method, path, tokens[who], r.body)
		if a.status != r.want[who] {
			t.Errorf("%s: got %d %s, want %d", identityNames[who], a.status, a.body, r.want[who])
		}
		if who != owner && who != itself && bytes.Contains(a.body, []byte("canary")) {
			t.Errorf("%s: got what is the owner's: %s", identityNames[who], a.body)
		}
	}

	// What is someone else's and what is not there are told apart by nothing.
	if r.want[stranger] == http.StatusNotFound {
		token := h.loggedIn(theirs).access
		foreign := h.call(op.Method, path, token, r.body)
		body := r.body
		if f, ok := body.(fields); ok && f["serial_no"] != nil {
			body = fields{"serial_no": "NOBODY"}
		}
		absent := h.call(op.Method, strings.NewReplacer("{serial_no}", "NOBODY", "{channel_id}", "nobody").Replace(op.Path), token, body)
		impossible := h.call(op.Method, strings.ReplaceAll(op.Path, "{serial_no}", "%23+..%2F"), token, body)
		if foreign.status != absent.status || !bytes.Equal(foreign.body, absent.body) || strings.Contains(op.Path, "{serial_no}") && impossible.status != absent.status {
			t.Errorf("foreign got %d %s, absent %d %s, impossible %d, want the same", foreign.status, foreign.body, absent.status, absent.body, impossible.status)
		}
	}
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
		asked.Registry, asked.History = deps.Registry, deps.History
		deps.Registry, deps.History = asked, asked
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
			h.call(op.Method, strings.ReplaceAll(op.Path, "{serial_no}", serial), theirs.access, r.body).want(http.StatusNotFound)
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
	times atomic.Int64
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
