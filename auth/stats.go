package auth

import "sync/atomic"

// Stats counts since start, but for the last four, which are of this moment.
type Stats struct {
	Logins                 int64 // passwords proven, by people, over HTTP and MQTT
	LoginFailures          int64 // wrong or unknown
	LoginsThrottled        int64 // refused before the password was looked at
	LoginsOverloaded       int64 // refused because too many passwords were being checked
	Registrations          int64
	RegistrationsThrottled int64
	LettersThrottled       int64 // not written because there were too many
	Refreshes              int64
	RefreshesReused        int64 // sessions ended because a refresh token came again
	TicketsMinted          int64
	TicketsThrottled       int64
	TicketsRedeemed        int64
	TicketsRefused         int64 // for any reason
	TicketsReplayed        int64 // of those: used before
	ResumesRedeemed        int64 // resume tokens
	ResumesRefused         int64
	ResumesReplayed        int64
	APITokensRefused       int64 // unknown, revoked, expired, or somebody else's
	ClaimsThrottled        int64 // refused before the claim code was looked at

	LoginsWaiting int64 // for a slot to be checked in
	UsedTickets   int64 // remembered, of at most 262,144
	EndedSessions int64 // remembered
	APITokens     int64 // expired ones included
}

type counters struct {
	logins, loginFailures, loginsThrottled                                            atomic.Int64
	registrations, registrationsThrottled, lettersThrottled                           atomic.Int64
	refreshes, refreshesReused                                                        atomic.Int64
	ticketsMinted, ticketsThrottled, ticketsRedeemed, ticketsRefused, ticketsReplayed atomic.Int64
	resumesRedeemed, resumesRefused, resumesReplayed                                  atomic.Int64
	apiTokensRefused                                                                  atomic.Int64
	claimsThrottled                                                                   atomic.Int64
}

// Stats returns the counters; they are not of one instant.
func (s *Service) Stats() Stats {
	c := &s.counts
	return Stats{
		Logins:                 c.logins.Load(),
		LoginFailures:          c.loginFailures.Load(),
		LoginsThrottled:        c.loginsThrottled.Load(),
		LoginsOverloaded:       s.hasher.refused.Load(),
		Registrations:          c.registrations.Load(),
		RegistrationsThrottled: c.registrationsThrottled.Load(),
		LettersThrottled:       c.lettersThrottled.Load(),
		Refreshes:              c.refreshes.Load(),
		RefreshesReused:        c.refreshesReused.Load(),
		TicketsMinted:          c.ticketsMinted.Load(),
		TicketsThrottled:       c.ticketsThrottled.Load(),
		TicketsRedeemed:        c.ticketsRedeemed.Load(),
		TicketsRefused:         c.ticketsRefused.Load(),
		TicketsReplayed:        c.ticketsReplayed.Load(),
		ResumesRedeemed:        c.resumesRedeemed.Load(),
		ResumesRefused:         c.resumesRefused.Load(),
		ResumesReplayed:        c.resumesReplayed.Load(),
		APITokensRefused:       c.apiTokensRefused.Load(),
		ClaimsThrottled:        c.claimsThrottled.Load(),
		LoginsWaiting:          s.hasher.waiting.Load(),
		UsedTickets:            int64(s.used.len()),
		EndedSessions:          int64(s.revoked.sessions.len()),
		APITokens:              int64(s.bearers.len()),
	}
}
