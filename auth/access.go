package auth

// accessClaims say who the bearer is, so that a request costs no look-up. A changed role ends the sessions, so none is out of date.
type accessClaims struct {
	registered
	Session  string `json:"sid"`
	Username string `json:"name"`
	Role     Role   `json:"role"`
}

func (s *Service) mintAccess(u User, sessionID string) (string, error) {
	return s.access.sign(&accessClaims{
		registered: s.access.claim(u.ID, s.cfg.AccessTTL),
		Session:    sessionID, Username: u.Username, Role: u.Role,
	})
}

// Authenticate returns the person behind an access token whose session has not ended, or behind an API token: then Principal.TokenID is set, and
// what the token leaves out is for the policy to refuse. Everything else, tickets and refresh tokens included, is
// telemetry.ErrUnauthenticated. No I/O.
func (s *Service) Authenticate(accessToken string) (Principal, error) {
	if isAPIToken(accessToken) {
		return s.bearer(accessToken, "")
	}
	var c accessClaims
	if err := s.access.open(accessToken, &c); err != nil {
		return Principal{}, errAccess
	}
	p := Principal{Kind: Person, UserID: c.subject(), Username: c.Username, Role: c.Role, SessionID: c.Session}
	if p.UserID == 0 || p.SessionID == "" || !s.Live(p) {
		return Principal{}, errAccess
	}
	return p, nil
}

// bearer returns the person who comes with an API token; a login that is given must be theirs.
func (s *Service) bearer(token, login string) (Principal, error) {
	p, ok := s.bearers.prove(token, login)
	if !ok {
		s.counts.apiTokensRefused.Add(1)
		return Principal{}, errAccess
	}
	return p, nil
}

// One error for every reason: which check failed helps only who forges.
var errAccess = unauthenticated("access token is invalid or has expired")
