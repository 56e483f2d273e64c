package canon

import (
	"strings"
	"unicode/utf8"

	"github.com/palisade-security/palisade/proxy"
)

// canonicalQuery returns the one form of a raw query and its decoded parameters in order, appended to params.
// Parameters are split at "&" only; "+" is a space; an empty parameter between two "&" is no parameter. A
// value may hold encoded line breaks and tabs, for text areas send them, but no other control character.
func canonicalQuery(raw string, params []proxy.Param, limit int) (string, []proxy.Param, error) {
	query, err := normalise(raw, queryClasses)
	if err != nil {
		return "", nil, err
	}
	rest := query
	for rest != "" {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" {
			continue
		}
		if len(params) == limit {
			return "", nil, refuse(CodeTooManyParams, "the query has more parameters than the limit")
		}
		name, value, _ := strings.Cut(pair, "=")
		p := proxy.Param{Name: decode(name, true), Value: decode(value, true)}
		if err := checkParam(p.Name, len(p.Name) != len(name), false); err != nil {
			return "", nil, err
		}
		if err := checkParam(p.Value, len(p.Value) != len(value), true); err != nil {
			return "", nil, err
		}
		params = append(params, p)
	}
	return query, params, nil
}

// checkParam refuses control characters and broken UTF-8 in a decoded name or value. A text that had nothing
// encoded cannot hold either.
func checkParam(s string, encoded, lines bool) error {
	if !encoded {
		return nil
	}
	if !utf8.ValidString(s) {
		return refuse(CodeUTF8, "the query is not valid UTF-8")
	}
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != 0x7f || lines && (c == '\n' || c == '\r' || c == '\t') {
			continue
		}
		return refuse(CodeControl, "the query has an encoded control character")
	}
	return nil
}
