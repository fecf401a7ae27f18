// Package mail sends letters to people: plain text by SMTP, one to one. It is the way out for what package auth has to say outside of any
// answer, and for whoever else writes to people.
//
//	auth ──errand──► Queue ── when it is due ──► SMTP ──TLS──► the operator's mail server
//	notices ─────────────────────────────────────►│
//
// [SMTP.Send] is one attempt that blocks and says what became of it. [Queue] is for who cannot wait: it keeps errands in memory, bounded,
// tries again what failed for a time, and gives up, counted, what fails for good.
//
// # Invariants
//
//   - A letter cannot carry a header it was not meant to: addresses are bare and checked, subjects hold no control characters.
//   - The password goes over TLS, or to this machine, or nowhere.
//   - No error and no log line holds the password or what a letter says, which may be a token.
//   - Every attempt ends within its timeout, whatever the server does.
package mail

import (
	"context"
	"log/slog"
	"net/mail"
	"strings"
	"unicode"
)

// Letter is a message to one person. Its text may hold secrets.
type Letter struct {
	To      string // a bare address
	Subject string // one line
	Text    string `json:"-"`
}

// String hides the text and the address.
func (l Letter) String() string { return "letter" }

// GoString is String.
func (l Letter) GoString() string { return l.String() }

// LogValue is String.
func (l Letter) LogValue() slog.Value { return slog.StringValue(l.String()) }

const (
	maxAddressBytes = 254     // RFC 5321 §4.5.3.1.3, less the angle brackets
	maxSubjectBytes = 200     // ours are short; a header line ends at 998 (RFC 5322 §2.1.1)
	maxTextBytes    = 1 << 16 // a digest of a thousand lines; not a way to send files
)

// check refuses what would break out of its header, or is too large to be one of ours.
func (l Letter) check() error {
	switch a, err := mail.ParseAddress(l.To); {
	case err != nil, a.Address != l.To, len(l.To) > maxAddressBytes, strings.ContainsFunc(l.To, unicode.IsControl):
		return refused("the recipient is no bare e-mail address")
	case l.Subject == "", len(l.Subject) > maxSubjectBytes, strings.ContainsFunc(l.Subject, unicode.IsControl):
		return refused("the subject is empty, too long or not one line")
	case len(l.Text) > maxTextBytes:
		return refused("the text is too long")
	}
	return nil
}

// Sender sends one letter, once. A *SendError says whether trying again later may help.
type Sender interface {
	Send(ctx context.Context, l Letter) error
}

// SendError is why a letter was not sent.
type SendError struct {
	Temporary bool   // the same letter may go through later
	Reason    string // what happened and what to do; safe to log
}

// Error is the reason.
func (e *SendError) Error() string { return "send letter: " + e.Reason }

func refused(reason string) error { return &SendError{Reason: reason} }

// Log is a Sender that writes letters to the log, for a demo without a mail server. They are readable there, tokens included.
type Log struct{ log *slog.Logger }

// NewLog returns a Log on log.
func NewLog(log *slog.Logger) Log { return Log{log.With("component", "mail")} }

// Send logs the letter.
func (s Log) Send(_ context.Context, l Letter) error {
	if err := l.check(); err != nil {
		return err
	}
	s.log.Info("letter, not sent for want of a mail server", "to", l.To, "subject", l.Subject, "text", l.Text)
	return nil
}
