package canon

import (
	"strings"
	"unicode/utf8"

	"github.com/palisade-security/palisade/proxy"
)

// splitTarget takes the request target apart into path and raw query. It accepts the origin-form, and the
// absolute-form over HTTP/1 if it says the same as Host and the connection do (RFC 9112, section 3.2.2).
func splitTarget(in *Input, out *Output, limit int) (path, query string, err error) {
	t := in.Target
	if len(t) > limit {
		return "", "", &Refusal{Code: CodeTargetTooLong, Text: "the request target is longer than the limit", Kind: proxy.KindTargetTooLong}
	}
	if t == "" || t[0] != '/' {
		if t, err = stripAuthority(in, out); err != nil {
			return "", "", err
		}
	}
	path, query, _ = strings.Cut(t, "?")
	return path, query, nil
}

// stripAuthority returns the origin-form of an absolute-form target.
func stripAuthority(in *Input, out *Output) (string, error) {
	scheme, rest, found := strings.Cut(in.Target, "://")
	if !found || in.h2() {
		return "", refuse(CodeTargetForm, "the request target does not begin with a slash")
	}
	want := "http"
	if in.TLS {
		want = "https"
	}
	if !strings.EqualFold(scheme, want) {
		return "", refuse(CodeTargetForm, "the request target's scheme is not the connection's")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, port, err := Host(rest[:end])
	if err != nil {
		return "", err
	}
	if host != out.Host || port != out.Port {
		return "", refuse(CodeHostConflict, "the request target names another host than the Host header")
	}
	if rest = rest[end:]; rest == "" || rest[0] != '/' {
		return "/" + rest, nil
	}
	return rest, nil
}

// canonicalPath returns the one form of a raw path and its decoded segments, appended to segments.
func canonicalPath(raw string, segments []string) (string, []string, error) {
	path, err := normalise(raw, pathClasses)
	if err != nil {
		return "", nil, err
	}
	rest := path[1:]
	for more := true; more; {
		var s string
		s, rest, more = strings.Cut(rest, "/")
		if s == "" && more {
			return "", nil, refuse(CodeEmptySegment, "the path has an empty segment, which some servers drop")
		}
		decoded := decode(s, false)
		if len(decoded) != len(s) {
			if err := checkDecoded(decoded); err != nil {
				return "", nil, err
			}
		}
		if isDotSegment(decoded) {
			return "", nil, refuse(CodeDotSegment, "the path has a dot segment")
		}
		segments = append(segments, decoded)
	}
	return path, segments, nil
}

// checkDecoded refuses what a segment may not hold once its percent-encoding is resolved.
func checkDecoded(s string) error {
	if !utf8.ValidString(s) {
		return refuse(CodeUTF8, "the path is not valid UTF-8")
	}
	for i, c := range s {
		switch {
		case c == '/':
			return refuse(CodeEncodedSlash, "the path has an encoded slash")
		case c == '\\':
			return refuse(CodeBackslash, "the path has an encoded backslash, which some servers take for a slash")
		case c == '%' && looksEncoded(s[i:]):
			return refuse(CodeDoubleEncoding, "the path is percent-encoded twice")
		case isControl(c):
			return refuse(CodeControl, "the path has an encoded control character")
		case isConfusable(c):
			return refuse(CodeConfusable, "the path has a character that some servers turn into a delimiter")
		}
	}
	return nil
}

// looksEncoded reports whether s, which begins with "%", would be decoded once more by a careless server, be
// it as %2F or in the %u002F form.
func looksEncoded(s string) bool {
	if _, ok := decodeAt(s, 0); ok {
		return true
	}
	if len(s) < 6 || s[1] != 'u' && s[1] != 'U' {
		return false
	}
	for i := 2; i < 6; i++ {
		if _, ok := hexValue(s[i]); !ok {
			return false
		}
	}
	return true
}

// isDotSegment reports whether a decoded segment is "." or "..", or is taken for one by servers that ignore
// further dots, spaces, or what follows a semicolon.
func isDotSegment(s string) bool {
	if s == "" || s[0] != '.' && s[0] != ' ' {
		return false
	}
	s, _, _ = strings.Cut(s, ";")
	return strings.IndexByte(s, '.') >= 0 && strings.Trim(s, ". ") == ""
}
