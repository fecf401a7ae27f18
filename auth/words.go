package auth

import "fmt"

// What letters say. Nothing in them is a stranger's free text: names are user names, of ASCII letters and digits, and addresses of pages are
// made from the operator's --public-url, never from a request, whose Host anybody may choose. Tokens stand in the fragment, which browsers
// keep to themselves.

const ending = `
Sensorcast
`

// way says how to use a code: a link where the address of the dashboard is known, words where it is not.
func (s *Service) way(page, code, words string) string {
	if s.cfg.PublicURL == "" {
		return fmt.Sprintf("%s:\n\n    %s\n", words, code)
	}
	return fmt.Sprintf("open\n\n    %s%s#%s\n", s.cfg.PublicURL, page, code)
}

func (s *Service) verificationLetter(u User, token string) Letter {
	return Letter{To: u.Email, Subject: "Confirm your e-mail address", Text: fmt.Sprintf(`The account %s was given this e-mail address. To confirm that it is yours, %s
within 24 hours. Until then nothing can be sent here but letters like this one.

If you know nothing of it, somebody mistyped theirs: ignore this letter.
`, u.Username, s.way("/confirm-email", token, "paste this code where your account asks for it")) + ending}
}

func (s *Service) resetLetter(u User, token string) Letter {
	return Letter{To: u.Email, Subject: "Set a new password", Text: fmt.Sprintf(`Somebody, we hope you, forgot the password of the account %s. To set a new one, %s
within an hour. It works once, and ends every session of the account.

If it was not you, ignore this letter: nothing has changed.
`, u.Username, s.way("/reset-password", token, "paste this code where the sign-in page asks for it")) + ending}
}

func (s *Service) invitationLetter(i Invitation, code string) Letter {
	return Letter{To: i.Email, Subject: "You are invited to Sensorcast", Text: fmt.Sprintf(`%s invites you to make an account. To do so, %s
until %s. It works once, with this e-mail address.

If you know nothing of it, ignore this letter.
`, i.Inviter, s.way("/register", code, "paste this code where the registration page asks for it"), i.ExpiresAt.Time().Format("2 January 2006 15:04 MST")) + ending}
}

func movedLetter(u User) Letter {
	return Letter{Subject: "Your e-mail address was changed", Text: fmt.Sprintf(`The account %s has another e-mail address now. Letters about it no longer come here.

If this was not you, somebody knows your password: tell whoever runs the server at once.
`, u.Username) + ending}
}

func passwordLetter(u User) Letter {
	return Letter{Subject: "Your password was changed", Text: fmt.Sprintf(`The password of the account %s was changed, and its other sessions have ended.

If this was not you, set a new one by "forgot password", or tell whoever runs the server.
`, u.Username) + ending}
}
