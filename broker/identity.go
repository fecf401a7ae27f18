package broker

import (
	"context"
	"errors"
	"net/netip"
	"time"
	"unicode/utf8"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

const (
	maxClientIDBytes = 256

	// passwordTimeout bounds the check of a person's password, its wait for a turn included. It blocks that client's goroutine only.
	passwordTimeout = 5 * time.Second

	// maxUnreleased is how many QoS 2 publishes a v3.1.1 client may leave without PUBREL. It knows no Receive Maximum, at which mochi
	// would disconnect it, but each costs a kilobyte.
	maxUnreleased = 4096

	// imposedKeepAlive is what a v5 client that asks for none is told to keep (MQTT 5.0 §3.2.2.3.14). A v3.1.1 client that asks for
	// none has none: it could not be told, and closing it for being silent would publish its will. TCP finds its death.
	imposedKeepAlive = 600 // s
)

// passwords proves people; *auth.Service does.
type passwords interface {
	Password(ctx context.Context, login, password string, remote netip.Addr) (auth.Principal, error)
}

// refusal is why a CONNECT is refused: the reason code of v5 and the return code of v3.1.1 (§3.2.2.3).
type refusal struct{ v5, v3 packets.Code }

var (
	v3BadCredentials = packets.ErrMalformedUsernameOrPassword // 4
	v3NotAuthorized  = packets.Err3NotAuthorized              // 5

	refusedLogin       = refusal{packets.ErrBadUsernameOrPassword, v3BadCredentials}
	refusedAnonymous   = refusal{packets.ErrNotAuthorized, v3NotAuthorized}
	refusedWill        = refusal{packets.ErrNotAuthorized, v3NotAuthorized}
	refusedClientID    = refusal{packets.ErrClientIdentifierNotValid, packets.Err3ClientIdentifierNotValid}
	refusedTooMany     = refusal{packets.ErrQuotaExceeded, packets.Err3ServerUnavailable}
	refusedUnavailable = refusal{packets.ErrServerUnavailable, packets.Err3ServerUnavailable}
	refusedBusy        = refusal{packets.ErrServerBusy, packets.Err3ServerUnavailable}
)

// refuse answers CONNECT. mochi's own answer to a refusal has the wrong code for v3.1.1 and only one for v5, so the client is stopped
// before mochi can write it.
func (h *hook) refuse(cl *mqtt.Client, r refusal) packets.Code {
	code := r.v5
	if cl.Properties.ProtocolVersion < 5 {
		code = r.v3
	}
	_ = h.b.server.SendConnack(cl, code, false, nil)
	cl.Stop(r.v5)
	return r.v5
}

// OnConnect implements mqtt.Hook: CONNECT is well-formed, nobody is authenticated.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	c := connOf(cl)
	c.client = cl
	c.version.Store(uint32(pk.ProtocolVersion))
	if len(pk.Connect.ClientIdentifier) > maxClientIDBytes {
		return h.refuse(cl, refusedClientID)
	}
	if pk.ProtocolVersion == 5 {
		if cl.State.Keepalive == 0 {
			cl.State.Keepalive, cl.State.ServerKeepalive = imposedKeepAlive, true
		}
		// mochi forgets a delivery it deferred for the client's Receive Maximum and may deadlock looking for it: none is deferred.
		cl.Properties.Props.ReceiveMaximum = 0
		cl.State.Inflight.ResetSendQuota(0)
		// mochi counts an alias as told when it queues the message; one dropped or kept for the next connection would leave it unknown.
		cl.Properties.Props.TopicAliasMaximum = 0
		c.limitExpiry(&cl.Properties.Props)
	}
	return nil
}

