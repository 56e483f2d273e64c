package jwt

import (
	"strings"

	"github.com/palisade-security/palisade/proxy/field"
)

// maxToken bounds a token in bytes. Real access tokens are below 4 KiB.
const maxToken = 8 << 10

// bearer finds the one bearer token (RFC 6750, section 2.1). Tokens in the query or the body are never looked
// at. A second Authorization field, and credentials of another scheme, are refused: nobody checked them, and
// a service behind the gateway might believe them.
func bearer(header field.List) (token string, found bool, err error) {
	value := ""
	for i := range header {
		if name := header[i].Name; len(name) != len("Authorization") || !strings.EqualFold(name, "Authorization") {
			continue
		}
		if found {
			return "", true, refuse(CodeDuplicate, "more than one Authorization field was sent")
		}
		value, found = header[i].Value, true
	}
	if !found {
		return "", false, nil
	}
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", true, refuse(CodeScheme, "credentials of a scheme other than Bearer were sent")
	}
	token = strings.TrimLeft(token, " ")
	switch {
	case token == "":
		return "", true, refuse(CodeMalformed, "the bearer token is empty")
	case len(token) > maxToken:
		return "", true, refuse(CodeTooLarge, "the token is larger than 8 KiB")
	}
	return token, true, nil
}
