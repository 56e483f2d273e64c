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
	CodeBound         = "bound-token"
)

// The codes of transaction tokens, beside those above.
const (
	CodeTransaction          = "transaction-verified"
	CodeNoTransaction        = "no-transaction"
	CodeDuplicateTransaction = "duplicate-transaction"
	CodeMisplaced            = "misplaced-transaction"
	CodeTooLong              = "lifetime-too-long"
)

// tokenError is why a token is not accepted. Its text holds nothing of the token.
type tokenError struct{ code, text string }

// Error returns code and text, for logs; the client is told neither.
func (e *tokenError) Error() string { return e.code + ": " + e.text }

// refuse makes a tokenError.
func refuse(code, text string) error { return &tokenError{code, text} }

// quote escapes s for a quoted-string (RFC 9110, section 5.6.4).
func quote(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }
