package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"

	"sensorcast/telemetry"
)

const (
	clientHandshake = 10 * time.Second
	clientWrite     = 10 * time.Second
	clientLimit     = 64 << 20 // a hello of 20,000 sensors with room to spare
	problemLimit    = 16 << 10
)

// Client is the other end of a session, for `sensorcast watch` and tests. Next is for one goroutine; Send and Close for any.
type Client struct {
	ws *websocket.Conn
}

// Frame is any message of the server; which fields are set follows from Type.
type Frame struct {
	Type string `json:"type"` // hello, reading, state, gap, ack, error and, from later servers, others

	Protocol int           `json:"protocol"`
	Epoch    string        `json:"epoch"`
	Resumed  bool          `json:"resumed"`
	Sensors  []SensorFrame `json:"sensors"`

	SerialNo   string           `json:"serial_no"`
	Seq        int64            `json:"seq"`
	Time       telemetry.Millis `json:"time"`
	ReceivedAt telemetry.Millis `json:"received_at"`
	Data       json.RawMessage  `json:"data"`

	State      telemetry.State  `json:"state"`
	LastSeenAt telemetry.Millis `json:"last_seen_at"`

	AfterSeq  int64  `json:"after_seq"`
	BeforeSeq int64  `json:"before_seq"`
	Dropped   int64  `json:"dropped"`
	Reason    string `json:"reason"`

	ID        json.RawMessage `json:"id"`
	CommandID string          `json:"command_id"`
	Code      string          `json:"code"`
	Message   string          `json:"message"`
	Token     string          `json:"token"`
	Alert     json.RawMessage `json:"alert"`

	Raw json.RawMessage `json:"-"` // the message as it came
}

// SensorFrame is a sensor as hello describes it.
type SensorFrame struct {
	SerialNo   string           `json:"serial_no"`
	Name       string           `json:"name"`
	State      telemetry.State  `json:"state"`
	LastSeenAt telemetry.Millis `json:"last_seen_at"`
	Reading    *ReadingFrame    `json:"reading"` // nil: none yet
}

// ReadingFrame is the newest reading of a sensor in a hello.
type ReadingFrame struct {
	Seq        int64            `json:"seq"`
	Time       telemetry.Millis `json:"time"`
	ReceivedAt telemetry.Millis `json:"received_at"`
	Data       json.RawMessage  `json:"data"`
}

// Refused is the error of Dial when the server answered without upgrading.
type Refused struct {
	Status int    // HTTP status
	Detail string // what the server said of it; may be empty
}

// Error names the status and the server's reason.
func (e *Refused) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("refused with %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("refused with %d: %s", e.Status, e.Detail)
}

// Closed is the error of Next when the connection has ended with a closing handshake.
type Closed struct {
	Code   int
	Reason string
}

// Error names the code and the server's reason.
func (e *Closed) Error() string { return fmt.Sprintf("closed with %d %s", e.Code, e.Reason) }

// Dial opens the ws:// or wss:// address, which normally carries a ticket; no error repeats it. A server that answers but refuses is a
// *Refused. header may be nil.
func Dial(ctx context.Context, address string, header http.Header) (*Client, error) {
	if _, err := url.Parse(address); err != nil {
		return nil, errors.New("connect: not a valid address")
	}
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: clientHandshake}
	if header == nil {
		header = http.Header{}
	}
	ws, resp, err := d.DialContext(ctx, address, header)
	if err != nil && resp != nil {
		defer resp.Body.Close()
		return nil, fmt.Errorf("connect: %w", refusedBy(resp))
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	ws.SetReadLimit(clientLimit)
	return &Client{ws: ws}, nil
}

func refusedBy(resp *http.Response) error {
	e := &Refused{Status: resp.StatusCode}
	if body, err := io.ReadAll(io.LimitReader(resp.Body, problemLimit)); err == nil {
		var p problem
		if json.Unmarshal(body, &p) == nil {
			e.Detail = p.Detail
		}
	}
	return e
}

// Next waits for the next message, answering pings meanwhile. When the server has closed the connection, the error is a *Closed. After any
// error, that of an ended ctx included, the client is of no further use.
func (c *Client) Next(ctx context.Context) (Frame, error) {
	stop := context.AfterFunc(ctx, func() { c.ws.NetConn().Close() })
	defer stop()
	_, text, err := c.ws.ReadMessage()
	var closed *websocket.CloseError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return Frame{}, ctx.Err()
	case errors.As(err, &closed) && closed.Code != CloseLost:
		return Frame{}, &Closed{Code: closed.Code, Reason: closed.Text}
	default:
		return Frame{}, fmt.Errorf("read frame: %w", err)
	}
	var f Frame
	if err := json.Unmarshal(text, &f); err != nil {
		return Frame{}, fmt.Errorf("decode frame: %w", err)
	}
	f.Raw = text
	return f, nil
}

// Send sends a message as JSON.
func (c *Client) Send(message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	c.ws.SetWriteDeadline(time.Now().Add(clientWrite))
	if err := c.ws.WriteMessage(websocket.TextMessage, text); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// Close says goodbye and closes the connection without waiting for the answer.
func (c *Client) Close() error {
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	c.ws.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second)) // the peer may be gone
	return c.ws.Close()
}
