package main

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/mail"
	"sensorcast/notify"
	"sensorcast/telemetry"
)

// mailbox is a mail.Sender that notes when letters come.
type mailbox chan telemetry.Millis

// Send implements mail.Sender.
func (m mailbox) Send(context.Context, mail.Letter) error {
	m <- telemetry.Now()
	return nil
}

// The desk looks by itself every two seconds. That must not be how long people wait. The server here has no doors: sockets do not know the
// bubble's clock.
func TestDesk_TellsOfAnAlertTheMomentItOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		letters := make(mailbox, 10)
		s := &server{
			lifecycle: lifecycle{log: log}, log: log, sender: letters,
			settings: &settings{DataDir: t.TempDir(), SilenceAfter: time.Minute},
		}
		defer func() { succeed(t, s.stop()) }()
		succeed(t, s.openStore())
		succeed(t, s.openAuth())
		ada := auth.User{Username: "ada", Email: "ada@example.org"}
		succeed(t, s.store.CreateUser(t.Context(), &ada))
		ada.EmailVerifiedAt = telemetry.Now()
		succeed(t, s.store.UpdateUser(t.Context(), ada))
		sensor := telemetry.Sensor{Serial: "SN1", OwnerID: ada.ID}
		succeed(t, s.store.CreateSensor(t.Context(), &sensor, [32]byte{}))
		s.directory.Put(auth.Device{SensorID: sensor.ID, Serial: "SN1", OwnerID: ada.ID})
		succeed(t, s.openWatch())
		succeed(t, s.startDesk())
		s.background("silence watch", s.watch.Run)
		person := auth.Principal{Kind: auth.Person, UserID: ada.ID}
		_, _, err := s.desk.Create(t.Context(), person, notify.Draft{Name: "mail", Kind: notify.Email, Enabled: true})
		succeed(t, err)

		time.Sleep(700 * time.Millisecond) // so that nothing falls on a look by luck
		read := telemetry.Reading{Seq: 1, SensorID: sensor.ID, Serial: "SN1", Time: telemetry.Now(), ReceivedAt: telemetry.Now(), Data: []byte("{}")}
		succeed(t, s.store.Record(ingest.Batch{Readings: []telemetry.Reading{read}}))
		s.watch.Observe([]telemetry.Reading{read})
		told := <-letters
		alerts, err := s.watch.Incidents().List(t.Context(), person, "", telemetry.AlertQuery{Limit: 10})
		succeed(t, err)
		if len(alerts) != 1 || alerts[0].OpenedAt != told {
			t.Errorf("told at %v of %+v, want one that opened then", told.Time(), alerts)
		}
	})
}

func succeed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
