package drive

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// account is somebody with two logins, an API token and two sensors shared with a guest, and everything open that both can have open.
type account struct {
	name          string
	first, second *person // the logins
	guest         *person
	refresh       string  // of the first
	script        *person // who comes with the token
	token         string  // its id
	a, b          string  // the sensors
	witnesses     []*witness
}

// The witnesses of an account.
const (
	firstOfA   = "viewer of A, first login"
	secondOfA  = "viewer of A, second login"
	secondOfAB = "viewer of A and B, second login"
	socketOfA  = "socket of sensor A"
	mqttOfA    = "sensor A over MQTT"
	mqttOfB    = "sensor B over MQTT 3.1.1"
	mqttPerson = "person over MQTT"
	scriptOfA  = "viewer of A, API token"
	mqttScript = "API token over MQTT"
	guestOfA   = "guest, viewer of A"
	guestOfAB  = "guest, viewer of A and B"
	guestOfAll = "guest, viewer of all"
	mqttGuest  = "guest over MQTT"
)

// fate is what a change of authority does to a witness.
type fate struct {
	codes   []int // that its connection ends with; none at all: it goes on
	without bool  // sees nothing more of A
	told    bool  // hears that A is gone
	deaf    bool  // and has nothing else left to hear
}

var (
	loggedOut    = fate{codes: []int{4401}}
	revoked      = fate{codes: []int{0x87, 0x98}}
	lost         = fate{codes: []int{4401, 4404}}
	deleted      = fate{codes: []int{4404}}
	accessIsLost = fate{codes: []int{4403}}
	sensorIsGone = fate{without: true}
	goneAndTold  = fate{without: true, told: true}
)

// The changes of authority. Whom a change does not name it does not concern.
var changes = []struct {
	name  string
	act   func(c *account) (method, path string, as *person, body any)
	fates map[string]fate
}{
	{"logout", func(c *account) (string, string, *person, any) {
		return "POST", "/auth/logout", c.first, map[string]any{"refresh_token": c.refresh}
	}, map[string]fate{firstOfA: loggedOut}},
	{"logout-all", func(c *account) (string, string, *person, any) {
		return "POST", "/auth/logout-all", c.first, nil
	}, map[string]fate{firstOfA: loggedOut, secondOfA: loggedOut, secondOfAB: loggedOut, mqttPerson: revoked}},
	{"session", func(c *account) (string, string, *person, any) {
		return "DELETE", "/users/me/sessions/" + c.second.sessions()[1], c.second, nil // by the next to last login
	}, map[string]fate{firstOfA: loggedOut}},
	{"other-sessions", func(c *account) (string, string, *person, any) {
		return "DELETE", "/users/me/sessions", c.second, nil
	}, map[string]fate{firstOfA: loggedOut, mqttPerson: revoked}},
	{"factor", func(c *account) (string, string, *person, any) {
		return "POST", "/users/me/second-factor/confirm", c.second, map[string]any{"code": c.second.enrol()}
	}, map[string]fate{firstOfA: loggedOut, mqttPerson: revoked}},
	{"password", func(c *account) (string, string, *person, any) {
		return "POST", "/users/me/password", c.second, map[string]any{"current_password": c.first.password, "new_password": "another horse " + c.name}
	}, map[string]fate{firstOfA: loggedOut, mqttPerson: revoked}},
	{"secret", func(c *account) (string, string, *person, any) {
		return "POST", "/sensors/" + c.a + "/secret", c.first, map[string]any{"grace_seconds": 0}
	}, map[string]fate{
		socketOfA: loggedOut, mqttOfA: revoked, firstOfA: sensorIsGone, secondOfA: sensorIsGone, secondOfAB: sensorIsGone, mqttPerson: sensorIsGone,
		guestOfA: sensorIsGone, guestOfAB: sensorIsGone, guestOfAll: sensorIsGone, mqttGuest: sensorIsGone,
		scriptOfA: sensorIsGone, mqttScript: sensorIsGone,
	}},
	{"token", func(c *account) (string, string, *person, any) {
		return "DELETE", "/users/me/tokens/" + c.token, c.first, nil
	}, map[string]fate{scriptOfA: loggedOut, mqttScript: revoked}},
	{"share", func(c *account) (string, string, *person, any) {
		return "DELETE", "/sensors/" + c.a + "/shares/" + c.guest.name, c.first, nil
	}, map[string]fate{guestOfA: accessIsLost, guestOfAB: goneAndTold, guestOfAll: goneAndTold, mqttGuest: sensorIsGone}},
	{"transfer", func(c *account) (string, string, *person, any) {
		var offer struct {
			Code string `json:"claim_code"`
		}
		c.first.call("POST", "/api/v1/sensors/"+c.a+"/transfer", map[string]any{"username": c.guest.name}, 201, &offer)
		return "POST", "/sensors/claim", c.guest, map[string]any{"claim_code": offer.Code}
	}, map[string]fate{
		firstOfA: deleted, secondOfA: deleted, secondOfAB: goneAndTold, socketOfA: deleted, mqttOfA: revoked, mqttPerson: sensorIsGone,
		guestOfA: deleted, guestOfAB: goneAndTold, guestOfAll: goneAndTold, mqttGuest: sensorIsGone,
		scriptOfA: deleted, mqttScript: sensorIsGone,
	}},
	{"sensor", func(c *account) (string, string, *person, any) {
		return "DELETE", "/sensors/" + c.a, c.first, nil
	}, map[string]fate{
		firstOfA: deleted, secondOfA: deleted, secondOfAB: goneAndTold, socketOfA: deleted, mqttOfA: revoked, mqttPerson: sensorIsGone,
		guestOfA: deleted, guestOfAB: goneAndTold, guestOfAll: goneAndTold, mqttGuest: sensorIsGone,
		scriptOfA: deleted, mqttScript: sensorIsGone,
	}},
	{"account", func(c *account) (string, string, *person, any) {
		return "DELETE", "/users/me", c.first, map[string]any{"password": c.first.password}
	}, map[string]fate{
		firstOfA: lost, secondOfA: lost, secondOfAB: lost, socketOfA: lost, mqttOfA: revoked, mqttOfB: {codes: []int{none}}, mqttPerson: revoked,
		scriptOfA: lost, mqttScript: revoked,
		guestOfA: deleted, guestOfAB: deleted, guestOfAll: {told: true, deaf: true}, mqttGuest: {deaf: true},
	}},
}

