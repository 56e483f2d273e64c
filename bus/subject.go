package bus

import (
	"encoding/base64"
	"fmt"
	"strings"
)

const (
	inboxes    = "_INBOX"
	maxSubject = 1024 // bytes of a subject or a key
)

// SubjectToken writes an identity as one token of a subject, so that permissions can name it and a server proves
// with each message who sent it: "control.sign." + SubjectToken(id).
func SubjectToken(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

// ParseSubjectToken returns the identity that SubjectToken wrote.
func ParseSubjectToken(token string) (string, error) {
	id, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(id) == 0 || SubjectToken(string(id)) != token {
		return "", fmt.Errorf("%q is no identity in a subject", token)
	}
	return string(id), nil
}

// Inboxes is what the Inbox of every SPIFFE ID begins with.
const Inboxes = inboxes + ".c3BpZmZlOi8v" // spiffe://

// Inbox returns the prefix under which an identity takes answers; nobody else may listen there.
func Inbox(id string) string { return inboxes + "." + SubjectToken(id) }

// checkSubject refuses what is no subject; wildcards tells whether * and > may stand in it.
func checkSubject(s string, wildcards bool) error {
	if s == "" || len(s) > maxSubject {
		return fmt.Errorf("%q is no subject: it needs 1 to %d bytes", s, maxSubject)
	}
	tokens := strings.Split(s, ".")
	for i, token := range tokens {
		switch {
		case token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
			return fmt.Errorf("%q is no subject: a token is empty or has letters that may not stand there", s)
		case !wildcards && strings.ContainsAny(token, "*>"):
			return fmt.Errorf("%q is a pattern, expected one subject", s)
		case token == ">" && i < len(tokens)-1, token != "*" && token != ">" && strings.ContainsAny(token, "*>"):
			return fmt.Errorf("%q is no subject: a wildcard stands where it may not", s)
		}
	}
	return nil
}

// matches tells whether a subject is one of a pattern.
func matches(pattern, subject string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range want {
		if token == ">" {
			return len(have) > i
		}
		if i >= len(have) || token != "*" && token != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}
