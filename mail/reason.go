package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// explain turns an error of the library into one that says what to do. A server's own words are left out: a filter may quote the letter it
// refuses, and with it a token.
func (s *SMTP) explain(err error) error {
	code := codeOf(err)
	temporary := code/100 != 5
	say := func(format string, args ...any) error {
		return &SendError{Temporary: temporary, Reason: fmt.Sprintf(format, args...)}
	}
	var stage gomail.SendErrReason = -1
	if sending, ok := errors.AsType[*gomail.SendError](err); ok {
		stage = sending.Reason
	}
	_, badCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	network, unreachable := errors.AsType[*net.OpError](err)
	switch {
	case code == 530 || code == 534 || code == 535 || code == 538 || code == 454 && stage < 0: // RFC 4954 §6
		return say("the mail server does not accept the user and password of --smtp-url (%d)", code)
	case stage == gomail.ErrSMTPMailFrom && code > 0:
		return say("the mail server does not take letters from --mail-from (%d)", code)
	case stage == gomail.ErrSMTPRcptTo && code > 0:
		return say("the mail server does not take letters for this recipient (%d)", code)
	case code > 0:
		return say("the mail server refused the letter (%d)", code)
	case badCertificate:
		return say("the mail server's certificate is not trusted: %s", certificateFault(err))
	case errors.Is(err, smtp.ErrUnencrypted):
		temporary = false
		return say("the mail server offers no TLS, and the password does not go without: use smtps://, or a server with STARTTLS")
	case strings.Contains(err.Error(), "does not support STARTTLS"): // the library has no value for it
		temporary = false
		return say("the mail server offers no TLS: use smtps://, another port, or --smtp-tls opportunistic")
	case strings.Contains(err.Error(), "does not support SMTP AUTH"), errors.Is(err, gomail.ErrNoSupportedAuthDiscovered):
		temporary = false
		return say("the mail server takes no user and password here: use the port for submission, or leave them out of --smtp-url")
	case errors.Is(err, context.DeadlineExceeded):
		return say("the mail server did not answer in time")
	case unreachable && network.Op == "dial":
		return say("the mail server %s cannot be reached: check --smtp-url", net.JoinHostPort(s.host, fmt.Sprint(s.port)))
	}
	return say("the connection to the mail server broke off")
}

// codeOf is the SMTP reply code behind err; 0 when no reply is.
func codeOf(err error) int {
	if sending, ok := errors.AsType[*gomail.SendError](err); ok {
		return sending.ErrorCode()
	}
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		return reply.Code
	}
	return 0
}

func certificateFault(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "signed by an unknown authority"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "made out to another name"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "expired"
	}
	return "not valid"
}
