package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"sensorcast/telemetry"
)

// ErrSecondFactor says that the password was right and the account has a second factor, whose code is missing.
var ErrSecondFactor = fmt.Errorf("the code of the second factor is needed: %w", telemetry.ErrUnauthenticated)

// Enrolment is what an authenticator app is told, once.
type Enrolment struct {
	Secret string `json:"-"` // base32, to be typed
	URI    string `json:"-"` // otpauth, to be scanned
}

// String hides both.
func (e Enrolment) String() string { return "[enrolment]" }

// GoString is String.
func (e Enrolment) GoString() string { return e.String() }

// LogValue is String.
func (e Enrolment) LogValue() slog.Value { return slog.StringValue(e.String()) }

// SecondFactor returns whether p's account has a second factor that is on, and how many of its recovery codes are left.
func (s *Service) SecondFactor(ctx context.Context, p Principal) (on bool, recoveryLeft int, err error) {
	if p.Kind != Person {
		return false, 0, errNoPerson
	}
	f, err := s.factorOf(ctx, p.UserID)
	if err != nil || !f.On {
		return false, 0, err
	}
	return true, len(f.Recovery), nil
}

// EnrolSecondFactor begins to give p's account a second factor; it is on once ConfirmSecondFactor has seen a code. Beginning again makes a new
// secret. telemetry.ErrInvalid names password; telemetry.ErrConflict when it is on already.
func (s *Service) EnrolSecondFactor(ctx context.Context, p Principal, password string) (Enrolment, error) {
	u, err := s.confirm(ctx, p, "password", password)
	if err != nil {
		return Enrolment{}, err
	}
	secret := randomBytes(totpSecret)
	err = s.exclusively(ctx, func() error {
		if f, err := s.factorOf(ctx, u.ID); err != nil || f.On {
			return factorIsOn(err)
		}
		return s.accounts.PutSecondFactor(ctx, u.ID, SecondFactor{Sealed: s.keys.sealFactor(u.ID, secret)})
	})
	if err != nil {
		return Enrolment{}, fmt.Errorf("enrol second factor: %w", err)
	}
	return Enrolment{Secret: totpText(secret), URI: totpURI(u.Username, secret)}, nil
}

func factorIsOn(err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("second factor is on already: %w", telemetry.ErrConflict)
}

// ConfirmSecondFactor turns on what EnrolSecondFactor began, given a code of the app, and ends everything p's account has open but p's own
// session. It returns the recovery codes, each of which stands for one code of an app that is lost. telemetry.ErrInvalid names code; *RateError
// after too many wrong ones; telemetry.ErrNotFound when nothing was begun; telemetry.ErrConflict when it is on already.
func (s *Service) ConfirmSecondFactor(ctx context.Context, p Principal, code string) (recovery []string, err error) {
	if p.Kind != Person {
		return nil, errNoPerson
	}
	err = s.exclusively(ctx, func() error {
		f, err := s.accounts.SecondFactor(ctx, p.UserID)
		if err != nil || f.On {
			return factorIsOn(err)
		}
		return s.spendCode(ctx, p.UserID, "", code, func(f *SecondFactor) {
			f.On = true
			recovery, f.Recovery = s.keys.newRecoveryCodes()
		})
	})
	if err != nil {
		return nil, fmt.Errorf("confirm second factor: %w", err)
	}
	s.log.Info("second factor turned on", "user", p.UserID)
	if err := s.endSessions(context.WithoutCancel(ctx), p.UserID, p.SessionID); err != nil {
		return nil, fmt.Errorf("second factor turned on: %w", err)
	}
	return recovery, nil
}

