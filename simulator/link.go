package simulator

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	// handOverTimeout bounds one call of publish. When the broker reads slowly, paho holds the caller; the sensor must come back in
	// time to notice that it should stop, and then tries again.
	handOverTimeout = 400 * time.Millisecond
	// quiesceMillis is how long a DISCONNECT may take to go out.
	quiesceMillis = 200
)

// errRefused is a CONNACK with a return code other than 0.
var errRefused = errors.New("refused by the broker")

// link is one MQTT 3.1.1 connection, from CONNECT to its end. paho's own reconnecting is off and each link has a new client: after
// Disconnect a client must not be used again, and only so does the sensor know exactly which messages are out.
type link struct {
	client mqtt.Client
	lost   chan error // receives once, when the connection broke without being asked to

	mu   sync.Mutex // guards conn
	conn net.Conn   // nil until dialled
}

// login is who a link says it is.
type login struct {
	clientID, username, password, will string
}

// openLink connects and waits for CONNACK, at most twice the connect timeout. A refusal matches errRefused.
// When ctx ends it returns at once and the half-open connection is torn down behind it.
func openLink(ctx context.Context, d *dialer, who login, keepAlive time.Duration, onMessage mqtt.MessageHandler) (*link, error) {
	l := &link{lost: make(chan error, 1)}
	o := mqtt.NewClientOptions().
		SetClientID(who.clientID).SetUsername(who.username).SetPassword(who.password).
		SetProtocolVersion(4). // else each refusal is tried again as MQTT 3.1
		SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).
		SetOrderMatters(false).
		SetKeepAlive(keepAlive).
		SetConnectTimeout(d.timeout).
		SetWriteTimeout(handOverTimeout). // of the hand-over only: timedConn minds the socket
		SetDefaultPublishHandler(onMessage).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.lost <- err }).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return l.dial(ctx, d) })
	o.Servers = []*url.URL{d.broker}
	if who.will != "" {
		o.SetWill(who.will, "connection lost", 1, false)
	}
	l.client = mqtt.NewClient(o)

	token := l.client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		l.abort(token)
		return nil, ctx.Err()
	}
	if err := token.Error(); err != nil {
		if c, ok := token.(*mqtt.ConnectToken); ok && c.ReturnCode() >= 1 && c.ReturnCode() <= 5 { // [MQTT-3.2.2-4], table 3.1
			err = errors.Join(errRefused, err)
		}
		return nil, err
	}
	return l, nil
}

// abort ends a CONNECT under way. It may have been answered at the same moment, and paho does not notice that its socket was closed on
// this side, so a client that did come up must be disconnected, however late that is known.
func (l *link) abort(connect mqtt.Token) {
	l.cut()
	if !connect.WaitTimeout(quiesceMillis * time.Millisecond) {
		go func() { // ends within the connect timeout, after which paho has given up by itself
			<-connect.Done()
			l.close()
		}()
		return
	}
	l.close() // does nothing to a client that did not come up
}

func (l *link) dial(ctx context.Context, d *dialer) (net.Conn, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.conn = conn
	l.mu.Unlock()
	if err := ctx.Err(); err != nil { // cut came before the socket was there to be cut
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// publish hands one message to the connection and returns its token, blocking at most handOverTimeout. A token already done with an
// error means that the message was not taken.
func (l *link) publish(topic string, qos int, payload []byte) mqtt.Token {
	return l.client.Publish(topic, byte(qos), false, payload)
}

// open reports whether publishing again on this link may work.
func (l *link) open() bool { return l.client.IsConnectionOpen() }

// close says DISCONNECT and closes the socket. It blocks a fraction of a second at most, less if the connection is healthy or gone.
func (l *link) close() {
	l.client.Disconnect(quiesceMillis)
	l.cut()
}

// cut closes the socket without a word.
func (l *link) cut() {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // already closed is what is wanted
	}
}
