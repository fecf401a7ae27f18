package drive

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
)

// peer is a client whose disappointments end its test.
type peer struct {
	*client
	t *testing.T
}

func (p *peer) v5() bool { return p.version == 5 }

// write sends packets.
func (p *peer) write(packets ...[]byte) {
	p.t.Helper()
	if err := p.send(packets...); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *peer) properties(all ...[]byte) []byte { return properties(p.version, all...) }

// next reads one packet within a bound. What the server itself has to say about a sensor's state comes as it comes, and is not looked at.
func (p *peer) next(limit time.Duration) (packet, error) {
	if err := p.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return packet{}, err
	}
	for {
		got, err := p.read()
		if err != nil || got.kind() != pPublish || !serversOwn(got.topic) {
			return got, err
		}
		switch got.qos() {
		case 1:
			p.write(acknowledgement(pPuback, got.id))
		case 2:
			return got, fmt.Errorf("%w: a state is no matter of QoS 2", errWire)
		}
	}
}

// want insists on the next packet's type.
func (p *peer) want(kind int) packet {
	p.t.Helper()
	got, err := p.next(patience)
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
	got, err := p.next(patience)
	if err == nil && p.v5() && got.kind() == pDisconnect {
		if code != 0 && got.code != code {
			p.t.Errorf("got DISCONNECT %#x, want %#x", got.code, code)
		}
		_, err = p.next(patience)
	} else if err == nil || code != 0 && p.v5() {
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
