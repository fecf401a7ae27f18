package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sensorcast/telemetry"
)

const (
	tokenCheckEvery = 250 * time.Millisecond // connections of an expired token close within a second
	tokenNotesEvery = time.Minute            // how far the store may be behind with when a token was last used
	lastNotes       = 2 * time.Second        // for the last of them, at the end
)

// CreateToken makes an API token for p's account and returns it with its text, which is kept nowhere. telemetry.ErrForbidden unless p came
// with a session, so that no token makes another; telemetry.ErrInvalid with every wrong field; telemetry.ErrConflict when the account has
// MaxAPITokens.
func (s *Service) CreateToken(ctx context.Context, p Principal, d TokenDraft) (t APIToken, token string, err error) {
	if p.Kind != Person || p.SessionID == "" {
		return APIToken{}, "", fmt.Errorf("only who has logged in makes API tokens: %w", telemetry.ErrForbidden)
	}
	if err := s.check(p, d); err != nil {
		return APIToken{}, "", err
	}
	token, hash := newAPIToken()
	t = APIToken{
		ID: newID(), UserID: p.UserID, Name: d.Name, Hash: hash, Write: d.writes(), Serials: sorted(d.Serials),
		CreatedAt: telemetry.Now(), ExpiresAt: d.ExpiresAt,
	}
	// In one turn with what ends accounts, so that none leaves a token behind.
	err = s.exclusively(ctx, func() error {
		u, err := s.Me(ctx, p)
		switch {
		case err != nil:
			return err
		case u.Disabled || !s.Live(p):
			return errAccess
		case len(s.bearers.of(p.UserID)) >= MaxAPITokens:
			return telemetry.Conflict("", fmt.Sprintf("an account has at most %d API tokens: revoke one first", MaxAPITokens))
		}
		if err := s.tokens.CreateAPIToken(ctx, t); err != nil {
			return err
		}
		s.bearers.put(t, u)
		return nil
	})
	if err != nil {
		return APIToken{}, "", fmt.Errorf("create API token: %w", err)
	}
	s.log.Info("api token created", "user", p.UserID, "token", t.ID, "write", t.Write)
	return t, token, nil
}

// Tokens returns the API tokens of p's account, expired ones included, in the order they were made. No I/O.
func (s *Service) Tokens(p Principal) []APIToken {
	if p.Kind != Person {
		return nil
	}
	return s.bearers.of(p.UserID)
}

// DeleteToken revokes an API token of p's account and closes what was opened with it; telemetry.ErrNotFound. After any other error it opens
// nothing more, but may again after a restart: it stays listed until it was deleted.
func (s *Service) DeleteToken(ctx context.Context, p Principal, id string) error {
	if p.Kind != Person || !s.bearers.end(p.UserID, id) {
		return fmt.Errorf("no such API token: %w", telemetry.ErrNotFound)
	}
	s.tokenOver(p.UserID, id)
	err := s.tokens.DeleteAPIToken(context.WithoutCancel(ctx), id)
	if err != nil && !notFound(err) {
		return fmt.Errorf("delete API token: %w", err)
	}
	s.bearers.remove(p.UserID, id)
	s.log.Info("api token revoked", "user", p.UserID, "token", id)
	return nil
}

// Bearer returns who comes with that API token of the account, as its limits are now; false when it opens nothing any more. No I/O.
func (s *Service) Bearer(userID int64, tokenID string) (Principal, bool) {
	return s.bearers.principal(userID, tokenID)
}

// TendTokens tells the watchers of API tokens that expire, and once a minute and at its end the store of those that were used. It
// returns when ctx ends.
func (s *Service) TendTokens(ctx context.Context) {
	check, notes := time.NewTicker(tokenCheckEvery), time.NewTicker(tokenNotesEvery)
	defer check.Stop()
	defer notes.Stop()
	for {
		select {
		case <-check.C:
			for _, t := range s.bearers.expire(telemetry.Now()) {
				s.log.Info("api token expired", "user", t.UserID, "token", t.ID)
				s.tokenOver(t.UserID, t.ID)
			}
		case <-notes.C:
			s.noteUses(ctx)
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastNotes)
			defer cancel()
			s.noteUses(ctx)
			return
		}
	}
}

func (s *Service) noteUses(ctx context.Context) {
	used := s.bearers.unnoted()
	if len(used) == 0 {
		return
	}
	at := make(map[string]telemetry.Millis, len(used))
	for _, b := range used {
		at[b.ID] = telemetry.Millis(b.used.Load())
	}
	if err := s.tokens.UseAPITokens(ctx, at); err != nil {
		if !errors.Is(err, context.Canceled) {
			s.log.Warn("uses of api tokens not noted", "err", err)
		}
		return // they are tried again
	}
	for _, b := range used {
		b.noted = at[b.ID]
	}
}

// tokenOver tells the watchers of a token that is worthless.
func (s *Service) tokenOver(userID int64, id string) {
	s.changes.Notify(Change{Kind: TokenEnded, UserID: userID, TokenID: id})
}

// suspendTokens closes what the tokens of a disabled account opened.
func (s *Service) suspendTokens(userID int64) {
	for _, t := range s.bearers.of(userID) {
		s.tokenOver(userID, t.ID)
	}
}

// recallTokens reads all tokens and the accounts they belong to.
func (s *Service) recallTokens() error {
	ctx, cancel := context.WithTimeout(context.Background(), bootTimeout)
	defer cancel()
	all, err := s.tokens.EveryAPIToken(ctx)
	if err != nil {
		return fmt.Errorf("read API tokens: %w", err)
	}
	var u User
	for _, t := range all {
		if u.ID != t.UserID {
			if u, err = s.accounts.UserByID(ctx, t.UserID); err != nil {
				return fmt.Errorf("find account of an API token: %w", err)
			}
		}
		s.bearers.put(t, u)
	}
	return nil
}
