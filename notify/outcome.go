package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"sensorcast/telemetry"
)

// outcome is what came of an attempt, in our own words: those of libraries may repeat a URL and with it a token.
type outcome struct {
	words  string        // empty: sent
	final  bool          // sending it again would not help
	gone   bool          // the receiver asks for nothing more (410)
	blamed bool          // the host itself did not work: its circuit counts it
	after  time.Duration // what the receiver asked to be left alone for; zero: nothing
}

func (o outcome) ok() bool { return o.words == "" }

// outcomeOf puts an error of the client in words.
func outcomeOf(err error) outcome {
	var (
		dns     *net.DNSError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		timeout net.Error
	)
	switch {
	case errors.Is(err, errPrivate), errors.Is(err, errPort), errors.Is(err, errPlain):
		return outcome{words: "refused here: " + refusal(err) + ", and its network is not in --webhook-allow", final: true}
	case errors.As(err, &dns):
		return outcome{words: "its name could not be looked up", blamed: true}
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid), errors.As(err, &verify), errors.As(err, &record), errors.As(err, &alert),
		errors.Is(err, http.ErrSchemeMismatch):
		return outcome{words: "TLS failed: its certificate is not trusted, or it speaks no TLS", blamed: true}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return outcome{words: "no answer within " + requestTimeout.String(), blamed: true}
	case errors.Is(err, syscall.ECONNREFUSED):
		return outcome{words: "connection refused", blamed: true}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return outcome{words: "the connection broke off", blamed: true}
	}
	return outcome{words: "not reachable, or its answer was no HTTP", blamed: true}
}

func refusal(err error) string {
	for _, known := range []error{errPrivate, errPort, errPlain} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return ""
}

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = 6 * time.Hour

// outcomeOfStatus judges an answer. What says that the message is at fault is final; what may be a mistake somebody puts right is not.
func outcomeOfStatus(resp *http.Response) outcome {
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		return outcome{}
	}
	o := outcome{words: fmt.Sprintf("answered with %d", status)}
	switch {
	case status >= 300 && status < 400:
		o.words += ", a redirect, and none is followed"
	case status == http.StatusGone:
		o.words += ": it wants no more, so the channel was switched off"
		o.final, o.gone = true, true
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		o.final = true
	case status >= 500:
		o.blamed = true
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		o.after = min(time.Duration(min(seconds, int(maxRetryAfter/time.Second)))*time.Second, maxRetryAfter)
	}
	return o
}

// outcomeOfMail judges an error of the Postman, whose words are about mail servers and are for the log.
func outcomeOfMail(err error) outcome {
	switch {
	case err == nil:
		return outcome{}
	case errors.Is(err, telemetry.ErrForbidden):
		return outcome{words: "your e-mail address is not confirmed", final: true}
	case errors.Is(err, telemetry.ErrNotFound):
		return outcome{words: "this server sends no mail", final: true}
	case errors.Is(err, telemetry.ErrInvalid):
		return outcome{words: "the mail server refused the letter for good", final: true}
	}
	return outcome{words: "the mail server did not take the letter"}
}
