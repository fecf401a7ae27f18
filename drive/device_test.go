package drive

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// The first bytes of the packets a device sends and reads (MQTT 5.0 table 2-1), flags included where they have one value.
const (
	connect    = 0x10
	connack    = 0x20
	publishing = 0x30
	puback     = 0x40
	pubrec     = 0x50
	pubrel     = 0x62
	pubcomp    = 0x70
	subscribe  = 0x82
	suback     = 0x90
	unsub      = 0xa2
	unsuback   = 0xb0
)

// login is what a device says in CONNECT.
type login struct {
	id, user, password string
	version            byte // 4 or 5
	durable            bool // the session outlives the connection: v3.1.1 without clean session, v5 with an hour's expiry
	clean              bool // begin anew all the same, v5
	will               string
	willDelay          uint32 // seconds, v5
}

// device is an MQTT client driven by hand. It keeps no state: what a client has to remember over a crash its test remembers.
type device struct {
	net.Conn
	r       *bufio.Reader
	version byte
	present bool // CONNACK said that there was a session
}

// handPatience is how long a device waits for one packet.
const handPatience = 20 * time.Second

// device logs in on a listener, over TLS if it is mqtts, and waits for CONNACK.
func (s *instance) device(listener string, l login) (*device, error) {
	d := net.Dialer{Timeout: handPatience}
	c, err := d.Dial("tcp", s.addr[listener])
	if err != nil {
		return nil, err
	}
	if listener == "mqtts" {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // whose certificate it is other tests ask
	}
	dev, err := handshake(c, l)
	if err != nil {
		c.Close()
		return nil, err
	}
	return dev, nil
}

// handshake logs in on a connection.
func handshake(c net.Conn, l login) (*device, error) {
	d := newDevice(c, l.version)
	c.SetDeadline(time.Now().Add(handPatience))
	defer c.SetDeadline(time.Time{})
	if _, err := c.Write(l.packet()); err != nil {
		return nil, err
	}
	return d, d.admitted()
}

func newDevice(c net.Conn, version byte) *device {
	return &device{Conn: c, r: bufio.NewReaderSize(c, 512), version: version}
}

// admitted reads CONNACK.
func (d *device) admitted() error {
	head, body, err := d.next()
	switch {
	case err != nil:
		return fmt.Errorf("no CONNACK: %w", err)
	case head != connack || len(body) < 2:
		return fmt.Errorf("got packet %#x in place of CONNACK", head)
	case body[1] != 0:
		return fmt.Errorf("refused with code %#x", body[1])
	}
	d.present = body[0] == 1
	return nil
}

// next reads one packet.
func (d *device) next() (head byte, body []byte, err error) {
	if head, err = d.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(d.r)
	if err != nil || size > 1<<20 {
		return 0, nil, fmt.Errorf("size %d: %w", size, err)
	}
	body = make([]byte, size)
	_, err = io.ReadFull(d.r, body)
	return head, body, err
}

// await reads until a packet of the kind comes, and returns its body.
func (d *device) await(kind byte) ([]byte, error) {
	for {
		head, body, err := d.next()
		if err != nil || head&0xf0 == kind&0xf0 {
			return body, err
		}
	}
}

// subscribe subscribes and waits for the grant.
func (d *device) subscribe(qos byte, filters ...string) error {
	if _, err := d.Write(subscribePacket(d.version, 1, qos, filters...)); err != nil {
		return err
	}
	body, err := d.await(suback)
	if err != nil {
		return err
	}
	if got := body[len(body)-1]; got != qos {
		return fmt.Errorf("subscription answered with %#x", got)
	}
	return nil
}

// publish publishes with QoS 1 and waits for PUBACK. What else comes is passed over.
func (d *device) publish(topic, payload string) error {
	if _, err := d.Write((&telegram{topic: topic, payload: payload, qos: 1, id: 1}).packet(d.version)); err != nil {
		return err
	}
	_, err := d.await(puback)
	return err
}

// vanish ends the connection as a lost client does: without a word, and without a port left in TIME_WAIT.
func (d *device) vanish() {
	c := d.Conn
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // on a socket that is gone already there is nothing to be done
	}
	c.Close()
}

// packet is the login's CONNECT (MQTT 3.1.1 and 5.0 §3.1).
func (l login) packet() []byte {
	b := append(appendText(nil, "MQTT"), l.version, 0xc0, 0, 0) // user name, password; no keep alive
	if l.clean || !l.durable {
		b[7] |= 0x02
	}
	var properties []byte
	if l.version == 5 && l.durable {
		properties = binary.BigEndian.AppendUint32([]byte{0x11}, 3600) // session expiry
	}
	b = l.with(b, properties)
	b = appendText(b, l.id)
	if l.will != "" {
		b[7] |= 0x04 | 1<<3 // with QoS 1
		b = l.with(b, binary.BigEndian.AppendUint32([]byte{0x18}, l.willDelay))
		b = appendText(appendText(b, "sensors/"+l.user+"/lwt"), l.will)
	}
	return framed(connect, appendText(appendText(b, l.user), l.password))
}

// with appends properties where the version knows them.
func (l login) with(b, properties []byte) []byte {
	if l.version < 5 {
		return b
	}
	return append(append(b, byte(len(properties))), properties...)
}

// telegram is a PUBLISH.
type telegram struct {
	topic, payload string
	qos            byte
	id             uint16
	retain, dup    bool
}

func (m *telegram) packet(version byte) []byte {
	head := byte(publishing) | m.qos<<1
	if m.retain {
		head |= 1
	}
	if m.dup {
		head |= 8
	}
	b := appendText(nil, m.topic)
	if m.qos > 0 {
		b = binary.BigEndian.AppendUint16(b, m.id)
	}
	if version == 5 {
		b = append(b, 0)
	}
	return framed(head, append(b, m.payload...))
}

// readMessage decodes a PUBLISH the server sent.
func readMessage(version, head byte, body []byte) telegram {
	n := 2 + int(binary.BigEndian.Uint16(body))
	m := telegram{topic: string(body[2:n]), qos: head >> 1 & 3, retain: head&1 != 0, dup: head&8 != 0}
	if m.qos > 0 {
		m.id = binary.BigEndian.Uint16(body[n:])
		n += 2
	}
	if version == 5 {
		n += 1 + int(body[n]) // properties are few here
	}
	m.payload = string(body[n:])
	return m
}

func subscribePacket(version byte, id uint16, qos byte, filters ...string) []byte {
	b := numbered(version, id)
	for _, f := range filters {
		b = append(appendText(b, f), qos)
	}
	return framed(subscribe, b)
}

func unsubscribePacket(version byte, id uint16, filter string) []byte {
	return framed(unsub, appendText(numbered(version, id), filter))
}

// numbered begins a packet with its id, and no properties.
func numbered(version byte, id uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	if version == 5 {
		b = append(b, 0)
	}
	return b
}

// answer is PUBACK, PUBREC, PUBREL or PUBCOMP: success is the same in both versions.
func answer(kind byte, id uint16) []byte { return framed(kind, binary.BigEndian.AppendUint16(nil, id)) }

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func framed(head byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...)
}

// packetID is the id of an acknowledgement.
func packetID(body []byte) uint16 { return binary.BigEndian.Uint16(body) }
