package jwt

import "strings"

// The codes of reasons in the decision trail. They are stable.
const (
	CodeVerified  = "token-verified"
	CodeAnonymous = "anonymous"
	CodeMissing   = "no-token"

	CodeDuplicate     = "duplicate-authorization"
	CodeScheme        = "unsupported-scheme"
	CodeTooLarge      = "token-too-large"
	CodeMalformed     = "malformed-token"
	CodeEncrypted     = "encrypted-token"
	CodeDuplicateName = "duplicate-claim"
	CodeAlgorithm     = "algorithm-refused"
	CodeType          = "wrong-type"
	CodeCritical      = "crit-refused"
	CodeEmbeddedKey   = "embedded-key"
	CodeUnknownKey    = "unknown-key"
	CodeSignature     = "bad-signature"
	CodeExpired       = "token-expired"
	CodeNotYet        = "not-yet-valid"
	CodeWrongIssuer   = "wrong-issuer"
	CodeWrongAudience = "wrong-audience"
	CodeMissingClaim  = "missing-claim"
	CodeWrongClaim    = "wrong-claim-type"
)

// Refusal is a token that is not accepted. Its text holds nothing of the token.
type Refusal struct{ Code, Text string }

// Error returns code and text, for tests and logs.
func (r *Refusal) Error() string { return r.Code + ": " + r.Text }

// refuse makes a Refusal.
func refuse(code, text string) error { return &Refusal{code, text} }

// quote escapes s for a quoted-string (RFC 9110, section 5.6.4).
func quote(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }
