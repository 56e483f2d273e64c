package query

import (
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The strength with which operators bind, so that String writes no needless parentheses.
const (
	loose = iota // within nothing, or parentheses
	inOr
	inAnd
	inNot
)

// String writes a tree as Parse reads it. A tree that Validate accepts is read back as one that means the same.
func String(x Expr) string {
	if x == nil {
		return ""
	}
	return string(x.append(nil, loose))
}

func (x And) append(dst []byte, inside int) []byte { return join(dst, x, " ", inAnd, inside) }
func (x Or) append(dst []byte, inside int) []byte  { return join(dst, x, " or ", inOr, inside) }

func join(dst []byte, parts []Expr, between string, own, inside int) []byte {
	if len(parts) == 1 {
		return parts[0].append(dst, inside)
	}
	if inside >= own {
		dst = append(dst, '(')
	}
	for i, p := range parts {
		if i > 0 {
			dst = append(dst, between...)
		}
		dst = p.append(dst, own)
	}
	if inside >= own {
		dst = append(dst, ')')
	}
	return dst
}

func (x Not) append(dst []byte, _ int) []byte { return x.Of.append(append(dst, '-'), inNot) }

func (x Is) append(dst []byte, _ int) []byte {
	return appendValue(append(append(dst, x.Field.String()...), ':'), x.Value)
}

func (x Prefix) append(dst []byte, _ int) []byte {
	dst = append(append(dst, x.Field.String()...), ':')
	if x.Value != "" {
		dst = appendValue(dst, x.Value)
	}
	return append(dst, '*')
}

func (x Number) append(dst []byte, _ int) []byte {
	dst = append(append(append(dst, x.Field.String()...), ':'), x.Op.String()...)
	switch x.Field {
	case Time:
		return time.Unix(0, x.Value).UTC().AppendFormat(dst, instant)
	case Duration:
		return append(dst, time.Duration(x.Value).String()...)
	default:
		return strconv.AppendInt(dst, x.Value, 10)
	}
}

func (x Text) append(dst []byte, _ int) []byte { return appendQuoted(dst, x.Words) }

// appendValue writes a value, in quotes if it would not be read back without.
func appendValue(dst []byte, v string) []byte {
	if v == "" || strings.ContainsAny(v, `"\()*`) || strings.ContainsFunc(v, unicode.IsSpace) || strings.ContainsAny(v[:1], "<>=") {
		return appendQuoted(dst, v)
	}
	return append(dst, v...)
}

func appendQuoted(dst []byte, v string) []byte {
	dst = append(dst, '"')
	for i := range len(v) {
		if v[i] == '"' || v[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, v[i])
	}
	return append(dst, '"')
}
