package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sensorcast/auth"
	"sensorcast/mail"
)

// mailing are the settings of letters to people.
type mailing struct {
	SMTPURL   secretURL `name:"smtp-url" placeholder:"URL" help:"Mail server, as smtp://user:password@host:587 or smtps://…; empty: no letters. Set it in the environment or the file: flags are seen by all users of a machine."`
	SMTPTLS   string    `name:"smtp-tls" default:"required" enum:"required,opportunistic" help:"Whether smtp:// needs STARTTLS: ${enum}. Not to this machine; a password never goes without to another."`
	MailFrom  string    `name:"mail-from" placeholder:"ADDRESS" help:"Sender of letters, as sensorcast@example.org or Sensorcast <sensorcast@example.org>."`
	PublicURL string    `name:"public-url" placeholder:"URL" help:"Where people reach the dashboard, as https://sensors.example.org, for links in letters; empty: letters hold codes to paste."`
}

// secretURL is an address that holds a password.
type secretURL string

// Redacted is the address without the password.
func (s secretURL) Redacted() string {
	u, err := url.Parse(string(s))
	if err != nil {
		return "xxxxx"
	}
	return u.Redacted()
}

// String is Redacted, for what prints by reflection.
func (s secretURL) String() string { return s.Redacted() }

func (m *mailing) check() error {
	switch {
	case m.SMTPURL == "" && m.MailFrom != "":
		return errors.New("--mail-from is of no use without --smtp-url")
	case m.SMTPURL != "":
		if _, err := mail.NewSMTP(m.smtp()); err != nil {
			return fmt.Errorf("--smtp-url, --mail-from: %w", err)
		}
	}
	if m.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(m.PublicURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("--public-url must be an address such as https://sensors.example.org, without user, query or fragment")
	}
	return nil
}

func (m *mailing) smtp() mail.Config {
	return mail.Config{URL: string(m.SMTPURL), From: m.MailFrom, Opportunistic: m.SMTPTLS == "opportunistic"}
}

// mailGrace is how long letters that wait have at the stop.
const mailGrace = 5 * time.Second

// openMail starts the queue of letters, before those who write them and so stopped after them. Without a mail server there is none, but in a demo, where letters go to the log.
func (s *server) openMail() error {
	switch m := &s.settings.mailing; {
	case m.SMTPURL != "":
		smtp, err := mail.NewSMTP(m.smtp())
		if err != nil {
			return err
		}
		s.sender = smtp
	case s.settings.lettersToLog:
		s.sender = mail.NewLog(s.log)
	default:
		return nil
	}
	s.mail = mail.NewQueue(s.sender, s.log)
	s.onStop("letters", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, mailGrace)
		defer cancel()
		return s.mail.Close(ctx)
	})
	return nil
}

// courier brings what package auth writes to package mail; neither knows the other.
type courier struct{ queue *mail.Queue }

// Post implements auth.Courier.
func (c courier) Post(write func(context.Context) (auth.Letter, error)) {
	c.queue.Post(func(ctx context.Context) (mail.Letter, error) {
		l, err := write(ctx)
		return mail.Letter(l), err
	})
}

// letters are auth's part of the settings; the zero Courier is none.
func (s *server) letters(cfg *auth.Config) {
	cfg.PublicURL = strings.TrimRight(s.settings.PublicURL, "/")
	if s.mail != nil {
		cfg.Courier = courier{s.mail}
	}
}
