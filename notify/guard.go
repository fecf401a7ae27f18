package notify

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Bounds on one request to somebody's server.
const (
	requestTimeout  = 5 * time.Second // from the look-up of the name to the end of the answer
	maxAnswerBytes  = 4 << 10         // read of an answer, and thrown away: enough for the connection to end well
	maxAnswerHeader = 16 << 10
)

// What the guard refuses. An owner may know why: it is their own address.
var (
	errPrivate = errors.New("its address is not a public one")
	errPort    = errors.New("its port is none a web server has")
	errPlain   = errors.New("it is not https")
)

// guard keeps people's addresses from turning the server against the network it stands in (server-side request forgery). It decides on
// each connection, when the name has been looked up: whatever a URL looks like and a name server answers, this is where it leads.
type guard struct {
	allow    []netip.Prefix // the operator's exceptions
	resolver *net.Resolver  // nil: the system's
}

// client returns an HTTP client that reaches only what the guard lets through. It follows no redirect, knows no proxy and keeps no
// connection: the next request is judged anew.
func (g guard) client() *http.Client {
	dialer := &net.Dialer{ControlContext: g.control, Resolver: g.resolver}
	return &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxAnswerHeader,
		},
	}
}

// inClear marks the context of a request that is not encrypted.
type inClear struct{}

// control judges the address a socket is about to be connected to.
func (g guard) control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return errPrivate
	}
	addr := at.Addr().Unmap()
	switch {
	case within(g.allow, addr):
		return nil
	case !isPublic(addr):
		return errPrivate
	case at.Port() < 1024 && at.Port() != 443 && at.Port() != 80:
		return errPort // what listens there might take an HTTP request for its own protocol, mail above all
	case ctx.Value(inClear{}) != nil:
		return errPlain
	}
	return nil
}
