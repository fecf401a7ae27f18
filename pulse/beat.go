package pulse

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	beatWithin   = 10 * time.Second
	maxBeatBytes = 4 << 10 // of an answer nobody reads
)

// beat asks the outside URL once. The next one comes soon enough to make a repetition needless.
func (p *Pulse) beat(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.cfg.URL, http.NoBody)
	if err != nil {
		p.beatErrors.Add(1)
		return // the settings were checked; the error repeats the URL
	}
	r.Header.Set("User-Agent", "Sensorcast")
	resp, err := p.client.Do(r)
	if err != nil {
		if ctx.Err() == nil {
			p.beatErrors.Add(1)
			p.log.Warn("heartbeat not sent", "err", withoutURL(err))
		}
		return
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxBeatBytes)
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		p.beatErrors.Add(1)
		p.log.Warn("heartbeat not taken", "status", resp.StatusCode)
		return
	}
	p.beats.Add(1)
}

// withoutURL is what went wrong without where.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
