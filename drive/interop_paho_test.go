package drive

import (
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// pahoGo drives paho.mqtt.golang, which speaks 3.1.1.
type pahoGo struct{}

func pahoDriver(*testing.T) driver { return pahoGo{} }

var errNotInTime = errors.New("not in time")

// pahoLink is one of its clients.
type pahoLink struct {
	client  paho.Client
	socket  net.Conn
	session bool
	got     chan message
	once    sync.Once
}

func (pahoGo) connect(t *testing.T, o connectOptions) (link, error) {
	l := &pahoLink{got: make(chan message, 100)}
	// Not AutoReconnect: a client that was cut stays away.
	opts := paho.NewClientOptions().AddBroker("tcp://" + o.door.host).SetClientID(o.id).SetUsername(o.user).SetPassword(o.password).
		SetProtocolVersion(4).SetAutoReconnect(false).SetConnectTimeout(patience).SetCleanSession(o.clean())
	opts.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (_ net.Conn, err error) {
		l.socket, err = o.door.dial()
		return l.socket, err
	})
	if o.will != nil {
		opts.SetBinaryWill(o.will.Topic, []byte(o.will.Payload), o.will.QoS, o.will.Retain)
	}
	opts.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		l.got <- message{Topic: m.Topic(), Payload: string(m.Payload()), QoS: m.Qos(), Retain: m.Retained()}
	})
	l.client = paho.NewClient(opts)
	tok := l.client.Connect().(*paho.ConnectToken)
	if err := inTime(tok); err != nil {
		return nil, err
	}
	t.Cleanup(l.close)
	l.session = tok.SessionPresent()
	for _, f := range o.filters {
		tok := l.client.Subscribe(f.Filter, f.QoS, nil).(*paho.SubscribeToken)
		if err := inTime(tok); err != nil {
			return nil, err
		}
		if tok.Result()[f.Filter] > 2 {
			return nil, errors.New("subscription refused")
		}
	}
	return l, nil
}

func inTime(tok paho.Token) error {
	if !tok.WaitTimeout(patience + time.Second) {
		return errNotInTime
	}
	return tok.Error()
}

func (l *pahoLink) publish(m message) error {
	return inTime(l.client.Publish(m.Topic, m.QoS, m.Retain, m.Payload))
}

func (l *pahoLink) messages() <-chan message  { return l.got }
func (l *pahoLink) present() (is, known bool) { return l.session, true }
func (l *pahoLink) close()                    { l.once.Do(func() { l.client.Disconnect(100) }) }
func (l *pahoLink) kill()                     { l.once.Do(func() { l.socket.Close() }) }
