package drive

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"time"
)

// patience is how long a client waits for what must come.
const patience = 20 * time.Second

// role is somebody who can log in.
type role struct{ name, password string }

// login is a CONNECT.
type login struct {
	role
	id        string
	version   byte // 4 or 5
	keep      bool // the session outlives the connection: clean session or start off, and in v5 for an hour unless props say otherwise
	keepAlive int
	props     []byte
	will      *willOf
}

type willOf struct {
	topic, payload string
	qos            byte
	retain         bool
	props          []byte
}

func (l login) as(id string) login { l.id = id; return l }

// packet is the CONNECT (MQTT 3.1.1 and 5.0 §3.1).
func (l login) packet() []byte {
	flags, props := byte(0xc2), l.props // user name, password, clean
	if l.keep {
		flags &^= 2
		if props == nil {
			props = prop(propSessionExpiry, u32(3600))
		}
	}
	parts := [][]byte{properties(l.version, props), text(l.id)}
	if w := l.will; w != nil {
		if flags |= 4 | w.qos<<3; w.retain {
			flags |= 0x20
		}
		parts = append(parts, properties(l.version, w.props), text(w.topic), text(w.payload))
	}
	parts = append(parts, text(l.name), text(l.password))
	return frame(pConnect<<4, text("MQTT"), []byte{l.version, flags}, u16(l.keepAlive), join(parts...))
}

// client is an MQTT client driven by hand. It keeps no state: what a client has to remember over a crash its test remembers.
type client struct {
	net.Conn
	r       *bufio.Reader
	version byte
	present bool // CONNACK said that there was a session
}

func newClient(c net.Conn, version byte) *client {
	return &client{Conn: c, r: bufio.NewReaderSize(c, 512), version: version}
}

// client logs in through a door, and waits for CONNACK.
func (s *instance) client(transport string, l login) (*client, error) {
	socket, err := s.door(transport, "").dial()
	if err != nil {
		return nil, err
	}
	c := newClient(socket, l.version)
	c.SetDeadline(time.Now().Add(patience))
	defer c.SetDeadline(time.Time{})
	if err = c.send(l.packet()); err == nil {
		err = c.admitted()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// admitted reads CONNACK.
func (c *client) admitted() error {
	ack, err := c.read()
	switch {
	case err != nil:
		return fmt.Errorf("no CONNACK: %w", err)
	case ack.kind() != pConnack:
		return fmt.Errorf("got %s in place of CONNACK", ack)
	case ack.code != 0:
		return fmt.Errorf("refused with code %#x", ack.code)
	}
	c.present = ack.present
	return nil
}

func (c *client) send(packets ...[]byte) error { return sendPackets(c.Conn, packets...) }

// read reads one packet.
func (c *client) read() (packet, error) {
	head, err := c.r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	var length []byte
	for len(length) == 0 || length[len(length)-1] > 0x7f {
		b, err := c.r.ReadByte()
		if err != nil {
			return packet{}, err
		}
		length = append(length, b)
	}
	n, _ := readVarint(length)
	got := packet{head: head, body: make([]byte, n), size: 1 + len(length) + n}
	if _, err := io.ReadFull(c.r, got.body); err != nil {
		return packet{}, err
	}
	return got, got.parse(c.version)
}

// await reads until a packet of the kind comes.
func (c *client) await(kind int) (packet, error) {
	for {
		got, err := c.read()
		if err != nil || got.kind() == kind {
			return got, err
		}
	}
}

// subscribe subscribes and waits for the grant.
func (c *client) subscribe(qos byte, filters ...string) error {
	if err := c.send(subscribePacket(c.version, 1, qos, filters...)); err != nil {
		return err
	}
	ack, err := c.await(pSuback)
	if err != nil {
		return err
	}
	for _, got := range ack.codes {
		if got != qos {
			return fmt.Errorf("subscription answered with %#x", got)
		}
	}
	return nil
}

// publish publishes with QoS 1 and waits for PUBACK. What else comes is passed over.
func (c *client) publish(topic, payload string) error {
	m := publication{topic: topic, payload: payload, qos: 1, id: 1}
	if err := c.send(m.packet(c.version)); err != nil {
		return err
	}
	_, err := c.await(pPuback)
	return err
}

// vanish ends the connection as a lost client does: without a word, and without a port left in TIME_WAIT.
func (c *client) vanish() {
	socket := socketOf(c.Conn)
	if tcp, ok := socket.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // on a socket that is gone already there is nothing to be done
	}
	socket.Close()
}
