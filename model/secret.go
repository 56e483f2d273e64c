package model

import (
	"math"
	"net/url"
	"strings"
	"unicode"
)

const codeLiteralSecret = "literal-secret"

func literalSecret(p Position, key, kind string) Finding {
	return Finding{
		Severity: Error, Code: codeLiteralSecret, Position: p, Key: key,
		Text: "expected a reference, found what looks like " + kind,
		Hint: "keep it out of the file, as {from_env: NAME} or {from_file: PATH} where a value may be a reference; and replace the secret, for it may have been seen",
	}
}

// secretShape names the kind of secret that text certainly is by its form, or returns "".
func secretShape(text string) string {
	switch {
	case len(text) < 12:
		return ""
	case strings.Contains(text, "-----BEGIN") && strings.Contains(text, "PRIVATE KEY"):
		return "a private key"
	case awsKey(text):
		return "an AWS access key"
	case strings.Contains(text, "eyJ") && jwtShape(text):
		return "a token"
	case knownPrefix(text):
		return "an access token"
	case urlPassword(text):
		return "a URL with a password"
	}
	return ""
}

func awsKey(text string) bool {
	for _, prefix := range []string{"AKIA", "ASIA"} {
		i := strings.Index(text, prefix)
		if i >= 0 && len(text) >= i+20 && strings.IndexFunc(text[i:i+20], func(r rune) bool { return !isUpperAlnum(r) }) < 0 {
			return true
		}
	}
	return false
}

func isUpperAlnum(r rune) bool { return r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' }

func jwtShape(text string) bool {
	_, rest, _ := strings.Cut(text, "eyJ")
	parts := strings.SplitN(rest, ".", 3)
	return len(parts) == 3 && len(parts[0]) > 8 && strings.HasPrefix(parts[1], "eyJ")
}

func knownPrefix(text string) bool {
	for _, prefix := range []string{"ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "sk_live_", "rk_live_", "AIza", "hvs."} {
		if strings.HasPrefix(text, prefix) && len(text) >= len(prefix)+16 {
			return true
		}
	}
	return false
}

func urlPassword(text string) bool {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return false
	}
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return false
	}
	password, set := u.User.Password()
	return set && password != ""
}

// secretNamed tells whether a literal under this name (of a variable, header or flag) must be a secret.
func secretNamed(name, value string) bool {
	name = strings.ToUpper(strings.ReplaceAll(strings.TrimLeft(name, "-"), "-", "_"))
	if value == "" || harmless(value) || strings.HasSuffix(name, "PUBLIC_KEY") {
		return false
	}
	if name == "AUTHORIZATION" || name == "COOKIE" {
		return true
	}
	for _, word := range []string{"PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "CREDENTIALS"} {
		if name == word || strings.HasSuffix(name, "_"+word) {
			return true
		}
	}
	return name == "APIKEY" || name == "PGPASSWORD"
}

// harmless values stand under such names without being the secret itself: a path to it, a switch.
func harmless(value string) bool {
	switch strings.ToLower(value) {
	case "true", "false", "yes", "no", "on", "off", "none":
		return true
	}
	return strings.HasPrefix(value, "/") || strings.HasPrefix(value, "./") || strings.HasPrefix(value, "../")
}

// looksRandom tells whether text is one long word of high entropy, as keys and tokens are. Names, paths, UUIDs
// and sentences are not.
func looksRandom(text string) bool {
	if len(text) < 24 || len(text) > 512 || isUUID(text) {
		return false
	}
	var upper, lower, digit, hex int
	for _, r := range text {
		switch {
		case unicode.IsUpper(r):
			upper++
		case unicode.IsLower(r):
			lower++
		case unicode.IsDigit(r):
			digit++
		case !strings.ContainsRune("+/=_-", r):
			return false
		}
		if strings.ContainsRune("0123456789abcdefABCDEF", r) {
			hex++
		}
	}
	if hex == len(text) && len(text) >= 32 {
		return digit > 0 && digit < len(text) && entropy(text) > 3
	}
	return upper > 1 && lower > 1 && digit > 1 && entropy(text) > 4
}

// isUUID tells whether text has the form of a UUID (RFC 9562, section 4).
func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i, r := range text {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (r == '-') || !dash && !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return false
		}
	}
	return true
}

// entropy is Shannon's, in bits per byte.
func entropy(text string) float64 {
	var count [256]float64
	for i := range len(text) {
		count[text[i]]++
	}
	sum := 0.0
	for _, n := range count {
		if n > 0 {
			p := n / float64(len(text))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}