// account registers somebody and opens everything, each kind of viewer several times.
func (s *instance) account(t testing.TB, name string, viewers int) *account {
	t.Helper()
	c := &account{name: name, first: s.register(name), guest: s.register("g-" + name), a: name + "-A", b: name + "-B"}
	second := *c.first
	c.second = &second
	c.first.token, c.refresh = c.first.login()
	c.second.token, _ = c.second.login()
	c.script, c.token = c.first.script(map[string]any{"scopes": []string{"read"}})
	secret, other := c.first.sensor(c.a), c.first.sensor(c.b)
	for _, serial := range []string{c.a, c.b} {
		c.first.call("PUT", "/api/v1/sensors/"+serial+"/shares/"+c.guest.name, nil, 200, nil)
	}
	open := func(p *person, who string, serials ...string) {
		for range viewers {
			c.witnesses = append(c.witnesses, p.socket(t, who, "/api/v1/tickets", map[string]any{"serial_nos": serials}))
		}
	}
	open(c.first, firstOfA, c.a)
	open(c.second, secondOfA, c.a)
	open(c.second, secondOfAB, c.a, c.b)
	open(c.script, scriptOfA, c.a)
	open(c.guest, guestOfA, c.a)
	open(c.guest, guestOfAB, c.a, c.b)
	c.witnesses = append(c.witnesses,
		c.first.socket(t, socketOfA, "/api/v1/device/tickets", map[string]any{"serial_no": c.a, "secret_key": secret}),
		s.publisher(t, mqttOfA, c.a, secret, 5), s.publisher(t, mqttOfB, c.b, other, 4), s.subscriber(t, mqttPerson, c.first),
		c.guest.socket(t, guestOfAll, "/api/v1/tickets", map[string]any{"all": true}), s.subscriber(t, mqttGuest, c.guest), s.subscriber(t, mqttScript, c.script))
	return c
}

// script makes an API token and returns who comes with it, over HTTP and MQTT, and its id.
func (p *person) script(draft map[string]any) (script *person, id string) {
	p.s.t.Helper()
	draft["name"] = "a script"
	var made struct {
		Token    string
		APIToken struct{ ID string } `json:"api_token"`
	}
	p.call("POST", "/api/v1/users/me/tokens", draft, 201, &made)
	return &person{s: p.s, name: p.name, password: made.Token, token: made.Token}, made.APIToken.ID
}

func (p *person) login() (access, refresh string) {
	p.s.t.Helper()
	var grant struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	p.call("POST", "/api/v1/auth/login", map[string]any{"login": p.name, "password": p.password}, 200, &grant)
	return grant.AccessToken, grant.RefreshToken
}

