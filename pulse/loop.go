package pulse

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"sensorcast/telemetry"
)

// Packets of MQTT 3.1.1 as far as one client needs them that publishes once.
const (
	typeConnect = 0x10
	typePublish = 0x32 // QoS 1
)

var (
	connAck    = []byte{0x20, 2, 0, 0} // accepted, no session before [MQTT-3.2.2-4]
	pubAck     = []byte{0x40, 2, 0, 1} // of packet 1
	disconnect = []byte{0xe0, 0}

	errRefused = errors.New("the login was refused")
	errNoAck   = errors.New("a message was not acknowledged")
)

// publish goes once from the connection to the acknowledgement of one message.
func (p *Pulse) publish(ctx context.Context, payload string) error {
	conn, err := p.cfg.Dial(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	var connect bytes.Buffer
	connect.Write([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0xc2, 0, 60}) // user name, password, clean session; keep alive a minute
	for _, text := range []string{p.serial, p.serial, p.secret} {
		writeText(&connect, text)
	}
	if err := exchange(conn, packet(typeConnect, connect.Bytes()), connAck, errRefused); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	var publish bytes.Buffer
	writeText(&publish, telemetry.TelemetryTopic(p.serial))
	publish.Write([]byte{0, 1})
	publish.WriteString(payload)
	if err := exchange(conn, packet(typePublish, publish.Bytes()), pubAck, errNoAck); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	_, _ = conn.Write(disconnect) // good manners; the test is over
	return nil
}

// exchange sends a packet and expects exactly that answer.
func exchange(conn net.Conn, send, want []byte, wrong error) error {
	if _, err := conn.Write(send); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return wrong
	}
	return nil
}

// packet puts the fixed header before a body of less than 16,384 bytes [MQTT-2.2.3].
func packet(kind byte, body []byte) []byte {
	header := []byte{kind, byte(len(body))}
	if len(body) > 127 {
		header = []byte{kind, byte(len(body))&0x7f | 0x80, byte(len(body) >> 7)}
	}
	return append(header, body...)
}

func writeText(b *bytes.Buffer, s string) {
	b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(s))))
	b.WriteString(s)
}
