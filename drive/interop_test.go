package drive

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests let clients that others wrote act out what MQTT promises, against the binary. Each scenario is written once, for a driver;
// each driver drives one client, through every door it can use. Publishers are sensors and subscribers persons, as the contract has it.

// driver is one implementation of MQTT clients.
type driver interface {
	// connect opens a connection and makes its subscriptions; it returns when all were granted.
	connect(t *testing.T, o connectOptions) (link, error)
}

// willful drivers ask for their will when they part.
type willful interface{ partsWithWill(version int) bool }

// link is one connection of a driver's.
type link interface {
	publish(m message) error   // returns once m is acknowledged
	messages() <-chan message  // what was received, in order; closed when the connection has ended
	present() (is, known bool) // the session was there before
	close()                    // with DISCONNECT; returns when that has been sent
	kill()                     // without
}

// connectOptions is what a connection asks for.
type connectOptions struct {
	door     door
	version  int // 4 or 5
	user     string
	password string
	id       string
	keep     time.Duration // of the session; zero: a clean one
	fresh    bool          // with keep: clean start
	will     *message
	filters  []filter
	quiet    string // a filter that may be had, for clients that insist on one; what comes by it is not looked at
}

// clean is 3.1.1's clean session, and v5's clean start.
func (o connectOptions) clean() bool { return o.keep == 0 || o.fresh && o.version == 5 }

type filter struct {
	Filter     string `json:"filter"`
	QoS        byte   `json:"qos"`
	Identifier int    `json:"identifier,omitempty"` // v5
}

// message is what is published, left as a will, or received.
type message struct {
	Topic       string      `json:"topic"`
	Payload     string      `json:"payload"`
	QoS         byte        `json:"qos"`
	Retain      bool        `json:"retain"`
	User        [][2]string `json:"user,omitempty"` // from here on v5
	ContentType string      `json:"content_type,omitempty"`
	Response    string      `json:"response_topic,omitempty"`
	Expiry      uint32      `json:"expiry,omitempty"` // s
	Delay       uint32      `json:"delay,omitempty"`  // s, of a will
	Identifiers []int       `json:"identifiers,omitempty"`
}

func (m message) String() string {
	return fmt.Sprintf("%s %q QoS %d retain %v", m.Topic, m.Payload, m.QoS, m.Retain)
}

func (s *instance) doors(ca string) map[string]door {
	all := map[string]door{}
	for _, transport := range []string{"tcp", "tls", "ws"} {
		all[transport] = s.door(transport, ca)
	}
	return all
}

// cast is one combination of driver, protocol version and door, with a sensor and a person of its own.
type cast struct {
	driver  driver
	version int
	door    door
	person  *person
	serial  string
	secret  string
	number  *int // of connections so far, for client ids
}

// who connects is a sensor or a person.
func (c *cast) sensor() connectOptions {
	return c.as(c.serial, c.secret, "sensors/"+c.serial+"/commands/reply")
}

func (c *cast) viewer(filters ...filter) connectOptions {
	o := c.as(c.person.name, c.person.password, "sensors/+/commands/reply")
	o.filters = filters
	return o
}

func (c *cast) as(user, password, quiet string) connectOptions {
	*c.number++
	id := fmt.Sprintf("%s-%d", c.serial, *c.number)
	return connectOptions{door: c.door, version: c.version, user: user, password: password, id: id, quiet: quiet}
}

func (c *cast) topic(metric string) string { return "sensors/" + c.serial + "/telemetry/" + metric }
func (c *cast) lwt() string                { return "sensors/" + c.serial + "/lwt" }

func (c *cast) open(t *testing.T, o connectOptions) link {
	t.Helper()
	l, err := c.driver.connect(t, o)
	if err != nil {
		t.Fatalf("connect %s as %s: %v", o.id, o.user, err)
	}
	return l
}

func send(t *testing.T, l link, m message) {
	t.Helper()
	if err := l.publish(m); err != nil {
		t.Fatalf("publish %s: %v", m, err)
	}
}

// arrives insists on the next message that a client published: the server's own about a sensor's state come as they come.
func arrives(t *testing.T, l link) message {
	t.Helper()
	for late := time.After(patience); ; {
		select {
		case m, ok := <-l.messages():
			if !ok {
				t.Fatal("the connection ended instead of a message")
			}
			if !serversOwn(m.Topic) {
				return m
			}
		case <-late:
			t.Fatal("no message came")
		}
	}
}

// serversOwn are the topics of what no client publishes.
func serversOwn(topic string) bool {
	return strings.HasSuffix(topic, "/status") || strings.HasPrefix(topic, "alerts/")
}

// payloads insists on n messages.
func payloads(t *testing.T, l link, n int) (all []string) {
	t.Helper()
	for range n {
		all = append(all, arrives(t, l).Payload)
	}
	return all
}

func TestInterop_ClientsOfOthersWork(t *testing.T) {
	s, dir, _ := overTLS(t)
	doors := s.doors(filepath.Join(dir, "cert.pem"))
	bob := s.register("root") // the first account is an admin, and an admin's # says less
	for _, d := range []struct {
		name     string
		driver   func(*testing.T) driver
		doors    []string
		versions []int
	}{
		{"mosquitto", mosquittoDriver, []string{"tcp", "tls"}, []int{4, 5}}, // has no WebSockets
		{"paho.golang", pahoDriver, []string{"tcp", "tls", "ws"}, []int{4}}, // knows no v5
		{"paho.python", pythonDriver, []string{"tcp", "tls", "ws"}, []int{4, 5}},
	} {
		for _, transport := range d.doors {
			for _, version := range d.versions {
				name := fmt.Sprintf("%s-%s-v%d", d.name, transport, version)
				slug := strings.NewReplacer(".", "", "-", "").Replace(name)
				who := s.register(slug)
				secret := who.sensor("SN-" + slug)
				foreign := "XX-" + slug
				foreignSecret := bob.sensor(foreign)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					c := &cast{d.driver(t), version, doors[transport], who, "SN-" + slug, secret, new(int)}
					c.foreigner(t, foreign, foreignSecret)
					for _, sc := range scenarios {
						if !sc.v5 || version == 5 {
							t.Run(sc.name, func(t *testing.T) { sc.act(t, c) })
						}
					}
				})
			}
		}
	}
}

// foreigner keeps another account's retained message on the server for as long as the scenarios run: nobody may see it.
func (c *cast) foreigner(t *testing.T, serial, secret string) {
	t.Helper()
	l := c.open(t, c.as(serial, secret, "sensors/"+serial+"/commands/reply"))
	send(t, l, message{Topic: "sensors/" + serial + "/telemetry/kept", Payload: "foreign", QoS: 1, Retain: true})
	l.close()
}
