package drive

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// door is one way in: tcp, tls, ws, or pieces, which is ws with messages that do not end where packets do.
type door struct{ transport, host, port, ca string } // ca: a file; empty: any certificate will do

// listenerOf is the listener behind a door.
var listenerOf = map[string]string{"tcp": "mqtt", "tls": "mqtts", "ws": "http", "pieces": "http"}

func (s *instance) door(transport, ca string) door {
	return door{transport, "127.0.0.1", s.port(listenerOf[transport]), ca}
}

// pieceBytes is the size of the messages of a WebSocket in pieces: most packets are cut, and the ends of small ones share a message.
const pieceBytes = 5

// dial opens a connection without a word of MQTT.
func (d door) dial() (net.Conn, error) {
	host := net.JoinHostPort(d.host, d.port)
	dialer := net.Dialer{Timeout: patience}
	switch d.transport {
	case "ws", "pieces":
		return dialWebSocket("ws://"+host+"/mqtt", d.transport == "pieces")
	case "tls":
		config := &tls.Config{InsecureSkipVerify: d.ca == ""} // whose certificate it is other tests ask
		if d.ca != "" {
			pem, err := os.ReadFile(d.ca)
			if err != nil {
				return nil, err
			}
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AppendCertsFromPEM(pem)
		}
		return tls.DialWithDialer(&dialer, "tcp", host, config)
	}
	return dialer.Dial("tcp", host)
}

// webSocket carries a stream of bytes in messages.
type webSocket struct {
	*websocket.Conn
	message io.Reader // what is left of the one being read; nil: none
	pieces  bool

	writing sync.Mutex // one message after another, as a socket takes bytes
}

func dialWebSocket(url string, pieces bool) (*webSocket, error) {
	dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}, ReadBufferSize: 256, WriteBufferSize: 256, HandshakeTimeout: patience}
	ws, resp, err := dialer.Dial(url, nil)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	return &webSocket{Conn: ws, pieces: pieces}, nil
}

func (w *webSocket) Read(b []byte) (int, error) {
	for {
		if w.message == nil {
			_, r, err := w.NextReader()
			if err != nil {
				return 0, err
			}
			w.message = r
		}
		n, err := w.message.Read(b)
		if errors.Is(err, io.EOF) {
			w.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write sends one message, or its pieces.
func (w *webSocket) Write(b []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	size := len(b)
	if w.pieces {
		size = pieceBytes
	}
	for piece := range slices.Chunk(b, max(1, size)) {
		if err := w.WriteMessage(websocket.BinaryMessage, piece); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (w *webSocket) SetDeadline(t time.Time) error {
	return errors.Join(w.SetReadDeadline(t), w.SetWriteDeadline(t))
}

// sendPackets writes packets: in one piece, or through a WebSocket that is not in pieces one in each message.
func sendPackets(c net.Conn, packets ...[]byte) error {
	if w, ok := c.(*webSocket); !ok || w.pieces {
		packets = [][]byte{slices.Concat(packets...)}
	}
	for _, p := range packets {
		if _, err := c.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// socketOf is the socket below TLS and WebSockets.
func socketOf(c net.Conn) net.Conn {
	for {
		switch layer := c.(type) {
		case *tls.Conn:
			c = layer.NetConn()
		case *webSocket:
			c = layer.NetConn()
		default:
			return c
		}
	}
}
