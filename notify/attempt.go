package notify

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"sensorcast/telemetry"
)

const (
	attemptAtOnce = 50               // deliveries of a channel in one attempt
	settleWithin  = 10 * time.Second // what a settlement may wait for its turn to be written
	settleAgain   = 5 * time.Second  // after the store could not

	firstRetry = time.Minute // doubled with each failure in a row
	lastRetry  = 6 * time.Hour
	jitter     = 0.2 // of each pause, either way, so that channels that failed together do not come back together

	// A delivery is given up when it has waited for patience and its channel has failed patientFor times in a row, which takes 8.5 hours: an
	// outage of our own does not count as one of the receiver's.
	patience   = 24 * time.Hour
	patientFor = 10
)

// blame is what an attempt says of its host.
type blame uint8

const (
	noBlame blame = iota // nothing was sent
	worked
	blamed
)

// attempt sends what is due in a channel, in order, and ends at the first failure that may pass. It is not cut short when ctx ends: what was
// sent is written down. Between two messages it is.
func (d *Desk) attempt(ctx context.Context, c Channel) (b blame) {
	due, err := d.Keeper.Due(ctx, c.ID, telemetry.Now(), attemptAtOnce)
	if err != nil {
		if ctx.Err() == nil {
			d.log.Warn("deliveries not read, will be tried again", "err", err)
		}
		return noBlame
	}
	due = d.withdraw(ctx, c, due)
	for _, bundle := range bundles(c.Kind, due) {
		if ctx.Err() != nil {
			return b
		}
		notices := make([]Notice, len(bundle))
		for i := range bundle {
			notices[i] = bundle[i].Notice
		}
		o := d.send(context.WithoutCancel(ctx), c, notices)
		d.counters.count(o, false)
		s := settlement(c, bundle, o, telemetry.Now())
		c.Failures = s.Failures
		d.settle(ctx, s)
		if b = worked; o.blamed {
			b = blamed
		}
		if !o.ok() {
			d.log.Debug("notice not delivered", "channel", c.UID, "reason", o.words)
		}
		if !o.ok() && !o.final || o.gone {
			return b
		}
	}
	return b
}

// withdraw takes out, and writes down, what its owner may not be told any more.
func (d *Desk) withdraw(ctx context.Context, c Channel, due []Delivery) (rest []Delivery) {
	s := Settlement{ChannelID: c.ID, At: telemetry.Now(), Failures: c.Failures, RetryAt: c.RetryAt}
	for _, x := range due {
		if d.mayHear(x.Notice) {
			rest = append(rest, x)
			continue
		}
		x.State, x.Error = Failed, "the sensor was not yours any more"
		s.Deliveries = append(s.Deliveries, x)
	}
	if len(s.Deliveries) > 0 {
		d.counters.withdrawn.Add(int64(len(s.Deliveries)))
		d.settle(ctx, s)
	}
	return rest
}

// bundles are the messages that deliveries go in. People get one of all that waits. A program gets each for itself, but for those that quiet
// hours held back.
func bundles(kind Kind, due []Delivery) (all [][]Delivery) {
	if len(due) == 0 {
		return nil
	}
	if kind != Webhook {
		return [][]Delivery{due}
	}
	var held []Delivery
	for _, x := range due {
		if x.DueAt != 0 {
			held = append(held, x)
		}
	}
	if len(held) > 0 {
		all = append(all, held)
	}
	for _, x := range due {
		if x.DueAt == 0 {
			all = append(all, []Delivery{x})
		}
	}
	return all
}

// settlement is what follows from an outcome.
func settlement(c Channel, bundle []Delivery, o outcome, now telemetry.Millis) Settlement {
	s := Settlement{ChannelID: c.ID, At: now, SwitchOff: o.gone, Why: o.words}
	state := Sent
	switch {
	case o.ok():
	case o.final:
		state = Failed
	default:
		state = Waiting
		s.Failures = c.Failures + 1
		s.RetryAt = now.Add(max(backoff(s.Failures), o.after))
		if s.Failures >= patientFor {
			s.GiveUp = now.Add(-patience)
		}
	}
	for _, x := range bundle {
		x.State, x.Error = state, o.words
		x.Attempts++
		s.Deliveries = append(s.Deliveries, x)
	}
	return s
}

// backoff is the pause after so many failures in a row: 1 min, 2 min, 4 min and so on to 6 h.
func backoff(failures int) time.Duration {
	pause := lastRetry
	if failures < 10 { // beyond it the doubling is past lastRetry
		pause = min(firstRetry<<(max(failures, 1)-1), lastRetry)
	}
	return time.Duration(float64(pause) * (1 - jitter + 2*jitter*rand.Float64()))
}

// settle writes down what came of an attempt, and does not let go of the channel before that worked: a store that cannot write must not make
// us tell people the same thing every other second. It ends with ctx; then the next start sends again.
func (d *Desk) settle(ctx context.Context, s Settlement) {
	for failing := false; ; failing = true {
		write, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
		err := d.Keeper.Settle(write, s)
		cancel()
		if err == nil {
			return
		}
		if !failing {
			d.log.Warn("what was sent is not written down, will be tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settleAgain):
		}
	}
}

// send makes one attempt at one message and puts in words what came of it.
func (d *Desk) send(ctx context.Context, c Channel, notices []Notice) outcome {
	t, err := open(d.Seal, c)
	if err != nil {
		return outcome{words: err.Error() + "; set it again", final: true}
	}
	var r *http.Request
	switch {
	case c.Kind == Email:
		return d.mail(ctx, c.UserID, compose(notices))
	case t.service != nil:
		r, err = t.service.request(inPlain(ctx, t.service.endpoint), compose(notices))
	default:
		r, err = webhookRequest(inPlain(ctx, t.webhook), t.webhook, t.secret, notices, time.Now())
	}
	if err != nil {
		return outcome{words: "the message could not be made", final: true}
	}
	return d.post(r, t.service)
}

func (d *Desk) post(r *http.Request, s *service) outcome {
	r.Header.Set("User-Agent", "Sensorcast")
	resp, err := d.client.Do(r)
	if err != nil {
		return outcomeOf(err)
	}
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes)) // the status counts, however the rest ends
	_ = resp.Body.Close()
	o := outcomeOfStatus(resp)
	if o.ok() && s != nil && s.accepted != nil && !s.accepted(answer) {
		return outcome{words: "the service refused the message", final: true}
	}
	return o
}

func (d *Desk) mail(ctx context.Context, userID int64, m Message) outcome {
	if d.Postman == nil {
		return outcomeOfMail(telemetry.ErrNotFound)
	}
	to, err := d.Addresses.MailAddress(ctx, userID)
	if err != nil {
		return outcomeOfMail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	return outcomeOfMail(d.Postman.Send(ctx, Letter{To: to, Subject: subject(m.Title), Text: m.Body + "\n"}))
}

// subject is a title on one line: nothing in it begins another header.
func subject(title string) string { return cut(strings.Join(strings.Fields(title), " "), 200) }

// mailTimeout is for one letter, from the connection to the server's acceptance.
const mailTimeout = 15 * time.Second