// DisableSecondFactor turns p's second factor off and ends everything p's account has open but p's own session. telemetry.ErrInvalid names
// password or code, which may be a recovery code; *RateError after too many wrong ones; telemetry.ErrNotFound when it is not on.
func (s *Service) DisableSecondFactor(ctx context.Context, p Principal, password, code string) error {
	u, err := s.confirm(ctx, p, "password", password)
	if err != nil {
		return err
	}
	err = s.exclusively(ctx, func() error {
		if f, err := s.factorOf(ctx, u.ID); err != nil || !f.On {
			return factorIsOff(err)
		}
		if err := s.spendCode(ctx, u.ID, "", code, nil); err != nil {
			return err
		}
		return s.accounts.DeleteSecondFactor(ctx, u.ID)
	})
	if err != nil {
		return fmt.Errorf("turn off second factor: %w", err)
	}
	s.log.Info("second factor turned off", "user", u.ID)
	return s.endSessions(context.WithoutCancel(ctx), u.ID, p.SessionID)
}

func factorIsOff(err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("second factor is not on: %w", telemetry.ErrNotFound)
}

// RemoveSecondFactor turns off the second factor of somebody who has lost it, and ends everything the account has open. Having none is no error.
// telemetry.ErrForbidden unless p is an admin or the operator; telemetry.ErrNotFound when there is no such account.
func (s *Service) RemoveSecondFactor(ctx context.Context, p Principal, username string) error {
	var u User
	err := s.exclusively(ctx, func() (err error) {
		if _, err = s.admin(ctx, p); err != nil {
			return err
		}
		if u, err = s.accounts.UserByLogin(ctx, username); err != nil {
			return err
		}
		return s.accounts.DeleteSecondFactor(ctx, u.ID)
	})
	if err != nil {
		return fmt.Errorf("remove second factor: %w", err)
	}
	s.log.Info("second factor removed", "user", u.ID)
	return s.endSessions(context.WithoutCancel(ctx), u.ID, "")
}

// passFactor lets u, whose password was right, go on when there is no second factor or the code is good. A wrong code is refused like a wrong
// password.
func (s *Service) passFactor(ctx context.Context, u User, code string, remote netip.Addr) error {
	f, err := s.factorOf(ctx, u.ID)
	switch {
	case err != nil:
		return fmt.Errorf("find second factor: %w", err)
	case !f.On:
		return nil
	case code == "":
		return ErrSecondFactor
	}
	err = s.exclusively(ctx, func() error { return s.spendCode(ctx, u.ID, s.debtor(addressKey(remote)), code, nil) })
	if errors.Is(err, errCode) || notFound(err) { // or turned off meanwhile, which ends what is about to open
		return errLogin
	}
	return err
}

var errCode = telemetry.Invalid("code", "is wrong or was used before")

// factorOf is the account's second factor, or the zero one.
func (s *Service) factorOf(ctx context.Context, userID int64) (SecondFactor, error) {
	f, err := s.accounts.SecondFactor(ctx, userID)
	if notFound(err) {
		return SecondFactor{}, nil
	}
	return f, err
}

// spendCode accepts a code of the account once and for all, over restarts too, and makes the change that goes with it. A wrong one is errCode and
// counts against the account's codes and, unless that is empty, the address's debtor. Who gets here knows the password, and a million codes are few: hence
// a limit of its own, of which a right password forgives nothing. It runs in the turn of accounts, so no two requests use one code.
func (s *Service) spendCode(ctx context.Context, userID int64, address, code string, change func(f *SecondFactor)) error {
	now, key := s.clock.now(), s.debtor(Principal{Kind: Person, UserID: userID}.Scope())
	if wait := s.limits.codes.wait(key, now); wait > 0 {
		s.counts.loginsThrottled.Add(1)
		return &RateError{RetryAfter: wait}
	}
	f, err := s.accounts.SecondFactor(ctx, userID)
	if err != nil {
		return err
	}
	f, ok, err := s.keys.spend(userID, f, code, time.Now())
	if err != nil {
		return err
	}
	if !ok {
		s.limits.codes.charge(key, now)
		if address != "" {
			s.limits.addresses.charge(address, now)
		}
		s.counts.loginFailures.Add(1)
		return errCode
	}
	if change != nil {
		change(&f)
	}
	if err := s.accounts.PutSecondFactor(ctx, userID, f); err != nil {
		return err
	}
	s.limits.codes.clear(key)
	return nil
}
