package drive

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"sensorcast/telemetry"
)

// channelRow is who may what with a channel's topics.
type channelRow struct {
	topic                              string // of the sensor, "" in place of its serial
	publish, retain, will              []string
	subscribe, hear, retained, awaited []string
}

var (
	itself    = []string{theSensor}
	seersToo  = append(slices.Clone(seers), theSensor)
	someTopic = "sensors/" + seen + "/"
)

// topicMatrix has every channel of the grammar. A new one fails the test until it stands here.
var topicMatrix = map[telemetry.Channel]channelRow{
	telemetry.ChannelTelemetry: {topic: someTopic + "telemetry",
		publish: itself, retain: itself, subscribe: seersToo, hear: seersToo, retained: seersToo, awaited: seersToo},
	telemetry.ChannelStatus: {topic: someTopic + "status",
		subscribe: seersToo, hear: seersToo, retained: seersToo, awaited: seersToo},
	telemetry.ChannelWill: {topic: someTopic + "lwt",
		will: itself, subscribe: seersToo, hear: seersToo, retained: seersToo, awaited: seersToo},
	telemetry.ChannelCommands: {topic: someTopic + "commands",
		subscribe: seersToo, hear: seersToo, awaited: itself},
	telemetry.ChannelCommandReply: {topic: someTopic + "commands/reply",
		publish: itself, subscribe: seersToo, hear: seersToo, awaited: seersToo},
	telemetry.ChannelAlerts: {topic: "alerts/" + seen,
		subscribe: seers, hear: seers, awaited: seers},
}

// filterMatrix is who may hold subscriptions to more than one topic. What they bring is judged message by message.
var filterMatrix = []struct {
	filter string
	who    []string
}{
	{someTopic + "#", seersToo},
	{"$share/group/" + someTopic + "telemetry", seersToo},
	{"sensors/+/telemetry", people},
	{"$share/group/#", people},
	{"#", people},
	{"$SYS/#", []string{anAdmin}},
}

// people are all who log in and are no sensor.
var people = []string{anOwner, aManager, aViewer, aFormer, aStranger, anAdmin, tokenReads, tokenWrites, tokenOfIt, tokenOfOther}

// channels counts the channels of the grammar, as it is written down.
func channels(t *testing.T) (n int) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), "../telemetry/topic.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(node ast.Node) bool {
		if v, ok := node.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Channel") {
			n++
		}
		return true
	})
	return n - 1 // ChannelNone is none
}

func TestAccess_TopicsAreForWhomTheyAre(t *testing.T) {
	n := channels(t)
	if n != len(topicMatrix) {
		t.Errorf("the grammar has %d channels, the matrix %d", n, len(topicMatrix))
	}
	var rows strings.Builder
	for c := telemetry.ChannelNone + 1; int(c) <= n; c++ {
		r, there := topicMatrix[c]
		if got := telemetry.ParseTopic(r.topic); !there || got.Channel != c || got.Serial != seen {
			t.Fatalf("channel %d of the grammar is not in the matrix: got %+v of %q", c, got, r.topic)
		}
		topic := "`" + strings.Replace(r.topic, seen, "{serial}", 1) + "`"
		for _, what := range []struct {
			name string
			who  []string
		}{
			{"publish", r.publish}, {"publish, retained", r.retain}, {"leave as a will", r.will},
			{"subscribe", r.subscribe}, {"hear what comes", r.hear}, {"hear what is retained", r.retained}, {"hear what came meanwhile", r.awaited},
		} {
			rows.WriteString(tableRow(topic+" "+what.name, what.who))
		}
	}
	for _, r := range filterMatrix {
		rows.WriteString(tableRow("`"+strings.Replace(r.filter, seen, "{serial}", 1)+"` subscribe", r.who))
	}
	onPage(t, "topics", "topic", rows.String())

	var before, absent *client // what the former owner has from then
	g := gather(t, func(s *instance, fay *person, secret string) {
		l := login{role: role{fay.name, fay.password}, version: 5}
		before, absent = s.enters(t, l.as("eyes")), s.enters(t, l.kept("away"))
		for _, c := range []*client{before, absent} {
			if err := c.subscribe(1, "#", someTopic+"telemetry"); err != nil {
				t.Fatal(err)
			}
		}
		absent.vanish()
		sensor := s.enters(t, login{role: role{seen, secret}, id: "x", version: 5})
		for _, retain := range []bool{true, false} {
			if ack, err := sensor.says(publication{topic: someTopic + "telemetry", payload: `{"before":1}`, qos: 1, id: 1, retain: retain}); err != nil || ack.code != 0 {
				t.Fatal(ack, err)
			}
		}
	})
	before.gather(t, nil) // and forgotten: it was hers then
	g.sends(t)
	g.hears(t, before)
}

// kept is the login with a session that outlives its connections.
func (l login) kept(id string) login { l.id, l.keep = id, true; return l }

