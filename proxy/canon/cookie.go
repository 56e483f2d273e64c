package canon

import (
	"strings"
	"unicode/utf8"
)

// checkCookie takes bytes outside ASCII, which browsers send where a script or a service put them into a cookie,
// only as UTF-8 text and only in values. Around a name some servers drop spaces that are not ASCII's, and would
// read a cookie as one with a protected name (RFC 6265bis, section 4.1.3) that the browser did not mean.
func checkCookie(v string) error {
	if isASCII(v) {
		return nil
	}
	if !utf8.ValidString(v) {
		return refuseField(CodeHeaderValue, "Cookie", "has bytes that are not UTF-8")
	}
	if strings.IndexFunc(v, isControl) >= 0 {
		return refuseField(CodeHeaderValue, "Cookie", "has a control character")
	}
	for pair := range strings.SplitSeq(v, ";") {
		if name, _, _ := strings.Cut(pair, "="); !isASCII(name) {
			return refuseField(CodeHeaderValue, "Cookie", "has a name outside ASCII")
		}
	}
	return nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
