// Package auth knows who is asking and what they may do. It is the one place where passwords, tokens, tickets and device secrets are
// made and judged, and where the one policy lives; every front door (broker, bridge, api) asks it and none decides for itself.
//
//	person  ── Login ─────────► access token (10 min) + refresh token ──► Authenticate ──► Principal
//	program ── CreateToken ───► API token (till revoked) ───────────────► Authenticate ──► Principal, with limits
//	browser ── MintTicket ────► ticket (seconds, once) ─────────────────► RedeemTicket ──► Claim
//	sensor  ── Directory.Authenticate ──────────────────────────────────────────────────► Principal
//	Principal + Action + Device ── Allowed ──► yes or no
//
// # Invariants
//
//   - Each kind of token has its own key, type and audience; one is never good as another.
//   - What is asked per message or per request (Authenticate, RedeemTicket, Live, everything of Directory) does no I/O.
//   - An authority that ends is over in memory before watchers hear of it, so nothing can open between the news and the closing.
//   - No secret is kept or logged: passwords as argon2id, refresh and API tokens, those of letters and invitations as SHA-256, device secrets as
//     HMAC under a key outside the database; what a second factor shares with its app is encrypted under another such key, for it has to be had back.
//   - Expensive or guessable work is bounded: argon2 by slots and a short queue, guesses by throttles, tickets by a rate and a set with a cap.
//   - No answer tells whether somebody has an account, but where a name or address is to be taken. What depends on it a Courier's errand finds
//     out, after the answer.
//
// # Who logs in over MQTT
//
// The user name of a CONNECT is looked up as a serial first (Directory.Lookup); only one that no sensor has is a person's (Service.Password).
// A new account cannot take the name of an existing serial. Should somebody later register a sensor by a person's user name, that
// person still has the e-mail address: no serial contains an "@".
//
// # Locks
//
// Directory, throttle, recent, revocations, bearers and Changes have one mutex each, held for memory work only and never two at once. Changes of
// accounts and their second factors take turns (Service.turn), because each is read, change, write.
package auth