// says publishes and waits for the answer.
func (c *client) says(m publication) (packet, error) {
	if err := c.send(m.packet(c.version)); err != nil {
		return packet{}, err
	}
	return c.await(pPuback)
}

// granted subscribes and tells whether it was let.
func (c *client) granted(t *testing.T, filter string) bool {
	t.Helper()
	if err := c.send(subscribePacket(5, 2, 1, filter)); err != nil {
		t.Fatal(err)
	}
	ack, err := c.await(pSuback)
	if err != nil || ack.codes[0] != 1 && ack.codes[0] != 0x87 {
		t.Fatalf("subscription to %s: got %v, %v, want it granted or 0x87", filter, ack.codes, err)
	}
	return ack.codes[0] == 1
}

// heard is what came, by topic.
type heard map[string][]packet

// gather returns all that came until now, and waits for topics that have to come.
func (c *client) gather(t *testing.T, topics []string) heard {
	t.Helper()
	got := heard{}
	missing := func(topic string) bool { return got[topic] == nil }
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err := c.send(frame(pPingreq << 4)); err != nil {
			t.Fatal(err)
		}
		for {
			p, err := c.read()
			if err != nil {
				t.Fatalf("gather: %v", err)
			}
			if p.kind() == pPingresp {
				break
			}
			if p.kind() == pPublish {
				got[p.topic] = append(got[p.topic], p)
				if p.qos() == 1 {
					_ = c.send(acknowledgement(pPuback, p.id)) // a failure shows at the next read
				}
			}
		}
		if !slices.ContainsFunc(topics, missing) || time.Now().After(end) {
			return got
		}
	}
}

// wildcard is the widest filter that a party is granted.
func (p party) wildcard() string {
	if p.own != "" {
		return "sensors/" + p.own + "/#"
	}
	return "#"
}

// begin subscribes to all that a party is granted, and returns what is retained. The status of the sensor is the last of that.
func (c *client) begin(t *testing.T, p party) heard {
	t.Helper()
	if err := c.subscribe(1, p.wildcard()); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(seersToo, p.name) {
		return c.gather(t, []string{someTopic + "status"})
	}
	return c.gather(t, nil)
}

// sends has everybody publish on every channel, keep something there and leave a will.
func (g *gathering) sends(t *testing.T) {
	owner := g.named(anOwner)
	eyes := g.enters(t, login{role: owner.login, id: "ears", version: 5})
	eyes.begin(t, owner)
	for channel, r := range topicMatrix {
		for _, p := range g.parties {
			mark := fmt.Sprintf(`{"by":"%s %d"}`, p.name, channel)
			says := func(what string, retain bool) bool {
				c, err := g.client("tcp", login{role: p.login, id: "mouth", version: 5})
				if err != nil {
					if p.knows {
						t.Errorf("%s: %v", p.name, err)
					}
					return false
				}
				defer c.vanish()
				payload := mark
				if channel == telemetry.ChannelCommandReply { // to a command that there is
					var made struct{ ID string }
					g.owner.call("POST", "/api/v1/sensors/"+seen+"/commands", map[string]any{"name": "reply"}, 202, &made)
					payload = fmt.Sprintf(`{"id":%q,"ok":true}`, made.ID)
				}
				ack, err := c.says(publication{topic: r.topic, payload: payload, qos: 1, id: 1, retain: retain})
				if err != nil || ack.code != 0 && ack.code != 0x87 {
					t.Errorf("%s of %s on %s: got %v, %v, want it taken or 0x87", what, p.name, r.topic, ack, err)
				}
				return err == nil && ack.code == 0
			}
			same(t, p, r.publish, "publishes on "+r.topic, says("publish", false))
			came := eyes.gather(t, nil)[r.topic]
			if channel != telemetry.ChannelCommandReply { // which is the server's to read
				same(t, p, r.publish, "is heard on "+r.topic, slices.ContainsFunc(came, func(m packet) bool { return m.payload == mark }))
			}
			says("retained publish", true)
			came = g.retained(t, owner)[r.topic]
			same(t, p, r.retain, "leaves something on "+r.topic, slices.ContainsFunc(came, func(m packet) bool { return m.payload == mark }))

			c, err := g.client("tcp", login{role: p.login, id: "will", version: 5, will: &willOf{topic: r.topic, payload: mark + " at the end", qos: 1}})
			same(t, p, r.will, "has a will for "+r.topic, err == nil)
			if err == nil {
				c.vanish()
				came := eyes.gather(t, []string{r.topic})[r.topic]
				same(t, p, r.will, "leaves a will on "+r.topic, slices.ContainsFunc(came, func(m packet) bool { return m.payload == mark+" at the end" }))
			}
		}
	}
}

// same checks a cell.
func same(t *testing.T, p party, who []string, what string, got bool) {
	t.Helper()
	if want := slices.Contains(who, p.name); got != want {
		t.Errorf("%s %s: got %v, want %v", p.name, what, got, want)
	}
}

