package drive

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// streamMatrix is who gets to see the sensor through what, and nothing of it where the name is not there.
var streamMatrix = []struct {
	name, doc string
	open      func(g *gathering, t *testing.T, p party) *sight
	who       []string
}{
	{"ticket", "`/ws` with a ticket for the sensor", byTicket(map[string]any{"serial_no": seen}), seers},
	{"all", "`/ws` with a ticket for all", byTicket(map[string]any{"all": true}), seers},
	{"quiet", "`/ws` with a ticket for all, as a subprotocol", byProtocol, seers},
	{"resumed", "`/ws` with a resume token", byResume, seers},
	{"events", "`GET /events?serial_no=` of the sensor", byEvents("?serial_no=" + seen), seers},
	{"all events", "`GET /events`", byEvents(""), seers},
	{"list", "`GET /sensors`", byGet("/api/v1/sensors"), seers},
	{"export", "`GET /sensors/export`", byGet("/api/v1/sensors/export"), seers},
	{"history", "`GET /sensors/{serial_no}/readings`", byGet("/api/v1/sensors/" + seen + "/readings?limit=500"), seers},
}

// sight is what somebody is shown, as it comes.
type sight struct {
	text safeBuffer
	ask  func() // brings more of it, where it does not come by itself
}

// shows reports whether the words were in it.
func (s *sight) shows(words string) bool { return strings.Contains(s.text.String(), words) }

func TestAccess_StreamsShowWhatIsOnesOwn(t *testing.T) {
	var rows strings.Builder
	for _, r := range streamMatrix {
		rows.WriteString(tableRow(r.doc, r.who))
	}
	rows.WriteString(tableRow("`/ws` with a ticket of `/device/tickets`, to send", []string{theSensor}))
	onPage(t, "streams", "what", rows.String())

	var before *sight
	g := gather(t, func(s *instance, fay *person, secret string) {
		fay.report(seen, secret)
		before = byTicket(map[string]any{"all": true})(&gathering{instance: s}, t, party{bearer: fay.token})
	})
	sights := map[string]map[string]*sight{}
	for _, r := range streamMatrix {
		sights[r.name] = map[string]*sight{}
		for _, p := range g.parties {
			sights[r.name][p.name] = r.open(g, t, p)
		}
	}
	for _, p := range g.parties { // nobody else's secret opens the sensor's own socket
		var made struct{ URL string }
		status, reply := g.owner.request("POST", "/api/v1/device/tickets", "", map[string]any{"serial_no": seen, "secret_key": p.login.password})
		same(t, p, itself, "gets the sensor's own ticket", status == http.StatusCreated)
		if status == http.StatusCreated && json.Unmarshal(reply, &made) == nil {
			ws := g.opened(t, made.URL)
			if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"data":{"canary":"first"}}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, word := range []string{"first", "second"} {
		if word == "second" {
			if out, err := g.mosquittoPub(seen, g.named(theSensor).login.password, "sensors/"+seen+"/telemetry", `{"canary":"second"}`, "-q", "1"); err != nil {
				t.Fatal(err, out)
			}
		}
		eventually(t, "those who see the sensor to see "+word, func() (left int) {
			for _, r := range streamMatrix {
				for _, who := range r.who {
					s := sights[r.name][who]
					if s.ask != nil {
						s.ask()
					}
					if what := `{"canary":"` + word + `"}`; r.name != "export" && !s.shows(what) {
						left++
					}
				}
			}
			return left
		})
	}
	for _, r := range streamMatrix {
		for _, p := range g.parties {
			s := sights[r.name][p.name]
			if s.ask != nil {
				s.ask()
			}
			same(t, p, r.who, "sees the sensor by "+r.name, s.shows(seen) || s.shows("canary"))
		}
	}
	if before.shows("canary") || !before.shows(`"sensor_deleted"`) {
		t.Errorf("the former owner's socket: got %s, want the end of it and no more", before.text.String())
	}
	if readings := sights["history"][anOwner]; readings.shows(`{"n":1}`) {
		t.Errorf("the owner sees what was before: %s", readings.text.String())
	}
	g.inspect()
}

// opened opens a socket.
func (s *instance) opened(t *testing.T, path string) *websocket.Conn {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.Dial("ws://"+s.addr["http"]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	t.Cleanup(func() { ws.Close() })
	return ws
}

// follows reads a socket into what is seen.
func (s *sight) follows(ws *websocket.Conn) *sight {
	go func() { // ends with the socket
		for {
			_, text, err := ws.ReadMessage()
			if err != nil {
				return
			}
			_, _ = s.text.Write(append(text, '\n'))
		}
	}()
	return s
}

// ticket asks for one; "": there is none for the party.
func (g *gathering) ticket(p party, order map[string]any) (ticket, path string) {
	var made struct{ Ticket, URL string }
	status, reply := (&person{s: g.instance}).request("POST", "/api/v1/tickets", p.bearer, order)
	if status != http.StatusCreated || json.Unmarshal(reply, &made) != nil {
		return "", ""
	}
	return made.Ticket, made.URL
}

func byTicket(order map[string]any) func(*gathering, *testing.T, party) *sight {
	return func(g *gathering, t *testing.T, p party) *sight {
		s := &sight{}
		if _, path := g.ticket(p, order); path != "" {
			s.follows(g.opened(t, path))
		}
		return s
	}
}

func byProtocol(g *gathering, t *testing.T, p party) *sight {
	s := &sight{}
	if ticket, _ := g.ticket(p, map[string]any{"all": true}); ticket != "" {
		ws, _, err := g.viewer(t.Context(), "ticket", ticket, url.Values{}, true, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ws.Close() })
		s.follows(ws)
	}
	return s
}

// byResume comes back with the token of a socket that was left.
func byResume(g *gathering, t *testing.T, p party) *sight {
	s := &sight{}
	_, path := g.ticket(p, map[string]any{"all": true})
	if path == "" {
		return s
	}
	first := g.opened(t, path)
	var m struct{ Type, Token string }
	for m.Type != "resume" {
		if err := first.ReadJSON(&m); err != nil {
			t.Fatal(err)
		}
	}
	first.Close()
	secrets.add("resume token", m.Token)
	return s.follows(g.opened(t, "/ws?resume="+m.Token))
}

func byEvents(query string) func(*gathering, *testing.T, party) *sight {
	return func(g *gathering, t *testing.T, p party) *sight {
		s := &sight{}
		ctx, leave := context.WithCancel(context.Background())
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+g.addr["http"]+"/api/v1/events"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.bearer != "" {
			req.Header.Set("Authorization", "Bearer "+p.bearer)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var over sync.WaitGroup
		t.Cleanup(func() { leave(); over.Wait() })
		over.Go(func() { // ends with the stream
			defer resp.Body.Close()
			for lines := bufio.NewScanner(resp.Body); resp.StatusCode == http.StatusOK && lines.Scan(); {
				fmt.Fprintln(&s.text, lines.Text())
			}
		})
		return s
	}
}

func byGet(path string) func(*gathering, *testing.T, party) *sight {
	return func(g *gathering, t *testing.T, p party) *sight {
		s := &sight{}
		s.ask = func() {
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+g.addr["http"]+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if p.bearer != "" {
				req.Header.Set("Authorization", "Bearer "+p.bearer)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				_, _ = io.Copy(&s.text, resp.Body) // what is missing shows
			}
		}
		return s
	}
}
