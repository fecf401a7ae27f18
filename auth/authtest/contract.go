package authtest

import (
	"testing"

	"sensorcast/telemetry"
)

// TestStore runs the contract of auth.Accounts, auth.Sessions and auth.APITokens against stores that open returns, each of them empty.
func TestStore(t *testing.T, open func(t *testing.T) Store) {
	for _, c := range []struct {
		claim string
		check func(t *testing.T, s Store)
	}{
		{"FirstAccountIsAdmin", firstAccountIsAdmin},
		{"ConcurrentFirstAccountsMakeOneAdmin", concurrentFirstAccountsMakeOneAdmin},
		{"AccountIsFoundByEitherLoginWithoutCase", accountIsFoundByEitherLogin},
		{"TakenNamesConflictWithoutCase", takenNamesConflict},
		{"UpdateWritesWhatMayChange", updateWritesWhatMayChange},
		{"DeletedAccountIsGone", deletedAccountIsGone},
		{"SecondFactorIsReplacedAndGoesWithItsAccount", secondFactorIsReplaced},
		{"AccountsAreListedInPages", accountsAreListedInPages},
		{"ActiveAdminsAreCounted", activeAdminsAreCounted},
		{"LoginIsNoted", loginIsNoted},
		{"LetterTokensAreKeptUntilWhatTheyAreForChanges", letterTokensAreKept},
		{"InvitationMakesOneAccount", invitationMakesOneAccount},
		{"InvitationIsOpenWhileItsInviterIsAdmin", invitationIsOpenWhileItsInviterIsAdmin},
		{"InvitationsAreListedNewestFirst", invitationsAreListed},
		{"RefreshRotates", refreshRotates},
		{"RefreshOfUnknownOrOverIsUnauthenticated", refreshOfUnknownOrOver},
		{"LostReplyMayBeRepeatedInGrace", lostReplyMayBeRepeated},
		{"GraceIsNotProlongedByUse", graceIsNotProlonged},
		{"SiblingsBothGoOnAndAreRecognised", siblingsBothGoOn},
		{"ReuseAfterGraceEndsTheSession", reuseAfterGrace},
		{"ReuseOfGrandparentInGraceEndsTheSession", reuseOfGrandparent},
		{"ConcurrentRefreshesAllWork", concurrentRefreshes},
		{"EndedSessionStaysEnded", endedSessionStaysEnded},
		{"EndSessionsSparesOneAndOthers", endSessionsSpares},
		{"LiveSessionsAreListedNewestFirstInPages", liveSessionsAreListed},
		{"TokenIsSpentOnce", tokenIsSpentOnce},
		{"APITokensAreKeptAsTheyAre", apiTokensAreKeptAsTheyAre},
		{"UsesOfAPITokensAreNoted", usesOfAPITokensAreNoted},
		{"DeletedAPITokenIsGone", deletedAPITokenIsGone},
		{"DebtsAreKeptUntilTheyArePaid", debtsAreKept},
	} {
		t.Run(c.claim, func(t *testing.T) { c.check(t, open(t)) })
	}
}

// Instants of the contract: a session opened at start, with a grace of ten seconds.
const (
	start  = telemetry.Millis(1_800_000_000_000)
	second = telemetry.Millis(1000)
	grace  = 10 * second
	expiry = start + 3600*second
)
