package broker

import (
	"bytes"
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

const (
	maxClientIDBytes = 256

	// imposedKeepAlive is what a v5 client that asks for none is told to keep (MQTT 5.0 §3.2.2.3.14). A v3.1.1 client that asks for
	// none has none: it could not be told, and closing it for being silent would publish its will. TCP finds its death.
	imposedKeepAlive = 600 // s

	// maxAliases is how many topic aliases a v5 client may set.
	maxAliases = 16
)

// hello is a decoded CONNECT.
type hello struct {
	version   byte
	clean     bool
	anew      bool   // nothing of a session before is resumed: the client does not want it, or it has ended
	keepAlive uint16 // s
	clientID  string
	will      *state.Will
	named     bool // a user name was given
	user      string
	password  string
	properties
}

// refusal is why a CONNECT is refused: the reason code of v5 and the return code of v3.1.1 (§3.2.2.3); v3 zero: there is none, the
// connection just closes.
type refusal struct{ v5, v3 packets.Code }

func (r refusal) Error() string { return r.v5.Reason }

var (
	refusedVersion     = refusal{packets.ErrUnsupportedProtocolVersion, packets.Err3UnsupportedProtocolVersion}
	refusedLogin       = refusal{packets.ErrBadUsernameOrPassword, packets.ErrMalformedUsernameOrPassword}
	refusedFactor      = refusal{packets.Code{Code: packets.ErrNotAuthorized.Code, Reason: wantsToken}, packets.Err3NotAuthorized}
	refusedAnonymous   = refusal{packets.ErrNotAuthorized, packets.Err3NotAuthorized}
	refusedWill        = refusal{packets.ErrNotAuthorized, packets.Err3NotAuthorized}
	refusedClientID    = refusal{packets.ErrClientIdentifierNotValid, packets.Err3ClientIdentifierNotValid}
	refusedMethod      = refusal{v5: packets.ErrBadAuthenticationMethod}
	refusedTooMany     = refusal{packets.ErrQuotaExceeded, packets.Err3ServerUnavailable}
	refusedUnavailable = refusal{packets.ErrServerUnavailable, packets.Err3ServerUnavailable}
	refusedBusy        = refusal{packets.ErrServerBusy, packets.Err3ServerUnavailable}
)

// wantsToken is what somebody with a second factor is told, who has no way to show a code over MQTT.
const wantsToken = "account has a second factor: use an API token as the password"

// connect handles the first packet: from its successful end on, this connection is the only one in its session. It blocks while a
// person's password is checked and while the session's former connection ends.
func (c *conn) connect(p packet) error {
	if p.head != packets.Connect<<4 {
		return packets.ErrMalformedFlags
	}
	c.broker.pending.spoke(c.place)
	h, err := decodeConnect(p.body)
	if err == nil {
		c.version.Store(uint32(h.version))
		err = c.enter(h)
	}
	if err == nil {
		return nil
	}
	var r refusal
	if code := (packets.Code{}); errors.As(err, &code) && h.version == 5 {
		r = refusal{v5: code} // 3.1.1 has no word for ill-formed
	} else if !errors.As(err, &r) {
		return err
	}
	c.broker.notAdmitted(h.user, c.remote, inWords(r))
	switch {
	case h.version == 5:
		c.write(c.brief(func(why string) []byte {
			return encodeConnack(false, r.v5, packets.Properties{ReasonString: why}, 5)
		}, r.v5.Reason))
	case r.v3.Code != 0:
		c.write([]byte{packets.Connack << 4, 2, 0, r.v3.Code})
	}
	return err
}

// decodeConnect reads a CONNECT (MQTT 5.0 §3.1). With an error, what was read until then is returned too.
func decodeConnect(body []byte) (h hello, err error) {
	in := cursor{b: body}
	name, version := in.binary(), in.byte()
	switch {
	case in.bad:
		return h, packets.ErrMalformedProtocolName
	case !bytes.Equal(name, []byte("MQTT")) && !bytes.Equal(name, []byte("MQIsdp")):
		return h, packets.ErrProtocolViolationProtocolName // [MQTT-3.1.2-1]
	case (version == 3) != (string(name) == "MQIsdp") || version < 3 || version > 5:
		return h, refusedVersion // [MQTT-3.1.2-2]
	}
	h.version = version
	flags := in.byte()
	h.keepAlive = in.uint16()
	if version == 5 {
		if h.properties, err = in.properties(connectProperties); err != nil {
			return h, err
		}
	}
	if !in.bad && flags&0x01 != 0 {
		return h, packets.ErrProtocolViolationReservedBit // [MQTT-3.1.2-3]
	}
	h.clean = flags&0x02 != 0
	h.clientID = string(in.text())
	if err := h.readWill(&in, flags); err != nil {
		return h, err
	}
	if h.named = flags&0x80 != 0; h.named {
		h.user = string(in.text())
	}
	if flags&0x40 != 0 {
		h.password = string(in.binary())
		if !h.named && version < 5 {
			return h, packets.ErrProtocolViolationPasswordNoFlag // [MQTT-3.1.2-22] of 3.1.1
		}
	}
	if in.bad || len(in.b) > 0 {
		return h, packets.ErrMalformedPacket
	}
	return h, nil
}

func (h *hello) readWill(in *cursor, flags byte) error {
	qos, retain := flags>>3&3, flags&0x20 != 0
	if flags&0x04 == 0 {
		if qos != 0 || retain {
			return packets.ErrProtocolViolationWillFlagSurplusRetain // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
		}
		return nil
	}
	if qos > 2 {
		return packets.ErrProtocolViolationQosOutOfRange // [MQTT-3.1.2-12]
	}
	var props properties
	if h.version == 5 {
		var err error
		if props, err = in.properties(willProperties); err != nil {
			return err
		}
	}
	topic, payload := in.text(), in.binary()
	if in.bad {
		return packets.ErrMalformedPacket
	}
	h.will = &state.Will{
		Message: state.Message{
			Topic:      string(topic),
			Payload:    bytes.Clone(payload),
			QoS:        qos,
			Retain:     retain,
			Properties: bytes.Clone(props.forward),
		},
		Delay: time.Duration(props.willDelay) * time.Second,
	}
	if props.has.has(packets.PropMessageExpiryInterval) {
		h.will.Message.ExpiresAt = telemetry.Millis(props.messageExpiry) * 1000 // an interval until the will is published
	}
	return nil
}

// enter proves who connects, checks the will, claims the session and answers.
func (c *conn) enter(h hello) error {
	b := c.broker
	switch {
	case h.has.has(packets.PropAuthenticationMethod):
		return refusedMethod // MQTT 5.0 §4.12
	case h.has.has(packets.PropAuthenticationData):
		return packets.ErrProtocolViolation
	case len(h.clientID) > maxClientIDBytes, h.clientID == "" && !h.clean && h.version < 5: // [MQTT-3.1.3-8] of 3.1.1
		return refusedClientID
	}
	c.noProblems, c.maxPacket = h.noProblems, int(h.maximumPacket)
	if _, sensor := b.dir.Lookup(h.user); !sensor {
		c.stepOut() // a person's password takes its time
	}
	p, err := b.identify(c.raw, c.remote, &h)
	if err != nil {
		c.knock(&h)
		return b.refusalOf(err, h.named)
	}
	if h.will != nil && !b.mayLeave(p, h.will.Message.Topic) {
		b.refusedPublish(p, "will", h.will.Message.Topic)
		return refusedWill
	}
	if !b.takeSeat() {
		b.counters.throttled.Add(1)
		return refusedBusy
	}
	c.seated = true
	if err := c.claim(p, &h); err != nil {
		return err
	}
	b.leavePending(c)
	return c.welcome(&h)
}

// claim makes c the holder of its session.
func (c *conn) claim(p auth.Principal, h *hello) error {
	b := c.broker
	assigned := h.clientID == ""
	if assigned {
		h.clientID = assignedClientID()
	}
	s, fate, err := b.sessions.claim(c, p.Scope()+"/"+h.clientID, p, claimTimeout)
	if fate.tookOver {
		b.counters.takeovers.Add(1)
	}
	h.anew = h.clean || fate.ended
	switch {
	case errors.Is(err, errSuperseded):
		return refusedBusy // the client itself has come again
	case errors.Is(err, errManySession):
		b.counters.throttled.Add(1)
		return refusedTooMany
	case err != nil:
		b.counters.throttled.Add(1)
		return refusedBusy
	}
	c.principal, c.session = p, s
	if !assigned {
		h.clientID = "" // what is left is what the client has to be told
	}
	if !b.service.Live(p) { // authority ended between the proof and the claim, too early for AuthorityChanged to find us
		return refusedLogin
	}
	return nil
}

// welcome opens the session and answers CONNECT; what waits for the client follows.
func (c *conn) welcome(h *hello) error {
	c.stepOut() // a full pipe may hold up what follows
	b, s := c.broker, c.session
	imposed := h.version == 5 && h.keepAlive == 0
	if imposed {
		h.keepAlive = imposedKeepAlive
	}
	if h.anew { // the session before has ended, and with it the wait of its will
		if w, excused := s.takeWill(); w != nil && !excused {
			b.publishWill(s, w)
		}
	}
	present, changes := s.open(c, h)
	if err := c.journal(changes...); err != nil {
		return refusedUnavailable
	}
	var props packets.Properties
	if h.version == 5 {
		props = packets.Properties{
			AssignedClientID:  h.clientID,
			ReceiveMaximum:    receiveMaximum,
			MaximumPacketSize: uint32(b.cfg.MaxPayload + packetSlack),
			TopicAliasMaximum: maxAliases,
		}
		if s.expirySeconds() < h.sessionExpiry { // MQTT 5.0 §3.2.2.3.2
			props.SessionExpiryInterval, props.SessionExpiryIntervalFlag = s.expirySeconds(), true
		}
		if imposed {
			props.ServerKeepAlive, props.ServerKeepAliveFlag = h.keepAlive, true
		}
	}
	c.idle, c.rearm = time.Duration(h.keepAlive)*time.Second*3/2, true
	c.since = telemetry.Now()
	b.departures.forget(c.principal.Serial)
	c.establish(encodeConnack(present, packets.CodeSuccess, props, h.version))
	b.log.Debug("client connected", "remote", c.remote, "client", sessionName(s.id), "principal", c.principal)
	c.resume()
	c.runErrands()
	return nil
}
