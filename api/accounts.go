package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// accountRoutes are those that make, prolong and end logins.
func (a *API) accountRoutes() {
	handle(a, huma.Operation{
		OperationID: "register", Method: http.MethodPost, Path: base + "/auth/register", Tags: []string{tagAccounts},
		Summary:  "Create an account and log in",
		Security: public(), DefaultStatus: http.StatusCreated,
		Errors: []int{http.StatusForbidden, http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, a.register)
	handle(a, huma.Operation{
		OperationID: "login", Method: http.MethodPost, Path: base + "/auth/login", Tags: []string{tagAccounts},
		Summary:     "Log in",
		Description: "An account with a second factor answers a right password without code with 401 and the problem second-factor-required.",
		Security:    public(),
		Errors:      []int{http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, a.login)
	handle(a, huma.Operation{
		OperationID: "refresh", Method: http.MethodPost, Path: base + "/auth/refresh", Tags: []string{tagAccounts},
		Summary:     "Exchange the refresh token for new tokens",
		Description: "The refresh token comes in the body or in the cookie. The one used last is accepted for 10 s more; an older one ends the session.",
		Security:    public(),
		Errors:      []int{http.StatusUnauthorized, http.StatusForbidden},
		Metadata:    unaudited("every session does it every few minutes; a token that comes again is told of by refresh itself"),
	}, a.refresh)
	handle(a, huma.Operation{
		OperationID: "logout", Method: http.MethodPost, Path: base + "/auth/logout", Tags: []string{tagAccounts},
		Summary:     "End the session",
		Description: "The session is named by the refresh token in the body or the cookie, or by the access token. Its tokens and sockets end with it.",
		Security:    anybody(), Errors: []int{http.StatusForbidden},
		Metadata: unaudited("it ends only what the client holds in its hand"),
	}, a.logout)
	handle(a, huma.Operation{
		OperationID: "logout-all", Method: http.MethodPost, Path: base + "/auth/logout-all", Tags: []string{tagAccounts},
		Summary:  "End every session of the account",
		Security: person(),
	}, a.logoutAll)
	handle(a, huma.Operation{
		OperationID: "verify", Method: http.MethodPost, Path: base + "/auth/verify", Tags: []string{tagAccounts},
		Summary:  "Ask whether an access token is valid now",
		Security: public(), Metadata: unaudited("a question"),
	}, a.verify)
}

// sessionMode says where the refresh token goes.
type sessionMode string

const sessionCookie sessionMode = "cookie"

type registration struct {
	Username   string      `json:"username"`
	Email      string      `json:"email"`
	Password   string      `json:"password" writeOnly:"true"`
	FirstName  string      `json:"first_name,omitempty"`
	LastName   string      `json:"last_name,omitempty"`
	SetupToken string      `json:"setup_token,omitempty" writeOnly:"true" doc:"Needed for the first account unless it is made from the server's own machine"`
	Invitation string      `json:"invitation,omitempty" writeOnly:"true" doc:"The code of an invitation; needed where registration is by invitation"`
	Session    sessionMode `json:"session,omitempty" enum:"token,cookie" default:"token" doc:"cookie: the refresh token comes as an HttpOnly cookie only"`
}

type credentials struct {
	Login    string      `json:"login" doc:"User name or e-mail address"`
	Password string      `json:"password" writeOnly:"true"`
	Code     string      `json:"code,omitempty" writeOnly:"true" doc:"Of the second factor, or one of its recovery codes"`
	Session  sessionMode `json:"session,omitempty" enum:"token,cookie" default:"token" doc:"cookie: the refresh token comes as an HttpOnly cookie only"`
}

type refreshToken struct {
	Token string `json:"refresh_token,omitempty" writeOnly:"true"`
}

// refreshInput is a request that names a session by its refresh token: in the body, or in the cookie when the body has none.
type refreshInput struct {
	Cookie       string        `cookie:"sensorcast_refresh" doc:"The refresh token in cookie mode"`
	SecureCookie string        `cookie:"__Secure-sensorcast_refresh" doc:"The same over TLS"`
	Body         *refreshToken `required:"false"`
}

// inCookie is the token in the cookie that counts for the exchange.
func (in *refreshInput) inCookie(x *exchange) string {
	if x.secure {
		return in.SecureCookie
	}
	return in.Cookie
}

func (in *refreshInput) inBody() string {
	if in.Body == nil {
		return ""
	}
	return in.Body.Token
}

// grant is what a login gives.
type grant struct {
	User         user   `json:"user"`
	AccessToken  string `json:"access_token" doc:"For the Authorization header, as Bearer"`
	RefreshToken string `json:"refresh_token,omitempty" doc:"Absent in cookie mode"`
	ExpiresIn    int64  `json:"expires_in" doc:"Seconds the access token lives"`
}

type grantOutput struct {
	SetCookie string `header:"Set-Cookie"`
	Body      grant
}

func (a *API) register(ctx context.Context, in *struct{ Body registration }) (*grantOutput, error) {
	g, err := a.deps.Auth.Register(ctx, auth.Registration{
		Username:   in.Body.Username,
		Email:      in.Body.Email,
		Password:   in.Body.Password,
		FirstName:  in.Body.FirstName,
		LastName:   in.Body.LastName,
		SetupToken: in.Body.SetupToken,
		Invitation: in.Body.Invitation,
		Remote:     registrant(exchangeOf(ctx)),
		Client:     exchangeOf(ctx).client,
	})
	if errors.Is(err, telemetry.ErrForbidden) && !errors.Is(err, auth.ErrSetupToken) && !errors.Is(err, auth.ErrInvitation) {
		err = errRegistration
	}
	if err != nil {
		return nil, err
	}
	deedOf(ctx).Actor = accountOf(g.User)
	return granted(ctx, g, in.Body.Session), nil
}

// registrant is the address a registration counts for. The first account may be made without the set-up token only from this machine;
// a reverse proxy on this machine that is not declared as trusted would make everybody look like that, so then nobody does.
func registrant(x *exchange) netip.Addr {
	if x.relayed && x.remote.IsLoopback() {
		return netip.Addr{}
	}
	return x.remote
}

func (a *API) login(ctx context.Context, in *struct{ Body credentials }) (*grantOutput, error) {
	g, err := a.deps.Auth.Login(ctx, auth.Credentials{
		Login:    in.Body.Login,
		Password: in.Body.Password,
		Code:     in.Body.Code,
		From:     exchangeOf(ctx).origin(),
	})
	if errors.Is(err, telemetry.ErrUnauthenticated) {
		deedOf(ctx).Account = a.account(ctx, in.Body.Login)
	}
	if err != nil {
		return nil, err
	}
	deedOf(ctx).Actor = accountOf(g.User)
	return granted(ctx, g, in.Body.Session), nil
}

func (a *API) refresh(ctx context.Context, in *refreshInput) (*grantOutput, error) {
	token, mode := in.inBody(), sessionMode("")
	if token == "" {
		token, mode = in.inCookie(exchangeOf(ctx)), sessionCookie
	}
	if token == "" {
		return nil, telemetry.ErrUnauthenticated
	}
	g, err := a.deps.Auth.Refresh(ctx, token, exchangeOf(ctx).origin())
	if err != nil {
		a.tellReuse(ctx, "refresh", err)
		return nil, err
	}
	return granted(ctx, g, mode), nil
}

type logoutOutput struct {
	SetCookie string `header:"Set-Cookie"`
}

// logout ends every session the request names. Naming none is the one mistake; a session that is over already is none.
func (a *API) logout(ctx context.Context, in *refreshInput) (*logoutOutput, error) {
	p, body, cookie := principal(ctx), in.inBody(), in.inCookie(exchangeOf(ctx))
	if body == "" && cookie == "" && p.Kind != auth.Person {
		return nil, telemetry.ErrUnauthenticated
	}
	var errs []error
	for _, token := range []string{body, cookie} {
		if token == "" {
			continue
		}
		err := a.deps.Auth.Logout(ctx, token)
		if errors.Is(err, auth.ErrReused) {
			a.tellReuse(ctx, "logout", err)
			err = nil // the session is over, which is what was asked for
		}
		errs = append(errs, err)
	}
	if p.Kind == auth.Person {
		errs = append(errs, a.deps.Auth.EndSession(ctx, p))
	}
	out := &logoutOutput{}
	if cookie != "" {
		out.SetCookie = expiredCookie(exchangeOf(ctx).secure)
	}
	return out, errors.Join(errs...)
}

func (a *API) logoutAll(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, a.deps.Auth.LogoutAll(ctx, principal(ctx).UserID)
}

type verification struct {
	Valid    bool      `json:"valid"`
	Username string    `json:"username,omitempty" doc:"Whose token it is; absent when it is not valid"`
	Role     auth.Role `json:"role,omitempty" enum:"admin,user"`
}

type accessToken struct {
	Token string `json:"token" writeOnly:"true"`
}

type verifyOutput struct{ Body verification }

func (a *API) verify(_ context.Context, in *struct{ Body accessToken }) (*verifyOutput, error) {
	p, err := a.deps.Auth.Authenticate(in.Body.Token)
	if err != nil {
		return &verifyOutput{}, nil // the answer, not an error: the question was whether
	}
	return &verifyOutput{Body: verification{Valid: true, Username: p.Username, Role: p.Role}}, nil
}

func granted(ctx context.Context, g auth.Grant, mode sessionMode) *grantOutput {
	out := &grantOutput{Body: grant{
		User:         userOf(g.User),
		AccessToken:  g.AccessToken,
		RefreshToken: g.RefreshToken,
		ExpiresIn:    int64(g.ExpiresIn.Seconds()),
	}}
	if mode == sessionCookie {
		out.Body.RefreshToken = ""
		out.SetCookie = refreshCookie(g, exchangeOf(ctx).secure)
	}
	return out
}
