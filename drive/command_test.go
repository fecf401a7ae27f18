package drive

import (
	"net/http"
	"testing"
	"time"
)

const commandsOfSN1 = "/api/v1/sensors/SN1/commands"

type commandList struct {
	Items []struct{ ID, Name, State string }
}

func TestEndToEnd_CommandsOutliveARestartAndExpire(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	ann, bob := s.register("ann"), s.register("bob")
	ann.sensor("SN1")
	var made struct{ ID, State string }
	ann.call("POST", commandsOfSN1, map[string]any{"name": "first", "data": map[string]any{"on": true}}, 202, &made)
	if made.State != "queued" {
		t.Errorf("created = %+v, want queued", made)
	}
	viewer := ann.watch("SN1")
	if err := viewer.Send(map[string]any{"type": "command", "id": "c1", "serial_no": "SN1", "name": "second", "data": nil}); err != nil {
		t.Fatal(err)
	}
	ack := next(t, viewer)
	if ack.Type == "resume" { // which follows the hello
		ack = next(t, viewer)
	}
	if ack.Type != "ack" || string(ack.ID) != `"c1"` {
		t.Fatalf("command over the WebSocket was answered with %s", ack.Raw)
	}
	ann.call("POST", commandsOfSN1, map[string]any{"name": "third", "expires_in": 1}, 202, nil)
	for _, method := range []string{"GET", "POST"} {
		if status, text := bob.request(method, commandsOfSN1, bob.token, map[string]any{"name": "x"}); status != http.StatusNotFound {
			t.Errorf("bob's %s = %d %s, want 404", method, status, text)
		}
	}
	s.kill() // what was acknowledged survives the hard way too

	s = serve(t, dir)
	ann.s = s
	var list commandList
	deadline := time.Now().Add(10 * time.Second)
	for ann.call("GET", commandsOfSN1, nil, 200, &list); list.Items[0].State != "expired" && time.Now().Before(deadline); {
		ann.call("GET", commandsOfSN1, nil, 200, &list)
	}
	if len(list.Items) != 3 || list.Items[0].State != "expired" || list.Items[1].Name != "second" || list.Items[1].ID != ack.CommandID ||
		list.Items[1].State != "queued" || list.Items[2].ID != made.ID || list.Items[2].State != "queued" {
		t.Errorf("after the restart = %+v, want third expired, second and first queued", list.Items)
	}
}
