package api

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// guard lets a request through to its operation when it meets what the operation's Security asks for. It runs before any parameter or
// body is read. An operation without Security is refused: being forgotten must not mean being open.
func (a *API) guard(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	need := ctx.Operation().Security
	p, err := a.authenticate(r, need)
	if err == nil && isPublic(need) {
		err = a.sameOrigin(r)
	}
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	next(huma.WithValue(ctx, principalKey{}, p))
}

// refuse answers with err where huma does not. Its mistakes name their whole place.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	problem := a.problem(r.Context(), "", err)
	if problem.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 9110 §11.6.1
	}
	problem.write(w)
}

// authenticate returns who is asking. Where nobody needs to be known, a bad token is the same as none: clients send the old access
// token along when they refresh or log out.
func (a *API) authenticate(r *http.Request, need requirement) (auth.Principal, error) {
	if exchangeOf(r.Context()).shell {
		return a.operator(r, need)
	}
	if len(need) == 1 && allows(need, schemeOperator) {
		return auth.Principal{}, errOperator
	}
	token := bearer(r)
	var p auth.Principal
	err := telemetry.ErrUnauthenticated
	switch {
	case token == "" && carries(r, need):
		return p, nil
	case token == "":
	case allows(need, schemeBearer):
		p, err = a.deps.Auth.Authenticate(token)
		if err == nil {
			err = covers(p, need)
		}
		if err == nil && needsAdmin(need) && p.Role != auth.RoleAdmin {
			return auth.Principal{}, telemetry.ErrForbidden
		}
	case allows(need, schemeSensor):
		p, err = a.deps.Directory.Authenticate(r.PathValue("serial_no"), token)
	}
	if err == nil {
		return p, nil
	}
	if isPublic(need) {
		return auth.Principal{}, nil
	}
	return auth.Principal{}, err
}

// covers reports why an API token is not enough for the operation, before anything is known of the sensor: so it says nothing about that.
func covers(p auth.Principal, need requirement) error {
	if p.TokenID == "" {
		return nil
	}
	switch scopeOf(need) {
	case auth.ScopeRead:
		return nil
	case auth.ScopeWrite:
		if p.ReadOnly() {
			return errTokenReads
		}
		return nil
	}
	return errTokenNotAllowed
}

// carries reports whether the query holds a ticket or token that the operation takes. What it is worth the operation finds out.
func carries(r *http.Request, need requirement) bool {
	for _, scheme := range []string{schemeTicket, schemeResume} {
		if allows(need, scheme) && r.URL.Query().Get(scheme) != "" {
			return true
		}
	}
	return false
}

// sameOrigin refuses state-changing requests that a browser sends on behalf of another site's page. Bearer tokens cannot be sent
// that way, so only public operations need it: they take the refresh cookie, or would let any page that a person on the server's own
// machine visits create the first account. It reads Sec-Fetch-Site and, from browsers that do not send that, Origin.
func (a *API) sameOrigin(r *http.Request) error {
	if a.origin.Check(r) != nil {
		return errForeignOrigin
	}
	return nil
}

// bearer returns the credential of an Authorization header (RFC 6750 §2.1), or "".
func bearer(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
