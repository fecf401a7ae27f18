package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"sensorcast/audit"
	"sensorcast/auth"
)

// exchange is one request and its answer. It stands in for the ResponseWriter to see what was answered, and travels in the context.
type exchange struct {
	http.ResponseWriter
	id      string
	remote  netip.Addr
	client  string // its User-Agent
	relayed bool   // passed a proxy nobody said to trust: remote is that proxy, not the client
	secure  bool   // the client spoke TLS
	shell   bool   // it came through the control socket
	status  int    // 0 until answered
	request *http.Request
	deed    audit.Entry // what it does, for the trail
}

type exchangeKey struct{}

// exchangeOf returns the exchange ctx belongs to; an empty one outside any, so that it can be asked without a check.
func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// origin is where the request came from, for package auth to note.
func (x *exchange) origin() auth.Origin { return auth.Origin{Remote: x.remote, Client: x.client} }

// WriteHeader notes the status.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 { // 1xx are not the answer
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write notes the implicit 200.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through, e.g. to set deadlines.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// pathValue is what the request has in the place of a name of its route.
func (x *exchange) pathValue(name string) string {
	if x.request == nil {
		return ""
	}
	return x.request.PathValue(name)
}

// Handler serves /api/v1/…, /openapi.json, /openapi.yaml, /healthz and /readyz, and answers everything else with a 404 problem.
func (a *API) Handler() http.Handler { return a.handler(false) }

// Shell serves the same to whoever runs the server's machine, who need not prove it otherwise: it belongs on a socket that is closed to all
// who may not open the server's files.
func (a *API) Shell() http.Handler { return a.handler(true) }

func (a *API) handler(shell bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.serve(&exchange{ResponseWriter: w, id: newRequestID(), client: r.UserAgent(), shell: shell}, r)
	})
}

func (a *API) serve(x *exchange, r *http.Request) {
	start := time.Now()
	x.remote, x.relayed, x.secure = a.origination(r)
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	x.request = r
	defer func() { a.finish(x, r, start, recover()) }()

	setSecurityHeaders(x)
	// The largest body any operation takes; each has its own, smaller limit. Past this one the connection is closed after the answer.
	r.Body = http.MaxBytesReader(x.ResponseWriter, r.Body, int64(max(maxBodyBytes, maxSheetBytes, a.cfg.MaxPayload))+1)
	if _, pattern := a.mux.Handler(r); pattern == "" {
		a.refuseRoute(x, r)
		return
	}
	a.mux.ServeHTTP(x, r)
}

// setSecurityHeaders says that answers are data, not pages, that nobody may keep them, and that no address leaks through links.
// There are no CORS headers: other sites' pages get nothing.
func setSecurityHeaders(x *exchange) {
	h := x.Header()
	h.Set("X-Request-Id", x.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
}

// finish answers for a handler that panicked, counts, and writes the access log: the route's template, never the URL.
func (a *API) finish(x *exchange, r *http.Request, start time.Time, panicked any) {
	if panicked == http.ErrAbortHandler {
		panic(panicked)
	}
	if panicked != nil {
		switch {
		case r.Context().Err() != nil: // huma panics when it cannot write its answer because the client left
			a.log.Debug("client left", "request", x.id, "route", r.Pattern)
		default:
			a.log.Error("handler panicked", "request", x.id, "route", r.Pattern, "err", panicked, "stack", string(debug.Stack()))
		}
		if x.status == 0 {
			internal(x.id).write(x)
		}
	}
	if x.status == 0 {
		x.status = http.StatusOK
	}
	a.counts.add(x.status)
	a.log.Debug("request", "request", x.id, "method", r.Method, "route", r.Pattern, "status", x.status,
		"remote", x.remote, "dur", time.Since(start))
}

// refuseRoute answers for paths and methods nobody registered. ServeMux knows which of both it is, and which methods there are.
func (a *API) refuseRoute(x *exchange, r *http.Request) {
	h, _ := a.mux.Handler(r)
	var v verdict
	h.ServeHTTP(&v, r)
	if v.status != http.StatusMethodNotAllowed {
		a.problem(r.Context(), "", errNoRoute).write(x)
		return
	}
	p := a.problem(r.Context(), "", errNoMethod)
	p.header = http.Header{"Allow": v.header["Allow"]}
	p.write(x)
}

// verdict keeps what ServeMux would have answered, without its text.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header {
	if v.header == nil {
		v.header = http.Header{}
	}
	return v.header
}
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }
func (v *verdict) WriteHeader(status int)      { v.status = status }

func newRequestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
