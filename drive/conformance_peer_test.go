package drive

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// peer is a client driven byte by byte.
type peer struct {
	t  *testing.T
	c  net.Conn
	r  *bufio.Reader
	v5 bool
}

// write sends packets in one piece.
func (p *peer) write(packets ...[]byte) {
	p.t.Helper()
	if _, err := p.c.Write(join(packets...)); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// properties is the field of that name: 3.1.1 has none.
func (p *peer) properties(all ...[]byte) []byte {
	if !p.v5 {
		return nil
	}
	b := join(all...)
	return join(varint(len(b)), b)
}

// next reads one packet within a bound. What the server itself has to say about a sensor's state comes as it comes, and is not looked at.
func (p *peer) next(limit time.Duration) (packet, error) {
	if err := p.c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return packet{}, err
	}
	for {
		got, err := p.read()
		if err != nil || got.kind() != pPublish || !serversOwn(got.topic) {
			return got, err
		}
		switch got.qos() {
		case 1:
			p.write(frame(pPuback<<4, u16(got.id)))
		case 2:
			return got, fmt.Errorf("%w: a state is no matter of QoS 2", errWire)
		}
	}
}

func (p *peer) read() (packet, error) {
	head, err := p.r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	var length []byte
	for len(length) == 0 || length[len(length)-1] > 0x7f {
		b, err := p.r.ReadByte()
		if err != nil {
			return packet{}, err
		}
		length = append(length, b)
	}
	n, _ := readVarint(length)
	got := packet{head: head, body: make([]byte, n), size: 1 + len(length) + n}
	if _, err := io.ReadFull(p.r, got.body); err != nil {
		return packet{}, err
	}
	return got, got.parse(p.v5)
}

// want insists on the next packet's type.
func (p *peer) want(kind int) packet {
	p.t.Helper()
	got, err := p.next(interopPatience)
	if err != nil {
		p.t.Fatalf("got %v, want packet %d", err, kind)
	}
	if got.kind() != kind {
		p.t.Fatalf("got %s, want packet %d", got, kind)
	}
	return got
}

// wantEnd insists that the server closes, telling v5 clients the code if it is not 0.
func (p *peer) wantEnd(code byte) {
	p.t.Helper()
	got, err := p.next(interopPatience)
	if err == nil && p.v5 && got.kind() == pDisconnect {
		if code != 0 && got.code != code {
			p.t.Errorf("got DISCONNECT %#x, want %#x", got.code, code)
		}
		_, err = p.next(interopPatience)
	} else if err == nil || code != 0 && p.v5 {
		p.t.Fatalf("got %s, %v, want the end with %#x", got, err, code)
	}
	if ne := net.Error(nil); err == nil || errors.As(err, &ne) && ne.Timeout() {
		p.t.Fatalf("the connection is still open: %v", err)
	}
}

// wantQuiet insists that a ping is answered and that nothing else came before.
func (p *peer) wantQuiet() {
	p.t.Helper()
	p.write(frame(pPingreq << 4))
	p.want(pPingresp)
}
