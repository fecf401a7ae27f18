package command_test

import (
	"errors"
	"strings"
	"testing"

	"sensorcast/command"
	"sensorcast/telemetry"
)

func TestAnswered_OkDecidesAndTheReplyIsKept(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	for serial, c := range map[string]struct {
		ok   string
		want command.State
	}{"SN1": {"true", command.Answered}, "SN2": {"false", command.Failed}} {
		dev := h.sensor(ann, serial)
		made := h.create(ann, command.Draft{Serial: serial, Name: "x"})
		must(t, h.box.Delivered(t.Context(), dev.SensorID, made.ID))
		delivered := h.only(ann, serial)
		must(t, h.box.Answered(t.Context(), dev.SensorID, []byte(`{"id":"`+made.ID+`", "ok":`+c.ok+`, "n":1234567890123456789}`)))
		got := h.only(ann, serial)
		if got.State != c.want || string(got.Reply) != `{"id":"`+made.ID+`","ok":`+c.ok+`,"n":1234567890123456789}` ||
			got.AnsweredAt == 0 || got.DeliveredAt != delivered.DeliveredAt {
			t.Errorf("ok %s: got %+v", c.ok, got)
		}
	}
	if s := h.box.Stats(); s.Answered != 1 || s.Failed != 1 || s.Refused != 0 || h.told.count() != 0 {
		t.Errorf("got %+v, want 1 answered, 1 failed, no complaint", s)
	}
}

// A sensor that subscribed at QoS 0 never acknowledges; its reply shows that it has the command.
func TestAnswered_ReplyBeforeTheAcknowledgementMarksDelivered(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	dev := h.sensor(ann, "SN1")
	made := h.create(ann, command.Draft{Serial: "SN1", Name: "x"})
	must(t, h.box.Answered(t.Context(), dev.SensorID, []byte(`{"id":"`+made.ID+`","ok":true}`)))
	if h.box.Waiting(dev.SensorID) {
		t.Errorf("an answered command still waits")
	}
	answered := h.only(ann, "SN1")
	if answered.State != command.Answered || answered.DeliveredAt == 0 {
		t.Errorf("got %+v, want answered and delivered", answered)
	}
	must(t, h.box.Delivered(t.Context(), dev.SensorID, made.ID)) // the late acknowledgement
	if got := h.only(ann, "SN1"); got.State != command.Answered || got.DeliveredAt != answered.DeliveredAt {
		t.Errorf("after a late acknowledgement: got %+v, want %+v", got, answered)
	}
}

func TestAnswered_SecondReplyChangesNothing(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	dev := h.sensor(ann, "SN1")
	made := h.create(ann, command.Draft{Serial: "SN1", Name: "x"})
	must(t, h.box.Answered(t.Context(), dev.SensorID, []byte(`{"id":"`+made.ID+`","ok":true,"first":1}`)))
	first := h.only(ann, "SN1")
	must(t, h.box.Answered(t.Context(), dev.SensorID, []byte(`{"id":"`+made.ID+`","ok":false}`)))
	if got := h.only(ann, "SN1"); got.State != first.State || string(got.Reply) != string(first.Reply) || got.AnsweredAt != first.AnsweredAt {
		t.Errorf("got %+v, want %+v", got, first)
	}
	if s := h.box.Stats(); s.Answered != 1 || s.Failed != 0 || h.told.count() != 0 {
		t.Errorf("got %+v, want one reply counted and no complaint", s)
	}
}

func TestAnswered_UnreadableAndUnknownAreToldToTheOwner(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	dev, other := h.sensor(ann, "SN1"), h.sensor(ann, "SN2")
	made := h.create(ann, command.Draft{Serial: "SN1", Name: "x"})
	good := `{"id":"` + made.ID + `","ok":true}`
	for i, c := range []struct {
		sensor  int64
		payload string
	}{
		{other.SensorID, good},
		{dev.SensorID, `{"id":"nobody","ok":true}`},
		{dev.SensorID, ``},
		{dev.SensorID, `ok`},
		{dev.SensorID, `null`},
		{dev.SensorID, `[` + good + `]`},
		{dev.SensorID, good + good},
		{dev.SensorID, `{"ok":true}`},
		{dev.SensorID, `{"id":"","ok":true}`},
		{dev.SensorID, `{"id":null,"ok":true}`},
		{dev.SensorID, `{"id":7,"ok":true}`},
		{dev.SensorID, `{"id":"` + strings.Repeat("x", 1000) + `","ok":true}`},
		{dev.SensorID, `{"id":"` + made.ID + `"}`},
		{dev.SensorID, `{"id":"` + made.ID + `","ok":"true"}`},
		{dev.SensorID, `{"id":"` + made.ID + `","OK":true}`},
		{dev.SensorID, `{"id":"` + made.ID + `","ok":true,"x":"` + "\xff" + `"}`},
		{dev.SensorID, `{"id":"` + made.ID + `","ok":true,"x":"` + strings.Repeat("x", command.MaxReplyBytes) + `"}`},
	} {
		if err := h.box.Answered(t.Context(), c.sensor, []byte(c.payload)); !errors.Is(err, telemetry.ErrInvalid) || strings.Contains(err.Error(), made.ID) {
			t.Errorf("%.60q: got %v, want %v and nothing repeated", c.payload, err, telemetry.ErrInvalid)
		}
		if h.told.count() != i+1 || h.box.Stats().Refused != int64(i+1) {
			t.Errorf("%.60q: got %d complaints, %d refused, want %d", c.payload, h.told.count(), h.box.Stats().Refused, i+1)
		}
	}
	if got := h.only(ann, "SN1"); got.State != command.Queued || !h.box.Waiting(dev.SensorID) {
		t.Errorf("got %s, want queued and waiting as before", got.State)
	}
}