// TestRelay_AuthorityEndsWithinASecondUnderLoad takes authority away in every way, one after the other, while sensors publish and viewers
// watch: whom it concerns is out within a second, and hears nothing that was sent later; nobody else notices.
func TestRelay_AuthorityEndsWithinASecondUnderLoad(t *testing.T) {
	sensors, crowded := 200, many(500, 250)
	needFiles(t, 2_000)
	dir, ann := founded(t, sensors)
	s := serve(t, dir, "--log-level", "debug", "--ticket-ttl", "30s", "--registrations-per-hour", "0")
	ann.s = s
	var watching []*follower
	for i := range crowded {
		watching = append(watching, ann.follower(serialOf(i%sensors), serialOf(rand.IntN(sensors))))
	}
	stop := follow(t, watching)
	feed := s.feed(sensors, time.Duration(atMost(200, 1000))*time.Millisecond, 20)
	var accounts []*account
	for _, change := range changes {
		accounts = append(accounts, s.account(t, change.name, 5))
	}
	for _, c := range accounts {
		c.alive(t, time.Now(), nil)
	}
	feed.reach(t, 1)
	machine := newPulse(t)
	for i, change := range changes {
		machine.worst.Store(0)
		method, path, as, body := change.act(accounts[i])
		status, answer := as.request(method, "/api/v1"+path, as.token, body)
		answered := time.Now()
		if status/100 != 2 {
			t.Fatalf("%s: got %d %s, want success", change.name, status, answer)
		}
		accounts[i].suffers(t, change.name, answered, change.fates, machine)
		for j, other := range accounts {
			if j > i {
				other.alive(t, answered, nil)
			}
		}
	}
	s.inspect()
	feed.end()
	log := ann.log(sensors)
	feed.holds(t, log)
	caughtUp(t, watching, log)
	balanced(t, watching, log, true)
	shownIsKept(t, watching, log)
	if n := count(watching, func(f *follower) bool { return f.hellos != 1 || len(f.gaps) > 0 }); n > 0 {
		t.Errorf("%d viewers of others were disturbed", n)
	}
	stop()
}

// suffers checks what a change did, answered at that time.
func (c *account) suffers(t *testing.T, change string, answered time.Time, fates map[string]fate, machine *pulse) {
	t.Helper()
	limit := answered.Add(patience)
	for _, w := range c.witnesses {
		fate := fates[w.who]
		if fate.codes == nil {
			continue
		}
		select {
		case <-w.over:
		case <-time.After(time.Until(limit)):
			t.Errorf("%s: %s is still open after %v", change, w.who, patience)
			continue
		}
		if late := w.end.Sub(answered); late > time.Second {
			t.Errorf("%s: %s was closed %v after the answer, want 1s; %v", change, w.who, late, machine)
		}
		if !slices.Contains(fate.codes, w.code) {
			t.Errorf("%s: %s was closed with %d, want one of %d", change, w.who, w.code, fate.codes)
		}
		for serial, at := range w.knows() {
			if at > answered.UnixMicro() {
				t.Errorf("%s: %s saw a reading of %s sent %v after the answer", change, w.who, serial, time.UnixMicro(at).Sub(answered))
			}
		}
	}
	c.alive(t, answered, fates)
	for _, w := range c.witnesses {
		if !fates[w.who].told {
			continue
		}
		w.mu.Lock()
		heard, ok := w.told[c.a]
		w.mu.Unlock()
		if !ok || heard.Sub(answered) > time.Second {
			t.Errorf("%s: %s heard that A is gone: %v, %v after the answer, want within 1s; %v", change, w.who, ok, heard.Sub(answered), machine)
		}
	}
	for _, w := range c.witnesses {
		if at := w.knows()[c.a]; fates[w.who].without && at > answered.UnixMicro() {
			t.Errorf("%s: %s saw a reading of A sent %v after the answer", change, w.who, time.UnixMicro(at).Sub(answered))
		}
	}
}

// alive waits until those who are not concerned have seen something of each of their sensors that was sent after that time, and so have
// those that lost one of two sensors of the other.
func (c *account) alive(t *testing.T, since time.Time, fates map[string]fate) {
	t.Helper()
	silent := len(fates[mqttOfA].codes) > 0 // nobody publishes for A any more
	eventually(t, fmt.Sprintf("the witnesses of %q to hear on", c.name), func() (left int) {
		for _, w := range c.witnesses {
			if fates[w.who].codes != nil || fates[w.who].deaf {
				continue
			}
			seen := w.knows()
			for _, serial := range c.hears(w.who) {
				if seen[serial] <= since.UnixMicro() && !(serial == c.a && (silent || fates[w.who].without)) {
					left++
				}
			}
			select {
			case <-w.over:
				t.Fatalf("%s of %q was closed with %d", w.who, c.name, w.code)
			default:
			}
		}
		return left
	})
}

// hears is what a witness hears of.
func (c *account) hears(who string) []string {
	switch who {
	case firstOfA, secondOfA, scriptOfA, guestOfA:
		return []string{c.a}
	case secondOfAB, mqttPerson, mqttScript, guestOfAB, guestOfAll, mqttGuest:
		return []string{c.a, c.b}
	}
	return []string{"itself"}
}

// pulse tells how long this process was kept from running, which is how starved the machine is.
type pulse struct{ worst atomic.Int64 }

func newPulse(t *testing.T) *pulse {
	p := &pulse{}
	tick := time.NewTicker(10 * time.Millisecond)
	t.Cleanup(tick.Stop)
	go func() { // ends with the test
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-t.Context().Done():
				return
			case <-tick.C:
			}
			p.worst.Store(max(p.worst.Load(), int64(time.Since(last))))
		}
	}()
	return p
}

func (p *pulse) String() string {
	return fmt.Sprintf("the tests themselves had to wait up to %v for a processor", time.Duration(p.worst.Load()).Round(time.Millisecond))
}