// retained is what a new subscriber is given.
func (g *gathering) retained(t *testing.T, p party) heard {
	t.Helper()
	c := g.enters(t, login{role: p.login, id: "new", version: 5})
	defer c.vanish()
	got := c.begin(t, p)
	for topic, all := range got {
		got[topic] = slices.DeleteFunc(all, func(m packet) bool { return !m.retain() })
	}
	maps.DeleteFunc(got, func(_ string, all []packet) bool { return len(all) == 0 })
	return got
}

// hears has everybody listen, be away and come late while something happens on every channel. before is the former owner's connection.
func (g *gathering) hears(t *testing.T, before *client) {
	live := map[string]*client{}
	for _, p := range g.parties {
		if !p.knows {
			continue
		}
		l := login{role: p.login, version: 5}
		judged := g.enters(t, l.as("judged"))
		for _, r := range topicMatrix {
			same(t, p, r.subscribe, "subscribes to "+r.topic, judged.granted(t, r.topic))
		}
		for _, r := range filterMatrix {
			same(t, p, r.who, "subscribes to "+r.filter, judged.granted(t, r.filter))
		}
		judged.vanish()
		if p.name == aFormer { // listens and is away since it was theirs
			live[p.name] = before
			continue
		}
		live[p.name] = g.enters(t, l.as("eyes"))
		away := g.enters(t, l.kept("away"))
		for _, c := range []*client{live[p.name], away} {
			c.begin(t, p)
		}
		away.vanish()
	}
	g.happens(t)
	for _, p := range g.parties {
		if !p.knows {
			continue
		}
		hears, awaits, late := topics(p, func(r channelRow) []string { return r.hear }), topics(p, func(r channelRow) []string { return r.awaited }),
			topics(p, func(r channelRow) []string { return r.retained })
		p.hearsOnly(t, "live", live[p.name].gather(t, hears), hears)
		back := g.enters(t, login{role: p.login, version: 5}.kept("away"))
		if !back.present {
			t.Errorf("the session of %s is gone", p.name)
		}
		p.hearsOnly(t, "after having been away", back.gather(t, awaits), awaits)
		p.hearsOnly(t, "as a new subscriber", g.retained(t, p), late)
	}
}

// topics are those whose row has the party.
func topics(p party, who func(channelRow) []string) (all []string) {
	for _, r := range topicMatrix {
		if slices.Contains(who(r), p.name) {
			all = append(all, r.topic)
		}
	}
	slices.Sort(all)
	return all
}

// hearsOnly checks what came of the sensor.
func (p party) hearsOnly(t *testing.T, when string, got heard, want []string) {
	t.Helper()
	var of []string
	for topic, all := range got {
		if telemetry.ParseTopic(topic).Serial == seen {
			of = append(of, topic)
		}
		if p.name == aFormer || !slices.Contains(seersToo, p.name) {
			for _, m := range all {
				if strings.Contains(m.payload, "canary") || strings.Contains(m.payload, "before") {
					t.Errorf("%s, %s: got %v", p.name, when, m)
				}
			}
		}
	}
	slices.Sort(of)
	if !slices.Equal(of, want) {
		t.Errorf("%s, %s: got %q, want %q", p.name, when, of, want)
	}
}

// happens has something come on every channel, and returns when it has.
func (g *gathering) happens(t *testing.T) {
	t.Helper()
	owner := g.named(anOwner)
	eyes := g.enters(t, login{role: owner.login, id: "ears", version: 5})
	eyes.begin(t, owner)
	sensor := g.enters(t, login{role: g.named(theSensor).login, id: "mouth", version: 5,
		will: &willOf{topic: someTopic + "lwt", payload: "canary", qos: 1, retain: true}})
	if err := sensor.subscribe(1, someTopic+"commands"); err != nil {
		t.Fatal(err)
	}
	g.owner.call("POST", "/api/v1/sensors/"+seen+"/commands", map[string]any{"name": "canary"}, 202, nil)
	var order struct{ ID string }
	command, err := sensor.await(pPublish)
	if err != nil || json.Unmarshal([]byte(command.payload), &order) != nil {
		t.Fatal(err, command)
	}
	for _, m := range []publication{
		{topic: someTopic + "commands/reply", payload: fmt.Sprintf(`{"id":%q,"ok":true,"canary":1}`, order.ID)},
		{topic: someTopic + "telemetry", payload: `{"canary":1}`, retain: true},
	} {
		m.qos, m.id = 1, 1
		if ack, err := sensor.says(m); err != nil || ack.code != 0 {
			t.Fatal(ack, err)
		}
	}
	sensor.vanish()
	g.owner.call("PATCH", "/api/v1/sensors/"+seen, map[string]any{"silence_after": 1}, 200, nil) // brings the rest
	eyes.gather(t, []string{someTopic + "telemetry", someTopic + "lwt", someTopic + "status", "alerts/" + seen})
}