// OnConnectAuthenticate implements mqtt.Hook: it proves who connects, checks the will, and claims the session. From here to the end
// of its goroutine this connection is the only one in its session.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	b, c := h.b, connOf(cl)
	p, err := b.identify(c.remote, &pk.Connect)
	if err != nil {
		h.refuse(cl, b.refusalOf(err, pk.Connect.UsernameFlag))
		return false
	}
	if cl.Properties.Will.Flag != 0 && !b.mayLeave(p, cl.Properties.Will.TopicName) {
		b.refusedPublish(p, "will", cl.Properties.Will.TopicName)
		h.refuse(cl, refusedWill)
		return false
	}
	c.principal = p
	id := p.Scope() + "/" + cl.ID
	tookOver, err := b.sessions.claim(c, id, p, claimTimeout)
	if tookOver {
		b.counters.takeovers.Add(1)
	}
	if err != nil {
		b.counters.throttled.Add(1)
		r := refusedBusy
		if errors.Is(err, errManySession) {
			r = refusedTooMany
		}
		h.refuse(cl, r)
		return false
	}
	c.id = id
	if !b.service.Live(p) { // authority ended between the proof and the claim, too early for AuthorityChanged to find us
		h.refuse(cl, refusedLogin)
		return false
	}
	cl.ID = id // before mochi looks for the session; AssignedClientID keeps what the client knows
	b.leavePending(c)
	return true
}

// identify proves the sensor or person behind a CONNECT. A user name that is a sensor's serial is that sensor's.
func (b *Broker) identify(remote netip.Addr, connect *packets.ConnectParams) (auth.Principal, error) {
	name, secret := string(connect.Username), string(connect.Password)
	if !connect.UsernameFlag || name == "" || !utf8.ValidString(name) {
		return auth.Principal{}, telemetry.ErrUnauthenticated
	}
	if _, ok := b.dir.Lookup(name); ok {
		return b.dir.Authenticate(name, secret)
	}
	if secret == "" {
		return auth.Principal{}, telemetry.ErrUnauthenticated
	}
	ctx, cancel := context.WithTimeout(context.Background(), passwordTimeout)
	defer cancel()
	return b.service.Password(ctx, name, secret, remote)
}

func (b *Broker) refusalOf(err error, named bool) refusal {
	switch {
	case errors.Is(err, telemetry.ErrTooMany):
		b.counters.throttled.Add(1)
		return refusedTooMany
	case errors.Is(err, telemetry.ErrUnauthenticated) && !named:
		b.counters.loginFailures.Add(1)
		return refusedAnonymous
	case errors.Is(err, telemetry.ErrUnauthenticated):
		b.counters.loginFailures.Add(1)
		return refusedLogin
	case errors.Is(err, telemetry.ErrForbidden):
		b.counters.loginFailures.Add(1)
		return refusedAnonymous
	}
	if !errors.Is(err, telemetry.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		b.log.Error("mqtt login could not be checked", "err", err)
	}
	b.counters.throttled.Add(1)
	return refusedUnavailable
}

// OnSessionEstablish implements mqtt.Hook: an absent client's session is about to be inherited. What was queued for it is sent again
// unasked, so what the client may no longer see leaves the queue here.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	old, ok := h.b.server.Clients.Get(cl.ID)
	if !ok {
		return
	}
	p := connOf(cl).principal
	for _, pk := range old.State.Inflight.GetAll(false) {
		if pk.FixedHeader.Type == packets.Publish && !h.b.dir.MayReceive(p, pk.TopicName) {
			old.State.Inflight.Delete(pk.PacketID)
		}
	}
}

// OnSessionEstablished implements mqtt.Hook: CONNACK is written.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := connOf(cl)
	c.idle = time.Duration(cl.State.Keepalive) * time.Second * 3 / 2 // [MQTT-3.1.2-22]
	if cl.Properties.ProtocolVersion < 5 {
		cl.State.Inflight.ResetReceiveQuota(maxUnreleased)
	}
	c.backlog.Store(0) // what was sent again did not pass the queue
	c.established.Store(true)
	h.b.sessions.recount(c.id, cl.State.Subscriptions.Len())
	h.b.log.Debug("client connected", "remote", c.remote, "client", c.id, "principal", c.principal)
}
